"""Names of metrics: which values of each are good, and for which tasks the evaluation computes it."""

from __future__ import annotations

import re
from typing import Literal

Task = Literal["regression", "count", "binary", "multiclass"]
Direction = Literal["min", "max"]
NUMERIC: tuple[Task, ...] = ("regression", "count")
CLASSES: tuple[Task, ...] = ("binary", "multiclass")
GUARDS: dict[str, tuple[Direction, tuple[Task, ...]]] = {
    "rmse": ("min", NUMERIC),
    "mae": ("min", NUMERIC),
    "bias": ("min", NUMERIC),
    "r2": ("max", NUMERIC),
    "deviance": ("min", ("count",)),
    "accuracy": ("max", CLASSES),
    "balanced_accuracy": ("max", CLASSES),
    "f1": ("max", CLASSES),
    "auc": ("max", CLASSES),
    "pr_auc": ("max", ("binary",)),
    "log_loss": ("min", CLASSES),
    "brier": ("min", CLASSES),
    "calibration_error": ("min", CLASSES),
}
"""What the gate can guard: direction of good values (of ``bias`` the absolute value counts), and the tasks that have it."""
ELSEWHERE: dict[str, Direction] = {
    **dict.fromkeys(("mse", "mape", "rmsle", "loss", "logloss", "mlogloss", "error", "merror", "deviance"), "min"),
    **dict.fromkeys(("roc_auc", "aucpr", "precision", "recall"), "max"),
}
"""Other names that training scripts print."""


def known_direction(metric: str) -> Direction | None:
    """Return which values of a metric such as ``validation:auc`` are good, as its name says; None when it says nothing."""
    name = re.split(r"[:/]", metric)[-1].strip().lower().replace("-", "_")
    return GUARDS[name][0] if name in GUARDS else ELSEWHERE.get(name)
