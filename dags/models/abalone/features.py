"""What a trained artifact consists of: the classes that ``model.joblib`` pickles.

The training job copies this file into the artifact and the artifact is always loaded with its own copy, so a change
here never breaks a model that was trained before. Keep every class that a pickle can hold in this one module, and
import nothing but numpy, pandas and scikit-learn: the serving container has nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVR
from sklearn.utils.validation import check_is_fitted

SEXES = ("M", "F", "I")
LENGTHS = ("length", "diameter", "height")
WEIGHTS = ("whole_weight", "shucked_weight", "viscera_weight", "shell_weight")
MEASUREMENTS = (*LENGTHS, *WEIGHTS)
SEX_INDICATORS = tuple(f"sex_{name}" for name in SEXES)

# Half the step in which the survey records: what was measured as 0 lies somewhere below it, and a log needs a value.
LENGTH_FLOOR = 0.0025
WEIGHT_FLOOR = 0.00025


def measurements(frame: pd.DataFrame) -> np.ndarray:
    """Return the seven measurements as floats, shape (rows, 7), in the order of ``MEASUREMENTS``.

    Raises:
        ValueError: a column is missing or holds a value that is no finite number.

    """
    missing = [name for name in MEASUREMENTS if name not in frame.columns]
    if missing:
        raise ValueError(
            f"the rows have no column {', '.join(missing)} (columns: {', '.join(map(str, frame.columns))})"
        )
    columns = []
    for name in MEASUREMENTS:
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            value = frame[name].iloc[bad[0]]
            shown = value.item() if isinstance(value, np.generic) else value  # nan, not np.float64(nan)
            raise ValueError(f"row {bad[0] + 1}: {name} is {shown!r}, not a finite number")
        columns.append(values)
    return np.column_stack(columns)


def sex_indicators(frame: pd.DataFrame) -> np.ndarray:
    """Return one 0/1 column per sex, shape (rows, 3), in the order of ``SEXES``.

    Raises:
        ValueError: the column is missing or holds another value than ``SEXES``.

    """
    if "sex" not in frame.columns:
        raise ValueError(f"the rows have no column sex (columns: {', '.join(map(str, frame.columns))})")
    sex = frame["sex"].to_numpy(dtype=object)
    indicators = np.column_stack([(sex == name).astype(float) for name in SEXES])
    unknown = np.flatnonzero(indicators.sum(axis=1) == 0)
    if unknown.size:
        raise ValueError(f"row {unknown[0] + 1}: sex is {sex[unknown[0]]!r}, expected one of {', '.join(SEXES)}")
    return indicators


class RawInputs(TransformerMixin, BaseEstimator):
    """The seven measurements and the sex indicators as they are, for the linear baseline."""

    def fit(self, frame: pd.DataFrame, target: Any = None) -> RawInputs:
        """Learn nothing but the number of inputs, which scikit-learn wants to know."""
        self.n_features_in_ = frame.shape[1]
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """Return measurements and indicators, shape (rows, 10).

        Raises:
            ValueError: a column is missing or holds a value that is no measurement or sex.

        """
        return np.hstack([measurements(frame), sex_indicators(frame)])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the name of each column of ``transform``."""
        return np.array([*MEASUREMENTS, *SEX_INDICATORS], dtype=object)


