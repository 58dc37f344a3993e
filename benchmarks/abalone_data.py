"""Abalone data, the model folder's code and out-of-fold predictions, for the benchmarks and the tests of the gate."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[1]
MODEL_FOLDER = ROOT / "dags" / "models" / "abalone"
# The model's modules import each other by bare name, as they do inside the container.
sys.path.insert(0, str(MODEL_FOLDER))

import features  # noqa: E402
import train  # noqa: E402

__all__ = ["Data", "features", "fit_on_one_core", "load", "out_of_fold", "rmse", "rmse_difference", "shipped", "train"]
TARGET = "rings"


class Regressor(Protocol):
    """Anything that is trained and predicts."""

    def fit(self, frame: pd.DataFrame, target: np.ndarray) -> Any:
        """Train on contract columns and target."""

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return one prediction per row."""


class Data(NamedTuple):
    """All 4,177 rows: inputs by column name, and the target."""

    inputs: pd.DataFrame
    target: np.ndarray


def load() -> Data:
    """Return the whole data set, the four rows with height 0 or above 0.3 included."""
    frame = pd.read_csv(ROOT / "data" / "abalone.csv")
    return Data(frame.drop(columns=TARGET), frame[TARGET].to_numpy(dtype=float))


def shipped(algorithm: str, **params: float) -> Callable[[], Regressor]:
    """Return a maker of untrained models of a shipped algorithm."""
    return lambda: train.build(algorithm, params)


class PublishedNetworkEquivalent:
    """The published 64-64-1 recipe on scikit-learn's ``MLPRegressor``, for a machine without TensorFlow.

    The same inputs, layers, loss, optimiser, batch size and epochs; the initial weights are drawn as scikit-learn does
    (Glorot uniform) and not as the published script does (normal in the first layer).
    """

    def __init__(self, epochs: int = 200, batch_size: int = 8, seed: int = 0) -> None:
        self._network = MLPRegressor(
            hidden_layer_sizes=(64, 64),
            alpha=0.0,
            batch_size=batch_size,
            learning_rate_init=0.001,
            max_iter=epochs,
            n_iter_no_change=epochs,  # the recipe has no early stopping
            random_state=seed,
        )

    def fit(self, frame: pd.DataFrame, target: np.ndarray) -> PublishedNetworkEquivalent:
        """Train for the whole number of epochs."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping at max_iter is the recipe
            self._network.fit(features.network_inputs(frame), target)
        return self

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return one prediction per row."""
        return self._network.predict(features.network_inputs(frame))


def fit_on_one_core(make: Callable[[], Regressor], data: Data, rows: np.ndarray) -> tuple[Regressor, float]:
    """Return a model trained on ``rows`` and the seconds of processor time it took with one thread."""
    model = make()
    with threadpool_limits(1):
        started = time.process_time()
        model.fit(data.inputs.iloc[rows], data.target[rows])
        return model, time.process_time() - started


def out_of_fold(
    make: Callable[[], Regressor],
    data: Data,
    folds: int = 10,
    seed: int = 0,
    share: float = 1.0,
    share_seed: int = 0,
) -> np.ndarray:
    """Return predictions for every row by models that did not see it, shape (rows,).

    Args:
        make: returns a new untrained model.
        data: rows to split.
        folds: number of folds.
        seed: of the shuffle, so that all models can be compared on the same folds.
        share: train on this share of each fold's training rows only.
        share_seed: of the choice of that share, so that a model can be trained again on other rows.

    """
    rng = np.random.default_rng(share_seed)
    predictions = np.empty_like(data.target)
    for training, held_out in KFold(folds, shuffle=True, random_state=seed).split(data.inputs):
        chosen = rng.choice(training, round(len(training) * share), replace=False) if share < 1 else training
        model, _ = fit_on_one_core(make, data, chosen)
        predictions[held_out] = model.predict(data.inputs.iloc[held_out])
    return predictions


def rmse(target: np.ndarray, predictions: np.ndarray) -> float:
    """Return the root mean squared error."""
    return float(np.sqrt(np.mean((predictions - target) ** 2)))


def rmse_difference(target: np.ndarray, predictions: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Return the RMSE of ``predictions`` minus that of ``others`` on the same rows, and its standard error.

    The difference is mean(u - v) / (rmse_u + rmse_v) of the squared errors u and v, its error that of mean(u - v) over the same.
    """
    gaps = (predictions - target) ** 2 - (others - target) ** 2
    total = rmse(target, predictions) + rmse(target, others)
    return float(gaps.mean() / total), float(gaps.std(ddof=1) / np.sqrt(len(gaps)) / total)
