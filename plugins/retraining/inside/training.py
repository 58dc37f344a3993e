"""Trains a model: reads the channels, calls ``fit``, scores training and validation rows, writes the artifact.

``fit(frame, target, hyperparameters, seed)`` is the model folder's own, in ``train.py``, or that of a trainer in the box. It returns an
object with ``predict(frame)``, of a classification with ``predict_proba(frame)``. A ``fit`` that has a parameter ``validation`` gets
``(frame, target)`` of the validation rows, for example to stop early. The model is fitted to the training channel only; candidates are
chosen by what the validation channel says.
"""

from __future__ import annotations

import importlib
import inspect
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
from threadpoolctl import threadpool_limits

from retraining.inside import losses
from retraining.inside.answers import SMALL_NUMBER_OF_ROWS, labels_of, model_answers
from retraining.inside.artifact import write_artifact
from retraining.inside.explaining.background import chosen_background, write_background
from retraining.inside.explaining.shapley import explain
from retraining.inside.frames import read_frame
from retraining.inside.groups import group_names
from retraining.inside.job_file import Job
from retraining.inside.trainers.trial import tried, write_losses
from retraining.inside.watching.effects import REFERENCE_TIMES, effect_sizes, reference_effects
from retraining.inside.watching.profile import PREDICTION, PROFILE_FILE, Profile, reference_profile
from retraining.inside.watching.scores import reference_scores, score_frame

PRINTED = {
    "regression": ("loss", "rmse", "mae", "bias"),
    "count": ("loss", "rmse", "mae", "bias"),
    "binary": ("loss", "log_loss", "accuracy"),
    "multiclass": ("loss", "log_loss", "accuracy"),
}


def run(job: Job, variables: Mapping[str, str], code: Path) -> int:
    """Train as the job says.

    Args:
        job: what to train.
        variables: ``SM_CHANNEL_TRAIN``, ``SM_CHANNEL_VALIDATION`` and ``SM_MODEL_DIR``.
        code: folder of the model's Python files, which is on the import path.

    Raises:
        ValueError: a variable or a channel is missing, ``fit`` is, or what it returns does not answer soundly.

    """
    job = tried(job, variables)
    training = read_frame(_folder(variables, "SM_CHANNEL_TRAIN"), job)
    validation = read_frame(_folder(variables, "SM_CHANNEL_VALIDATION"), job)
    losses.check_classes(
        losses.encoded(job.task, training[job.target].to_numpy(), job.classes), job.classes, "training rows"
    )
    fit = fit_function(job)
    settings = json.dumps(dict(job.hyperparameters))
    print(f"training {job.candidate or job.model} on {len(training)} rows, hyperparameters {settings}, seed {job.seed}")
    started = time.perf_counter()
    model = fit_model(fit, job, training, validation)
    seconds = time.perf_counter() - started
    watched = judged(model, validation, job)
    metrics = {"train": score(model, training, job), "validation": _figures(*watched, validation, job)}
    if output := variables.get("SM_OUTPUT_DATA_DIR"):
        write_losses(Path(output), watched[1].losses)
    folder = _folder(variables, "SM_MODEL_DIR")
    inputs = training[[column.name for column in job.inputs]]
    background = chosen_background(lambda frame: model_answers(model, frame, job.classes), inputs)
    frozen = frozen_profile(model, training, validation, job) | frozen_scores(*watched, job)
    if job.explained_rows:
        frozen |= frozen_effects(model, validation, background, job)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PROFILE_FILE).write_text(json.dumps(frozen, allow_nan=False) + "\n", encoding="utf-8")
    write_background(folder, background, job.inputs)
    write_artifact(folder, model, card(job, model, training, validation, metrics), code, job.serving)
    for split, values in metrics.items():
        print("".join(f"{split}:{name}={values[name]:.6f}; " for name in PRINTED[job.task]))
    print(f"train:seconds={seconds:.3f};")
    return 0


def fit_function(job: Job) -> Callable[..., Any]:
    """Return ``fit`` of the job's trainer, or of the model folder's file.

    Raises:
        ValueError: the file has none, or there is no such trainer.

    """
    if job.trainer:
        from retraining.inside.trainers import models

        return models.fit_function(job)
    module = importlib.import_module(Path(job.program).stem)
    fit = getattr(module, "fit", None)
    if not callable(fit):
        raise ValueError(f"{job.program} has no function fit(frame, target, hyperparameters, seed)")
    return fit


