"""Fits the trainers in the box, each for every task: those of scikit-learn here, the others in modules of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

from retraining.inside.job_file import CLASSIFICATION, Job
from retraining.inside.trainers import boosted_trees, network
from retraining.inside.trainers.inputs import Matrix, Standard
from retraining.inside.trainers.link import LEAST_MEAN

Rows = tuple[np.ndarray, np.ndarray]
"""Matrix of shape (rows, columns) and target of shape (rows,)."""


class TableModel:
    """A fitted model of contract rows: ``predict(frame)``, of a classification ``predict_proba(frame)`` with ``classes_``."""

    def __init__(self, matrix: Matrix, estimator: Any, count: bool, about: Mapping[str, Any]) -> None:
        self.matrix, self.estimator, self.count, self.about = matrix, estimator, count, dict(about)
        if hasattr(estimator, "classes_"):
            self.classes_ = estimator.classes_

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the prediction for each row, shape (rows,)."""
        answers = np.asarray(self.estimator.predict(self.matrix.transform(frame)))
        return np.maximum(answers, LEAST_MEAN) if self.count else answers

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the probabilities of each row, shape (rows, classes)."""
        return np.asarray(self.estimator.predict_proba(self.matrix.transform(frame)))


class OnStandard:
    """An estimator of scikit-learn behind standardised inputs."""

    def __init__(self, standard: Standard, estimator: Any) -> None:
        self.standard, self.estimator = standard, estimator

    def fit(self, values: np.ndarray, target: np.ndarray) -> OnStandard:
        """Fit the estimator to a matrix of shape (rows, columns)."""
        self.estimator.fit(self.standard.transform(values), target)
        if hasattr(self.estimator, "classes_"):
            self.classes_ = self.estimator.classes_
        return self

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Return the prediction for each row, shape (rows,)."""
        return np.asarray(self.estimator.predict(self.standard.transform(values)))

    def predict_proba(self, values: np.ndarray) -> np.ndarray:
        """Return the probabilities of each row, shape (rows, classes)."""
        return np.asarray(self.estimator.predict_proba(self.standard.transform(values)))


def fit_function(job: Job) -> Callable[..., TableModel]:
    """Return the ``fit`` of a job's trainer, as a model folder's own would be called.

    Raises:
        ValueError: there is no such trainer.

    """
    trainer = job.trainer or ""
    if trainer not in TRAINERS:
        raise ValueError(f"there is no trainer {trainer!r}; there are {', '.join(TRAINERS)}")
    build = TRAINERS[trainer]

    def fit(
        frame: pd.DataFrame,
        target: pd.Series,
        hyperparameters: Mapping[str, Any],
        seed: int,
        validation: tuple[pd.DataFrame, pd.Series],
    ) -> TableModel:
        settings = dict(hyperparameters)
        matrix = Matrix(job.inputs, settings.pop("min_category_rows")).fit(frame)
        if not matrix.names:
            raise ValueError(
                "no column beside the target holds a value in any training row: there is nothing to learn from"
            )
        training, watched = (
            (matrix.transform(rows), truth.to_numpy()) for rows, truth in ((frame, target), validation)
        )
        estimator = build(matrix, training, watched, job.task, settings, seed)
        about = {
            "trainer": job.trainer,
            "hyperparameters": dict(hyperparameters),
            "features": matrix.names,
            **({"iterations": int(estimator.n_iter_)} if isinstance(getattr(estimator, "n_iter_", None), int) else {}),
        }
        return TableModel(matrix, estimator, job.task == "count", about)

    return fit


def _linear(matrix: Matrix, training: Rows, watched: Rows, task: str, settings: Mapping[str, Any], seed: int) -> Any:
    del watched, seed  # it has one solution, and nothing to stop early
    values, target = training
    alpha, limit = settings["alpha"], settings["max_iter"]
    if task in CLASSIFICATION:
        model: Any = LogisticRegression(C=1 / alpha, max_iter=limit)
    elif task == "count":
        model = PoissonRegressor(alpha=alpha / len(target), max_iter=limit)
    else:
        model = Ridge(alpha=alpha)
    return OnStandard(Standard(matrix, settings["clip"]).fit(values), model).fit(values, target)


def _hist_gradient_boosting(
    matrix: Matrix, training: Rows, watched: Rows, task: str, settings: Mapping[str, Any], seed: int
) -> Any:
    options = {
        **settings,
        "categorical_features": matrix.categorical,
        "early_stopping": True,
        "random_state": seed,
    }
    if task in CLASSIFICATION:
        model: Any = HistGradientBoostingClassifier(**options)
    else:
        model = HistGradientBoostingRegressor(loss="poisson" if task == "count" else "squared_error", **options)
    return model.fit(*training, X_val=watched[0], y_val=watched[1])


TRAINERS: Mapping[str, Callable[..., Any]] = {
    "linear": _linear,
    "hist_gradient_boosting": _hist_gradient_boosting,
    "xgboost": boosted_trees.fit,
    "keras_mlp": network.fit,
}
