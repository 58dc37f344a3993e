"""Years in which each batch has labels: how often the loss of a model that answers as it did raises an alarm, and how soon a larger one.

A year fits two models to most rows of a data set, draws validation rows from the others, and keeps the model that loses less on them, as a
run does: they are the reference. Then come batches from the same others, a day each, so that nothing changes but what a year changes: it
shifts the errors, or makes all of them larger. Inputs and answers are watched beside loss and error, as in service.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pandas as pd

from benchmarks import bench_trainers
from benchmarks.bench_trainers import Data
from retraining.inside import losses
from retraining.inside.answers import model_answers
from retraining.inside.job_file import Job
from retraining.inside.training import fit_function, fit_model
from retraining.inside.watching.profile import PREDICTION, reference_profile
from retraining.inside.watching.scores import ERROR, LOSS, reference_scores, score_frame

FITS = 20
"""Splits of a data set that models are fitted on; each serves several years."""
FITTED = 0.7
"""Share of the rows that models are fitted to."""
TRAINERS = ("linear", "hist_gradient_boosting")
GROWTH = (0.1, 0.25, 0.5, 1.0)
"""By how much the mean loss is larger."""

Change = Callable[[np.ndarray], np.ndarray]
"""What becomes of errors."""


def shifted(growth: float) -> Change:
    """Return the shift of all errors, away from 0, that makes their mean square larger by this share."""

    def change(errors: np.ndarray) -> np.ndarray:
        bias, square = errors.mean(), np.mean(errors**2)
        return errors + np.sign(bias or 1.0) * (np.sqrt(bias**2 + growth * square) - abs(bias))

    return change


def scaled(growth: float) -> Change:
    """Return the factor of all errors that makes their mean square larger by this share."""
    return lambda errors: errors * np.sqrt(1 + growth)


class LabelledRows:
    """Rows that a year is drawn from, with loss and error of the model that a run would keep.

    Args:
        data: inputs and target.
        seed: of the year.
        change: of the errors after the validation; None changes nothing.

    """

    def __init__(self, data: Data, seed: int, change: Change | None = None) -> None:
        inputs, truth, answers, job = _fitted(data.name, seed % FITS)
        draw = np.random.default_rng(seed)
        share = 20 if len(data.frame) > bench_trainers.LARGE else 7
        validation = draw.integers(0, len(inputs), len(data.frame) // share)
        scored = [losses.scored(data.task, truth, found, job.classes) for found in answers]
        best = min(scored, key=lambda found: float(found.losses[validation].mean()))
        scores = score_frame(data.task, truth, best)
        known = pd.concat([_predictions(best), scores], axis=1).iloc[validation].reset_index(drop=True)
        self.reference = reference_profile(known[[PREDICTION]]) | reference_scores(
            known[list(scores)], data.task, "target"
        )
        if change is not None:
            errors = change(scores[ERROR].to_numpy())
            scores = pd.DataFrame({LOSS: errors**2, ERROR: errors})
        self.frame = pd.concat([inputs, _predictions(best), scores], axis=1)
        self.inputs = list(inputs)


def _predictions(scored: losses.Scored) -> pd.DataFrame:
    kind = float if scored.right is None else object
    return pd.DataFrame({PREDICTION: pd.Series(scored.values, dtype=kind)})


@cache
def _fitted(name: str, seed: int) -> tuple[pd.DataFrame, np.ndarray, list[np.ndarray], Job]:
    """Return inputs and target of rows that no model was fitted to, and the answers of each model."""
    data = bench_trainers.load(name)
    frame = data.frame.astype(
        {column: object for column in data.frame if not pd.api.types.is_numeric_dtype(data.frame[column])}
    )
    frame = frame.iloc[np.random.default_rng(seed).permutation(len(frame))].reset_index(drop=True)
    at = int(FITTED * len(frame))
    known, rest = frame[:at], frame[at:].reset_index(drop=True)
    inputs, answers = rest.drop(columns="target"), []
    for trainer in TRAINERS:
        job = bench_trainers.job_of(data, trainer)
        model = fit_model(fit_function(job), job, known[: -at // 7], known[-at // 7 :])
        answers.append(model_answers(model, inputs, job.classes))
    floats = {column: float for column in inputs if pd.api.types.is_numeric_dtype(inputs[column])}
    truth = losses.encoded(data.task, rest["target"].to_numpy(), job.classes)
    return inputs.astype(floats), truth, answers, job


def told(years: int, what: str) -> Iterator[int]:
    """Yield the numbers of years, and say now and then on stderr how far it is."""
    for number in range(years):
        if number and number % 20 == 0:
            sys.stderr.write(f"{what}: {number} of {years} years\n")
        yield number
