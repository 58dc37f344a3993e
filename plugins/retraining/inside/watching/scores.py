"""What labels say about answers, as columns of a profile: the loss of each row, and the error where answers are numbers.

The reference are the validation rows, frozen when the model is trained. They chose among candidates and hyperparameters, so they flatter
the model a little, mostly by less than the two standard errors of the reference that the drift detectors take for no change.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from retraining.inside import losses
from retraining.inside.job_file import CLASSIFICATION
from retraining.inside.watching.profile import Profile, reference_profile

LOSS, ERROR = "(loss)", "(error)"
"""Names among the columns of a profile; no column of a contract can have them. The error is prediction minus truth, its mean the bias."""
MEASURES = {"regression": "RMSE", "count": "Poisson deviance", "binary": "log loss", "multiclass": "log loss"}
"""What the mean loss of a task is called; of a regression its root."""


def score_frame(task: str, truth: np.ndarray, scored: losses.Scored) -> pd.DataFrame:
    """Return loss and error of each row.

    Args:
        task: of the model.
        truth: the target, shape (rows,), as ``losses.encoded`` returns it.
        scored: what the model says.

    """
    frame = pd.DataFrame({LOSS: np.asarray(scored.losses, dtype=float)})
    return frame if task in CLASSIFICATION else frame.assign(**{ERROR: scored.values.astype(float) - truth})


def reference_scores(frame: pd.DataFrame, task: str, target: str) -> Profile:
    """Return the profile that the scores of later rows are compared with.

    ``measure`` is what the mean of a column is called, ``in`` the column whose unit it has, ``worse`` the only direction that is a change.
    """
    made: Profile = {}
    for name in frame.columns:
        [(column, counted)] = reference_profile(frame[[name]]).items()
        kind = {"measure": "bias"} if name == ERROR else {"measure": MEASURES[task], "worse": 1}
        unit = {"in": target} if name == ERROR or task == "regression" else {}
        made[column] = {**counted, **kind, **unit}
    return made


def sound(task: str, answers: np.ndarray) -> np.ndarray:
    """Return which answers have a loss, shape (rows,).

    Args:
        task: of the model.
        answers: shape (rows, 1), of a classification (rows, classes).

    """
    fine = np.isfinite(answers).all(axis=1)
    if task in CLASSIFICATION:
        return fine & ((answers >= 0) & (answers <= 1)).all(axis=1) & (np.abs(answers.sum(axis=1) - 1) <= 1e-6)
    return fine & (answers[:, 0] > 0) if task == "count" else fine


def scores(task: str, truth: np.ndarray, answers: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return loss and error of answers that are ``sound``; the arguments are those of ``losses.scored``."""
    return score_frame(task, truth, losses.scored(task, truth, answers if classes else answers[:, 0], classes))
