"""Made-up rows of every type for the trainers in the box, and the jobs that train on them."""

import numpy as np
import pandas as pd

from retraining.inside import job_file
from retraining.settings.trainers import complete

COLUMNS = [
    {"name": "x", "type": "double", "nullable": True},
    {"name": "n", "type": "int"},
    {"name": "flag", "type": "boolean", "nullable": True},
    {"name": "colour", "type": "string", "allowed": ["red", "green", "blue"], "nullable": True},
    {"name": "town", "type": "string"},
    {"name": "day", "type": "date", "nullable": True},
    {"name": "at", "type": "timestamp"},
]
TARGETS = {
    "regression": {"type": "double"},
    "count": {"type": "int", "min": 0},
    "binary": {"type": "string", "allowed": ["yes", "no"]},
    "multiclass": {"type": "string", "allowed": ["low", "mid", "high"]},
}


def document(task: str, trainer: str, **given) -> dict:
    """Return job.json of a training."""
    contract = {"columns": [*COLUMNS, {"name": "target", **TARGETS[task]}], "target": "target"}
    made = {"step": "training", "model": "m", "task": task, "contract": contract, "trainer": trainer}
    return made | {"hyperparameters": complete(trainer, given)}


def job(task: str, trainer: str, **given) -> job_file.Job:
    return job_file.as_job(document(task, trainer, **given))


def rows(task: str, count: int, seed: int) -> pd.DataFrame:
    dice = np.random.default_rng(seed)
    x, colour = dice.normal(size=count), dice.integers(0, 3, count)
    towns = np.where(
        dice.random(count) < 0.02, [f"hamlet {n}" for n in range(count)], np.array(["york", "bath"])[colour % 2]
    )
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(dice.integers(0, 700, count), unit="D")
    frame = pd.DataFrame(
        {
            "x": np.where(dice.random(count) < 0.1, np.nan, x),
            "n": dice.integers(0, 9, count).astype(float),
            "flag": np.where(dice.random(count) < 0.1, np.nan, (dice.random(count) < 0.5).astype(float)),
            "colour": np.array(["red", "green", "blue"], dtype=object)[colour],
            "town": towns.astype(object),
            "day": np.array([day.date().isoformat() for day in days], dtype=object),
            "at": np.array([f"{day.date().isoformat()}T08:30:00Z" for day in days], dtype=object),
        }
    )
    frame.loc[dice.random(count) < 0.1, "colour"] = np.nan
    frame.loc[dice.random(count) < 0.1, "day"] = np.nan
    signal = x + colour + 0.3 * dice.normal(size=count)
    if task == "regression":
        return frame.assign(target=signal)
    if task == "count":
        return frame.assign(target=dice.poisson(np.exp(signal / 2)).astype(float))
    names = TARGETS[task]["allowed"]
    cuts = [1.0] if task == "binary" else [0.5, 1.5]
    return frame.assign(target=np.array(names, dtype=object)[np.digitize(signal, cuts)])
