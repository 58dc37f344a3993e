"""Between a task's target and the sums that trees and networks make: what they learn to add up to, and what a sum answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from retraining.inside.job_file import CLASSIFICATION

LEAST_MEAN = 1e-9
"""Of a count: its mean is above 0, whatever a model says."""
MOST = 300.0
"""Of a sum that is an exponent."""


class Link:
    """Learned from the target of the training rows.

    A sum is a standardised number of a regression, the log of a count's mean, the log odds of the second of two classes, or of more classes
    the log of a share for each.
    """

    def __init__(self, task: str, target: np.ndarray) -> None:
        self.task = task
        self.mean, self.spread = 0.0, 1.0
        self.classes_: np.ndarray | None = None
        if task in CLASSIFICATION:
            self.classes_, codes = np.unique(target, return_inverse=True)
            logs = np.log(np.bincount(codes) / len(target))
            self.start = logs[1:] - logs[:1] if task == "binary" else logs
        elif task == "count":
            self.start = np.log(np.maximum([target.mean()], LEAST_MEAN))
        else:
            self.mean, self.spread = float(target.mean()), float(target.std()) or 1.0
            self.start = np.zeros(1)

    @property
    def outputs(self) -> int:
        """How many sums a row has."""
        return len(self.start)

    def encoded(self, target: np.ndarray) -> np.ndarray:
        """Return the target as numbers, shape (rows,): of a classification the places of the classes.

        Raises:
            ValueError: a class is none of the training rows'.

        """
        if self.classes_ is None:
            return (target - self.mean) / self.spread
        places = np.minimum(np.searchsorted(self.classes_, target), len(self.classes_) - 1)
        if (self.classes_[places] != target).any():
            raise ValueError("the validation rows hold a class that no training row has")
        return places

    def answers(self, sums: np.ndarray) -> np.ndarray:
        """Return the answers of sums of shape (rows, outputs): numbers, or probabilities of shape (rows, classes)."""
        if self.task == "binary":
            return np.exp(-np.logaddexp(0.0, np.concatenate([sums, -sums], axis=1)))
        if self.task == "multiclass":
            shares = np.exp(sums - sums.max(axis=1, keepdims=True))
            return shares / shares.sum(axis=1, keepdims=True)
        if self.task == "count":
            return np.exp(np.minimum(sums[:, 0], MOST))
        return self.mean + self.spread * sums[:, 0]


class Summed:
    """An estimator of matrices that answers what a link makes of sums. It holds numbers alone, which any image can load."""

    def __init__(self, link: Link, summing: Any, iterations: int) -> None:
        self.link, self.summing, self.n_iter_ = link, summing, iterations
        if link.classes_ is not None:
            self.classes_ = link.classes_

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Return the prediction for each row, shape (rows,)."""
        answers = self.link.answers(self.summing.sums(values))
        return answers if self.link.classes_ is None else self.link.classes_[answers.argmax(axis=1)]

    def predict_proba(self, values: np.ndarray) -> np.ndarray:
        """Return the probabilities of each row, shape (rows, classes)."""
        return self.link.answers(self.summing.sums(values))


def check_same(own: np.ndarray, theirs: np.ndarray, library: str) -> None:
    """Check that what was read out of a library's model adds up to what the library says, shape (rows, outputs) each.

    Raises:
        RuntimeError: it does not.

    """
    off = float(np.max(np.abs(own - theirs) / (1 + np.abs(theirs)), initial=0.0))
    if not off < 1e-3:
        raise RuntimeError(
            f"the model that was read out of {library} answers otherwise than {library} itself, by {off:.2g}: "
            f"this version of {library} keeps its models in another form; train in the trainer's own image"
        )