class RatioFeatures(TransformerMixin, BaseEstimator):
    """Measurements, their logs, and the ratios that say more about age than size does.

    Volume and density, each part's share of the whole weight, shell against meat, and the proportions of the shell. All
    are functions of one row, so nothing is learned from the data and nothing can leak.
    """

    def fit(self, frame: pd.DataFrame, target: Any = None) -> RatioFeatures:
        """Learn nothing but the number of inputs, which scikit-learn wants to know."""
        self.n_features_in_ = frame.shape[1]
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the features, shape (rows, ``len(get_feature_names_out())``), all finite.

        Raises:
            ValueError: a column is missing or holds a value that the features are not defined for.

        """
        floors = np.repeat([LENGTH_FLOOR, WEIGHT_FLOOR], [len(LENGTHS), len(WEIGHTS)])
        values = np.maximum(measurements(frame), floors)
        length, diameter, height, whole, shucked, viscera, shell = values.T
        volume = length * diameter * height
        ratios = [
            np.log(volume),
            np.log(whole / volume),
            shucked / whole,
            viscera / whole,
            shell / whole,
            (whole - shucked - viscera - shell) / whole,
            np.log(shell / shucked),
            diameter / length,
            height / length,
        ]
        return np.column_stack([values, np.log(values), *ratios, sex_indicators(frame)])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the name of each column of ``transform``."""
        ratios = [
            "log_volume",
            "log_density",
            "shucked_share",
            "viscera_share",
            "shell_share",
            "water_share",
            "log_shell_to_shucked",
            "diameter_to_length",
            "height_to_length",
        ]
        names = [*MEASUREMENTS, *(f"log_{name}" for name in MEASUREMENTS), *ratios, *SEX_INDICATORS]
        return np.array(names, dtype=object)


class MatrixSVR(SVR):
    """Support vector regression with a radial kernel that answers by matrix products: several times as fast for many rows.

    An explanation asks about thousands of mixtures. scikit-learn's own ``predict`` goes from support vector to support vector; this adds up
    the same terms in another order.
    """

    BLOCK = 512
    """Rows at once, whose kernel values fit into a processor's cache."""

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803  # scikit-learn's own name
        """Return the prediction for each row, shape (rows,)."""
        check_is_fitted(self)
        rows = np.asarray(X, dtype=float)
        blocks = (rows[start : start + self.BLOCK] for start in range(0, len(rows), self.BLOCK))
        sums = [
            rbf_kernel(block, self.support_vectors_, gamma=float(self.gamma)) @ self.dual_coef_[0] for block in blocks
        ]
        return np.concatenate(sums) + self.intercept_[0]


class SmearedLogTarget(RegressorMixin, BaseEstimator):
    """Fit a regressor to the log of a positive target and predict the mean on the original scale.

    exp(mean of the log) is the median, not the mean; Duan's smearing estimate multiplies it by the mean of
    exp(residual) (Duan 1983, Journal of the American Statistical Association 78, 605-610).
    """

    def __init__(self, regressor: Any) -> None:
        self.regressor = regressor

    def fit(self, features: Any, target: Any) -> SmearedLogTarget:
        """Fit to ``target``, shape (rows,).

        Raises:
            ValueError: the target is not above 0 everywhere.

        """
        target = np.asarray(target, dtype=float)
        if not np.all(target > 0):
            raise ValueError(f"the target must be above 0 for a log, its minimum is {np.min(target)!r}")
        log_target = np.log(target)
        self.regressor_ = clone(self.regressor).fit(features, log_target)
        self.smearing_ = float(np.mean(np.exp(log_target - self.regressor_.predict(features))))
        return self

    def predict(self, features: Any) -> np.ndarray:
        """Return the predicted mean, shape (rows,), in the unit of the target."""
        return np.exp(self.regressor_.predict(features)) * self.smearing_


NETWORK_INPUTS = (*SEX_INDICATORS, *MEASUREMENTS)


def network_inputs(frame: pd.DataFrame) -> np.ndarray:
    """Return ``NETWORK_INPUTS``, each row scaled to length 1 (L2), shape (rows, 10)."""
    values = np.hstack([sex_indicators(frame), measurements(frame)])
    return values / np.linalg.norm(values, axis=1, keepdims=True)  # never 0: one indicator is 1


class DenseNetwork:
    """A trained feed-forward network with ReLU layers and one linear output, as plain arrays.

    Training needs TensorFlow, scoring does not: an artifact of the ``keras`` algorithm is evaluated and served by the
    same container as all others.
    """

    def __init__(self, layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Take (weights of shape (inputs, units), biases of shape (units,)) per layer, in order."""
        self.layers = [(np.asarray(weights), np.asarray(biases)) for weights, biases in layers]

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the prediction for each row of ``frame``, shape (rows,)."""
        values = network_inputs(frame)
        for weights, biases in self.layers[:-1]:
            values = np.maximum(values @ weights + biases, 0)
        weights, biases = self.layers[-1]
        return (values @ weights + biases).ravel()
