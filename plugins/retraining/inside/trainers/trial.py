"""What a trial of a search is told, and what every training tells: the values to try, and the loss of each validation row."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from retraining.inside.job_file import Job

CONFIGURATION = "/opt/ml/input/config"
"""Where SageMaker puts the hyperparameters of a job, whatever its container does with them; toolkits name it in a variable."""
LOSSES_FILE = "validation_losses.json"
MOST_BLOCKS = 10_000
"""More rows are told as the sums of so many blocks: a comparison of two models loses nothing by it, and its file stays small."""


def tried(job: Job, variables: Mapping[str, str]) -> Job:
    """Return the job with the hyperparameters of its trial; as it is when it is no trial.

    Raises:
        ValueError: the service names no value, or none of the kind that is searched.

    """
    if not job.tuned:
        return job
    path = Path(variables.get("SM_INPUT_CONFIG_DIR", CONFIGURATION), "hyperparameters.json")
    given = json.loads(path.read_text(encoding="utf-8"))
    found = dict(job.hyperparameters)
    for name, kind in job.tuned.items():
        if name not in given:
            raise ValueError(f"{path} has no {name}, which this trial has to try; it has {', '.join(sorted(given))}")
        found = _placed(found, name, _value(name, str(given[name]), kind))
    return dataclasses.replace(job, hyperparameters=found)


def _value(name: str, text: str, kind: str) -> Any:
    try:
        if kind == "categorical":
            return json.loads(text)
        number = float(text)
        return int(number) if kind == "integer" else number
    except ValueError as error:
        raise ValueError(f"hyperparameter {name} of this trial is {text!r}, which is not {kind}") from error


def _placed(settings: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return the settings with a value; of ``params.svr_C``, where nothing is called so, it goes into the mapping ``params``."""
    first, dot, rest = name.partition(".")
    if name in settings or not dot:
        return {**settings, name: value}
    inner = settings.get(first) or {}
    if not isinstance(inner, dict):
        raise ValueError(f"hyperparameter {name} belongs into a mapping {first}, which is {inner!r}")
    return {**settings, first: _placed(inner, rest, value)}


def write_losses(folder: Path, losses: np.ndarray) -> None:
    """Write the losses of the validation rows, shape (rows,), as ``blocks`` of count and sum, in the order of the rows."""
    blocks = np.array_split(losses, min(len(losses), MOST_BLOCKS)) if len(losses) else []
    document = {"rows": len(losses), "blocks": [[len(block), float(block.sum())] for block in blocks]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOSSES_FILE).write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
