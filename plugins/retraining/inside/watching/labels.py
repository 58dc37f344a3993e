"""Files with the true values of rows that a model was asked about, read into labels that can be held against its answers.

Two forms are read, packed as the contract allows. A file of rows has the target and ``inference_id``, or all inputs, or both; it is read
as the merge reads one. Ground-truth lines of SageMaker Model Monitor are JSON: ``groundTruthData`` (``data``, ``encoding``) and
``eventMetadata`` (``eventId``, or ``inferenceId``); several lines of CSV in ``data`` are the labels of the rows of one request, in order.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from retraining.contract.layout import ID, UNSCORED_SPLIT, inspect, label_contract, lacking_inputs
from retraining.contract.plain_text import plain
from retraining.contract.reader import Line, read
from retraining.contract.refusal import FileRefused
from retraining.contract.rows import cell_reason
from retraining.contract.rules import Column, Contract
from retraining.contract.unpacking import Open, lines_of, unpacked
from retraining.contract.values import BLANKS, Value
from retraining.inside.answers import class_name
from retraining.inside.frames import iso, request_frame
from retraining.inside.job_file import classes_of, inputs_of, is_number
from retraining.inside.watching.kept_answers import NONE, name_hashes, row_hashes
from retraining.inside.watching.ledger import ENTRY, MOST

GROUND_TRUTH = "groundTruthData"
FIRST = ":1"
"""Ends the name of the first row of a request; of a request of one row it may be there or not."""
AT_ONCE = 5_000
EXAMPLES = 3


@dataclass
class Reading:
    """What became of label files and their lines: part of ``look.json``."""

    files: int = 0
    labels: int = 0
    unreadable: int = 0
    """Lines without a label that could be read."""
    examples: list[str] = field(default_factory=list)
    """Why, the first few."""
    refused: list[dict[str, str]] = field(default_factory=list)
    """Files that cannot be read: ``key``, ``reason``, ``remedy``."""
    left: list[str] = field(default_factory=list)
    """Keys of files that wait for a later look, because so many labels are remembered."""

    def unread(self, key: str, line: int, reason: str) -> None:
        """Note a line that is no label."""
        self.unreadable += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{plain(key, 120)}, line {line}: {plain(reason, 120)}")

    def add(self, file: Reading) -> None:
        """Add what became of one file."""
        self.files += 1
        self.labels += file.labels
        self.unreadable += file.unreadable
        self.examples = [*self.examples, *file.examples][:EXAMPLES]


@dataclass(frozen=True)
class _Label:
    name: str
    value: float
    row: Mapping[str, Any] | None = None


def read_labels(path: Path, key: str, contract: Contract, task: str, came: int, reading: Reading) -> np.ndarray:
    """Return the labels of a file, of type ``ledger.ENTRY``, in their order.

    Args:
        path: of the file.
        key: its key in S3; the ending says how it is packed.
        contract: of the model.
        task: of the model.
        came: when it came, in seconds since 1970.
        reading: of this file; is kept up to date.

    Raises:
        FileRefused: it is no file of labels, none of its lines is one, or they are more than can be remembered.

    """
    target = _Target(contract, task)

    def open_file() -> Any:
        return path.open("rb")

    if _first_character(open_file, key) == "{" and GROUND_TRUTH in _first_line(open_file, key):
        found = _ground_truth(open_file, key, target, reading)
    else:
        found = _rows(open_file, key, target, reading)
    parts = [np.zeros(0, dtype=ENTRY)]
    for labels in _pieces(found):
        parts.append(_entries(labels, contract, came))
        reading.labels += len(labels)
        if reading.labels > MOST:
            raise FileRefused(f"more than {MOST:,} labels", "upload it in parts")
    if not reading.labels:
        why = f": {reading.examples[0]}" if reading.examples else ""
        raise FileRefused(f"no line is a label{why}", f"give each row a {ID} and {contract.target}")
    return np.concatenate(parts)


class _Target:
    """The target of a contract, and what a label of it comes to."""

    def __init__(self, contract: Contract, task: str) -> None:
        self.contract, self.column = contract, contract.column(contract.target)
        self._places = {name: float(at) for at, name in enumerate(classes_of(self.column, task))}

    def number(self, value: Value | None) -> float | None:
        """Return a typed value as a number, of a classification the place of its class; None when it is none."""
        if value is None:
            return None
        if self._places:
            return self._places.get(class_name(float(value)) if is_number(self.column) else str(value))  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]

    def label(self, name: str, text: str) -> _Label | str:
        """Return the label that a text writes, or why it writes none."""
        text = text.strip(BLANKS)
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1]
        if reason := cell_reason(self.contract, self.column, text):
            return reason
        number = self.number(self.contract.value(self.column, text))
        return f"{self.column.name}: no class of the model" if number is None else _Label(name, number)


def _first_line(open_file: Open, key: str) -> str:
    with open_file() as stream:
        lines = lines_of(unpacked(stream, key))
        return next((line for line in lines if line.strip(BLANKS)), "")


def _first_character(open_file: Open, key: str) -> str:
    """Return the first character of the text; "" of what is none."""
    with open_file() as stream:
        block = next(iter(unpacked(stream, key)), b"")
    return block[:200].decode("utf-8-sig", "replace").strip(BLANKS + "\r\n")[:1]


def _ground_truth(open_file: Open, key: str, target: _Target, reading: Reading) -> Iterator[_Label]:
    with open_file() as stream:
        for number, text in enumerate(lines_of(unpacked(stream, key)), start=1):
            if not text.strip(BLANKS):
                continue
            try:
                name, values = _event(json.loads(text))
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                reading.unread(key, number, f"no ground-truth line: {type(error).__name__}: {error}")
                continue
            names = [name] if len(values) == 1 else [f"{name}:{at}" for at in range(1, len(values) + 1)]
            for found in map(target.label, names, values):
                if isinstance(found, str):
                    reading.unread(key, number, found)
                else:
                    yield found


def _event(document: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the id of a ground-truth line and its labels as texts."""
    data, metadata = document[GROUND_TRUTH], document["eventMetadata"]
    text, encoding = data["data"], str(data.get("encoding") or "CSV").upper()
    if encoding == "BASE64":
        text = base64.b64decode(text, validate=True).decode("utf-8")
    elif encoding not in ("CSV", "JSON"):
        raise ValueError(f"encoding {encoding[:20]} is not read, only CSV, JSON and BASE64")
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError("the label is no text")
    name = metadata.get("inferenceId") or metadata["eventId"]
    if not isinstance(name, str) or not name:
        raise ValueError("the id is no text")
    return name, str(text).strip("\r\n").splitlines() or [""]


