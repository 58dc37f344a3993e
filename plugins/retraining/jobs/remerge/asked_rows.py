"""Finds unwanted rows where rows stand without being data: in files to be scored, in the scores made of them, in files of labels.

A file to be scored may lack the target, one of labels may have an id before its inputs, and either has its columns in an order of its own.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from retraining.contract.layout import (
    UNSCORED_SPLIT,
    Layout,
    inspect,
    inspect_unscored,
    label_contract,
    lacking_inputs,
)
from retraining.contract.notation.lines import CSV, LINE_FEED, line_of
from retraining.contract.reader import Line, judge, texts
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Contract as Rules
from retraining.contract.source import fed
from retraining.contract.unpacking import Open
from retraining.contract.values import Value
from retraining.jobs.remerge.forget import Unwanted

_SENT = ("batch/in/", "monitor/labels/")
_TO_SCORE = re.compile(r"batch/(?:in|work/[^/]+/in)/")
_LABELS = re.compile(r"monitor/(?:labels|work/[^/]+/labels)/")
_SCORES = re.compile(r"batch/(?:out/.+|work/[^/]+/out-.+)/(scored|rejected)\.csv")
_ENDINGS = [notation + packing for notation in ("", ".jsonl", ".parquet") for packing in ("", ".gz", ".bz2", ".zst")]
_OWN = re.compile(r"(line|prediction|model|probability|probability_.*)_")
"""Headings of a file that its scores write with a sign more, because they have columns of that name themselves."""


@dataclass
class Sought:
    """Rows that are looked for where there is no target, or one that may be another: they are known by their inputs, or by their text."""

    contracts: Sequence[Rules]
    unwanted: Unwanted
    texts: set[str] = field(default_factory=set)
    """Lines as they stand in a file."""
    rows: list[dict[str, Value | None]] = field(default_factory=list)
    _marks: dict[tuple[str, ...], tuple[int, set[tuple[Value | None, ...]]]] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Sequence[Mapping[str, Any]], unwanted: Unwanted) -> Sought:
        """Return what is unwanted under these contracts, before any row is known."""
        forms = [Rules.of(form) for document in documents for form in (document, fed(document))]
        return cls([form for place, form in enumerate(forms) if form not in forms[:place]], unwanted)

    def add(self, line: Line, rules: Rules) -> None:
        """Look for a row that stands elsewhere."""
        self.texts.add(line.raw.strip())
        if line.cells:
            self.rows.append(_row(line, rules))

    def has(self, line: Line, rules: Rules, inputs: tuple[str, ...]) -> bool:
        """Tell whether a line is one of the rows, which has these inputs."""
        if line.raw.strip() in self.texts or self.unwanted.has(line, rules):
            return True
        if not line.cells:
            return False
        count, marks = self._marks.get(inputs, (-1, set()))
        if count != len(self.rows):
            marks = {tuple(row[name] for name in inputs) for row in self.rows if set(inputs) <= set(row)}
            self._marks[inputs] = (len(self.rows), marks)
        row = _row(line, rules)
        return tuple(row[name] for name in inputs) in marks


def _row(line: Line, rules: Rules) -> dict[str, Value | None]:
    """Return the values of a row by column; a text that writes none stands for itself."""
    return {
        column.name: cell if value is None and not rules.is_missing(column, cell) else value
        for column, cell, value in zip(rules.columns, line.cells, line.values, strict=True)
    }


def has_inputs(path: str) -> bool:
    """Whether a key below the model's prefix is that of a file to be scored or of labels, or of a job's copy of one."""
    return _is_labels(path) or _TO_SCORE.match(path) is not None


def is_copy(path: str) -> bool:
    """Whether such a file was not sent: a job's copy of one."""
    return not path.startswith(_SENT)


def _is_labels(path: str) -> bool:
    return _LABELS.match(path) is not None


def is_scores(path: str) -> bool:
    """Whether a key below the model's prefix is that of a table of answers, or of rows that got none."""
    return _SCORES.fullmatch(path) is not None


