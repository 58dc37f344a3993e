"""Rows that come by key or by column, as lines of delimited text: what both readers judge is then one and the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

from retraining.contract.values import BLANKS

CSV, JSON_LINES, PARQUET = "csv", "json_lines", "parquet"
_PACKED = re.compile(r"\.(gz|bz2|zst)$")
_ENDINGS = {".jsonl": JSON_LINES, ".ndjson": JSON_LINES, ".json": JSON_LINES, ".parquet": PARQUET}

LINE_FEED = "\u001e"  # stands for a line end inside a row
NO_ROW = "\u001c"  # begins a line that is no row; a digit says why, what stands in the file follows
NO_OBJECT, NESTED, UNKNOWN_KEY, REPEATED_KEY = range(4)
FAULTS = (
    "line: not a JSON object",
    "line: a value is a list or an object",
    "line: a key that the contract does not know",
    "line: a key that comes twice",
)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n|\r|\n")
_SPECIAL = re.compile(r"[^A-Za-z0-9.+_-]")
_QUOTED = re.compile(r'[",\u001c]')


def notation_of(key: str) -> str:
    """Return the notation that a name promises: by its ending, that of an archive aside."""
    name = _PACKED.sub("", key.rsplit("/", 1)[-1].lower())
    return next((notation for ending, notation in _ENDINGS.items() if name.endswith(ending)), CSV)


def line_of(cells: Sequence[str]) -> str:
    """Write a row as a line with commas. Nothing is lost but blanks around a cell; half a character becomes a control character."""
    line = ",".join([_written(cell) for cell in cells])
    return line if line.isascii() else _SURROGATE.sub("\u001a", line)


def faulty(fault: int, text: str) -> str:
    """Write what is no row so that readers tell why."""
    return f"{NO_ROW}{fault}{text}"


def fault_of(line: str) -> tuple[str, str] | None:
    """Return the reason and the text of what is no row, None for a row."""
    return (FAULTS[int(line[1])], line[2:]) if line.startswith(NO_ROW) else None


def _written(cell: str) -> str:
    if not _SPECIAL.search(cell):
        return cell
    cell = _LINE_END.sub(LINE_FEED, cell.strip(BLANKS))
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell
