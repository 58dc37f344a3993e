"""Two profiles of a column side by side: the share of rows in each range of values, among the reference rows and among new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RANGES = 20
"""Ranges of a number, or categories, that are told apart at most."""
REST = "all others"


@dataclass(frozen=True)
class Range:
    """A range of a number, or a category."""

    label: str
    before: float
    """Share of the reference rows that have a value."""
    now: float
    """Share of the new rows that have a value."""


def ranges(known: Mapping[str, Any], seen: Mapping[str, Any]) -> list[Range]:
    """Return the shares of a column by range; each range of a number holds about equally many reference rows.

    Args:
        known: the column's profile among the reference rows, see ``inside.watching.profile``.
        seen: that of the new rows, in the same bins.

    """
    parts: list[tuple[str, int, int]]
    if "edges" in known:
        edges = known["edges"]
        size = max(1, -(-len(known["counts"]) // RANGES))
        parts = [
            (_range(edges, at, at + size), sum(known["counts"][at : at + size]), sum(seen["counts"][at : at + size]))
            for at in range(0, len(known["counts"]), size)
        ]
    else:
        names = [*known["counts"], *(name for name in seen["counts"] if name not in known["counts"])]
        parts = [(name, known["counts"].get(name, 0), seen["counts"].get(name, 0)) for name in names]
        if len(parts) > RANGES:
            rest = parts[RANGES - 1 :]
            parts = [*parts[: RANGES - 1], (REST, sum(part[1] for part in rest), sum(part[2] for part in rest))]
    before = max(1, sum(old for _, old, _ in parts))
    now = max(1, sum(new for *_, new in parts))
    return [Range(label, old / before, new / now) for label, old, new in parts]


def _range(edges: list[float], first: int, end: int) -> str:
    """Return the range of the bins ``first`` to ``end - 1``; a bin is what lies above one edge up to the next."""
    low = edges[first - 1] if first > 0 else None
    high = edges[end - 1] if end - 1 < len(edges) else None
    if low is None and high is None:
        return "every value"
    if low is None:
        return f"up to {high:.4g}"
    return f"above {low:.4g}" if high is None else f"above {low:.4g} to {high:.4g}"
