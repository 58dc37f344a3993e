"""The guards: limits that a model must keep on its own, on all test rows and in its worst group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from retraining.settings.gate_policy import GatePolicy
from retraining.settings.metrics import GUARDS

LABELS = {
    "rmse": "RMSE",
    "mae": "MAE",
    "bias": "bias",
    "r2": "R²",
    "deviance": "Poisson deviance",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "auc": "AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "loss": "loss",
}
"""Metrics as people write them."""
SIGNED = ("bias", "r2")


@dataclass(frozen=True)
class Guard:
    """One limit and how both models stand to it; a value is None when the rows cannot tell it."""

    metric: str
    limit: float
    value: float | None
    champion: float | None
    has_champion: bool
    group: str | None = None
    """The group with the worst value of the challenger, for a limit on groups."""

    @property
    def holds(self) -> bool:
        """Whether the challenger keeps the limit."""
        return self._keeps(self.value)

    @property
    def champion_holds(self) -> bool:
        """Whether the champion keeps it; true without a champion."""
        return not self.has_champion or self._keeps(self.champion)

    @property
    def less_broken(self) -> bool:
        """Whether the champion breaks the limit and the challenger is nearer to it."""
        if self.champion_holds or self.value is None:
            return False
        return self.champion is None or self._badness(self.value) < self._badness(self.champion)

    @property
    def label(self) -> str:
        """What is guarded, in words."""
        name = LABELS[self.metric]
        return name if self.group is None else f"{name} in group {self.group!r}"

    def sentence(self, value: float | None) -> str:
        """Return what is wrong with a value that breaks the limit."""
        if value is None:
            return f"{self.label} cannot be told: the test rows do not hold every class"
        shown = f"{value:+.4f}" if self.metric in SIGNED else f"{value:.4f}"
        if self.metric == "bias":
            return f"{self.label} {shown} is beyond the allowed {self.limit:g}"
        side = "above" if GUARDS[self.metric][0] == "min" else "below"
        return f"{self.label} {shown} is {side} the allowed {self.limit:g}"

    def as_dict(self) -> dict[str, Any]:
        """Return the guard as plain JSON types."""
        return {**vars(self), "holds": self.holds, "champion_holds": self.champion_holds}

    def _keeps(self, value: float | None) -> bool:
        if value is None:
            return False
        return self._badness(value) <= (self.limit if GUARDS[self.metric][0] == "min" else -self.limit)

    def _badness(self, value: float) -> float:
        return _badness(self.metric, value)


def guards(analysis: Mapping[str, Any], policy: GatePolicy) -> Iterator[Guard]:
    """Yield all guards of a policy with the values of an analysis.

    Raises:
        ValueError: the analysis lacks a metric that is guarded.

    """
    champion = analysis.get("champion")
    for metric, limit in policy.guards.items():
        value = number(section(analysis, "challenger"), metric, "challenger")
        other = number(champion, metric, "champion") if champion else None
        yield Guard(metric, limit, value, other, champion is not None)
    judged = {
        name: group
        for name, group in (analysis.get("groups") or {}).items()
        if count(group, "n", f"groups.{name}") >= policy.min_group_rows
    }
    for metric, limit in policy.worst_group.items():
        guard = _worst(metric, limit, judged, champion is not None)
        if guard:
            yield guard


def _worst(metric: str, limit: float, groups: Mapping[str, Any], has_champion: bool) -> Guard | None:
    def worst(role: str) -> tuple[str | None, float | None]:
        values = {
            name: number(section(group, role, f"groups.{name}"), metric, f"groups.{name}.{role}")
            for name, group in groups.items()
        }
        # A group that holds one class only has no AUC, which says nothing against the model.
        known = {name: value for name, value in values.items() if value is not None}
        if not known:
            return None, None
        # NaN compares as smaller than nothing, so it is looked for first: a broken group must not hide behind a sound one.
        name = max(known, key=lambda name: (math.isnan(known[name]), _badness(metric, known[name])))
        return name, known[name]

    name, value = worst("challenger")
    if name is None:
        return None
    return Guard(metric, limit, value, worst("champion")[1] if has_champion else None, has_champion, name)


def _badness(metric: str, value: float) -> float:
    """Return a number that is larger for a worse value."""
    if metric == "bias":
        return abs(value)
    return value if GUARDS[metric][0] == "min" else -value


def section(parent: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    """Return a part of an analysis.

    Raises:
        ValueError: it is not there.

    """
    found = parent.get(key)
    if not isinstance(found, Mapping):
        place = f"{where}.{key}" if where else key
        raise ValueError(
            f"the analysis has no {place!r} section (keys: {sorted(map(str, parent))}): run analyze_results again"
        )
    return found


def number(found: Mapping[str, Any], key: str, where: str) -> float | None:
    """Return a number of an analysis, None where the rows could not tell it.

    Raises:
        ValueError: it is not there, or no number.

    """
    value = found.get(key)
    if key in found and value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the analysis has {value!r} for {where}.{key}, not a number: run analyze_results again")
    return float(value)


def count(found: Mapping[str, Any], key: str, where: str = "") -> int:
    """Return a count of rows of an analysis.

    Raises:
        ValueError: it is not there, or no count.

    """
    value = found.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(
            f"the analysis has {value!r} for {where or key}, not a count of rows: run analyze_results again"
        )
    return value
