"""The profile of a dataset version: for each column and split rows, missing ones, ends, sum and counts, which add up over batches.

A number is counted in bins about the middle of the column's first rows: narrow there, and the wider the farther away a value lies. They
stay as they are while the data set grows. Values of other columns are counted by name, dates and timestamps by their month; beyond ``TOP``
the rarer ones are one. What a profile holds is bounded, however many rows there are.

A document: ``rows`` by split, and by column ``type``, of numbers ``middle`` and ``scale``, and by split ``n``, ``missing``, ``min`` and
``max`` (not of texts), ``sum`` and ``bins`` of numbers, ``counts`` of other columns.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Final, NamedTuple

STEPS: Final = 25
"""Bins in the first scale to a side of the middle, about."""
OUTERMOST: Final = 600
"""Number of the last bin to each side: it begins 10^10 scales from the middle."""
TOP: Final = 50
"""Values that are counted by name."""
OTHER: Final = "(other)"
LONGEST_NAME: Final = 200
"""Characters of a text that is counted by name."""
LARGEST: Final = 1.7e308

Profile = Mapping[str, Any]


class Grid(NamedTuple):
    """Where the bins of a column lie: bin b holds the values above ``edge(b - 1)`` up to ``edge(b)``."""

    middle: float
    scale: float

    def edge(self, place: int) -> float:
        """Return the greatest value of a bin."""
        return max(-LARGEST, min(LARGEST, self.middle + self.scale * math.sinh(place / STEPS)))

    def bin_of(self, value: float) -> int:
        """Return the number of the bin that a value belongs to: the inverse of ``edge``."""
        height = STEPS * math.asinh((value - self.middle) / self.scale)
        return math.ceil(max(-OUTERMOST, min(OUTERMOST, height)))


def grid_of(quantiles: Sequence[float]) -> Grid:
    """Return bins for values with these quantiles at 5, 25, 50, 75 and 95 %; the scale is about a standard deviation."""
    least, first, middle, third, greatest = (float(value) for value in quantiles)
    scales = ((third - first) / 1.35, (greatest - least) / 3.3, abs(middle) / 100, 1.0)
    return Grid(_rounded(middle), _rounded(next(scale for scale in scales if 0 < scale < LARGEST)))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def place_of(column: Profile) -> Grid | None:
    """Return the bins of a column of a profile; None of one that is no number, or had no value yet."""
    return None if column.get("middle") is None else Grid(column["middle"], column["scale"])


def added(first: Profile, second: Profile) -> dict[str, Any]:
    """Return the profile of two sets of rows from theirs, with the columns of the second; where a set lacks one, its rows have no value.

    Raises:
        ValueError: a column is of another kind, or has other bins.

    """
    rows: dict[str, int] = dict(Counter(first["rows"]) + Counter(second["rows"]))
    columns = {}
    for name, new in second["columns"].items():
        old = first["columns"].get(name, {**new, "splits": {}})
        grid = place_of(old) or place_of(new)
        if ("counts" in _any(old)) != ("counts" in _any(new)) and old["splits"] and new["splits"]:
            raise ValueError(f"column {name} was {old['type']} and is {new['type']}")
        if place_of(old) and place_of(new) and place_of(old) != place_of(new):
            raise ValueError(f"column {name} is counted in other bins than before")
        bins = {"middle": grid.middle, "scale": grid.scale} if grid else {}
        splits = {
            split: _added(*(_part(of, part, split) for of, part in ((old, first), (new, second)))) for split in rows
        }
        columns[name] = {"type": new["type"], **bins, "splits": splits}
    return {"schema_version": second["schema_version"], "rows": rows, "columns": columns}


def total(column: Profile) -> dict[str, Any]:
    """Return what a column holds in all splits together."""
    parts = list(column["splits"].values())
    return reduce(_added, parts[1:], dict(parts[0])) if parts else {"n": 0, "missing": 0}


def _any(column: Profile) -> Profile:
    return next(iter(column["splits"].values()), {})


def _part(column: Profile, of: Profile, split: str) -> Profile:
    """Return what a column holds in a split; where it is not there, every row lacks a value."""
    rows = of["rows"].get(split, 0)
    return column["splits"].get(split) or {"n": rows, "missing": rows}


def _added(first: Profile, second: Profile) -> dict[str, Any]:
    made: dict[str, Any] = {name: first[name] + second[name] for name in ("n", "missing")}
    for name, choose in (("min", min), ("max", max)):
        if name in first or name in second:
            there = [part[name] for part in (first, second) if part.get(name) is not None]
            made[name] = choose(there) if there else None
    if "sum" in first or "sum" in second:
        made["sum"] = first.get("sum", 0.0) + second.get("sum", 0.0)
    for name in ("bins", "counts"):
        if name in first or name in second:
            both: Counter[str] = Counter(first.get(name, {})) + Counter(second.get(name, {}))
            made[name] = most_frequent(both) if name == "counts" else dict(sorted(both.items(), key=_by_place))
    return made


def most_frequent(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of the ``TOP`` most frequent values, and what all others come to."""
    ordered = sorted(
        ((name, count) for name, count in counts.items() if name != OTHER), key=lambda item: (-item[1], item[0])
    )
    rest = counts.get(OTHER, 0) + sum(count for _, count in ordered[TOP:])
    return dict(ordered[:TOP]) | ({OTHER: rest} if rest else {})


def _by_place(item: tuple[str, int]) -> int:
    return int(item[0])
