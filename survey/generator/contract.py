"""The data contract as the merge applies it, for rows that are still text.

The reasons are word for word those of the merge's quarantine, so that a report made here can be laid beside an ETL report. Standard
library only.
"""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DECIMALS = 9  # the merge compares and stores numbers with this many decimals
SEPARATOR = "\u001f"
MAX_LINE = 4096
HASH_DIGITS, KEY_DIGITS = 32, 15
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Column:
    """One column: its type (string, double, int) and what a value must satisfy."""

    name: str
    type: str
    nullable: bool = False
    allowed: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    exclusive_min: bool = False
    exclusive_max: bool = False

    @property
    def numeric(self) -> bool:
        """Whether values are numbers."""
        return self.type != "string"

    @property
    def scale(self) -> float:
        """Factor that turns a number into its canonical whole number."""
        return 10.0**DECIMALS if self.type == "double" else 1.0

    @property
    def largest(self) -> float:
        """Largest magnitude that the merge stores."""
        return 2.0**62 / self.scale if self.type == "double" else 2.0**31 - 1

    def canonical(self, cell: str) -> str | int | None:
        """Return the canonical value of a cell, None when it is empty or writes no such number."""
        if not self.numeric:
            return cell or None
        value = number(cell)
        if value is None or abs(value) > self.largest or (self.type == "int" and value % 1):
            return None
        return math.floor(value * self.scale + 0.5)

    def size(self, cell: str) -> float | None:
        """Return the value that rules across columns see: as stored, or as written when it is too large to be stored."""
        canonical, value = self.canonical(cell), number(cell) if self.numeric else None
        if canonical is None:
            return value if value is not None and abs(value) > self.largest else None
        return float(canonical) / self.scale

    def reason(self, cell: str) -> str | None:
        """Return the first reason why a cell breaks the contract, None for a good cell."""
        if cell == "":
            return None if self.nullable else f"{self.name}: missing"
        canonical = self.canonical(cell)
        if not self.numeric:
            bad = self.allowed and cell not in self.allowed
            return f"{self.name}: not one of {', '.join(self.allowed)}" if bad else None
        if canonical is None:
            return f"{self.name}: {self._no_number(cell)}"
        value = float(canonical) / self.scale
        if self.min is not None and (value <= self.min if self.exclusive_min else value < self.min):
            return f"{self.name}: {'not above' if self.exclusive_min else 'below'} {self.min:g}"
        if self.max is not None and (value >= self.max if self.exclusive_max else value > self.max):
            return f"{self.name}: {'not below' if self.exclusive_max else 'above'} {self.max:g}"
        return None

    def _no_number(self, cell: str) -> str:
        if _NOT_FINITE.fullmatch(cell):
            return "not finite"
        if "," in cell:
            return "decimal comma"
        value = number(cell)
        if value is None:
            return "not a number"
        return "out of range of its type" if abs(value) > self.largest else "not a whole number"


@dataclass(frozen=True)
class Rule:
    """The sum of some columns is at most ``tolerance`` times another."""

    name: str
    sum: tuple[str, ...]
    at_most: str
    tolerance: float = 1.0

    @property
    def reason(self) -> str:
        """What quarantine says about a row that breaks the rule."""
        factor = "" if self.tolerance == 1 else f"{self.tolerance:g} x "
        return f"{self.name}: {' + '.join(self.sum)} above {factor}{self.at_most}"


