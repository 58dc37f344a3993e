"""The search for hyperparameters: ``training.tuning`` in ``model.yaml``, within what SageMaker's tuning jobs allow.

The limits are those of AWS's page "Resource Limits for Automatic Model Tuning" and of the API reference; what is over them is refused when
the file is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from retraining.settings.environment import in_environment
from retraining.settings.machines.deployment import Name
from retraining.settings.machines.overrides import trial_faults
from retraining.settings.metrics import CLASSES, Task
from retraining.settings.run_parameters import check_hyperparameters
from retraining.settings.strict import Strict
from retraining.settings.trainers import DEFAULTS, complete

MOST_TRIALS = {"random": 10_000, "bayesian": 750}
MOST_PARALLEL = 100
LONGEST_SEARCH = timedelta(days=30)
MOST_RANGES = 30
MOST_VALUES = 30
MOST_METRICS = 20
LONGEST_OWNER = 18
"""Of ``ENV-MODEL``, with which the name of a tuning job begins: it has 32 characters, and a digest and a number have to follow."""
LOSSES: Mapping[str, tuple[Task, ...]] = {
    "validation:loss": ("regression", "count", *CLASSES),
    "validation:rmse": ("regression",),
    "validation:log_loss": CLASSES,
}
"""Metrics that order models as their mean loss does, and the tasks of which that holds."""
_TEXT = re.compile(r"[A-Za-z0-9_.:/+-]{1,200}")

Kind = Literal["integer", "continuous", "categorical"]


class Range(Strict):
    """What one hyperparameter may be: from ``min`` to ``max``, whole if both are written as whole numbers; or one of ``values``."""

    min: int | float | None = None
    max: int | float | None = None
    scale: Literal["linear", "log", "reverse_log"] = "linear"
    """``log`` searches small values as closely as large ones, ``reverse_log`` those close to 1."""
    values: tuple[bool | int | float | str, ...] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Range:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        low, high = self.min, self.max
        if self.values is not None:
            if low is not None or high is not None or self.scale != "linear":
                yield "values stand alone: leave min, max and scale out"
            yield from self._value_problems(self.values)
        elif low is None or high is None:
            yield "a range needs min and max, or values"
        elif not (math.isfinite(low) and math.isfinite(high) and low < high):
            yield f"min {low} must be less than max {high}"
        elif self.scale == "log" and low <= 0:
            yield f"scale log needs numbers greater than 0, and min is {low}"
        elif self.scale == "reverse_log" and not 0 <= low < high < 1:
            yield f"scale reverse_log needs numbers from 0 up to, and without, 1; min is {low} and max {high}"

    def _value_problems(self, values: Sequence[Any]) -> Iterator[str]:
        if not 2 <= len(values) <= MOST_VALUES:
            yield f"{len(values)} values; SageMaker searches among 2 to {MOST_VALUES}"
        if len({repr(value) for value in values}) < len(values):
            yield "a value stands twice"
        for value in values:
            if isinstance(value, str) and not _TEXT.fullmatch(value):
                yield f"the value {value!r}: a text is handed through shells of containers and has letters, digits and _ . : / + - only"

    def ends(self) -> tuple[Any, ...]:
        """Return the values that bound it."""
        return self.values if self.values is not None else (self.min, self.max)

    def kind(self, default: Any = None) -> Kind:
        """Return SageMaker's kind of range; ``default`` is the value of a trainer in the box, whose type a number keeps."""
        if self.values is not None:
            return "categorical"
        whole = (
            isinstance(default, int) if default is not None else isinstance(self.min, int) and isinstance(self.max, int)
        )
        return "integer" if whole else "continuous"


