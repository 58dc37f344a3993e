"""What the columns of rows hold, counted in memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from glue_scripts.merge.in_memory.table import numbers_of, value_name
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.profile import QUANTILES, WITHOUT_ENDS, document
from retraining.contract.profiling.version_profile import LONGEST_NAME, OUTERMOST, STEPS, Grid, grid_of, place_of


def profile_of(rows: pa.Table, manifest: Manifest, known: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the profile of accepted rows, numbers in the bins of a known one."""
    before = known["columns"] if known else {}
    grids = {name: grid for name, column in before.items() if (grid := place_of(column))}
    splits = numbers_of(rows, "split")
    by_split = {name: rows.filter(pa.array(splits == n)) for n, (name, _) in enumerate(manifest.split)}
    by_split = {name: by_split[name] for name in sorted(by_split) if by_split[name].num_rows}
    ends: dict[str, dict[str, Any]] = {name: {"n": some.num_rows} for name, some in by_split.items()}
    counts: dict[tuple[str, int], Counter[str]] = {}
    for at, column in enumerate(manifest.contract.columns):
        if column.numeric and column.name not in grids:
            numbers = _numbers(rows.column(value_name(at)).drop_null())
            grids |= {column.name: _grid(np.sort(numbers))} if len(numbers) else {}
        for split, found in ends.items():
            present = by_split[split].column(value_name(at)).drop_null()
            found[f"present_{at}"] = len(present)
            if column.type not in WITHOUT_ENDS:
                least = pc.min_max(present).as_py()
                found |= {f"{end}_{at}": _shown(least[end]) for end in ("min", "max")}
            if column.numeric:
                numbers = _numbers(present)
                found[f"sum_{at}"] = math.fsum(numbers)
                counts[split, at] = _bins(numbers, grids[column.name]) if len(numbers) else Counter()
            else:
                named = pc.value_counts(_named(present)).to_pylist()
                counts[split, at] = Counter({value["values"]: value["counts"] for value in named})
    return document(manifest.contract, grids, ends, counts)


def _numbers(values: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy())


def _grid(ordered: np.ndarray) -> Grid:
    return grid_of([ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in QUANTILES])


def _bins(numbers: np.ndarray, grid: Grid) -> Counter[str]:
    """Count numbers by the bin of each, as `Grid.bin_of` tells it."""
    with np.errstate(over="ignore"):
        heights = STEPS * np.arcsinh((numbers - grid.middle) / grid.scale)
    bins, counts = np.unique(np.ceil(np.clip(heights, -OUTERMOST, OUTERMOST)).astype(int), return_counts=True)
    return Counter({str(place): int(count) for place, count in zip(bins, counts, strict=True)})


def _shown(value: Any) -> Any:
    """Return a date or an instant (in UTC) as a text that sorts as it does; a number as it is."""
    if value is None or isinstance(value, int | float):
        return value
    text = str(value).removesuffix("+00:00")
    return text.rstrip("0") if "." in text else text


def _named(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the names under which values are counted: of a time its month."""
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        return pc.strftime(values, "%Y-%m")
    return pc.utf8_slice_codeunits(values.cast(pa.string()), 0, LONGEST_NAME)
