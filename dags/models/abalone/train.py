"""Train one algorithm on the training channel and write the artifact: model, model card and the code that loads it.

Runs in SageMaker script mode: hyperparameters arrive as arguments, the channels and the output folder as
``SM_CHANNEL_*`` and ``SM_MODEL_DIR``. The channels hold header-less CSV, columns as ``--columns`` says, in any number
of files. The model is fitted to the training channel only; the validation channel is scored, which is what candidates
are chosen by.

The artifact: ``model.joblib`` (one object with ``predict(frame)``, preprocessing included), ``model_card.json``
(features, hyperparameters, data, metrics, versions), ``code/inference.py`` and ``code/features.py``.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
from evaluate import error_statistics, group_statistics
from features import NETWORK_INPUTS, DenseNetwork, RatioFeatures, RawInputs, SmearedLogTarget, network_inputs
from hyperparameters import DEFAULT_ALGORITHM, complete
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR
from threadpoolctl import threadpool_limits

HERE = Path(__file__).resolve().parent
ARTIFACT_CODE = ("inference.py", "features.py")
ROWS_WORTH_THREADS = (
    20_000  # below, threads wait for each other longer than they work, and much longer on a busy machine
)


@dataclass(frozen=True)
class Algorithm:
    """A way to train: how to get a model with ``fit(frame, target)`` and ``predict(frame)``; see hyperparameters.py for what can be set."""

    build: Callable[[Mapping[str, Any], int], Any]
    """Takes hyperparameters and seed."""
    features: Sequence[str]
    """Names of what the regressor sees."""


def build(algorithm: str, params: Mapping[str, Any] | None = None, seed: int = 0) -> Any:
    """Return an untrained model of ``algorithm`` with ``fit(frame, target)`` and ``predict(frame)``.

    Raises:
        ValueError: unknown algorithm or hyperparameter.

    """
    hyperparameters = complete(algorithm, params or {})
    return ALGORITHMS[algorithm].build(hyperparameters, seed)


def train(algorithm: str, frame: pd.DataFrame, target: np.ndarray, params: Mapping[str, Any], seed: int) -> Any:
    """Return a model fitted to ``frame`` (contract columns) and ``target``, shape (rows,), ready to be pickled."""
    model = build(algorithm, params, seed)
    with threadpool_limits(1 if len(frame) < ROWS_WORTH_THREADS else None):
        fitted = model.fit(frame, target)
    return fitted.network_ if isinstance(fitted, KerasNetwork) else fitted


def _linear(params: Mapping[str, Any], seed: int) -> Any:
    return make_pipeline(RawInputs(), LinearRegression())


def _svr_hgb_members(params: Mapping[str, Any], seed: int) -> list[tuple[str, Any]]:
    support_vectors = SVR(C=params["svr_C"], epsilon=params["svr_epsilon"], gamma=params["svr_gamma"])
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


def read_channel(folder: Path, columns: Sequence[str], target: str) -> pd.DataFrame:
    """Return the rows of every ``*.csv`` under ``folder``, header-less, with ``columns`` as names.

    Files are read in the order of their paths, so the same channel gives the same rows in the same order.

    Raises:
        ValueError: no rows, a file with another number of columns, or a target that is not a finite number.

    """
    frames = []
    for path in sorted(folder.rglob("*.csv")):
        if path.stat().st_size == 0:  # Spark writes one for an empty partition
            continue
        frame = pd.read_csv(path, header=None, skipinitialspace=True, keep_default_na=False)
        if frame.shape[1] != len(columns):
            raise ValueError(f"{path} has {frame.shape[1]} columns, expected {len(columns)}: {', '.join(columns)}")
        frame.columns = list(columns)
        numbers = pd.to_numeric(frame[target], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        bad = np.flatnonzero(~np.isfinite(numbers))
        if bad.size:
            raise ValueError(f"{path}, line {bad[0] + 1}: {target} is {frame[target].iloc[bad[0]]!r}, not a number")
        frame[target] = numbers
        frames.append(frame)
    if not frames:
        raise ValueError(f"no rows in any *.csv under {folder}: the channel is empty")
    return pd.concat(frames, ignore_index=True)


def score(model: Any, frame: pd.DataFrame, target: str, group: str) -> dict[str, Any]:
    """Return the model's error statistics on ``frame``, overall and per value of column ``group``."""
    truth = frame[target].to_numpy(dtype=float)
    predictions = np.asarray(model.predict(frame.drop(columns=target)), dtype=float)
    if predictions.shape != truth.shape or not np.all(np.isfinite(predictions)):
        raise ValueError(
            f"the model returned {predictions.shape} predictions for {truth.shape} rows, or not finite ones"
        )
    groups = group_statistics(truth, predictions, frame[group].astype(str).to_numpy())
    return {"n": len(truth), **error_statistics(truth, predictions), "groups": groups}


