"""What a run may be given by hand: the names of the form, and which hyperparameters are the library's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from retraining.contract.plain_text import plain_names

NAMES = (
    "force_retrain",
    "dry_run",
    "require_approval",
    "guards",
    "candidate",
    "hyperparameters",
    "dataset_version",
)
HYPERPARAMETER_PATTERN = r"^(?!sagemaker_|sm_)[A-Za-z][A-Za-z0-9_.-]{0,63}(?![\s\S])"
"""SageMaker's toolkit owns these prefixes: ``sagemaker_submit_directory`` says whose code the job runs. The end means the same to Python,
for which ``$`` lets a line feed follow, and to a browser."""
RESERVED = ("columns", "target", "group", "dataset-version", "dataset_version")
MOST_HYPERPARAMETERS = 50
HYPERPARAMETERS_SCHEMA: dict[str, Any] = {
    "propertyNames": {"pattern": HYPERPARAMETER_PATTERN, "not": {"enum": list(RESERVED)}},
    "maxProperties": MOST_HYPERPARAMETERS,
}


def check_hyperparameters(names: Iterable[str]) -> None:
    """Refuse names that are the library's or SageMaker's.

    Raises:
        ValueError: one is; the message names it.

    """
    listed = list(names)
    wrong = [name for name in listed if name in RESERVED or not re.fullmatch(HYPERPARAMETER_PATTERN, name)]
    if wrong:
        raise ValueError(
            f"hyperparameters {plain_names(wrong)}: such names are not a model's to set ({', '.join(RESERVED)}, sagemaker_*, sm_*; "
            "others begin with a letter and hold letters, digits, '_', '.' and '-')"
        )
    if len(listed) > MOST_HYPERPARAMETERS:
        raise ValueError(f"{len(listed)} hyperparameters, at most {MOST_HYPERPARAMETERS} are allowed")


def check_run_parameters(params: Mapping[str, Any]) -> None:
    """Refuse what the form does not have.

    Raises:
        ValueError: a name is none of the form's, or a hyperparameter is not a run's to set.

    """
    if unknown := [name for name in params if name not in NAMES]:
        raise ValueError(f"a run takes no parameter {plain_names(unknown)}; it takes {', '.join(NAMES)}")
    check_hyperparameters(params.get("hyperparameters") or {})
