"""Captured requests of an endpoint as typed frames: rows of requests, and what was answered.

A capture file has one JSON document a line: ``captureData`` with ``endpointInput`` and ``endpointOutput`` (``data``, ``encoding``,
``observedContentType``), and ``eventMetadata`` with ``inferenceId`` and ``inferenceTime``.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from retraining.contract.rules import Column, Contract
from retraining.contract.values import BLANKS
from retraining.inside.frames import request_frame
from retraining.inside.job_file import is_number
from retraining.inside.serving import InvalidRequest, read_request
from retraining.inside.watching.kept_answers import KeptAnswers

CELLS = 200_000
"""Values of requests that are held at once."""
TRUTHS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}


@dataclass
class Tally:
    """How many requests and rows were read, and what was passed over."""

    requests: int = 0
    rows: int = 0
    left_out: int = 0
    """Requests that are somebody's trying or the deployment's own test."""
    unreadable: int = 0
    first: str = ""
    last: str = ""
    examples: list[str] = field(default_factory=list)
    """Why requests are unreadable, the first few."""

    def note(self, time: str) -> None:
        """Note when a request came."""
        self.first = min(self.first or time, time)
        self.last = max(self.last, time)

    def unread(self, error: Exception) -> None:
        """Note a request that cannot be read."""
        self.unreadable += 1
        if len(self.examples) < 3:
            self.examples.append(f"{type(error).__name__}: {error}"[:200])


def frames(
    paths: Sequence[Path],
    columns: Sequence[Column],
    contract: Contract,
    left_out: Sequence[str],
    tally: Tally,
    kept: KeptAnswers | None = None,
) -> Iterator[tuple[pd.DataFrame, list[Any]]]:
    """Yield rows by the thousands, and the answers as far as they were captured. The memory that it takes depends on no number of requests.

    Args:
        paths: capture files.
        columns: of a request.
        contract: says what a text writes.
        left_out: beginnings of inference ids that do not count.
        tally: is kept up to date.
        kept: sees each row with its answer.

    """
    size = max(1, CELLS // max(1, len(columns)))
    block = _Block()
    for record in _records(paths, tally):
        metadata = record.get("eventMetadata") or {}
        if str(metadata.get("inferenceId") or "").startswith(tuple(left_out)):
            tally.left_out += 1
            continue
        tally.requests += 1
        tally.note(str(metadata.get("inferenceTime") or ""))
        data = record["captureData"]
        predictions, outputs = _answers(data.get("endpointOutput"))
        block.answers += predictions
        name = str(metadata.get("inferenceId") or metadata.get("eventId") or "")
        try:
            text, kind = _body(data["endpointInput"])
            if kind == "text/csv" and "\n" not in (line := text.strip("\r\n")):
                block.texts.append(line)
                block.names.append(name)
                block.outputs.append(outputs[0] if len(outputs) == 1 else None)
            else:
                block.add(_Request(read_request(text, kind, columns), name, outputs))
        except (InvalidRequest, ValueError, LookupError) as error:
            tally.unread(error)
        if block.size >= size:
            yield from _read(block, columns, contract, tally, kept)
            block = _Block()
    yield from _read(block, columns, contract, tally, kept)


class _Request(NamedTuple):
    """A request that was read."""

    rows: list[dict[str, Any]]
    name: str
    """Inference id, else event id."""
    outputs: list[Any]
    """What was answered to each row; as many only if all of it was captured."""

    @property
    def named(self) -> list[tuple[str, Any]]:
        """The name of each row's answer, and the answer."""
        rows = len(self.rows)
        outputs = self.outputs if len(self.outputs) == rows else [None] * rows
        if rows == 1:
            return [(self.name, outputs[0])]
        return [(f"{self.name}:{at}" if self.name else "", output) for at, output in enumerate(outputs, start=1)]


@dataclass
class _Block:
    """Requests that are held to be read together, and the answers."""

    texts: list[str] = field(default_factory=list)
    """Requests of one row each, as CSV."""
    names: list[str] = field(default_factory=list)
    """Inference id, else event id, of each of those."""
    outputs: list[Any] = field(default_factory=list)
    """What was answered to each of those; None if that is not known."""
    requests: list[_Request] = field(default_factory=list)
    """The others."""
    rows: int = 0
    """Number of all rows of those."""
    answers: list[Any] = field(default_factory=list)

    def add(self, request: _Request) -> None:
        self.requests.append(request)
        self.rows += len(request.rows)

    @property
    def size(self) -> int:
        return max(len(self.texts) + self.rows, len(self.answers))


