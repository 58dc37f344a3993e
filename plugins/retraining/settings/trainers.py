"""The trainers in the box: what a candidate without code of its own can be, and what can be set on each.

``retraining.inside.trainers`` builds them from these values in the job; ``model.yaml`` and a run's form are checked against them before.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

Trainer = Literal["linear", "hist_gradient_boosting", "xgboost", "keras_mlp"]
DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "linear": {
        "alpha": 1.0,  # strength of the L2 penalty on standardised inputs; of a classifier its inverse is C
        "min_category_rows": 10,
        "clip": 5.0,  # standard deviations; beyond them a linear model would extrapolate without bound
        "max_iter": 1000,
    },
    "hist_gradient_boosting": {
        "learning_rate": 0.05,
        "max_iter": 1000,  # at most; the validation rows say when it stops
        "max_leaf_nodes": 15,
        "min_samples_leaf": 20,
        "l2_regularization": 1.0,
        "max_features": 0.5,
        "n_iter_no_change": 30,
        "min_category_rows": 10,
    },
    "xgboost": {  # by XGBoost's names
        "learning_rate": 0.05,
        "n_estimators": 1000,  # at most; the validation rows say when it stops
        "max_depth": 5,
        "min_child_weight": 0.3,
        "subsample": 0.8,
        "colsample_bynode": 0.5,
        "reg_lambda": 1.0,
        "early_stopping_rounds": 30,
        "min_category_rows": 10,
    },
    "keras_mlp": {  # two hidden layers, ReLU, Adam
        "units": 64,
        "learning_rate": 0.001,
        "batch_size": 32,
        "epochs": 200,  # at most; the validation rows say when it stops
        "patience": 15,
        "min_category_rows": 10,
        "clip": 5.0,  # standard deviations; beyond them a network would extrapolate without bound
    },
}
"""Hyperparameters of each trainer with their defaults; a value keeps the type of its default."""
IMAGES: Mapping[str, str] = {
    "xgboost": "sagemaker-xgboost:3.2-0",
    "keras_mlp": "tensorflow-training:2.19-cpu-py312",
}
"""What a trainer trains in, of those whose library the scikit-learn image does not have. What they leave is scored by any image."""


def complete(trainer: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of a trainer: its defaults with ``given`` in place; ``seed`` is every trainer's.

    Raises:
        ValueError: the trainer has no hyperparameter of a name, or a value is of another type or less than 1 where it counts something.

    """
    defaults = DEFAULTS[trainer]
    found: dict[str, Any] = dict(defaults)
    for name, value in given.items():
        if name != "seed" and name not in defaults:
            near = difflib.get_close_matches(name, [*defaults, "seed"], 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(
                f"trainer {trainer} has no hyperparameter {name!r}; {hint}there are {', '.join([*defaults, 'seed'])}"
            )
        whole = name == "seed" or isinstance(defaults[name], int)
        if isinstance(value, bool) or not isinstance(value, int | float) or (whole and value != int(value)):
            kind = "a whole number" if whole else "a number"
            raise ValueError(f"trainer {trainer}: hyperparameter {name} is {value!r}, which is not {kind}")
        if whole and name != "seed" and value < 1:
            raise ValueError(f"trainer {trainer}: hyperparameter {name} is {value!r}, and must be 1 or more")
        found[name] = int(value) if whole else float(value)
    return found
