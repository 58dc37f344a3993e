"""How close generated rows are to real ones, in numbers.

- columns: Kolmogorov-Smirnov distance and Wasserstein distance in standard deviations of the real column; for text columns total variation.
- relations: differences of Spearman correlations.
- a two-sample classifier (Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, 2017): the cross-validated AUC with which
  histogram boosting tells generated rows from real ones; 0.5 is indistinguishable, 1 is a giveaway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp, spearmanr, wasserstein_distance
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from retraining.contract.rows import line_reasons
from retraining.contract.rules import Contract

FOLDS = 5
LARGEST_SAMPLE = 2_000  # rows per side that the classifier sees
SMALLEST_SAMPLE = 20


def compare(real: pd.DataFrame, generated: pd.DataFrame, contract: Contract, seed: int = 0) -> dict[str, Any]:
    """Return all distances between two typed frames with the contract's columns; AUC None for fewer than 20 rows on a side."""
    before, after = correlations(real, contract), correlations(generated, contract)
    pairs = np.triu_indices(len(before), 1)
    difference = np.abs(after - before)[pairs]
    worst = int(np.argmax(difference)) if len(difference) else 0
    return {
        "columns": {
            column.name: _column(real[column.name], generated[column.name], column.numeric)
            for column in contract.columns
        },
        "correlation": {
            "mean_difference": float(difference.mean()) if len(difference) else 0.0,
            "largest_difference": float(difference[worst]) if len(difference) else 0.0,
            "largest_pair": [contract.numeric[pairs[0][worst]], contract.numeric[pairs[1][worst]]]
            if len(difference)
            else [],
        },
        "classifier_auc": classifier_auc(real, generated, contract, seed),
    }


def violations(lines: Iterable[str], contract: Contract) -> dict[str, Any]:
    """Count what the merge will reject: rows, rejected rows, and rows per reason (a row can have several)."""
    rows = bad = 0
    reasons: Counter[str] = Counter()
    for text in lines:
        found = line_reasons(contract, text)
        rows += 1
        bad += bool(found)
        reasons.update(found)
    return {"rows": rows, "rejected": bad, "share": bad / rows if rows else 0.0, "reasons": dict(reasons.most_common())}


def correlations(frame: pd.DataFrame, contract: Contract) -> np.ndarray:
    """Return Spearman correlations of the numeric columns, shape (columns, columns); 0 where a column is constant."""
    matrix = frame[list(contract.numeric)].to_numpy(dtype=float)
    moving = np.flatnonzero(np.ptp(matrix, axis=0) > 0) if len(matrix) else np.array([], dtype=int)
    full = np.eye(matrix.shape[1])
    if len(moving) > 1:
        found = spearmanr(matrix[:, moving]).statistic
        full[np.ix_(moving, moving)] = found if np.ndim(found) else [[1.0, found], [found, 1.0]]
    return full


def classifier_auc(real: pd.DataFrame, generated: pd.DataFrame, contract: Contract, seed: int) -> float | None:
    """Return the cross-validated AUC on equally many rows of both, None when there are too few."""
    size = min(len(real), len(generated), LARGEST_SAMPLE)
    if size < SMALLEST_SAMPLE:
        return None
    rng = np.random.default_rng(seed)
    sides = [frame.iloc[rng.choice(len(frame), size, replace=False)] for frame in (real, generated)]
    both = pd.concat(sides, ignore_index=True)
    inputs = both[list(contract.numeric)].astype(float)
    for name in contract.categorical:
        inputs[name] = pd.Categorical(both[name]).codes.astype(float)
    label = np.repeat([0, 1], size)
    model = HistGradientBoostingClassifier(max_iter=60, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with threadpool_limits(1):  # on a busy machine the threads of so small a fit only wait for each other
        scores = cross_val_predict(model, inputs.to_numpy(), label, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(label, scores))


def _column(real: pd.Series, generated: pd.Series, numeric: bool) -> dict[str, Any]:
    if not numeric:
        shares = [side.value_counts(normalize=True) for side in (real, generated)]
        values = sorted({*shares[0].index, *shares[1].index})
        listed = [[float(share.get(value, 0.0)) for value in values] for share in shares]
        return {
            "total_variation": sum(abs(a - b) for a, b in zip(*listed, strict=True)) / 2,
            "real": dict(zip(values, listed[0], strict=True)),
            "generated": dict(zip(values, listed[1], strict=True)),
        }
    before, after = real.to_numpy(dtype=float), generated.to_numpy(dtype=float)
    spread = float(before.std()) or 1.0
    return {
        "kolmogorov_smirnov": float(ks_2samp(before, after, method="asymp").statistic),
        "wasserstein": float(wasserstein_distance(before, after)) / spread,
        "mean": {"real": float(before.mean()), "generated": float(after.mean())},
    }
