"""Running sums that keep their digits over any number of rows."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence


class Total:
    """A running total with Neumaier's compensation."""

    __slots__ = ("_correction", "_total")

    def __init__(self) -> None:
        self._total = self._correction = 0.0

    def add(self, value: float) -> None:
        """Take in one value, usually the exact sum of a block."""
        total = self._total + value
        if abs(self._total) >= abs(value):
            self._correction += (self._total - total) + value
        else:
            self._correction += (value - total) + self._total
        self._total = total

    @property
    def value(self) -> float:
        """The total so far."""
        return self._total + self._correction


class Variation:
    """Mean and sum of squared deviations of one series, joined block by block (Chan, Golub and LeVeque 1983)."""

    __slots__ = ("deviation", "mean", "n")

    def __init__(self) -> None:
        self.n, self.mean, self.deviation = 0, 0.0, 0.0

    def add(self, values: Sequence[float]) -> None:
        """Take in a block, which is not empty."""
        m = len(values)
        mean = math.fsum(values) / m
        n = self.n + m
        gap = mean - self.mean
        centred = [value - mean for value in values]
        self.deviation += math.fsum(map(operator.mul, centred, centred)) + gap * gap * (self.n * m / n)
        self.mean += gap * m / n
        self.n = n
