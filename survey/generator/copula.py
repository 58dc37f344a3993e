"""Gaussian copula per group: the ranks of all numeric columns follow a multivariate normal, each column keeps its own distribution.

Fitted for every combination of the string columns (here: per sex). Nelsen, An Introduction to Copulas (2006), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from retraining.contract.rules import Contract

from .tables import grid_steps, snap

ROWS_PER_COLUMN = 5  # a group with fewer rows borrows the correlation of all rows


@dataclass(frozen=True)
class _Group:
    """One combination of the string columns: its share, its columns' sorted values and the root of its correlation."""

    labels: tuple[str, ...]
    share: float
    values: dict[str, np.ndarray]
    root: np.ndarray


class GaussianCopula:
    """Fits to typed rows and draws new ones.

    Args:
        contract: names and types of the columns.

    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._groups: list[_Group] = []
        self._steps: dict[str, float] = {}

    def fit(self, frame: pd.DataFrame) -> GaussianCopula:
        """Estimate shares, marginals and rank correlations.

        Raises:
            ValueError: there are fewer than two rows.

        """
        if len(frame) < 2:
            raise ValueError(f"a copula needs at least 2 rows, got {len(frame)}")
        contract = self._contract
        numeric, categorical = list(contract.numeric), list(contract.categorical)
        self._steps = grid_steps(frame, contract)
        pooled = _root(frame[numeric].to_numpy(dtype=float))
        parts = frame.groupby(categorical, sort=True) if categorical else [((), frame)]
        self._groups = []
        for labels, part in parts:
            matrix = part[numeric].to_numpy(dtype=float)
            enough = len(part) >= ROWS_PER_COLUMN * len(numeric)
            values = {name: np.sort(matrix[:, position]) for position, name in enumerate(numeric)}
            self._groups.append(
                _Group(tuple(labels), len(part) / len(frame), values, _root(matrix) if enough else pooled)
            )
        return self

    def sample(self, rows: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``rows`` new rows with the contract's columns, groups in random order."""
        contract = self._contract
        counts = rng.multinomial(rows, [group.share for group in self._groups])
        parts = [self._draw(group, int(count), rng) for group, count in zip(self._groups, counts, strict=True) if count]
        frame = pd.concat(parts, ignore_index=True)
        return snap(frame.iloc[rng.permutation(len(frame))].reset_index(drop=True), contract, self._steps)

    def _draw(self, group: _Group, rows: int, rng: np.random.Generator) -> pd.DataFrame:
        places = norm.cdf(rng.standard_normal((rows, len(group.values))) @ group.root.T)
        columns: dict[str, object] = dict(zip(self._contract.categorical, group.labels, strict=True))
        for position, (name, values) in enumerate(group.values.items()):
            whole = self._contract.column(name).type == "int"
            columns[name] = np.quantile(values, places[:, position], method="inverted_cdf" if whole else "linear")
        return pd.DataFrame(columns, index=range(rows))


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return a square root of the correlation of normal scores, shape (columns, columns); constant columns stand alone."""
    scores = norm.ppf((rankdata(matrix, axis=0) - 0.5) / len(matrix))
    spread = scores.std(axis=0)
    scores = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    correlation = scores.T @ scores / len(matrix)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    norms = np.linalg.norm(root, axis=1, keepdims=True)
    return root / np.where(norms > 0, norms, 1.0)
