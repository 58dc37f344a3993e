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
from typing import Any

import numpy as np
import pandas as pd

from retraining.contract.rules import Column, Contract
from retraining.contract.values import BLANKS
from retraining.inside.frames import request_frame
from retraining.inside.job_file import is_number
from retraining.inside.serving import InvalidRequest, read_request

REQUESTS = 20_000
"""Requests that are held at once."""
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
    paths: Sequence[Path], columns: Sequence[Column], contract: Contract, left_out: Sequence[str], tally: Tally
) -> Iterator[tuple[pd.DataFrame, list[Any]]]:
    """Yield rows by the thousands, and the answers as far as they were captured.

    Args:
        paths: capture files.
        columns: of a request.
        contract: says what a text writes.
        left_out: beginnings of inference ids that do not count.
        tally: is kept up to date.

    """
    texts: list[str] = []
    answers: list[Any] = []
    for record in _records(paths, tally):
        metadata = record.get("eventMetadata") or {}
        if str(metadata.get("inferenceId") or "").startswith(tuple(left_out)):
            tally.left_out += 1
            continue
        tally.requests += 1
        tally.note(str(metadata.get("inferenceTime") or ""))
        data = record["captureData"]
        answers += _answers(data.get("endpointOutput"))
        try:
            text, kind = _body(data["endpointInput"])
            if kind == "text/csv" and text.count("\n") <= 1:
                texts.append(text.strip("\r\n"))
            else:
                yield request_frame(read_request(text, kind, columns), columns, contract), []
        except (InvalidRequest, ValueError, LookupError) as error:
            tally.unread(error)
        if len(texts) >= REQUESTS:
            yield from _lines(texts, columns, contract, tally)
            yield _nothing(columns), answers
            texts, answers = [], []
    yield from _lines(texts, columns, contract, tally)
    yield _nothing(columns), answers


def _records(paths: Sequence[Path], tally: Tally) -> Iterator[dict[str, Any]]:
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    record = json.loads(line)
                    record["captureData"]
                except (ValueError, TypeError, LookupError) as error:
                    if line.strip():
                        tally.unread(error)
                    continue
                yield record


def _lines(
    texts: Sequence[str], columns: Sequence[Column], contract: Contract, tally: Tally
) -> Iterator[tuple[pd.DataFrame, list[Any]]]:
    """Read requests of one row each, all at once; if that fails, one by one."""
    if not texts:
        return
    frame = _table(texts, columns, contract)
    if frame is not None:
        yield frame, []
        return
    for text in texts:
        try:
            yield request_frame(read_request(text, "text/csv", columns), columns, contract), []
        except (InvalidRequest, ValueError) as error:
            tally.unread(error)


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


def _nothing(columns: Sequence[Column]) -> pd.DataFrame:
    return pd.DataFrame(
        {column.name: pd.Series([], dtype=float if is_number(column) else object) for column in columns}
    )


def _body(part: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of a captured body and its content type."""
    text = part["data"]
    if part.get("encoding") == "BASE64":
        text = base64.b64decode(text).decode("utf-8")
    kind = str(part.get("observedContentType") or "text/csv").split(";")[0].strip().lower()
    return text, kind


def _answers(part: Mapping[str, Any] | None) -> list[Any]:
    """Return the predictions of a captured answer; none when it was not captured or is none of this library's."""
    if not part:
        return []
    try:
        text, kind = _body(part)
        if kind == "application/json":
            return list(json.loads(text)["predictions"])
        return [row[0] for row in csv.reader(io.StringIO(text)) if row]
    except (ValueError, LookupError, TypeError):
        return []