@dataclass(frozen=True)
class Contract:
    """Columns in file order, the target, the rules across columns, the identity of a row and the budget of bad rows."""

    columns: tuple[Column, ...]
    target: str
    rules: tuple[Rule, ...] = ()
    identity: tuple[str, ...] = ()
    max_share: float = 0.05

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Contract:
        """Build from the contract section of ``model.yaml``; keys that only document (unit, description) are ignored.

        Raises:
            KeyError: the document lacks columns or target.

        """
        columns = []
        for entry in document["columns"]:
            known = {
                name: value
                for name, value in entry.items()
                if name in Column.__dataclass_fields__ and value is not None
            }
            columns.append(Column(**{**known, "allowed": tuple(known.get("allowed", ()))}))
        rules = tuple(
            Rule(rule["name"], tuple(rule["sum"]), rule["at_most"], rule.get("tolerance", 1.0))
            for rule in document.get("rules") or ()
        )
        names = tuple(column.name for column in columns)
        budget = (document.get("bad_rows") or {}).get("max_share", 0.05)
        return cls(tuple(columns), document["target"], rules, tuple(document.get("identity") or names), budget)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in file order."""
        return tuple(column.name for column in self.columns)

    @property
    def numeric(self) -> tuple[str, ...]:
        """Names of the numeric columns."""
        return tuple(column.name for column in self.columns if column.numeric)

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the string columns."""
        return tuple(column.name for column in self.columns if not column.numeric)

    @property
    def training_columns(self) -> tuple[str, ...]:
        """Columns of the training CSV: the target first, the others in file order."""
        return (self.target, *(name for name in self.names if name != self.target))

    def column(self, name: str) -> Column:
        """Return a column by name.

        Raises:
            LookupError: the contract has no such column.

        """
        for column in self.columns:
            if column.name == name:
                return column
        raise LookupError(f"{name!r} is not a column of the contract, which has {', '.join(self.names)}")

    def reasons(self, cells: Sequence[str]) -> list[str]:
        """Return all reasons why a row is rejected, empty for a good row.

        Args:
            cells: one text per column, in file order.

        """
        if len(cells) != len(self.columns):
            return [f"line: too {'few' if len(cells) < len(self.columns) else 'many'} columns"]
        found = [reason for column, cell in zip(self.columns, cells, strict=True) if (reason := column.reason(cell))]
        values = {
            column.name: column.size(cell) for column, cell in zip(self.columns, cells, strict=True) if column.numeric
        }
        for rule in self.rules:
            parts, whole = [values[name] for name in rule.sum], values[rule.at_most]
            if whole is None or None in parts:
                continue  # a value that is no number breaks its own column's contract
            if sum(part for part in parts if part is not None) > whole * rule.tolerance + 1e-9:
                found.append(rule.reason)
        return found

    def line_reasons(self, line: str) -> list[str]:
        """Return all reasons why a line of a file is rejected, empty for a good line or a blank one."""
        if len(line) > MAX_LINE:
            return [f"line: longer than {MAX_LINE} characters"]
        if line.count('"') % 2:
            return ["line: unbalanced quotes"]
        cells = next(csv.reader([line], skipinitialspace=True), [])
        return self.reasons([cell.strip() for cell in cells]) if cells else []

    def row_hash(self, cells: Sequence[str]) -> str:
        """Return the identity of a good row as the merge computes it: 32 hex digits of the SHA-256 of its canonical values."""
        by_name = dict(zip(self.columns, cells, strict=True))
        canonical = {column.name: column.canonical(cell) for column, cell in by_name.items()}
        text = SEPARATOR.join("" if canonical[name] is None else str(canonical[name]) for name in self.identity)
        return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]

    def split_of(self, cells: Sequence[str], split: Mapping[str, int]) -> str:
        """Return the split that a real row belongs to.

        Args:
            cells: one text per column, in file order.
            split: percent of rows per split, in order.

        """
        place = int(self.row_hash(cells)[:KEY_DIGITS], 16) % 100
        total = 0
        for name, share in split.items():
            total += share
            if place < total:
                return name
        raise ValueError(f"the split {dict(split)} does not add up to 100")


def number(cell: str) -> float | None:
    """Return the number that a cell writes, None when it writes none or one that is not finite."""
    if not _NUMBER.fullmatch(cell):
        return None
    value = float(cell)
    return value if math.isfinite(value) else None


def csv_cells(lines: Iterable[str]) -> list[list[str]]:
    """Return the trimmed cells of CSV lines without blank ones."""
    return [[cell.strip() for cell in row] for row in csv.reader(lines) if row]