def fit_model(fit: Callable[..., Any], job: Job, training: pd.DataFrame, validation: pd.DataFrame) -> Any:
    """Return a trained model."""
    inputs = [column.name for column in job.inputs]
    extra = {}
    if "validation" in inspect.signature(fit).parameters:
        extra["validation"] = (validation[inputs], validation[job.target])
    with threadpool_limits(1 if len(training) < SMALL_NUMBER_OF_ROWS else None):
        return fit(training[inputs], training[job.target], dict(job.hyperparameters), job.seed, **extra)


def score(model: Any, frame: pd.DataFrame, job: Job) -> dict[str, Any]:
    """Return the model's figures on ``frame``; of a regression also per group."""
    return _figures(*judged(model, frame, job), frame, job)


def _figures(truth: np.ndarray, found: losses.Scored, frame: pd.DataFrame, job: Job) -> dict[str, Any]:
    figures = {"n": len(truth), **losses.metrics(job.task, truth, found)}
    if job.group and job.task == "regression":
        figures["groups"] = losses.group_statistics(truth, found.values, group_names(frame[job.group], len(frame)))
    return figures


def judged(model: Any, frame: pd.DataFrame, job: Job) -> tuple[np.ndarray, losses.Scored]:
    """Return the target of the rows, shape (rows,), and what the model says about them."""
    truth = losses.encoded(job.task, frame[job.target].to_numpy(), job.classes)
    inputs = frame[[column.name for column in job.inputs]]
    try:
        answers = model_answers(model, inputs, job.classes)
        return truth, losses.scored(job.task, truth, answers, job.classes, job.threshold)
    except ValueError as error:
        raise ValueError(f"the model that {job.trainer or job.program} returned: {error}") from error


def frozen_profile(model: Any, training: pd.DataFrame, validation: pd.DataFrame, job: Job) -> Profile:
    """Return what later requests are compared with: the training rows, and the model's answers on rows that it was not fitted to."""
    inputs = [column.name for column in job.inputs]
    answers = model_answers(model, validation[inputs], job.classes)
    shown = labels_of(answers, job.classes, job.threshold) if job.classes else answers.astype(float)
    predictions = pd.DataFrame({PREDICTION: pd.Series(shown, dtype=object if job.classes else float)})
    return {**reference_profile(training[inputs]), **reference_profile(predictions)}


def frozen_scores(truth: np.ndarray, found: losses.Scored, job: Job) -> Profile:
    """Return the model's losses and errors on the validation rows, for those of later requests to be compared with."""
    return reference_scores(score_frame(job.task, truth, found), job.task, job.target)


def frozen_effects(model: Any, validation: pd.DataFrame, background: pd.DataFrame, job: Job) -> Profile:
    """Return what the model goes by on rows that it was not fitted to, for the attributions of later requests to be compared with."""
    names = [column.name for column in job.inputs]
    wanted = min(len(validation), REFERENCE_TIMES * job.explained_rows)
    rows = validation[names].iloc[np.linspace(0, len(validation) - 1, wanted).astype(int)].reset_index(drop=True)

    def ask(frame: pd.DataFrame) -> np.ndarray:
        return model_answers(model, frame, job.classes)

    found = explain(ask, rows, ask(rows), background)
    return reference_effects(effect_sizes(names, found.values), None if job.classes else job.target)


def card(
    job: Job, model: Any, training: pd.DataFrame, validation: pd.DataFrame, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the model card: what was trained, on what, how well. ``about`` is what the model says about itself, if it does."""
    about = getattr(model, "about", None)
    return {
        "schema_version": 2,
        "model": job.model,
        "candidate": job.candidate,
        "trainer": job.trainer,
        "task": job.task,
        "hyperparameters": dict(job.hyperparameters),
        "seed": job.seed,
        "target": job.target,
        "group": job.group,
        "columns": [column.name for column in job.inputs],
        "classes": list(job.classes),
        "threshold": job.threshold,
        "contract": dict(job.document),
        "dataset_version": job.dataset_version,
        "rows": {"train": len(training), "validation": len(validation)},
        "metrics": dict(metrics),
        **({"about": about} if isinstance(about, Mapping) else {}),
        "versions": _versions(),
    }


def _folder(variables: Mapping[str, str], name: str) -> Path:
    if name not in variables:
        raise ValueError(f"{name} is not set: SageMaker sets it for each channel; set it to a folder to run by hand")
    return Path(variables[name])


def _versions() -> dict[str, str]:
    modules = [joblib, np, pd, sklearn]
    modules += [sys.modules[name] for name in ("tensorflow", "keras", "xgboost") if name in sys.modules]
    return {"python": platform.python_version(), **{module.__name__: module.__version__ for module in modules}}