def write_artifact(folder: Path, model: Any, card: Mapping[str, Any]) -> None:
    """Write model, card and the code that loads them to ``folder``."""
    code = folder / "code"
    code.mkdir(parents=True, exist_ok=True)
    for name in ARTIFACT_CODE:
        shutil.copyfile(HERE / name, code / name)
    joblib.dump(model, folder / "model.joblib", compress=3)
    text = json.dumps(card, indent=2, allow_nan=False)
    (folder / "model_card.json").write_text(text + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the arguments and the ``SM_*`` environment say."""
    args = _parse(arguments)
    params = complete(args.algorithm, args.params)
    for name in (args.target, args.group):
        if name not in args.columns:
            raise ValueError(f"--columns {args.columns} has no {name!r}")
    training = read_channel(_folder("SM_CHANNEL_TRAIN"), args.columns, args.target)
    validation = read_channel(_folder("SM_CHANNEL_VALIDATION"), args.columns, args.target)
    inputs = [name for name in args.columns if name != args.target]
    print(f"training {args.algorithm} on {len(training)} rows, {json.dumps(params)}, seed {args.seed}")
    started = time.perf_counter()
    model = train(args.algorithm, training[inputs], training[args.target].to_numpy(), params, args.seed)
    seconds = time.perf_counter() - started
    metrics = {
        "train": score(model, training, args.target, args.group),
        "validation": score(model, validation, args.target, args.group),
    }
    card = {
        "schema_version": 1,
        "algorithm": args.algorithm,
        "hyperparameters": params,
        "seed": args.seed,
        "target": args.target,
        "group": args.group,
        "columns": inputs,
        "features": list(ALGORITHMS[args.algorithm].features),
        "dataset_version": args.dataset_version,
        "rows": {"train": len(training), "validation": len(validation)},
        "metrics": metrics,
        "versions": _versions(),
    }
    write_artifact(_folder("SM_MODEL_DIR"), model, card)
    for split, values in metrics.items():
        print("".join(f"{split}:{name}={values[name]:.6f}; " for name in ("rmse", "mae", "bias")))
    print(f"train:seconds={seconds:.3f};")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--algorithm", choices=list(ALGORITHMS), default=DEFAULT_ALGORITHM)
    parser.add_argument("--columns", type=_json_value, required=True, help="names in file order, a JSON list")
    parser.add_argument("--target", required=True)
    parser.add_argument("--group", required=True, help="column whose values the metrics are split by")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--params", type=_json_value, default={}, help="hyperparameters to override, a JSON object")
    parser.add_argument("--dataset-version", type=int, default=None, help="recorded in the model card")
    parser.add_argument("--model_dir", help="the TensorFlow container passes it; SM_MODEL_DIR is used instead")
    args = parser.parse_args(arguments)
    if not isinstance(args.columns, list) or not all(isinstance(name, str) for name in args.columns):
        parser.error(f"--columns must be a JSON list of names, got {args.columns!r}")
    if not isinstance(args.params, dict):
        parser.error(f"--params must be a JSON object, got {args.params!r}")
    return args


def _json_value(text: str) -> Any:
    """Return ``text`` as JSON, or as the Python literal that the training toolkit makes of a JSON hyperparameter."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not JSON") from error


def _folder(variable: str) -> Path:
    if variable not in os.environ:
        raise ValueError(
            f"{variable} is not set: SageMaker sets it for each channel; set it to a folder to run by hand"
        )
    return Path(os.environ[variable])


def _versions() -> dict[str, str]:
    modules = [joblib, np, pd, sklearn, *(sys.modules[name] for name in ("tensorflow", "keras") if name in sys.modules)]
    return {"python": platform.python_version(), **{module.__name__: module.__version__ for module in modules}}


if __name__ == "__main__":
    sys.exit(main())
