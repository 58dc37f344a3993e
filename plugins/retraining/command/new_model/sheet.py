"""Reads a CSV file whose columns nobody has declared yet: separator, header, and the cells of its first rows."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from retraining.contract.names import heading, ignored_reason
from retraining.contract.notation.foreign import refuse_foreign_bytes, refuse_foreign_text
from retraining.contract.notation.lines import CSV, notation_of
from retraining.contract.plain_text import plain
from retraining.contract.reader import LINE_FEED, records
from retraining.contract.rules import DELIMITERS, cut
from retraining.contract.unpacking import BLOCK, lines_of, unpacked
from retraining.contract.values import BLANKS, NUMBER

MOST_ROWS = 200_000
"""Rows that are looked at."""
HEAD_LINES = 50
MOST_COLUMNS = 2_000
_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


class NewModelError(ValueError):
    """No model folder can be made of this; the message says why and what to do."""


@dataclass(frozen=True)
class Sheet:
    """The first rows of a file.

    Attributes:
        headings: of the columns; ``column 1`` and so on in a file without header.
        rows: trimmed cells, each row as long as ``headings``.
        target: position of the target.
        has_header: whether the headings stand in the file.
        delimiter: between cells.
        multiline: whether quoted cells hold line ends.
        odd_rows: rows of another width, which are left out.
        whole: whether ``rows`` are all of the file.

    """

    headings: tuple[str, ...]
    rows: list[list[str]]
    target: int
    has_header: bool
    delimiter: str
    multiline: bool
    odd_rows: int
    whole: bool


def read_sheet(path: Path, target: str) -> Sheet:
    """Read a file.

    Args:
        path: plain or packed.
        target: heading of the column to predict; its position from 1 in a file without header.

    Raises:
        NewModelError: there is no such column, or no table.
        FileRefused: it is no text file.

    """
    if reason := ignored_reason(path.name, path.stat().st_size):
        raise NewModelError(f"{plain(path.name)}: {reason}, so it would be passed over as data; give it another name")
    if notation_of(path.name) != CSV:
        raise NewModelError(
            f"{plain(path.name)} is no CSV file: save some hundred rows of it as CSV and make the model of them; it takes the file itself "
            "afterwards"
        )
    first = next(_lines(path, multiline=False), None)
    if first is None:
        raise NewModelError(f"{plain(path.name)} holds nothing but blank lines")
    multiline = any(line.count('"') % 2 for line in islice(_lines(path, multiline=False), MOST_ROWS))
    head = list(islice(_lines(path, multiline), HEAD_LINES))
    refuse_foreign_text(head)
    skipped = 0
    delimiters: Sequence[str] = DELIMITERS
    if match := _SEP.fullmatch(head[0].strip(BLANKS + "\ufeff")):
        delimiters, skipped = (match[1],), 1
    delimiter = max(delimiters, key=lambda sign: _fits(head[skipped:], sign, target))
    width = _width(head[skipped:], delimiter)
    if width < 2:
        raise NewModelError(
            f"{plain(path.name)} has one column when separated by comma, semicolon, tab or |: a model needs a target and something to "
            "predict it from"
        )
    if width > MOST_COLUMNS:
        raise NewModelError(
            f"{plain(path.name)} has {width:,} columns; a model folder is made for at most {MOST_COLUMNS:,}"
        )
    at = _header(head[skipped:], delimiter, target, width)
    names = [_unquoted(cell) for cell in cut(head[skipped + at], delimiter)] if at is not None else []
    place = _place(names, target, width, head[skipped], delimiter)
    if at is not None:
        skipped += at + 1
    rows, odd, whole = _rows(islice(_lines(path, multiline), skipped, None), delimiter, width)
    if not rows:
        raise NewModelError(f"{plain(path.name)} has a header and no rows")
    titles = tuple(names) or tuple(f"column {number + 1}" for number in range(width))
    return Sheet(titles, rows, place, at is not None, delimiter, multiline, odd, whole)


def _lines(path: Path, multiline: bool) -> Iterator[str]:
    """Yield the records that are not blank."""
    with path.open("rb") as stream:
        blocks = unpacked(stream, path.name)
        for _, text in records(lines_of(_checked(blocks, path.name)), multiline):
            if text.strip(BLANKS):
                yield text.removeprefix("\ufeff")


def _checked(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    for number, block in enumerate(blocks):
        if number == 0:
            refuse_foreign_bytes(block[:BLOCK], name)
        yield block


def _fits(lines: Sequence[str], delimiter: str, target: str) -> tuple[bool, int, int]:
    """Return how well a delimiter fits: whether it sets the target's heading apart, lines of one width, and that width."""
    width = _width(lines, delimiter)
    if width == 1:
        return False, 0, 1
    cells = [cut(line, delimiter) for line in lines]
    even = [found for found in cells if len(found) == width]
    return any(heading(target) in map(heading, found) for found in even), len(even), width


def _width(lines: Sequence[str], delimiter: str) -> int:
    """Return the number of cells that most lines have; 1 when the delimiter separates nothing."""
    widths = Counter(len(cut(line, delimiter)) for line in lines)
    (width, count), *_ = widths.most_common(1) or [(1, 0)]
    return width if 2 * count >= len(lines) else 1


def _header(lines: Sequence[str], delimiter: str, target: str, width: int) -> int | None:
    """Return which line is the header: the one that names the target, or a first line of texts above numbers; None without one."""
    for at, line in enumerate(lines):
        cells = cut(line, delimiter)
        if len(cells) == width and heading(target) and heading(target) in map(heading, cells):
            if not (at == 0 or _no_numbers(cells)) or re.fullmatch(NUMBER, target):
                continue  # a row that happens to hold the word
            return at
    first = cut(lines[0], delimiter)
    below = [cut(line, delimiter) for line in lines[1:]]
    numbers = any(re.fullmatch(NUMBER, cell) for cells in below for cell in cells)
    return 0 if len(first) == width and _no_numbers(first) and numbers else None


def _no_numbers(cells: Sequence[str]) -> bool:
    return not any(re.fullmatch(NUMBER, cell) for cell in cells)


def _place(names: Sequence[str], target: str, width: int, first: str, delimiter: str) -> int:
    if names:
        places = [place for place, name in enumerate(names) if heading(name) == heading(target)]
        if len(places) == 1:
            return places[0]
        if places:
            raise NewModelError(f"{len(places)} columns are called {plain(target)}: keep one of them")
        near = difflib.get_close_matches(target, names, 1, cutoff=0.5)
        hint = f"did you mean TARGET={plain(near[0])}? " if near else ""
        listed = ", ".join(plain(name, 40) for name in names[:40]) + (" ..." if len(names) > 40 else "")
        raise NewModelError(f"there is no column {plain(target)!r}; {hint}there are {listed}")
    if target.isdigit() and 1 <= int(target) <= width:
        return int(target) - 1
    raise NewModelError(
        f"the file has no header (its first line is {plain(first, 100)}), so name the target by its position: TARGET=1 to TARGET={width}; "
        "or add a line with names, which later files may come with in any order"
    )


def _unquoted(cell: str) -> str:
    return " ".join(cell.replace(LINE_FEED, " ").split())


def _rows(lines: Iterator[str], delimiter: str, width: int) -> tuple[list[list[str]], int, bool]:
    rows: list[list[str]] = []
    odd = 0
    for line in lines:
        if len(rows) == MOST_ROWS:
            return rows, odd, False
        cells = cut(line, delimiter)
        if len(cells) == width:
            rows.append([cell.replace(LINE_FEED, "\n") for cell in cells])
        else:
            odd += 1
    return rows, odd, True
