"""What a trained model says about rows, as numbers: predictions, or probabilities in the order of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

SMALL_NUMBER_OF_ROWS = 20_000
"""Below, threads wait for each other longer than they work, and much longer on a busy machine."""


class UnsoundModelError(ValueError):
    """A model does not answer as its task asks for; no request can help that."""


def model_answers(model: Any, frame: pd.DataFrame, classes: Sequence[str] = ()) -> np.ndarray:
    """Return the answers of a model: shape (rows,), or (rows, classes) of a classification.

    Args:
        model: has ``predict(frame)``; of a classification ``predict_proba(frame)``, with ``classes_`` if its columns have another order
            than ``classes``. A class that the model never saw gets probability 0.
        frame: typed rows, see ``frames``.
        classes: of a classification.

    Raises:
        UnsoundModelError: there is not one answer for each row and class.

    """
    rows = len(frame)
    if not classes:
        answers = np.asarray(model.predict(frame), dtype=float)
        if answers.shape != (rows,):
            raise UnsoundModelError(f"the model returned predictions of shape {answers.shape} for {rows} rows")
        return answers
    if not hasattr(model, "predict_proba"):
        raise UnsoundModelError(
            "the model of a classification needs predict_proba(frame), one probability for each class"
        )
    given = np.asarray(model.predict_proba(frame), dtype=float)
    known = [class_name(value) for value in getattr(model, "classes_", classes)]
    if given.shape != (rows, len(known)):
        raise UnsoundModelError(
            f"the model returned probabilities of shape {given.shape} for {rows} rows and {len(known)} classes"
        )
    answers = np.zeros((rows, len(classes)))
    for column, name in enumerate(known):
        if name not in classes:
            raise UnsoundModelError(f"the model predicts the class {name!r}; the contract has {', '.join(classes)}")
        answers[:, classes.index(name)] = given[:, column]
    return answers


def labels_of(probabilities: np.ndarray, classes: Sequence[str], threshold: float | None = None) -> list[str]:
    """Return the label of each row.

    Args:
        probabilities: shape (rows, classes).
        classes: their names.
        threshold: of two classes, the probability of the second from which on it is said; None for the most probable class.

    """
    if threshold is None:
        return [classes[place] for place in probabilities.argmax(axis=1)]
    return [classes[int(share >= threshold)] for share in probabilities[:, 1]]


def class_name(value: Any) -> str:
    """Return the name of a class: a text as it is, the numbers 0 and 1 without a point."""
    return value if isinstance(value, str) else f"{value:g}"
