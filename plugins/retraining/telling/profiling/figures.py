"""What the stored profile of a dataset version says to people: figures by column and split, and the change since the version before."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from retraining.contract.profiling.version_profile import Grid, place_of, total
from retraining.judging.compared_profiles import RANGES, ranges

QUANTILES = {"p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}
ORDER = ("train", "validation", "test")

Profile = Mapping[str, Any]


def figures_of(profile: Profile) -> dict[str, Any]:
    """Return rows by split, and by column its type and by split its figures; numbers are counted in ranges of the training rows.

    Args:
        profile: see ``contract.profiling.version_profile``.

    """
    splits = {split: profile["rows"][split] for split in ORDER if profile["rows"].get(split)}
    columns = {}
    for name, column in profile["columns"].items():
        parts = {split: column["splits"][split] for split in splits}
        grid = place_of(column)
        edges = _edges(next(iter(parts.values())), grid) if grid and parts else []
        shown = {split: _figures(part, grid, edges) for split, part in parts.items()}
        columns[name] = {"type": column["type"], "splits": shown}
    return {"splits": splits, "columns": columns}


def _figures(part: Profile, grid: Grid | None, edges: Sequence[float]) -> dict[str, Any]:
    found = {name: part[name] for name in ("n", "missing", "min", "max") if name in part}
    if "counts" in part:
        return {**found, "counts": part["counts"]}
    present = part["n"] - part["missing"]
    found["mean"] = part["sum"] / present if present else None
    found |= {word: quantile(part, grid, share) for word, share in QUANTILES.items()}
    return {**found, "edges": list(edges), "counts": _ranged(part, grid, edges)}


def changes(now: Profile, before: Profile | None, goes_on: bool) -> list[dict[str, Any]]:
    """Return by column what its rows hold, all splits together, beside those of the version before.

    Args:
        now: profile of the version.
        before: of the version before; None when there is none.
        goes_on: whether the version adds rows to those of the one before, and the added ones are meant; else all of its rows are.

    Returns:
        ``name``, ``type``; ``now`` and ``before`` (None without one), each with ``rows``, ``missing`` and, of numbers, ``mean`` and
        ``median``; ``ranges`` with ``label`` and the shares ``before`` and ``now``, none without a version before.

    """
    found = []
    for name, column in now["columns"].items():
        seen, grid = total(column), place_of(column)
        old = before["columns"].get(name) if before else None
        known = total(old) if old else None
        if known and ("counts" in known) != ("counts" in seen):
            known = None  # it was of another kind
        if known and goes_on:
            seen = _less(seen, known)
        had = place_of(old) if old else None
        compared = _ranges(known, had, seen, grid) if known and ("counts" in known or had) else []
        found.append(
            {
                "name": name,
                "type": column["type"],
                "now": _summary(seen, grid),
                "before": _summary(known, had) if known else None,
                "ranges": compared,
            }
        )
    return found


def _less(whole: Profile, part: Profile) -> dict[str, Any]:
    """Return what a set of rows holds beyond a part of it; the ends of that are not known."""
    made = {name: whole[name] - part[name] for name in ("n", "missing", "sum") if name in whole}
    for name in ("bins", "counts"):
        if name in whole:
            made[name] = dict(Counter(whole[name]) - Counter(part[name]))
    return made


def _summary(part: Profile, grid: Grid | None) -> dict[str, Any]:
    found = {"rows": part["n"], "missing": part["missing"]}
    if "sum" in part:
        present = part["n"] - part["missing"]
        found |= {"mean": part["sum"] / present if present else None, "median": quantile(part, grid, 0.5)}
    return found


def _ranges(known: Profile, had: Grid | None, seen: Profile, grid: Grid | None) -> list[dict[str, Any]]:
    if had:
        edges = _edges(known, had)
        known, seen = (
            {"edges": edges, "counts": _ranged(part, bins, edges)} for part, bins in ((known, had), (seen, grid))
        )
    return [{"label": part.label, "before": part.before, "now": part.now} for part in ranges(known, seen)]


def quantile(part: Profile, grid: Grid | None, share: float) -> float | None:
    """Return a quantile of a number, to the width of a bin; None without a value."""
    bins = part.get("bins") or {}
    if not bins or grid is None:
        return None
    wanted, below = share * sum(bins.values()), 0
    value = 0.0
    for place, count in _in_order(bins):
        low, high = grid.edge(place - 1), grid.edge(place)
        value = low + (high - low) * (wanted - below) / count
        below += count
        if below >= wanted:
            break
    least, greatest = part.get("min"), part.get("max")
    value = value if least is None else max(least, value)
    return value if greatest is None else min(greatest, value)


def _edges(part: Profile, grid: Grid) -> list[float]:
    """Return values between ranges that hold about equally many rows each."""
    bins = part.get("bins") or {}
    whole, below, taken = sum(bins.values()), 0, 0
    edges = []
    for place, count in _in_order(bins):
        below += count
        if below * RANGES // whole > taken:
            taken = below * RANGES // whole
            edges.append(grid.edge(place))
    return edges[:-1]


def _ranged(part: Profile, grid: Grid | None, edges: Sequence[float]) -> list[int]:
    """Return how many rows lie in each range; a bin goes where its greatest value does."""
    counts = [0] * (len(edges) + 1)
    for place, count in (part.get("bins") or {}).items():
        if grid is not None:
            counts[bisect_left(edges, grid.edge(int(place)))] += count
    return counts


def _in_order(bins: Mapping[str, int]) -> list[tuple[int, int]]:
    return sorted((int(place), count) for place, count in bins.items())
