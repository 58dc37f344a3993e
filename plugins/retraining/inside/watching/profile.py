"""The profile of a set of rows: for each column the number of rows, missing ones, and counts in bins, which add up over sets of rows.

The bins of a number come from the quantiles of the rows that a model was trained on. Other rows are counted in the same bins.
Measurements that follow from each other say more together than alone: where the other numbers explain most of a column, what they leave of
it is counted as well, under ``COLUMN given the others``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from retraining.contract.profiling.version_profile import OTHER

PROFILE_FILE = "profile.json"
"""In an artifact: the profile of the training rows, and of the model's answers on the validation rows."""
PREDICTION = "(prediction)"
"""Name of the answers among the columns of a profile; no column of a contract can have it."""
BINS = 100
VALUES = 50
"""Categories that are counted by name; rarer ones are one."""

EXPLAINED = 0.5
"""Of a column's variance must be explained by the others for its remainder to be counted."""
GIVEN = " given the others"

Profile = dict[str, dict[str, Any]]


def reference_profile(frame: pd.DataFrame) -> Profile:
    """Return the profile of a model's own rows, with the bins that it makes.

    Args:
        frame: typed rows, see ``inside.frames``.

    Returns:
        By column ``n``, ``missing`` and ``counts``, of numbers also ``edges`` and ``sum``; of a remainder also ``of``, its column, and
        ``weights`` of the others.

    """
    made: Profile = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype == float:
            made[str(name)] = _counted_numbers(column, _edges(column))
        else:
            counts = column.value_counts()
            made[str(name)] = _counted_texts(column, [str(value) for value in counts.index[:VALUES]])
    for name, weights in _explained(frame).items():
        rest = remainder(frame, name, weights)
        made[f"{name}{GIVEN}"] = {**_counted_numbers(rest, _edges(rest)), "of": name, "weights": weights}
    return made


def _edges(column: pd.Series) -> np.ndarray:
    present = column.to_numpy(dtype=float)
    present = present[np.isfinite(present)]
    return np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1])) if present.size else np.array([])


def _explained(frame: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the columns that the other numbers explain by least squares, with the weights of those; the constant has the name ""."""
    numbers = frame.select_dtypes(float).dropna()
    names = [str(name) for name in numbers.columns if numbers[name].std() > 0]
    if len(names) < 2 or len(numbers) < 20 * len(names):
        return {}
    found = {}
    for name in names:
        others = [other for other in names if other != name]
        inputs = np.column_stack([np.ones(len(numbers)), numbers[others]])
        values = numbers[name].to_numpy()
        weights = np.linalg.lstsq(inputs, values, rcond=None)[0]
        left = (values - inputs @ weights).var() / values.var()
        if 1e-6 < left < 1 - EXPLAINED:
            found[name] = dict(zip(["", *others], weights.tolist(), strict=True))
    return found


def remainder(frame: pd.DataFrame, name: str, weights: Mapping[str, float]) -> pd.Series:
    """Return what the other columns leave of one; missing where one of them is."""
    rest = frame[name] - weights[""]
    for other, weight in weights.items():
        if other:
            rest = rest - weight * frame[other]
    return rest


def profile(frame: pd.DataFrame, reference: Mapping[str, Mapping[str, Any]]) -> Profile:
    """Return the profile of other rows in the bins of a reference; columns that it does not have are left out."""
    made: Profile = {}
    for name, known in reference.items():
        if "of" in known and known["of"] in frame.columns:
            rest = remainder(frame, known["of"], known["weights"])
            made[name] = _counted_numbers(rest, np.asarray(known["edges"], dtype=float))
        if name not in frame.columns:
            continue
        if "edges" in known:
            made[name] = _counted_numbers(frame[name], np.asarray(known["edges"], dtype=float))
        else:
            made[name] = _counted_texts(frame[name], [value for value in known["counts"] if value != OTHER])
    return made


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> Profile:
    """Return the profile of two sets of rows from theirs."""
    made: Profile = {name: dict(column) for name, column in first.items()}
    for name, column in second.items():
        if name not in made:
            made[name] = dict(column)
            continue
        own = made[name]
        counts: Any
        if isinstance(column["counts"], Mapping):
            names = [*own["counts"], *(value for value in column["counts"] if value not in own["counts"])]
            counts = {value: own["counts"].get(value, 0) + column["counts"].get(value, 0) for value in names}
        else:
            counts = [left + right for left, right in zip(own["counts"], column["counts"], strict=True)]
        sums = {"sum": own["sum"] + column["sum"]} if "sum" in own else {}
        made[name] = {
            **own,
            "n": own["n"] + column["n"],
            "missing": own["missing"] + column["missing"],
            "counts": counts,
        } | sums
    return made


def _counted_numbers(column: pd.Series, edges: np.ndarray) -> dict[str, Any]:
    values = column.to_numpy(dtype=float)
    present = values[np.isfinite(values)]
    # A value at an edge belongs to the bin below it: the bins are (edge, next edge].
    counts = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    return {
        "n": len(values),
        "missing": int(len(values) - len(present)),
        "counts": counts.tolist(),
        "edges": edges.tolist(),
        "sum": float(present.sum()),
    }


def _counted_texts(column: pd.Series, names: Sequence[str]) -> dict[str, Any]:
    present = column.dropna().astype(str)
    found = present.value_counts()
    counts = {name: int(found.get(name, 0)) for name in names}
    if rest := int(len(present) - sum(counts.values())):
        counts[OTHER] = rest
    return {"n": len(column), "missing": int(len(column) - len(present)), "counts": counts}
