"""What a column of undeclared texts holds: its type, its range with room, its values, its gaps."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from retraining.contract.rules import Contract
from retraining.contract.values import MISSING_WORDS, form, in_points, parsed

CATEGORIES = 30
"""A text column with at most so many values, each of them frequent, lists them."""
RARE = 5
"""A value in fewer rows is rare: more of its kind will come."""
WORDS = 6
"""Texts of more words in the mean are no categories."""
ROOM = 0.5
"""Share of a number's range that its limits leave on either side."""
OTHER_DATE = r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}([T ].*)?"
SEPARATORS = ((".", ""), (",", ""), (".", ","), (",", "."), (".", "'"), (".", " "))
"""Decimal and thousands separators that are tried, the usual ones first."""


@dataclass(frozen=True)
class Column:
    """One column as its cells show it."""

    heading: str
    type: str
    """As in a contract; ``other date`` for dates that a contract does not read."""
    counts: Counter[str]
    """Texts that are no gap, and how often each occurs."""
    gaps: int
    words: frozenset[str] = frozenset()
    """Words that stand for a gap."""
    numbers: tuple[float | None, ...] = field(default=(), repr=False)
    """Of a number: its value in each row, None for a gap."""

    @property
    def rows(self) -> int:
        """Rows, gaps included."""
        return sum(self.counts.values()) + self.gaps

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.type in ("int", "double")

    @property
    def known(self) -> list[float]:
        """Its numbers without the gaps."""
        return [value for value in self.numbers if value is not None]

    @property
    def categories(self) -> tuple[str, ...] | None:
        """Its values if they look like all that there are, else None."""
        if self.type != "string" or not 1 <= len(self.counts) <= CATEGORIES or min(self.counts.values()) < RARE:
            return None
        return tuple(sorted(self.counts))

    @property
    def free_text(self) -> bool:
        """Whether it holds sentences, or texts of which hardly one comes twice."""
        if self.type != "string":
            return False
        total = sum(self.counts.values())
        words = sum(len(text.split()) * count for text, count in self.counts.items()) / max(1, total)
        return words > WORDS or len(self.counts) > 0.5 * total

    @property
    def limits(self) -> tuple[float, float]:
        """Least and greatest number to expect: what was seen with room, but not below 0 where nothing was."""
        low, high = min(self.known), max(self.known)
        room = ROOM * (high - low) or max(1.0, abs(high))
        least = 0.0 if low >= 0 and low - room < 0 else _rounded(low - room, math.floor)
        greatest = 0.0 if high <= 0 < high + room else _rounded(high + room, math.ceil)
        return least, greatest


def columns_of(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[Column], tuple[str, str]]:
    """Return the columns of a table, and its decimal and thousands separators: those with which most columns are numbers."""
    texts = list(zip(*rows, strict=True))
    counted = [Counter(column) for column in texts]
    best = max(
        SEPARATORS, key=lambda marks: (sum(_is_number(counts, *marks) for counts in counted), -SEPARATORS.index(marks))
    )
    return [
        _column(name, cells, counts, *best) for name, cells, counts in zip(headings, texts, counted, strict=True)
    ], best


def _is_number(counts: Counter[str], decimal: str, thousands: str) -> bool:
    found = _known(counts)
    return bool(found) and all(_plain_number(text, decimal, thousands) is not None for text in found)


def _known(counts: Counter[str]) -> list[str]:
    return [text for text in counts if text and text.lower() not in MISSING_WORDS]


def _plain_number(text: str, decimal: str, thousands: str) -> float | None:
    plain = in_points(text, decimal, thousands)
    if plain is None or re.fullmatch(r"[+-]?0[0-9].*", plain):  # 02134 is a code
        return None
    value = parsed("double", plain)
    return float(value) if isinstance(value, float) else None


def _column(name: str, cells: Sequence[str], counts: Counter[str], decimal: str, thousands: str) -> Column:
    kind = _type(counts, decimal, thousands)
    if kind in ("string", "other date"):  # a word may be a value: of texts only these stand for none
        words = {text for text in counts if text == "?" or (kind != "string" and text.lower() in MISSING_WORDS)}
    else:
        words = {text for text in counts if text and text.lower() in MISSING_WORDS and _outlier(text, counts, kind)}
    gaps = counts[""] + sum(counts[word] for word in words)
    kept = Counter({text: count for text, count in counts.items() if text and text not in words})
    numbers: tuple[float | None, ...] = ()
    if kind in ("int", "double"):
        values = {text: _plain_number(text, decimal, thousands) for text in kept}
        numbers = tuple(values.get(cell) for cell in cells)
    return Column(name, kind, kept, gaps, frozenset(words), numbers)


def _outlier(text: str, counts: Counter[str], kind: str) -> bool:
    """Whether a word that is also a number, such as -999, stands for a gap: all other numbers are far above it."""
    value = parsed("double", text)
    if kind not in ("int", "double") or not isinstance(value, float):
        return True
    others = [other for known in _known(counts) if isinstance(other := parsed("double", known), float)]
    return bool(others) and min(others) >= 0


def _type(counts: Counter[str], decimal: str, thousands: str) -> str:
    found = _known(counts)
    if not found:
        return "string"
    if all(_plain_number(text, decimal, thousands) is not None for text in found):
        plain = [in_points(text, decimal, thousands) or "" for text in found]
        return "int" if all("." not in text and parsed("int", text) is not None for text in plain) else "double"
    for kind in ("date", "timestamp"):
        if all(parsed(kind, text) is not None for text in found):
            return kind
    if {text.lower() for text in found} == {"true", "false"}:
        return "boolean"
    if all(re.fullmatch(OTHER_DATE, text) for text in found):
        return "other date"
    return "string"


def repeated(rows: Sequence[Sequence[str]], contract: Contract, places: Sequence[int]) -> int:
    """Return how many rows say the same as an earlier one.

    Args:
        rows: cells in the order of the file.
        contract: what is compared are its values.
        places: position in the file of each column of the contract.

    """
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        cells = (row[place] for place in places)
        seen.add(
            tuple(form(contract.value(column, cell)) for column, cell in zip(contract.columns, cells, strict=True))
        )
    return len(rows) - len(seen)


def _rounded(value: float, towards: object) -> float:
    """Return a number of two digits beyond ``value``."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{towards(value / unit) * unit:.12g}")  # type: ignore[operator]
