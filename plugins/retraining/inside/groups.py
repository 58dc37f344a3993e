"""Names of the groups that errors are reported by: the values of a column, few enough to read."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

MOST_VALUES = 20
"""More different numbers than this are put into ranges."""
RANGES = 10
MOST_TEXTS = 200
"""Of more different texts the most frequent keep their names."""
MISSING = "(missing)"
OTHERS = "(others)"


def group_names(values: pd.Series | None, rows: int) -> np.ndarray:
    """Return the name of each row's group, shape (rows,); empty names without a column.

    Numbers with many values become ranges that hold about equally many rows; rare texts share a name.
    """
    if values is None:
        return np.full(rows, "", dtype=object)
    missing = values.isna().to_numpy()
    if values.dtype == object:
        names = values.to_numpy(dtype=object, copy=True)
        kept = values.value_counts()
        if len(kept) > MOST_TEXTS:
            frequent = sorted(kept.index, key=lambda name: (-kept[name], name))[: MOST_TEXTS - 1]
            names = np.where(values.isin(frequent), names, OTHERS)
    else:
        names = _ranges(values.to_numpy(dtype=float), missing)
    names[missing] = MISSING
    return names


def _ranges(numbers: np.ndarray, missing: np.ndarray) -> np.ndarray:
    present = np.unique(numbers[~missing])
    if len(present) <= MOST_VALUES:
        return np.array([f"{number:g}" for number in numbers], dtype=object)
    edges = np.unique(np.quantile(numbers[~missing], np.linspace(0, 1, RANGES + 1)))
    place = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, max(0, len(edges) - 2))
    labels = [f"{low:g} to {high:g}" for low, high in pairwise(edges)] or [f"{edges[0]:g}"]
    return np.array(labels, dtype=object)[place]
