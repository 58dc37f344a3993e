"""A file read row by row in plain Python, with the verdict of the merge on each line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from retraining.contract.headings import known_headings
from retraining.contract.layout import Layout
from retraining.contract.names import headings
from retraining.contract.notation import json_lines, parquet
from retraining.contract.notation.lines import CSV, LINE_FEED, PARQUET, fault_of
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import MAX_LINE, SOURCES, SYNTHETIC, Contract, cut
from retraining.contract.splitting.place import place_of
from retraining.contract.unpacking import Open, lines_of, unpacked
from retraining.contract.values import BLANKS, Value

_BLANK_AND_QUOTES = {ord(character): None for character in BLANKS + '"' + LINE_FEED}
TOO_LONG = f"line: longer than {MAX_LINE:,} characters"
UNBALANCED = "line: unbalanced quotes"
TOO_FEW, TOO_MANY = "line: too few columns", "line: too many columns"
BAD_SOURCE = f"source: not one of {', '.join(SOURCES)}"


@dataclass(frozen=True)
class Line:
    """A line that is a row, good or bad.

    Attributes:
        number: in the file, from 1; blank lines and headers count.
        raw: the text of the line.
        cells: trimmed texts in contract order; empty when the line as a whole is no row.
        values: typed values in contract order.
        reasons: why the row is rejected, empty for a good one.
        row_hash: identity of a good row, 32 hex digits.
        split: where a good row goes; None by time without boundaries.
        synthetic: whether a good row was made, not measured.

    """

    number: int
    raw: str
    cells: tuple[str, ...] = ()
    values: tuple[Value | None, ...] = ()
    reasons: tuple[str, ...] = ()
    row_hash: str | None = None
    split: str | None = None
    synthetic: bool = False

    @property
    def subject(self) -> str | None:
        """The column or rule that was broken first; None when the line is no row or good."""
        name = self.reasons[0].split(":")[0] if self.reasons else "line"
        return None if name == "line" else name

    def value_of(self, contract: Contract) -> str | None:
        """Return the text of the first broken column; for a rule the texts it compares."""
        subject = self.subject
        if subject is None or not self.cells:
            return None
        if subject in contract.position:
            return self.cells[contract.position[subject]]
        for rule in contract.rules:
            if rule.name == subject:
                parts = " + ".join(self.cells[contract.position[name]] for name in rule.sum)
                return f"{parts} > {self.cells[contract.position[rule.at_most]]}"
        return None


def read(
    open_file: Open, key: str, contract: Contract, layout: Layout, split: Mapping[str, Any], source: str = SOURCES[0]
) -> Iterator[Line]:
    """Yield the rows of a file that `inspect` has let pass, in constant memory.

    Raises:
        FileRefused: a later header has another order. The merge then takes none of the file's rows.

    """
    known = known_headings(contract)
    for number, text in texts(open_file, key, contract, layout):
        line = judge(number, text, contract, layout, split, source)
        if line.reasons and is_skipped(text, number, layout, known):
            continue
        yield line


def texts(open_file: Open, key: str, contract: Contract, layout: Layout) -> Iterator[tuple[int, str]]:
    """Yield the numbered rows of a file as text: lines as they are, records that span lines, or what JSON Lines and Parquet come to.

    Raises:
        FileRefused: the file cannot be read to its end.

    """
    source = layout.source_at is not None
    with open_file() as stream:
        if layout.notation == PARQUET:
            yield from enumerate(parquet.rows_of(stream, key, contract, source), start=1)
            return
        lines = lines_of(unpacked(stream, key))
        if layout.notation == CSV:
            yield from records(lines, contract.multiline)
        else:
            yield from enumerate(json_lines.rows_of(lines, contract, source), start=1)


def records(lines: Iterator[str], multiline: bool) -> Iterator[tuple[int, str]]:
    """Yield numbered records; when they may span lines, those inside a pair of quotes are joined (line ends become U+001E).

    An open quote that finds no pair within the length of a row stays a line of its own.
    """
    if not multiline:
        yield from enumerate(lines, start=1)
        return
    held: list[str] = []
    start, size, quotes = 1, 0, 0
    for number, line in enumerate(lines, start=1):
        line = line.replace(LINE_FEED, "\u001d")
        if not held and line.count('"') % 2 == 0:
            yield number, line
            continue
        if not held:
            start, size, quotes = number, 0, 0
        held.append(line)
        size += len(line) + 1
        quotes += line.count('"')
        if quotes % 2 == 0:
            yield start, LINE_FEED.join(held)
            held = []
        elif size > MAX_LINE:
            yield from ((start + place, part) for place, part in enumerate(held))
            held = []
    yield from ((start + place, part) for place, part in enumerate(held))


def judge(
    number: int, text: str, contract: Contract, layout: Layout, split: Mapping[str, Any], source: str = SOURCES[0]
) -> Line:
    """Judge one record of a file."""
    if len(text) > MAX_LINE:
        return Line(number, text, reasons=(TOO_LONG,))
    if layout.notation != CSV and (fault := fault_of(text)):
        return Line(number, fault[1], reasons=(fault[0],))
    if text.count('"') % 2:
        return Line(number, text, reasons=(UNBALANCED,))
    every = cut(text, layout.delimiter)
    if len(every) != layout.width:
        return Line(number, text, reasons=(TOO_FEW if len(every) < layout.width else TOO_MANY,))
    cells = tuple(every[place] if place >= 0 else "" for place in layout.order)
    if contract.multiline:
        cells = tuple(cell.replace(LINE_FEED, "\n") for cell in cells)
    row = contract.judge(cells)
    reasons = row.reasons
    said = every[layout.source_at].lower() if layout.source_at is not None else ""
    if said not in ("", *SOURCES):
        reasons = (*reasons, BAD_SOURCE)
    if reasons:
        return Line(number, text, cells, row.values, reasons)
    synthetic = SYNTHETIC in (source, said)
    place = place_of(contract, row.values, split, synthetic)
    return Line(number, text, cells, row.values, (), contract.row_hash(row.values), place, synthetic)


def is_skipped(text: str, number: int, layout: Layout, known: set[str]) -> bool:
    """Whether a line that is no good row is none at all: blank, or a line of the top of the file once more.

    Raises:
        FileRefused: it is a header of another order.

    """
    if text in layout.skips or not text.replace(layout.delimiter, "").translate(_BLANK_AND_QUOTES):
        return True
    if len(text) > MAX_LINE or layout.notation != CSV:
        return False
    names = headings(text, layout.delimiter)
    named = sum(name in known for name in names)
    if named < 2 or 2 * named < len(names):
        return False
    if tuple(names) == layout.header:
        return True
    raise FileRefused(other_header(number), "split the file where the header changes, and upload the parts")


def other_header(number: int) -> str:
    """Say that a header of another order stands in the file."""
    return f"line {number:,} is a header in another order than the rows before it"