def _read(
    block: _Block, columns: Sequence[Column], contract: Contract, tally: Tally, kept: KeptAnswers | None
) -> Iterator[tuple[pd.DataFrame, list[Any]]]:
    """Yield the rows of a block, read all at once; if that fails, request by request."""
    requests = block.requests
    if block.texts:
        frame = _table(block.texts, columns, contract)
        if frame is None:
            requests = [*_separately(block, columns, tally), *requests]
        else:
            if kept:
                kept.see(frame, block.names, block.outputs)
            yield frame, []
    try:
        frame = request_frame(_rows(requests), columns, contract)
    except ValueError:
        requests = [request for request in requests if _is_readable(request.rows, columns, contract, tally)]
        frame = request_frame(_rows(requests), columns, contract)
    if kept:
        named = [pair for request in requests for pair in request.named]
        kept.see(frame, [name for name, _ in named], [output for _, output in named])
    yield frame, block.answers


def _rows(requests: Sequence[_Request]) -> list[dict[str, Any]]:
    return [row for request in requests for row in request.rows]


def _is_readable(rows: Sequence[dict[str, Any]], columns: Sequence[Column], contract: Contract, tally: Tally) -> bool:
    try:
        request_frame(rows, columns, contract)
    except ValueError as error:
        tally.unread(error)
        return False
    return True


def _separately(block: _Block, columns: Sequence[Column], tally: Tally) -> Iterator[_Request]:
    for text, name, output in zip(block.texts, block.names, block.outputs, strict=True):
        try:
            yield _Request(read_request(text, "text/csv", columns), name, [output])
        except InvalidRequest as error:
            tally.unread(error)


def _records(paths: Sequence[Path], tally: Tally) -> Iterator[dict[str, Any]]:
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    record = json.loads(line)
                    record["captureData"]["endpointInput"]
                except (ValueError, TypeError, LookupError) as error:
                    if line.strip():
                        tally.unread(error)
                    continue
                yield record


def _table(texts: Sequence[str], columns: Sequence[Column], contract: Contract) -> pd.DataFrame | None:
    """Return rows as one frame; None when a row has another number of cells, or a cell is none of its column's type."""
    try:
        cells = pd.read_csv(
            io.StringIO("\n".join(texts)), header=None, dtype=str, keep_default_na=False, skip_blank_lines=False
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError):
        return None
    if cells.shape != (len(texts), len(columns)) or cells.isna().to_numpy().any():
        return None
    made = {column.name: _typed(cells[at], column, contract) for at, column in enumerate(columns)}
    return None if any(values is None for values in made.values()) else pd.DataFrame(made)


def _typed(cells: pd.Series, column: Column, contract: Contract) -> pd.Series | None:
    cells = cells.str.strip(BLANKS)
    missing = cells.isin([word for word in contract.missing if word not in column.allowed])
    if not is_number(column):
        return cells.where(~missing, np.nan).astype(object)
    numbers = cells.str.lower().map(TRUTHS) if column.type == "boolean" else pd.to_numeric(cells, errors="coerce")
    return None if (numbers.isna() & ~missing).any() else numbers.astype(float)


def _body(part: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of a captured body and its content type."""
    text = part["data"]
    if part.get("encoding") == "BASE64":
        text = base64.b64decode(text).decode("utf-8")
    kind = str(part.get("observedContentType") or "text/csv").split(";")[0].strip().lower()
    return text, kind


def _answers(part: Mapping[str, Any] | None) -> tuple[list[Any], list[Any]]:
    """Return the predictions of a captured answer, and of a classification the probabilities, else the predictions once more.

    There are none when it was not captured or is none of this library's.
    """
    if not part:
        return [], []
    try:
        text, kind = _body(part)
        if kind == "application/json":
            document = json.loads(text)
            predictions = list(document["predictions"])
            probabilities = document.get("probabilities")
            return predictions, probabilities if isinstance(probabilities, list) else predictions
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
        predictions = [row[0] for row in rows]
        return predictions, [row[1:] for row in rows] if any(len(row) > 1 for row in rows) else predictions
    except (ValueError, LookupError, TypeError):
        return [], []
