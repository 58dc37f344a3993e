"""What the columns of rows hold, counted in memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from glue_scripts.merge.in_memory.rows import Row
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.profile import QUANTILES, WITHOUT_ENDS, document
from retraining.contract.profiling.version_profile import LONGEST_NAME, Grid, grid_of, place_of
from retraining.contract.values import Value


def profile_of(rows: Sequence[Row], manifest: Manifest, known: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the profile of accepted rows, numbers in the bins of a known one."""
    before = known["columns"] if known else {}
    grids = {name: grid for name, column in before.items() if (grid := place_of(column))}
    names = [name for name, _ in manifest.split]
    by_split = {name: [row for row in rows if names[row.split] == name] for name in sorted(names)}
    ends: dict[str, dict[str, Any]] = {name: {"n": len(some)} for name, some in by_split.items() if some}
    counts: dict[tuple[str, int], Counter[str]] = {}
    for at, column in enumerate(manifest.contract.columns):
        if column.numeric and column.name not in grids:
            numbers = sorted(float(value) for row in rows if (value := row.values[at]) is not None)  # type: ignore[arg-type]
            grids |= {column.name: _grid(numbers)} if numbers else {}
        for split, found in ends.items():
            present: list[Any] = [value for row in by_split[split] if (value := row.values[at]) is not None]
            found[f"present_{at}"] = len(present)
            if column.type not in WITHOUT_ENDS:
                shown = present if column.numeric else [_shown(value) for value in present]
                found |= {f"min_{at}": min(shown, default=None), f"max_{at}": max(shown, default=None)}
            if column.numeric:
                found[f"sum_{at}"] = math.fsum(present)
                counts[split, at] = Counter(str(grids[column.name].bin_of(float(value))) for value in present)
            else:
                counts[split, at] = Counter(map(_named, present))
    return document(manifest.contract, grids, ends, counts)


def _grid(ordered: Sequence[float]) -> Grid:
    return grid_of([ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in QUANTILES])


def _shown(value: Value) -> str:
    """Write a date or an instant (in UTC) as a text that sorts as it does."""
    if not isinstance(value, datetime):
        return str(value)
    text = value.replace(tzinfo=None).isoformat(" ")
    return text.rstrip("0") if value.microsecond else text


def _named(value: Value) -> str:
    """Return the name under which a value is counted: a time by its month."""
    if isinstance(value, date):
        return value.isoformat()[:7]
    return str(value).lower() if isinstance(value, bool) else str(value)[:LONGEST_NAME]