def _rows(open_file: Open, key: str, target: _Target, reading: Reading) -> Iterator[_Label]:
    judged = label_contract(target.contract)
    layout = inspect(open_file, key, judged)
    lacking = lacking_inputs(layout, target.contract)
    if lacking and ID not in dict(layout.columns):
        raise FileRefused(
            f"the rows have no {ID}, and to be found by their inputs they lack {', '.join(lacking)}",
            f"add the column {ID}, or all inputs of the model",
        )
    inputs = () if lacking else inputs_of(target.contract)
    for line in () if layout.empty else read(open_file, key, judged, layout, UNSCORED_SPLIT):
        found = _label_of(line, judged, target, inputs)
        if isinstance(found, str):
            reading.unread(key, line.number, found)
        else:
            yield found


def _label_of(line: Line, judged: Contract, target: _Target, inputs: Sequence[Column]) -> _Label | str:
    """Return the label of a line, or why it has none. What is wrong with its inputs costs their help only."""
    name = target.column.name
    if not line.cells:
        return line.reasons[0]
    for reason in line.reasons:
        if reason.split(":")[0] in (ID, name):
            return reason
    number = target.number(line.values[judged.position[name]])
    if number is None:
        return f"{name}: no class of the model"
    row = {column.name: _plain(line.values[judged.position[column.name]]) for column in inputs}
    broken = line.reasons or any(row[column.name] is None and not column.nullable for column in inputs)
    inference_id = line.cells[judged.position[ID]] if ID in judged.position else ""
    if not inference_id and (broken or not inputs):
        return line.reasons[0] if line.reasons else f"neither {ID} nor all inputs are there"
    return _Label(inference_id, number, row if inputs and not broken else None)


def _plain(value: Value | None) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else iso(value)


def _pieces(labels: Iterable[_Label]) -> Iterator[list[_Label]]:
    piece: list[_Label] = []
    for label in labels:
        piece.append(label)
        if len(piece) == AT_ONCE:
            yield piece
            piece = []
    if piece:
        yield piece


def _entries(labels: Sequence[_Label], contract: Contract, came: int) -> np.ndarray:
    made = np.zeros(len(labels), dtype=ENTRY)
    made["name"] = name_hashes([label.name for label in labels])
    made["other"] = name_hashes(
        [label.name.removesuffix(FIRST) if label.name.endswith(FIRST) else "" for label in labels]
    )
    made["value"] = [label.value for label in labels]
    made["came"] = came
    rows = [label.row for label in labels if label.row is not None]
    hashes = iter(row_hashes(request_frame(rows, inputs_of(contract), contract)))
    made["row"] = [NONE if label.row is None else next(hashes) for label in labels]
    return made
