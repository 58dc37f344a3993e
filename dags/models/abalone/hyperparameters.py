"""What can be set on each algorithm, and its defaults, without the libraries that train it.

train.py builds its models from these, and ``make experiment`` checks a change against them before it starts a job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SVR_HGB = {
    "svr_C": 1.0,
    "svr_epsilon": 0.15,
    "svr_gamma": 0.03,
    "hgb_learning_rate": 0.03,
    "hgb_max_iter": 150,
    "hgb_max_leaf_nodes": 8,
    "hgb_min_samples_leaf": 20,
}
MLPS = {
    "mlp_count": 5,
    "mlp_units": 32,
    "mlp_alpha": 0.01,
    "mlp_learning_rate": 0.003,
    "mlp_clip": 3.0,
    "mlp_max_iter": 500,
}
# The published workflow: 200 epochs in batches of 8, Adam at its default rate.
NETWORK = {"units": 64, "epochs": 200, "batch_size": 8, "learning_rate": 0.001}

DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "svr_hgb": SVR_HGB,
    "svr_hgb_mlp": {**SVR_HGB, **MLPS},
    "linear": {},
    "keras": NETWORK,
}
DEFAULT_ALGORITHM = "svr_hgb"
OPTIONS = ("algorithm", "seed", "params")
"""What a candidate's ``hyperparameters`` may give; the library takes ``seed`` out and hands it to ``fit``."""


def complete(algorithm: str, overrides: Mapping[str, Any]) -> dict[str, float]:
    """Return the hyperparameters of ``algorithm``: its defaults with ``overrides`` in place.

    Raises:
        ValueError: unknown algorithm, or an override has no default of that name or is not a number of the default's type.

    """
    if algorithm not in DEFAULTS:
        raise ValueError(f"unknown algorithm {algorithm!r}, choose one of: {', '.join(DEFAULTS)}")
    defaults = DEFAULTS[algorithm]
    unknown = sorted(set(overrides) - set(defaults))
    if unknown:
        known = ", ".join(defaults) or "none"
        raise ValueError(f"unknown hyperparameter {', '.join(unknown)}; this algorithm has: {known}")
    return {**defaults, **{name: _typed(name, defaults[name], value) for name, value in overrides.items()}}


def _typed(name: str, default: float, value: Any) -> float:
    kind = type(default)
    if isinstance(value, bool) or not isinstance(value, int | float) or kind(value) != value:
        raise ValueError(f"hyperparameter {name} is {value!r}, expected {'an integer' if kind is int else 'a number'}")
    return kind(value)
