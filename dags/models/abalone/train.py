"""Fit one of the abalone model's algorithms: ``fit``, which the library calls in the training job.

Everything around it is the library's: reading the data, scoring the validation rows, the artifact, evaluation and serving. What
hyperparameters there are is in hyperparameters.py; what is pickled is in features.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from features import NETWORK_INPUTS, DenseNetwork, MatrixSVR, RatioFeatures, RawInputs, SmearedLogTarget, network_inputs
from hyperparameters import DEFAULT_ALGORITHM, OPTIONS, complete
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler


class Algorithm(NamedTuple):
    """A way to train: how to get a model with ``fit(frame, target)`` and ``predict(frame)``; see hyperparameters.py for what can be set."""

    build: Callable[[Mapping[str, Any], int], Any]
    """Takes hyperparameters and seed."""
    features: Sequence[str]
    """Names of what the regressor sees."""


def fit(frame: pd.DataFrame, target: Any, hyperparameters: Mapping[str, Any], seed: int) -> Any:
    """Return a fitted model with ``predict(frame)``.

    Args:
        frame: rows with the contract's columns, without the target.
        target: rings, shape (rows,).
        hyperparameters: ``algorithm``, and ``params`` to override some of its defaults.
        seed: of everything random.

    Raises:
        ValueError: unknown algorithm or hyperparameter.

    """
    unknown = sorted(set(hyperparameters) - set(OPTIONS))
    if unknown:
        raise ValueError(f"unknown hyperparameter {', '.join(unknown)}; a candidate can give {', '.join(OPTIONS)}")
    algorithm = hyperparameters.get("algorithm", DEFAULT_ALGORITHM)
    params = hyperparameters.get("params", {})
    fitted = build(algorithm, params, seed).fit(frame, np.asarray(target, dtype=float))
    model = fitted.network_ if isinstance(fitted, KerasNetwork) else fitted
    model.about = {
        "algorithm": algorithm,
        "hyperparameters": complete(algorithm, params),
        "features": list(ALGORITHMS[algorithm].features),
    }
    return model


def build(algorithm: str, params: Mapping[str, Any] | None = None, seed: int = 0) -> Any:
    """Return an untrained model of ``algorithm`` with ``fit(frame, target)`` and ``predict(frame)``.

    Raises:
        ValueError: unknown algorithm or hyperparameter.

    """
    hyperparameters = complete(algorithm, params or {})
    return ALGORITHMS[algorithm].build(hyperparameters, seed)


def _linear(params: Mapping[str, Any], seed: int) -> Any:
    return make_pipeline(RawInputs(), LinearRegression())


def _svr_hgb_members(params: Mapping[str, Any], seed: int) -> list[tuple[str, Any]]:
    support_vectors = MatrixSVR(C=params["svr_C"], epsilon=params["svr_epsilon"], gamma=params["svr_gamma"])
    boosting = HistGradientBoostingRegressor(
        learning_rate=params["hgb_learning_rate"],
        max_iter=params["hgb_max_iter"],
        max_leaf_nodes=params["hgb_max_leaf_nodes"],
        min_samples_leaf=params["hgb_min_samples_leaf"],
        early_stopping=False,  # "auto" would start to hold rows back once the data passes 10,000 rows
        random_state=seed,
    )
    return [("svr", make_pipeline(StandardScaler(), support_vectors)), ("hgb", boosting)]


def _svr_hgb(params: Mapping[str, Any], seed: int) -> Any:
    return make_pipeline(RatioFeatures(), SmearedLogTarget(VotingRegressor(_svr_hgb_members(params, seed))))


def _svr_hgb_mlp(params: Mapping[str, Any], seed: int) -> Any:
    networks = [
        MLPRegressor(
            hidden_layer_sizes=(params["mlp_units"], params["mlp_units"]),
            alpha=params["mlp_alpha"],
            learning_rate_init=params["mlp_learning_rate"],
            early_stopping=True,
            max_iter=params["mlp_max_iter"],
            random_state=seed + number,
        )
        for number in range(params["mlp_count"])
    ]
    ensemble = VotingRegressor([(f"mlp{number}", network) for number, network in enumerate(networks)])
    # Unlike trees and kernels, networks extrapolate without bound: cap what the outliers of the data would feed them.
    capped = FunctionTransformer(np.clip, kw_args={"a_min": -params["mlp_clip"], "a_max": params["mlp_clip"]})
    on_original_scale = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), capped, ensemble), transformer=StandardScaler()
    )
    members = [
        ("svr_hgb", SmearedLogTarget(VotingRegressor(_svr_hgb_members(params, seed)))),
        ("mlps", on_original_scale),
    ]
    return make_pipeline(RatioFeatures(), VotingRegressor(members, weights=[2, 1]))


class KerasNetwork:
    """The published network: two ReLU layers and a linear output on L2-normalised rows, mean squared error, Adam."""

    def __init__(self, params: Mapping[str, Any], seed: int) -> None:
        self.params = params
        self.seed = seed

    def fit(self, frame: pd.DataFrame, target: np.ndarray) -> KerasNetwork:
        """Train with TensorFlow and keep the weights as ``network_``, which scores without it.

        Raises:
            RuntimeError: TensorFlow is not installed here.

        """
        try:
            import keras
            import tensorflow
        except ImportError as error:
            raise RuntimeError(
                "the algorithm keras needs TensorFlow, which this environment does not have: run it in the "
                "tensorflow-training image (locally: install the optional tensorflow environment), or choose svr_hgb"
            ) from error
        keras.utils.set_random_seed(self.seed)
        tensorflow.config.experimental.enable_op_determinism()
        inputs = network_inputs(frame)
        units = self.params["units"]
        network = keras.Sequential(
            [
                keras.Input((inputs.shape[1],)),
                keras.layers.Dense(units, activation="relu", kernel_initializer="random_normal"),
                keras.layers.Dense(units, activation="relu"),
                keras.layers.Dense(1),
            ]
        )
        network.compile(optimizer=keras.optimizers.Adam(self.params["learning_rate"]), loss="mse")
        network.fit(
            inputs, target, epochs=self.params["epochs"], batch_size=self.params["batch_size"], shuffle=True, verbose=0
        )
        self.network_ = DenseNetwork([tuple(layer.get_weights()) for layer in network.layers])
        return self

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the prediction for each row, shape (rows,)."""
        return self.network_.predict(frame)


RATIO_FEATURES = list(RatioFeatures().get_feature_names_out())
ALGORITHMS: dict[str, Algorithm] = {  # of the names in hyperparameters.py
    "svr_hgb": Algorithm(_svr_hgb, RATIO_FEATURES),
    "svr_hgb_mlp": Algorithm(_svr_hgb_mlp, RATIO_FEATURES),
    "linear": Algorithm(_linear, list(RawInputs().get_feature_names_out())),
    "keras": Algorithm(KerasNetwork, NETWORK_INPUTS),
}
