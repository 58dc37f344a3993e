"""The rules of a row: what each column and each rule across columns demand, why a row is rejected, its hash and its split.

The merge makes its Spark expressions from the same objects; docs/data-contract.md says it in words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from retraining.contract.names import heading
from retraining.contract.values import (
    BLANKS,
    MISSING_WORDS,
    NOT_FINITE,
    NUMERIC,
    TYPES,
    Value,
    form,
    in_points,
    number,
    parsed,
)

SYNTHETIC = "synthetic"
SOURCES = ("survey", SYNTHETIC)
TRAIN = "train"
RESERVED = ("row_hash", "source", "split")  # columns that the data set adds
SEPARATOR = "\u001f"  # between the forms of a canonical row; no text of a contract can hold it
HASH_DIGITS, KEY_DIGITS = 32, 15
MAX_LINE = 1024 * 1024  # characters of a row
DELIMITERS = (",", ";", "\t", "|")
SLACK = 1e-9  # absorbs the rounding of binary sums
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_BUT_LINE_FEED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class ContractError(ValueError):
    """The contract contradicts itself; the message says how."""


@dataclass(frozen=True)
class Column:
    """One column: its type and what a value must satisfy. ``unit`` is for readers and for the guess at a unit mistake."""

    name: str
    type: str
    nullable: bool = False
    allowed: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    exclusive_min: bool = False
    exclusive_max: bool = False
    aliases: tuple[str, ...] = ()
    unit: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Column:
        """Build from an entry of ``contract.columns``; keys that only document are ignored."""
        known = {name: value for name, value in entry.items() if name in cls.__dataclass_fields__ and value is not None}
        for name in ("allowed", "aliases"):
            known[name] = tuple(str(value) for value in known.get(name, ()))
        column = cls(**known)
        if column.type not in TYPES:
            raise ContractError(f"contract column {column.name}: type {column.type!r} is not one of {', '.join(TYPES)}")
        return column

    @property
    def numeric(self) -> bool:
        """Whether values are numbers."""
        return self.type in NUMERIC

    @property
    def bounds(self) -> list[tuple[str, float, str]]:
        """(comparison that a value must not meet, limit, reason) for each bound."""
        found = []
        if self.min is not None:
            found.append(
                ("<=" if self.exclusive_min else "<", self.min, "not above" if self.exclusive_min else "below")
            )
        if self.max is not None:
            found.append(
                (">=" if self.exclusive_max else ">", self.max, "not below" if self.exclusive_max else "above")
            )
        return [(sign, float(limit), f"{self.name}: {words} {limit:g}") for sign, limit, words in found]

    def broken_bound(self, value: float) -> str | None:
        """Return the reason why a number is out of bounds, or None."""
        for sign, limit, reason in self.bounds:
            below = value <= limit if sign == "<=" else value < limit
            above = value >= limit if sign == ">=" else value > limit
            if (sign[0] == "<" and below) or (sign[0] == ">" and above):
                return reason
        return None


@dataclass(frozen=True)
class Rule:
    """The sum of some columns is at most ``tolerance`` times another; not applied when one of the values is missing."""

    name: str
    sum: tuple[str, ...]
    at_most: str
    tolerance: float = 1.0

    @property
    def reason(self) -> str:
        """What quarantine says about a row that breaks the rule."""
        factor = "" if self.tolerance == 1 else f"{self.tolerance:g} x "
        return f"{self.name}: {' + '.join(self.sum)} above {factor}{self.at_most}"

    def broken(self, values: Mapping[str, Value | None]) -> bool:
        """Whether the values of a row break the rule."""
        whole = values[self.at_most]
        total = 0.0
        for position, name in enumerate(self.sum):
            part = values[name]
            if part is None or whole is None:
                return False
            total = float(part) if position == 0 else total + float(part)  # type: ignore[arg-type]
        return whole is not None and total > float(whole) * float(self.tolerance) + SLACK  # type: ignore[arg-type]


@dataclass(frozen=True)
class Row:
    """A judged row: typed values in contract order, all reasons why it is rejected (empty for a good row)."""

    values: tuple[Value | None, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Contract:
    """Columns in file order, the target, rules across columns, and how files are written."""

    columns: tuple[Column, ...]
    target: str
    rules: tuple[Rule, ...] = ()
    identity: tuple[str, ...] = ()
    max_share: float = 0.05
    ignore: tuple[str, ...] = ()
    header_required: bool = False
    delimiter: str | None = None
    decimal: str = "."
    thousands: str = ""
    multiline: bool = False
    missing: tuple[str, ...] = ("",)
    keep_duplicates: bool = False
    key: tuple[str, ...] = ()
    split_by: tuple[str, ...] = ()
    position: Mapping[str, int] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Contract:
        """Build from the ``contract`` section of ``model.yaml`` or of a manifest; keys that only document are ignored.

        Raises:
            ContractError: a name is used that is not a column, or the contract contradicts itself.

        """
        columns = tuple(Column.of(entry) for entry in document["columns"])
        names = tuple(column.name for column in columns)
        rules = tuple(
            Rule(rule["name"], tuple(rule["sum"]), rule["at_most"], float(rule.get("tolerance") or 1.0))
            for rule in document.get("rules") or ()
        )
        key = tuple(document.get("key") or ())
        identity = key or document.get("identity") or names
        split_by = tuple(document.get("split_by") or ())
        used = [
            document["target"],
            *identity,
            *split_by,
            *(document.get("identity") or ()),
            *(name for rule in rules for name in (*rule.sum, rule.at_most)),
        ]
        if unknown := sorted(set(used) - set(names)):
            raise ContractError(
                f"contract names {', '.join(unknown)}, which are not among its columns {', '.join(names)}"
            )
        if columns[names.index(document["target"])].nullable:
            raise ContractError(f"contract column {document['target']} is the target and cannot be nullable")
        if taken := sorted(set(RESERVED) & set(names)):
            raise ContractError(f"contract column {', '.join(taken)}: the dataset has a column of that name already")
        if key and set(document.get("identity") or key) != set(key):
            raise ContractError(
                "a contract has an identity or a key: the columns of the key are the identity of its rows"
            )
        csv = document.get("csv") or {}
        contract = cls(
            columns=columns,
            target=document["target"],
            rules=rules,
            identity=tuple(name for name in names if name in identity),  # a row is the same however they are listed
            max_share=float((document.get("bad_rows") or {}).get("max_share", 0.05)),
            ignore=tuple(str(name) for name in document.get("ignore") or ()),
            header_required=document.get("header") == "required",
            delimiter=csv.get("delimiter"),
            decimal=csv.get("decimal") or ".",
            thousands=csv.get("thousands") or "",
            multiline=bool(csv.get("multiline")),
            missing=tuple(dict.fromkeys(("", *(str(word) for word in document.get("missing") or ())))),
            keep_duplicates=document.get("duplicates") == "keep",
            key=tuple(name for name in names if name in key),
            split_by=tuple(name for name in names if name in split_by),
            position={name: number for number, name in enumerate(names)},
        )
        contract._headings_differ()
        return contract

    def _headings_differ(self) -> None:
        seen: dict[str, str] = {}
        for column in self.columns:
            for name in (column.name, *column.aliases):
                other = seen.setdefault(heading(name), column.name)
                if other != column.name:
                    raise ContractError(f"columns {other} and {column.name} answer to the same heading {name!r}")
        if self.target in self.ignore:
            raise ContractError(f"ignore names {self.target!r}, the target")
        for name in self.ignore:
            if heading(name) in seen and name not in self.position:
                raise ContractError(f"ignore names {name!r}, which is a heading of the column {seen[heading(name)]}")

    @property
    def ignored_headings(self) -> frozenset[str]:
        """Compared forms of the headings that are passed over; a column of the contract that is ignored is stored all the same."""
        return frozenset(heading(name) for name in self.ignore if name not in self.position)

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
        """Names of the other columns."""
        return tuple(column.name for column in self.columns if not column.numeric)

    @property
    def training_columns(self) -> tuple[str, ...]:
        """Columns of the training files: the target first, the others in file order without those that are ignored."""
        return (self.target, *(name for name in self.names if name != self.target and name not in self.ignore))

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Columns of an inference request: file order without the target."""
        return self.training_columns[1:]

    def column(self, name: str) -> Column:
        """Return a column by name.

        Raises:
            LookupError: the contract has no such column.

        """
        if name not in self.position:
            raise LookupError(f"{name!r} is not a column of the contract, which has {', '.join(self.names)}")
        return self.columns[self.position[name]]

    def is_missing(self, column: Column, text: str) -> bool:
        """Whether a cell stands for a missing value; a text that the column allows is a value."""
        return text in self.missing and not (text and text in column.allowed)

    def value(self, column: Column, text: str) -> Value | None:
        """Return the typed value of a trimmed cell, None when it is missing or writes none."""
        if self.is_missing(column, text):
            return None
        if column.numeric and (self.decimal != "." or self.thousands):
            plain = in_points(text, self.decimal, self.thousands)
            return None if plain is None else parsed(column.type, plain)
        return parsed(column.type, text)

    def reason(self, column: Column, text: str, value: Value | None) -> str | None:
        """Return the first reason why a cell breaks its column's contract, None for a good one.

        Reasons hold no values, so that they can be counted.
        """
        if self.is_missing(column, text):
            return None if column.nullable else f"{column.name}: missing"
        if column.type == "string":
            if column.allowed:
                return None if text in column.allowed else f"{column.name}: not one of {', '.join(column.allowed)}"
            control = _CONTROL_BUT_LINE_FEED if self.multiline else _CONTROL
            return f"{column.name}: control character" if control.search(text) else None
        broken = f"{column.name}: {self.no_value(column, text)}" if value is None else None
        if value is not None and column.numeric:
            broken = column.broken_bound(float(value))  # type: ignore[arg-type]
        if broken and text.lower() in MISSING_WORDS:
            return f"{column.name}: missing, written as a word or code (see `missing`)"
        return broken

    def no_value(self, column: Column, text: str) -> str:
        """Return why a text that is not missing writes no value of the column's type."""
        if not column.numeric:
            article = {"date": "date (YYYY-MM-DD)", "timestamp": "timestamp with zone (YYYY-MM-DDThh:mm:ssZ)"}
            return f"not a {article.get(column.type, 'truth value')}"
        if re.fullmatch(NOT_FINITE, text.lower()):
            return "not finite"
        plain = in_points(text, self.decimal, self.thousands)
        if plain is None or "," in plain:
            return "decimal comma" if "," in text and self.decimal != "," else "not a number"
        near = number(plain)
        if near is None:
            return "not a number"
        return "not a whole number" if column.type == "int" and near % 1 else "out of range of its type"

    def judge(self, cells: Sequence[str]) -> Row:
        """Judge a row of trimmed cells in contract order."""
        values = tuple(self.value(column, text) for column, text in zip(self.columns, cells, strict=True))
        found = [
            reason
            for column, text, value in zip(self.columns, cells, values, strict=True)
            if (reason := self.reason(column, text, value))
        ]
        if self.rules:
            by_name = dict(zip(self.names, values, strict=True))
            found += [rule.reason for rule in self.rules if rule.broken(by_name)]
        return Row(values, tuple(found))

    def request_reasons(self, cells: Mapping[str, Any]) -> list[str]:
        """Return why the row of a request breaks the contract, empty for a good one; the target is not asked for.

        Args:
            cells: text, number, truth value or None per feature; a column that is left out counts as missing.

        """
        values: dict[str, Value | None] = dict.fromkeys(self.names)
        found = []
        for column in map(self.column, self.feature_columns):
            given = cells.get(column.name)
            text = "" if given is None else str(given).lower() if isinstance(given, bool) else str(given)
            text = text.strip(BLANKS)
            value = parsed(column.type, text) if isinstance(given, int | float) else self.value(column, text)
            values[column.name] = value
            if reason := self.reason(column, text, value):
                found.append(reason)
        return found + [rule.reason for rule in self.rules if rule.broken(values)]

    def row_hash(self, values: Sequence[Value | None]) -> str:
        """Return the identity of a good row: 32 hex digits of the SHA-256 of its canonical forms."""
        return self._hash(self.identity, values)

    def split_hash(self, values: Sequence[Value | None]) -> str:
        """Return what the split of a good row goes by: the hash of the columns that stay together, by default of its identity."""
        return self._hash(self.split_by or self.identity, values)

    def _hash(self, names: Sequence[str], values: Sequence[Value | None]) -> str:
        text = SEPARATOR.join(form(values[self.position[name]]) for name in names)
        return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def split_of(split_hash: str, split: Mapping[str, int], synthetic: bool = False) -> str:
    """Return the split that a row belongs to: the key of its `split_hash` mod 100 against the shares; synthetic rows only train."""
    if synthetic:
        return TRAIN
    place, edge = int(split_hash[:KEY_DIGITS], 16) % 100, 0
    for name, share in split.items():
        edge += share
        if place < edge:
            return name
    raise ValueError(f"the split {dict(split)} does not add up to 100")


def cut(line: str, delimiter: str) -> list[str]:
    """Return the trimmed cells of a line. A delimiter between a pair of quotes belongs to the cell; time is linear in the line."""
    if '"' not in line:
        return [cell.strip(BLANKS) for cell in line.split(delimiter)]
    pieces = line.split('"')
    pieces[::2] = [piece.replace(delimiter, SEPARATOR) for piece in pieces[::2]]
    return [_unquoted(cell.strip(BLANKS)) for cell in '"'.join(pieces).split(SEPARATOR)]


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell.startswith('"') and cell.endswith('"'):
        return cell[1:-1].replace('""', '"').strip(BLANKS)
    return cell


def cells_of(lines: Iterable[str], delimiter: str = ",") -> list[list[str]]:
    """Return the trimmed cells of lines without blank ones."""
    return [cut(line, delimiter) for line in lines if line.strip(BLANKS)]
