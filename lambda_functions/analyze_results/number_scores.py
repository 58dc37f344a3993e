"""Errors of models that predict a number."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from sums import Total, Variation


def squared_errors(truth: Sequence[float], predicted: Sequence[float]) -> list[float]:
    """Return the loss of a regression by row."""
    errors = list(map(operator.sub, predicted, truth))
    return list(map(operator.mul, errors, errors))


def deviances(truth: Sequence[float], predicted: Sequence[float]) -> list[float]:
    """Return the Poisson deviance of counts by row; a prediction that is not above 0 is an error."""
    found = []
    for y, mu in zip(truth, predicted, strict=True):
        if mu <= 0 or y < 0:
            raise ValueError(f"the Poisson deviance needs counts and predictions above 0, got {y!r} and {mu!r}")
        found.append(2.0 * ((y * math.log(y / mu) if y else 0.0) - y + mu))
    return found


class NumberScores:
    """Sums over the errors of one model on one set of rows."""

    __slots__ = ("_absolute", "_loss", "_signed", "_squared", "n")

    def __init__(self) -> None:
        self.n = 0
        self._signed, self._absolute, self._squared, self._loss = Total(), Total(), Total(), Total()

    def add(self, truth: Sequence[float], predicted: Sequence[float], losses: Sequence[float]) -> None:
        """Take in a block of rows."""
        errors = list(map(operator.sub, predicted, truth))
        squared = math.fsum(map(operator.mul, errors, errors))
        if not math.isfinite(squared):  # catches NaN and infinity of any input, at the price of one look per block
            raise ValueError("an error is not finite or too large to square")
        self.n += len(errors)
        self._squared.add(squared)
        self._signed.add(math.fsum(errors))
        self._absolute.add(math.fsum(map(abs, errors)))
        self._loss.add(math.fsum(losses))

    def statistics(self, truth: Variation | None = None, count: bool = False) -> dict[str, float | None]:
        """Return rmse, mae, bias, mean loss, and r2 where the truth's variation is given; r2 is None when it does not vary."""
        found: dict[str, float | None] = {
            "rmse": math.sqrt(self._squared.value / self.n),
            "mae": self._absolute.value / self.n,
            "bias": self._signed.value / self.n,
            "loss": self._loss.value / self.n,
        }
        if truth is not None:
            found["r2"] = 1.0 - self._squared.value / truth.deviation if truth.deviation > 0 else None
        if count:
            found["deviance"] = found["loss"]
        return found