def without_inputs(body: bytes, path: str, sought: Sought) -> tuple[bytes, list[Line]] | None:
    """Return a file to be scored, or of labels, without the rows that are sought, and these; None when it can be read under no contract.

    Args:
        body: the file.
        path: its key below the model's prefix; the copies of jobs have names without ending, and are read in every form.
        sought: rows to leave out.

    """
    opened = partial(io.BytesIO, body)
    is_read = False
    for rules in sought.contracts:
        for ending in _ENDINGS if is_copy(path) else [""]:
            key = path + ending
            try:
                judged, layout = _inspect(opened, path, key, rules)
                if _is_labels(path) and lacking_inputs(layout, rules):
                    continue
                inputs = _inputs(rules if _is_labels(path) else judged, rules.target)
                kept, gone = ([] if layout.notation == CSV else ["sep=,", _heading(judged, layout)]), []
                for number, text in texts(opened, key, judged, layout):
                    line = judge(number, text, judged, layout, UNSCORED_SPLIT)
                    if sought.has(line, judged, inputs):
                        gone.append(line)
                    else:
                        kept.append(text.replace(LINE_FEED, "\n") if rules.multiline else text)
            except FileRefused:
                continue
            if gone:
                return "".join(f"{line}\n" for line in kept).encode(), gone
            is_read = True
    return (body, []) if is_read else None


def _inputs(rules: Rules, target: str) -> tuple[str, ...]:
    return tuple(name for name in rules.names if name != target)


def _inspect(open_file: Open, path: str, key: str, rules: Rules) -> tuple[Rules, Layout]:
    """Say by which contract the rows of a file to be scored, or of labels, are judged, and how it is laid out.

    Raises:
        FileRefused: it is no such file of this contract.

    """
    if not _is_labels(path):
        return inspect_unscored(open_file, key, rules)
    judged = label_contract(rules)
    return judged, inspect(open_file, key, judged)


def _heading(judged: Rules, layout: Layout) -> str:
    return ",".join((*judged.names, *(["source"] if layout.source_at is not None else [])))


def without_scores(body: bytes, path: str, sought: Sought, holds: Callable[[bytes], bool]) -> bytes:
    """Return a table of answers, or of rows that got none, without the records of rows that are sought.

    Args:
        body: the table.
        path: its key below the model's prefix.
        sought: rows to leave out.
        holds: tells whether a record holds the text of such a row.

    """
    records = list(csv.reader(io.StringIO(body.decode("utf-8", "replace"), newline="")))
    if not records:
        return body
    if path.endswith("/rejected.csv"):
        gone = {
            at
            for at, record in enumerate(records)
            if at and record[-1].replace("\n", LINE_FEED).strip() in sought.texts
        }
    else:
        gone = _scored(records, sought)
    gone |= {at for at, record in enumerate(records) if at and any(map(holds, _texts(record)))}
    if not gone:
        return body
    table = io.StringIO(newline="")
    csv.writer(table).writerows(record for at, record in enumerate(records) if at not in gone)
    return table.getvalue().encode()


def _texts(record: Sequence[str]) -> tuple[bytes, ...]:
    return (line_of(record).encode(), ",".join(record).encode(), *(cell.encode() for cell in record))


def _scored(records: Sequence[Sequence[str]], sought: Sought) -> set[int]:
    """Return the places of the answers for rows that are sought: a row lies between its line and its prediction."""
    header = list(records[0])
    end = len(header) - 1 - header[::-1].index("prediction") if "prediction" in header else len(header)
    names = [match[1] if (match := _OWN.fullmatch(name)) else name for name in header[1:end]]
    lines = [line_of(cells) for cells in (names, *(record[1:end] for record in records[1:]))]
    head = "".join(f"{line}\n" for line in lines).encode()
    gone: set[int] = set()
    for rules in sought.contracts:
        try:
            judged, layout = inspect_unscored(
                partial(io.BytesIO, head), "scored.csv", replace(rules, delimiter=",", header_required=False)
            )
        except FileRefused:
            continue
        inputs = _inputs(judged, rules.target)
        judgements = (judge(at, text, judged, layout, UNSCORED_SPLIT) for at, text in enumerate(lines))
        gone |= {line.number for line in judgements if line.number and sought.has(line, judged, inputs)}
    return gone
