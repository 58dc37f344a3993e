r"""Plain lines judged many at once: what nearly all lines of nearly all files are.

A line is plain when it has the cells that its file has, no quote and no control character, and when each cell is at once seen to be a
value of its column within the contract. Every other line, good or bad, is left to the contract's reader: here no reason is ever given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from glue_scripts.merge.in_memory.canonical import digests_of, form, keys_of
from glue_scripts.merge.in_memory.table import hex_hashes, schema_of
from retraining.contract.layout import Layout
from retraining.contract.notation.lines import CSV
from retraining.contract.rules import DELIMITERS, MAX_LINE, SLACK, SOURCES, SYNTHETIC, TRAIN, Column, Contract

TYPES = ("string", "double", "int")  # of columns whose cells are judged here
# Of what `retraining.contract.values` takes for a number, what every version of Arrow reads. Of whole numbers those that surely fit.
_DOUBLE = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z"
_WHOLE = r"^-?[0-9]{1,18}\z"
_NOT_ZERO = r"^[^eE]*[1-9]"
_LINE_FEED, _BLANK, _NO_BREAK_SPACE = 0x0A, 0x20, (0xC2, 0xA0)
_CAREFUL = np.zeros(256, bool)
_CAREFUL[:_BLANK] = _CAREFUL[0x7F] = _CAREFUL[ord('"')] = True


@dataclass(frozen=True)
class PlainLines:
    """How plain lines of one file are judged.

    Attributes:
        contract: what a row must be.
        layout: of the file.
        split: names and percents.
        file: number in the manifest.
        synthetic: whether all its rows were made.

    """

    contract: Contract
    layout: Layout
    split: Sequence[tuple[str, int]]
    file: int
    synthetic: bool

    @staticmethod
    def of_any(contract: Contract, layout: Layout, by_time: bool) -> bool:
        """Whether a file can have plain lines: numbers with a decimal point and texts, split by hash."""
        usual = contract.decimal == "." and not contract.thousands and not contract.multiline
        known = all(column.type in TYPES for column in contract.columns)
        cut = layout.notation == CSV and layout.delimiter in DELIMITERS and not layout.empty
        return usual and known and cut and not by_time

    def judge(self, text: bytes, first: int) -> tuple[pa.Table, list[tuple[int, bytes]]]:
        """Judge the plain ones among whole lines.

        Args:
            text: UTF-8, each line with a line feed at its end.
            first: number of the first line.

        Returns:
            Good rows, and the other lines with their numbers.

        """
        ends, careful = self._outline(text)
        cells = self._cells(text, ends, careful)
        if cells is None:
            rows = schema_of(self.contract).empty_table()
        else:
            places = np.flatnonzero(~careful)
            rows, good = self._rows(cells, first + places)
            careful[places[~good]] = True
        starts = np.concatenate([[0], ends[:-1] + 1])
        others = [(first + int(at), text[starts[at] : ends[at]]) for at in np.flatnonzero(careful)]
        return rows, others

    def _outline(self, text: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Return where lines end, and which of them cannot be plain."""
        signs = np.frombuffer(text, np.uint8)
        delimiter = ord(self.layout.delimiter)
        special = _CAREFUL.copy()
        special[[delimiter, _LINE_FEED]] = False
        ends = np.flatnonzero(signs == _LINE_FEED)
        starts = np.concatenate([[0], ends[:-1] + 1])
        careful = np.logical_or.reduceat(special[signs], starts)
        careful |= np.add.reduceat(signs == delimiter, starts, dtype=np.int64) != self.layout.width - 1
        careful |= (ends == starts) | (ends - starts > MAX_LINE)
        lead, trail = _NO_BREAK_SPACE
        blanks = np.flatnonzero((signs[:-1] == lead) & (signs[1:] == trail))
        careful[np.searchsorted(ends, blanks)] = True
        return ends, careful

    def _cells(self, text: bytes, ends: np.ndarray, careful: np.ndarray) -> dict[int, pa.Array] | None:
        """Return the trimmed cells of the lines that may be plain, by place in the file; None when there is no such line."""
        if careful.all():
            return None
        if careful.any():
            lengths = np.diff(ends, prepend=-1)
            text = np.frombuffer(text, np.uint8)[np.repeat(~careful, lengths)].tobytes()
        places = sorted(
            {place for place in (*self.layout.order, self.layout.source_at) if place is not None and place >= 0}
        )
        names = [str(place) for place in range(self.layout.width)]
        table = csv.read_csv(
            pa.py_buffer(text),
            csv.ReadOptions(column_names=names),
            csv.ParseOptions(delimiter=self.layout.delimiter, quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
                include_columns=[names[place] for place in places],
            ),
        )
        blank = bytes([_BLANK]) in text
        cells = {place: table.column(names[place]).combine_chunks() for place in places}
        return {place: pc.utf8_trim(column, " ") if blank else column for place, column in cells.items()}

    def _rows(self, cells: Mapping[int, pa.Array], lines: np.ndarray) -> tuple[pa.Table, np.ndarray]:
        """Return the good rows, and which ones they are."""
        contract, order = self.contract, self.layout.order
        good = np.ones(len(lines), bool)
        absent = pa.array([""] * len(lines)) if -1 in order else None
        values: list[pa.Array] = []
        for column, place in zip(contract.columns, order, strict=True):
            found, fine = _values(contract, column, absent if place < 0 else cells[place])
            values.append(found)
            good &= fine
        good &= ~_rules_broken(contract, values)
        synthetic = np.full(len(lines), self.synthetic)
        if self.layout.source_at is not None:
            said = pc.utf8_lower(cells[self.layout.source_at])
            good &= _true(pc.is_in(said, pa.array(["", *SOURCES])))
            synthetic |= _true(pc.equal(said, SYNTHETIC))
        if not good.all():
            values = [column.filter(pa.array(good)) for column in values]
            lines, synthetic = lines[good], synthetic[good]
        return self._table(values, lines, synthetic), good

    def _table(self, values: list[pa.Array], lines: np.ndarray, synthetic: np.ndarray) -> pa.Table:
        contract = self.contract
        forms = {name: form(values[contract.position[name]]) for name in {*contract.identity, *contract.split_by}}
        digests = digests_of([forms[name] for name in contract.identity])
        keys = keys_of(digests)
        places = keys_of(digests_of([forms[name] for name in contract.split_by])) if contract.split_by else keys
        names, shares = zip(*self.split, strict=True)
        split = np.searchsorted(np.cumsum(shares), places % 100, side="right")
        split[synthetic] = names.index(TRAIN)
        target = values[contract.position[contract.target]]
        numeric = contract.column(contract.target).numeric
        columns = [
            np.full(len(lines), self.file),
            lines,
            split,
            synthetic,
            keys,
            hex_hashes(digests),
            target if numeric else np.zeros(len(lines)),
            *values,
        ]
        schema = schema_of(contract)
        arrays = [pa.array(column).cast(field.type) for column, field in zip(columns, schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema)


def _true(mask: pa.Array) -> np.ndarray:
    return np.asarray(mask)


def _values(contract: Contract, column: Column, cells: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return the typed values of cells, null where missing, and which cells are surely good."""
    words = [word for word in contract.missing if contract.is_missing(column, word)]
    missing = pc.equal(cells, "") if words == [""] else pc.is_in(cells, pa.array(words))
    none = _true(missing)
    some = none.any()
    if some:
        cells = pc.if_else(missing, pa.scalar(None, pa.string()), cells)
    if column.type == "string":
        found, fine = (
            cells,
            _true(pc.is_in(cells, pa.array(column.allowed))) if column.allowed else np.ones(len(cells), bool),
        )
    else:
        found, fine = _doubles(cells) if column.type == "double" else _wholes(cells)
        numbers = np.asarray(found.cast(pa.float64(), safe=False).fill_null(0.0))
        for sign, limit, _ in column.bounds:
            beyond = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[sign]
            fine &= ~beyond(numbers, limit)
    return found, np.where(none, column.nullable, fine) if some else fine


def _doubles(cells: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Read doubles; a cell that writes none, or one beyond their range at either end, is null and not good."""
    fine = np.ones(len(cells), bool)
    try:
        found = cells.cast(pa.float64())
    except pa.ArrowInvalid:
        written = pc.match_substring_regex(cells, _DOUBLE).fill_null(False)
        fine = _true(written).copy()
        found = pc.if_else(written, cells, pa.scalar(None, pa.string())).cast(pa.float64())
    numbers = np.asarray(found.fill_null(0.0)) + 0.0
    fine &= np.isfinite(numbers)
    zero = (numbers == 0) & np.asarray(found.is_valid())
    if zero.any():
        fine[zero] &= ~_true(pc.match_substring_regex(cells.filter(pa.array(zero)), _NOT_ZERO))
    return pa.array(numbers, mask=np.asarray(found.is_null())), fine


def _wholes(cells: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Read whole numbers that are written without a point; another cell is null and not good."""
    written = pc.match_substring_regex(cells, _WHOLE).fill_null(False)
    fine = _true(written).copy()
    if not fine.all():
        cells = pc.if_else(written, cells, pa.scalar(None, pa.string()))
    return cells.cast(pa.int64()), fine


def _rules_broken(contract: Contract, values: Sequence[pa.Array]) -> np.ndarray:
    """Return which rows break a rule: added up in the rule's order, as the contract does, for the sums to be the same to the last bit."""
    broken = np.zeros(len(values[0]), bool)

    def numbers(name: str) -> np.ndarray:
        column = values[contract.position[name]].cast(pa.float64(), safe=False)
        return np.asarray(column.fill_null(np.nan))  # nothing compares with it

    with np.errstate(over="ignore"):
        for rule in contract.rules:
            total = numbers(rule.sum[0])
            for name in rule.sum[1:]:
                total = total + numbers(name)
            broken |= total > numbers(rule.at_most) * float(rule.tolerance) + SLACK
    return broken