class Tuning(Strict):
    """A search for hyperparameters of one candidate: a tuning job of SageMaker whose trials are trainings, in every run that trains."""

    candidate: Name | None = None
    """Whose hyperparameters are searched; needed where there are several."""
    trials: Annotated[int, Field(ge=1)]
    """How many trainings; each is paid."""
    strategy: Literal["random", "bayesian"] = "random"
    parallel: Annotated[int, Field(ge=1)] = 2
    """How many of them at once. An account allows 10 until AWS raises it."""
    ranges: Annotated[dict[str, Range], Field(min_length=1)]
    """By hyperparameter. A dot goes into a mapping: ``params.svr_C`` is ``svr_C`` in ``params``."""

    @model_validator(mode="after")
    def _within_limits(self) -> Tuning:
        most = MOST_TRIALS[self.strategy]
        if self.trials > most:
            raise ValueError(f"trials is {self.trials}; with strategy {self.strategy} SageMaker runs at most {most}")
        if self.parallel > min(self.trials, MOST_PARALLEL):
            raise ValueError(
                f"parallel is {self.parallel}, and can be neither more than trials, {self.trials}, nor than {MOST_PARALLEL}"
            )
        if len(self.ranges) > MOST_RANGES:
            raise ValueError(f"{len(self.ranges)} ranges; SageMaker searches at most {MOST_RANGES} hyperparameters")
        check_hyperparameters(self.ranges)
        if "seed" in self.ranges:
            raise ValueError("ranges.seed: the luckiest seed is not a better model; leave it out")
        return self

    def longest(self, seconds_of_a_trial: int) -> timedelta:
        """Return how long the search may take: all its trials at their own limits, and never longer than AWS lets one run."""
        rounds = math.ceil(self.trials / self.parallel)
        return min(timedelta(seconds=rounds * seconds_of_a_trial + 900), LONGEST_SEARCH)

    def check(self, training: Mapping[str, Any]) -> None:
        """Check the search against the keys of ``training`` that are read before it.

        Raises:
            ValueError: it cannot be made; the message names the key.

        """
        if training.get("script"):
            raise ValueError(
                f"script {training['script']} trains in place of the library, which writes the losses that trials are compared by: "
                "leave tuning or script out"
            )
        if (metric := training.get("selection_metric")) and metric not in LOSSES:
            raise ValueError(
                f"trials are compared by their losses on validation rows: selection_metric {metric!r} must be one of {', '.join(LOSSES)}"
            )
        if len(training.get("metrics", {})) > MOST_METRICS:
            raise ValueError(f"{len(training['metrics'])} metrics; a tuning job has at most {MOST_METRICS}")
        for fault in trial_faults(training.get("overrides") or {}):
            raise ValueError(fault)
        if "candidates" in training:
            self._check_candidates(training["candidates"])

    def _check_candidates(self, candidates: Sequence[Any]) -> None:
        names = [candidate.name for candidate in candidates]
        if self.candidate is None and len(names) > 1:
            raise ValueError(
                f"there are {len(names)} candidates: say with candidate whose hyperparameters are searched"
            )
        if self.candidate not in (None, *names):
            raise ValueError(f"candidate {self.candidate!r} is none of {', '.join(names)}")
        chosen = next(item for item in candidates if item.name == (self.candidate or names[0]))
        if searched_name(chosen.name) in names:
            raise ValueError(f"candidate {searched_name(chosen.name)!r} has the name of the search: rename it")
        for name, one in self.ranges.items():
            for value in one.ends() if chosen.trainer else ():
                complete(chosen.trainer, {name: value})
            if one.scale == "reverse_log" and one.kind(DEFAULTS.get(chosen.trainer or "", {}).get(name)) == "integer":
                raise ValueError(f"ranges.{name}: scale reverse_log is for numbers with a point")


def searched_name(candidate: str) -> str:
    """Return what the best trial of a candidate's search is called beside the candidates."""
    return f"{candidate}-tuned"


def check_search(model: str, task: Task, metric: str) -> None:
    """Check what a search needs of the model around it.

    Raises:
        ValueError: the name of a tuning job would be too long, or the metric does not order models of the task by their loss.

    """
    owner = in_environment(model)
    if len(owner) > LONGEST_OWNER:
        raise ValueError(
            f"tuning: the name of a tuning job has 32 characters and begins with {owner!r}, which can have at most {LONGEST_OWNER}: "
            "shorten the model's name, or leave tuning out"
        )
    if task not in LOSSES[metric]:
        fitting = [name for name, tasks in LOSSES.items() if task in tasks]
        raise ValueError(
            f"tuning: selection_metric {metric!r} does not order models of a {task} by their loss: use {' or '.join(fitting)}"
        )
