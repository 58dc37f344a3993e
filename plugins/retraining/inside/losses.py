"""Losses and scores by task: what an evaluation writes for each row, and what a training prints.

A loss is a proper one: in the mean it is least for the model that tells the truth. Squared error for a regression, log loss for a
classification, Poisson deviance for a count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from retraining.inside.answers import labels_of

CLIP = 1e-15
"""A probability of the true class below it counts as this much, or one wrong row with probability 0 would cost everything."""
MOST_CLIPPED = 0.001
"""Share of such rows from which on a model is not sound: what it loses is then what the clip says."""


class Scored(NamedTuple):
    """What a model says about rows, shape (rows,) each but ``probabilities``."""

    values: np.ndarray
    """Numbers of a regression or count, labels of a classification."""
    losses: np.ndarray
    clipped: int = 0
    """Rows whose true class had a probability below ``CLIP``."""
    probabilities: np.ndarray | None = None
    """Of a classification, shape (rows, classes)."""
    right: np.ndarray | None = None
    """Of a classification: whether the label is the class, shape (rows,)."""


def scored(
    task: str, truth: np.ndarray, answers: np.ndarray, classes: tuple[str, ...] = (), threshold: float | None = None
) -> Scored:
    """Return values and losses of a model's answers.

    Args:
        task: ``regression``, ``count``, ``binary`` or ``multiclass``.
        truth: the target, shape (rows,): numbers, of a classification positions in ``classes``.
        answers: numbers, shape (rows,); of a classification probabilities, shape (rows, classes).
        classes: of a classification.
        threshold: see ``answers.labels_of``.

    Raises:
        ValueError: an answer is not what the task needs; the message names the row.

    """
    answers = np.asarray(answers, dtype=float)
    shape = (len(truth), len(classes)) if classes else (len(truth),)
    if answers.shape != shape:
        raise ValueError(f"{answers.shape} answers for {len(truth)} rows, expected the shape {shape}")
    bad = np.flatnonzero(~np.isfinite(answers).reshape(len(truth), -1).all(axis=1))
    if bad.size:
        value = np.atleast_1d(answers[bad[0]])
        shown = next(float(item) for item in value if not np.isfinite(item))
        raise ValueError(f"the prediction for row {bad[0] + 1} is {shown}, not a finite number")
    if task == "regression":
        return Scored(answers, (answers - truth) ** 2)
    if task == "count":
        return Scored(answers, _deviance(truth, answers))
    _check_probabilities(answers)
    given = answers[np.arange(len(truth)), truth.astype(int)]
    losses = -np.log(np.maximum(given, CLIP))
    clipped = int(np.sum(given < CLIP))
    labels = np.array(labels_of(answers, classes, threshold), dtype=object)
    return Scored(labels, losses, clipped, answers, np.array(classes, dtype=object)[truth.astype(int)] == labels)


def _deviance(truth: np.ndarray, mean: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(mean <= 0)
    if bad.size:
        raise ValueError(f"the prediction for row {bad[0] + 1} is {mean[bad[0]]}: a count's mean must be above 0")
    logs = np.zeros_like(mean)
    some = truth > 0
    logs[some] = truth[some] * np.log(truth[some] / mean[some])
    return 2 * (logs - (truth - mean))


def _check_probabilities(answers: np.ndarray) -> None:
    for what, wrong in (
        ("is not between 0 and 1", ((answers < 0) | (answers > 1)).any(axis=1)),
        ("does not sum to 1", np.abs(answers.sum(axis=1) - 1) > 1e-6),
    ):
        at = np.flatnonzero(wrong)
        if at.size:
            raise ValueError(f"the probabilities of row {at[0] + 1}: {answers[at[0]].tolist()} {what}")


def encoded(task: str, truth: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Return the target as numbers: of a classification the positions in ``classes``.

    Raises:
        ValueError: a value is no class.

    """
    if not classes:
        return np.asarray(truth, dtype=float)
    texts = [_label(value) for value in truth]
    places = {name: position for position, name in enumerate(classes)}
    for row, text in enumerate(texts, start=1):
        if text not in places:
            raise ValueError(f"row {row}: the target is {text!r}, which is none of the classes {', '.join(classes)}")
    return np.array([places[text] for text in texts], dtype=int)


def check_classes(truth: np.ndarray, classes: tuple[str, ...], rows: str) -> None:
    """Check that each class has rows.

    Args:
        truth: positions in ``classes``, shape (rows,).
        classes: of a classification; none of another task.
        rows: what the rows are, for the message.

    Raises:
        ValueError: a class has none, or all rows are of one class.

    """
    counts = np.bincount(truth, minlength=len(classes)) if classes else np.zeros(0)
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if not absent:
        return
    if len(absent) == len(classes) - 1:
        said = f"all {len(truth)} {rows} are of the class {classes[int(counts.argmax())]!r}: there is nothing to tell apart"
    else:
        said = f"the {rows} hold no row of {', '.join(map(repr, absent))}: a class that a model never saw cannot be predicted"
    raise ValueError(f"{said}; deliver rows of every class, or take what does not occur out of the target's 'allowed'")


def check_sure(scored: Scored, role: str) -> None:
    """Check that a classifier does not rule out what happens.

    Raises:
        ValueError: the true class of too many rows has a probability of about 0.

    """
    rows = len(scored.losses)
    if scored.clipped > MOST_CLIPPED * rows:
        raise ValueError(
            f"the {role} gives the true class of {scored.clipped} of {rows} test rows a probability of 0, which is more than "
            f"{MOST_CLIPPED:.1%} of them: no log loss can be told"
        )


def _label(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def metrics(task: str, truth: np.ndarray, scored: Scored) -> dict[str, Any]:
    """Return the figures of a task: ``loss`` for each, with ``rmse``, ``mae``, ``bias``, ``r2`` or ``log_loss``, ``accuracy``."""
    loss = float(np.mean(scored.losses))
    if scored.right is None:
        return {"loss": loss, **error_statistics(truth, scored.values)}
    return {"loss": loss, "log_loss": loss, "accuracy": float(np.mean(scored.right)), "clipped": scored.clipped}


def error_statistics(truth: np.ndarray, predictions: np.ndarray) -> dict[str, float | None]:
    """Return rmse, mae, r2 (None when the truth does not vary) and bias (mean of prediction - truth)."""
    errors = predictions - truth
    total = float(np.sum((truth - truth.mean()) ** 2))
    return {
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "mae": float(np.mean(np.abs(errors))),
        "r2": 1.0 - float(np.sum(errors**2)) / total if total > 0 else None,
        "bias": float(np.mean(errors)),
    }


def group_statistics(truth: np.ndarray, predictions: np.ndarray, groups: np.ndarray) -> dict[str, dict[str, float]]:
    """Return n, rmse and bias for each value of ``groups``; rows without a group are in none."""
    statistics = {}
    for name in np.unique(groups[groups != ""]):
        errors = (predictions - truth)[groups == name]
        statistics[str(name)] = {
            "n": len(errors),
            "rmse": float(np.sqrt(np.mean(errors**2))),
            "bias": float(np.mean(errors)),
        }
    return statistics
