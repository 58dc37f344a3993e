"""The types of a cell: how its text is read, and its canonical form, which is exact.

A ``double`` is the binary number nearest to the decimal text; its canonical form is the XXH64 (seed 42) of its eight bytes as a signed
whole number: a bijection, so equal forms are equal numbers, and nothing depends on how a platform prints a number. Whole numbers, dates,
instants and truth values have their plain text, a text is its own form.
"""

from __future__ import annotations

import math
import re
import struct
from datetime import UTC, date, datetime
from typing import Final

TYPES: Final = ("string", "double", "int", "boolean", "date", "timestamp")
NUMERIC: Final = ("double", "int")
BLANKS: Final = " \t\n\x0b\f\r\u00a0"  # do not count around a cell
TRUE: Final = ("true", "t", "yes", "y", "1")
FALSE: Final = ("false", "f", "no", "n", "0")
#: What people and tools write into a numeric column for a value that they do not have.
MISSING_WORDS: Final = (
    *("na", "n/a", "#n/a", "#na", "null", "none", "nil", "missing", "unknown", "?", "-", "--", "."),
    *("-999", "-999.0", "-9999", "-9999.0", "-99"),
)
NUMBER: Final = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
WHOLE: Final = r"[+-]?([0-9]+(\.0*)?|\.0+)"
DATE: Final = r"([1-9][0-9]{3}|0[0-9]{2}[1-9]|0[0-9][1-9]0|0[1-9]00)-[0-9]{2}-[0-9]{2}"
INSTANT: Final = DATE + r"[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
NOT_FINITE: Final = r"[+-]?(nan|inf|infinity)"
LARGEST_INT: Final = 2**63 - 1
EXACT_INT: Final = 2**53  # up to here every whole number is a double
_NUMBER, _WHOLE = re.compile(NUMBER), re.compile(WHOLE)
_DATE, _INSTANT = re.compile(DATE), re.compile(INSTANT)
_MASK = 2**64 - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5

Value = str | float | int | bool | date | datetime


def number(text: str) -> float | None:
    """Return the number that a text writes with digits, infinite when it is too large, None when it writes none."""
    return float(text) if _NUMBER.fullmatch(text) else None


def double(text: str) -> float | None:
    """Return the double nearest to the text; None when it writes no number or one beyond the range of doubles at either end."""
    value = number(text)
    if value is None or not math.isfinite(value):
        return None
    if value == 0 and re.match(r"[^eE]*[1-9]", text):
        return None  # too small to be told from zero
    return value + 0.0  # -0.0 is 0.0


def whole(text: str) -> int | None:
    """Return the whole number of 64 bits that a text writes, None when it writes none. With an exponent it may have 53 bits."""
    if _WHOLE.fullmatch(text):
        digits = text.split(".")[0].lstrip("+-").lstrip("0") or "0"
        value = int(digits) if len(digits) <= 19 else LARGEST_INT + 2
        value = -value if text.startswith("-") else value
        return value if -LARGEST_INT - 1 <= value <= LARGEST_INT else None
    near = double(text)
    return int(near) if near is not None and near % 1 == 0 and abs(near) <= EXACT_INT else None


def parsed(kind: str, text: str) -> Value | None:
    """Return the typed value of a text that is not missing, None when it writes none of this type."""
    if kind == "string":
        return text
    if kind == "double":
        return double(text)
    if kind == "int":
        return whole(text)
    if kind == "boolean":
        word = text.lower()
        return True if word in TRUE else False if word in FALSE else None
    pattern, read = (_DATE, date.fromisoformat) if kind == "date" else (_INSTANT, datetime.fromisoformat)
    if not pattern.fullmatch(text):
        return None
    try:
        found = read(text)
        return found.astimezone(UTC) if isinstance(found, datetime) else found
    except (ValueError, OverflowError):
        return None


def form(value: Value | None) -> str:
    """Return the canonical form of a typed value; empty for a missing one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(mixed(value))
    if isinstance(value, datetime):
        since = value - datetime(1970, 1, 1, tzinfo=UTC)
        return str((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds)
    return value.isoformat() if isinstance(value, date) else str(value)


def mixed(value: float) -> int:
    """Return the XXH64 of a double's eight bytes (little endian) with seed 42, as a signed number of 64 bits."""
    (lane,) = struct.unpack("<Q", struct.pack("<d", value + 0.0))
    lane = lane * _P2 & _MASK
    lane = (lane << 31 | lane >> 33) & _MASK
    found = (42 + _P5 + 8) ^ (lane * _P1 & _MASK)
    found = (found << 27 | found >> 37) & _MASK
    found = found * _P1 + _P4 & _MASK
    found = (found ^ found >> 33) * _P2 & _MASK
    found = (found ^ found >> 29) * _P3 & _MASK
    found ^= found >> 32
    return found - 2**64 if found >= 2**63 else found


def in_points(text: str, decimal: str, thousands: str) -> str | None:
    """Rewrite a number from the contract's decimal and thousands separators to plain digits and a point; None when it is not written so.

    A thousands separator stands between groups of three digits: ``1.234,5`` is 1234.5, ``0.455`` and ``12.34`` are none.
    """
    if thousands and thousands in text:
        if not re.fullmatch(grouped(decimal, thousands), text):
            return None
        text = text.replace(thousands, "")
    if decimal != ".":
        if "." in text:
            return None
        text = text.replace(decimal, ".")
    return text


def grouped(decimal: str, thousands: str) -> str:
    """Return the pattern of a number with thousands separators."""
    apart, point = (f"[{mark}]" for mark in (thousands, decimal))
    return rf"[+-]?[1-9][0-9]{{0,2}}({apart}[0-9]{{3}})+({point}[0-9]*)?"
