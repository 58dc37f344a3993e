"""Makes a matrix of numbers of contract rows, by what the training rows held: shape (rows, columns), NaN where a value is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from retraining.contract.rules import Column
from retraining.inside.job_file import is_number

MOST_CATEGORIES = 200
"""Of a text column; histogram gradient boosting takes 255."""
DAY_ZERO = np.datetime64("2020-01-01", "D")
RARE = "(rare or new)"


class Matrix:
    """Numbers as they are, categories as codes from 0, dates as numbers.

    A column whose contract lists ``allowed`` values, up to ``MOST_CATEGORIES``, has one code for each, whether or not training saw it.
    Of other texts each that occurs in at least ``min_rows`` rows has a code, and all others, which a later row may bring, share one.
    A column without a value in any training row is left out.
    """

    def __init__(self, columns: Sequence[Column], min_rows: int) -> None:
        self.columns, self.min_rows = tuple(columns), min_rows
        self.categories: dict[str, list[str]] = {}
        self.names: list[str] = []

    def fit(self, frame: pd.DataFrame) -> Matrix:
        """Learn the categories of text columns whose contract does not list them, and which columns hold anything."""
        for column in self.columns:
            if column.type == "string":
                few = 0 < len(column.allowed) <= MOST_CATEGORIES
                self.categories[column.name] = list(column.allowed) if few else self._frequent(frame[column.name])
        empty = np.isnan(self._whole(frame)).all(axis=0)
        names = [name for column in self.columns for name in self._names(column)]
        self.names = [name for name, nothing in zip(names, empty, strict=True) if not nothing]
        self._kept = ~empty
        return self

    def _frequent(self, texts: pd.Series) -> list[str]:
        counts = texts.value_counts()
        frequent = sorted(
            (name for name in counts.index if counts[name] >= self.min_rows), key=lambda n: (-counts[n], n)
        )
        return [*frequent[:MOST_CATEGORIES], RARE]

    @property
    def categorical(self) -> np.ndarray:
        """Which columns of the matrix hold codes, shape (columns,)."""
        return np.array([name in self.categories for name in self.names], dtype=bool)

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the matrix of some rows, by column name."""
        return self._whole(frame)[:, self._kept]

    def _whole(self, frame: pd.DataFrame) -> np.ndarray:
        parts = [self._part(column, frame[column.name]) for column in self.columns]
        return np.concatenate(parts, axis=1) if parts else np.empty((len(frame), 0))

    def _names(self, column: Column) -> list[str]:
        if column.type not in ("date", "timestamp"):
            return [column.name]
        kinds = ("day", "day_of_year", "weekday", *(("hour",) if column.type == "timestamp" else ()))
        return [f"{column.name}.{kind}" for kind in kinds]

    def _part(self, column: Column, values: pd.Series) -> np.ndarray:
        if is_number(column):
            return values.to_numpy(dtype=float).reshape(-1, 1)
        if column.type == "string":
            return self._codes(column.name, values)
        return _calendar(values, hours=column.type == "timestamp")

    def _codes(self, name: str, values: pd.Series) -> np.ndarray:
        places = {text: float(code) for code, text in enumerate(self.categories[name])}
        other = places.get(RARE, np.nan)
        codes = values.map(places).to_numpy(dtype=float)
        codes = np.where(np.isnan(codes) & values.notna().to_numpy(), other, codes)
        return codes.reshape(-1, 1)


def _calendar(values: pd.Series, hours: bool) -> np.ndarray:
    """Return days since 2020, day of the year, weekday from Monday, and hours of the day in UTC where asked for."""
    instants = pd.to_datetime(values, utc=True, format="ISO8601").dt.tz_localize(None)
    days = (instants - pd.Timestamp(DAY_ZERO)).dt.total_seconds() / 86_400
    found = [days, instants.dt.dayofyear, instants.dt.weekday]
    if hours:
        found.append(instants.dt.hour + instants.dt.minute / 60)
    return np.column_stack([part.to_numpy(dtype=float, na_value=np.nan) for part in found])


class Standard:
    """Makes the inputs of a linear model or a network of a matrix: gaps filled and marked, numbers standardised, codes as indicators.

    A number beyond ``clip`` standard deviations counts as that many. A category that is missing has no indicator set.
    """

    def __init__(self, matrix: Matrix, clip: float) -> None:
        self.matrix, self.clip = matrix, clip

    def fit(self, values: np.ndarray) -> Standard:
        """Learn medians, means and deviations of the numbers from training rows, shape (rows, columns) as ``Matrix`` makes them."""
        numbers = values[:, ~self.matrix.categorical]
        gaps = np.isnan(numbers)
        self.gaps = gaps.any(axis=0)
        known = ~gaps.all(axis=0)
        self.medians = np.zeros(numbers.shape[1])
        self.medians[known] = np.nanmedian(numbers[:, known], axis=0)
        filled = np.where(gaps, self.medians, numbers)
        self.means, deviations = filled.mean(axis=0), filled.std(axis=0)
        self.deviations = np.where(deviations > 0, deviations, 1.0)
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return the inputs, shape (rows, inputs)."""
        categorical = self.matrix.categorical
        numbers, codes = values[:, ~categorical], values[:, categorical]
        gaps = np.isnan(numbers)
        scaled = (np.where(gaps, self.medians, numbers) - self.means) / self.deviations
        sizes = [len(self.matrix.categories[name]) for name in self.matrix.names if name in self.matrix.categories]
        indicators = [codes[:, [place]] == np.arange(size) for place, size in enumerate(sizes)]
        parts = [np.clip(scaled, -self.clip, self.clip), gaps[:, self.gaps], *indicators]
        return np.concatenate(parts, axis=1).astype(float)
