"""Filters and joins of batch transform: which part of a record goes to the model, and which of record and answer into the output.

A record is a row of CSV (a list of texts) or a JSON value; a part is named by the JSONPath expressions that the service documents:
``$``, ``$[1:]``, ``$[0,3]``, ``$.features``, ``$['id','SageMakerOutput']``.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from local_aws.shared.errors import JobError

_STEP = re.compile(r"\.(\w+)|\.?\[([^\]]*)\]")
_SLICE = re.compile(r"(-?\d*):(-?\d*)")
_NAMES = re.compile(r"\s*(?:'[^']*'|\"[^\"]*\")(?:\s*,\s*(?:'[^']*'|\"[^\"]*\"))*\s*")
_NUMBERS = re.compile(r"\s*-?\d+(?:\s*,\s*-?\d+)*\s*")

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"

Step = str | int | list[str] | list[int] | slice


def parse(path: str) -> list[Step]:
    """Return the steps of a path.

    Raises:
        ValueError: it is none of the forms that the service knows.

    """
    if not path.startswith("$"):
        raise ValueError(f"{path!r} is no JSONPath: it begins with $")
    steps: list[Step] = []
    place = 1
    while place < len(path):
        match = _STEP.match(path, place)
        if match is None:
            raise ValueError(f"{path!r} is no JSONPath that batch transform knows, from {path[place:]!r} on")
        steps.append(match[1] if match[1] is not None else _selection(path, match[2]))
        place = match.end()
    return steps


def _selection(path: str, text: str) -> Step:
    if match := _SLICE.fullmatch(text.strip()):
        return slice(*(int(number) if number else None for number in match.groups()))
    if _NUMBERS.fullmatch(text):
        numbers = [int(number) for number in text.split(",")]
        return numbers if len(numbers) > 1 else numbers[0]
    if _NAMES.fullmatch(text):
        names = [name[1:-1] for name in re.findall(r"'[^']*'|\"[^\"]*\"", text)]
        return names if len(names) > 1 else names[0]
    raise ValueError(f"{path!r}: [{text}] is no index, slice or name that batch transform knows")


def select(path: str, record: Any) -> Any:
    """Return the part of a record that a path names.

    Raises:
        ValueError: the record has no such part.

    """
    try:
        for step in parse(path):
            if isinstance(step, slice):
                record = record[step] if isinstance(record, list) else _refuse(record, step)
            elif isinstance(step, list):
                chosen = [record[name] for name in step]
                record = dict(zip(step, chosen, strict=True)) if isinstance(record, dict) else chosen
            else:
                record = record[step]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"the record has nothing at {path}: {type(error).__name__} {error}") from error
    return record


def _refuse(record: Any, step: object) -> Any:
    raise TypeError(f"{type(record).__name__} has no {step}")


class Processing:
    """What a transform job's ``DataProcessing`` asks for; it knows CSV, JSON and JSON lines."""

    def __init__(self, options: dict[str, Any], content_type: str, accept: str) -> None:
        self._input = options.get("InputFilter", "$")
        self._output = options.get("OutputFilter", "$")
        self._join = options.get("JoinSource", "None") == "Input"
        self._content_type = content_type.split(";")[0].strip()
        self._accept = accept.split(";")[0].strip() if accept not in ("", "*/*") else self._content_type

    def problem(self) -> str | None:
        """Return why the service would refuse it."""
        known = (CSV, JSON, JSON_LINES)
        if self._content_type not in known or self._accept not in known:
            return f"DataProcessing takes {', '.join(known)} as ContentType and Accept."
        if self._join and self._content_type != self._accept:
            return "JoinSource Input needs the same ContentType and Accept."
        for path in (self._input, self._output):
            try:
                parse(path)
            except ValueError as error:
                return str(error)
        return None

    def request(self, payload: bytes) -> bytes:
        """Return what of a payload goes to the model."""
        if self._input == "$":
            return payload
        return _written(
            [select(self._input, record) for record in _records(payload, self._content_type)], self._content_type
        )

    def result(self, payload: bytes, answer: bytes) -> bytes:
        """Return what goes into the output for a payload and the model's answer.

        Raises:
            JobError: the answer has another number of records than the payload.

        """
        answers = _records(answer, self._accept)
        if self._join:
            sent = _records(payload, self._content_type)
            if len(sent) != len(answers):
                raise JobError(f"JoinSource Input: the model answered {len(answers)} records to {len(sent)}")
            answers = [self._joined(one, other) for one, other in zip(sent, answers, strict=True)]
        return _written([select(self._output, record) for record in answers], self._accept)

    def _joined(self, sent: Any, answer: Any) -> Any:
        if self._content_type == CSV:
            return [*sent, *answer]
        if isinstance(sent, dict):
            return {**sent, "SageMakerOutput": answer}
        return {"SageMakerInput": sent, "SageMakerOutput": answer}


def _records(body: bytes, content_type: str) -> list[Any]:
    text = body.decode("utf-8")
    try:
        if content_type == CSV:
            return [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        if content_type == JSON_LINES:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return [json.loads(text)]
    except (csv.Error, ValueError) as error:
        raise JobError(f"DataProcessing: a record is no {content_type}: {error}") from error


def _written(records: Sequence[Any], content_type: str) -> bytes:
    if content_type == CSV:
        buffer = io.StringIO()
        rows = [record if isinstance(record, list) else [record] for record in records]
        csv.writer(buffer, lineterminator="\n").writerows(rows)
        return buffer.getvalue().encode()
    lines = [json.dumps(record) for record in records]
    return ("\n".join(lines) + ("\n" if content_type == JSON_LINES else "")).encode()
