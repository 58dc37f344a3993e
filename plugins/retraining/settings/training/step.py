"""The section ``training`` of ``model.yaml``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt, ValidationInfo, field_validator, model_validator

from retraining.contract.notation.training_format import CSV_WITHOUT_HEADER
from retraining.settings.machines.deployment import Script
from retraining.settings.machines.image_uris import Image
from retraining.settings.machines.instances import Instances
from retraining.settings.machines.overrides import TRAINING, adds_to
from retraining.settings.metrics import known_direction
from retraining.settings.trainers import IMAGES
from retraining.settings.training.candidate import Candidate
from retraining.settings.training.tuning import Tuning, searched_name


class Training(Instances):
    """The training step. Each candidate trains as a job of its own; the best ``selection_metric`` goes on to the test."""

    image: Image
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)]
    script: Script | None = None
    """A whole training script of the model folder, in place of the library around ``fit`` in train.py."""
    format: Literal["csv_without_header", "csv", "parquet"] = CSV_WITHOUT_HEADER
    """How training, evaluation and survey get their rows. Parquet is the data set itself; for CSV the merge writes the rows once more."""
    metrics: dict[str, str] = Field(
        default_factory=lambda: {
            name: f"{name}=([-+0-9.e]+);"
            for split in ("train", "validation")
            for name in (f"{split}:loss", f"{split}:rmse", f"{split}:accuracy")
        }
    )
    """Regular expressions of metrics in the training's log; the default finds those that the library prints."""
    selection_metric: str = "validation:loss"
    """A name in ``metrics``; the loss is the task's own: squared error, log loss or Poisson deviance."""
    direction: Literal["min", "max"] | None = None
    """Whether small or large values of the selection metric are good; needed where its name does not say."""
    parallel: PositiveInt | None = None
    """How many candidates train at once; None for all."""
    min_candidates: PositiveInt = 1
    """How many candidates must have trained and report a finite metric; the others are named in the report."""
    overrides: Annotated[dict[str, Any], AfterValidator(adds_to(TRAINING))] = Field(default_factory=dict)
    """Members of CreateTrainingJob in AWS's spelling that have no key here, added to each candidate's request."""
    tuning: Tuning | None = None
    """A search for the hyperparameters of one candidate; null trains each candidate as it is declared."""

    @property
    def tuned_name(self) -> str | None:
        """What the best trial of the search is called beside the candidates; None without a search."""
        return searched_name(self.tuning.candidate or self.candidates[0].name) if self.tuning else None

    def image_of(self, candidate: Candidate) -> str:
        """Return what a candidate trains in: its container, its own image, that of its trainer, or the step's."""
        return candidate.container or candidate.image or IMAGES.get(candidate.trainer or "") or self.image

    def container_of(self, name: str) -> str | None:
        """Return the container of the candidate of a name, None of one that the library trains; a search has the name of none."""
        return next((item.container for item in self.candidates if item.name == name), None)

    @property
    def selection_direction(self) -> Literal["min", "max"]:
        """Whether the smallest or the largest value is chosen."""
        return self.direction or known_direction(self.selection_metric) or "min"

    @field_validator("metrics")
    @classmethod
    def _expressions(cls, metrics: dict[str, str]) -> dict[str, str]:
        for name, pattern in metrics.items():
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"the expression {pattern!r} of {name!r} is no regular expression: {error}") from error
            if not groups:
                raise ValueError(
                    f"the expression {pattern!r} of {name!r} needs a group in parentheses around the number"
                )
        return metrics

    @field_validator("tuning")
    @classmethod
    def _can_be_searched(cls, tuning: Tuning | None, known: ValidationInfo) -> Tuning | None:
        if tuning:
            tuning.check(known.data)
        return tuning

    @model_validator(mode="after")
    def _spot_waits(self) -> Training:
        longest = self.overrides.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
        if self.overrides.get("EnableManagedSpotTraining") and (longest or 0) < self.max_runtime_seconds:
            raise ValueError(
                "overrides.EnableManagedSpotTraining needs StoppingCondition: {MaxWaitTimeInSeconds: ...} of at least "
                f"max_runtime_seconds, {self.max_runtime_seconds}: AWS refuses it otherwise"
            )
        return self

    @model_validator(mode="after")
    def _selectable(self) -> Training:
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError("two candidates have the same name")
        named = self.selection_metric != Training.model_fields["selection_metric"].default
        if (len(names) > 1 or self.tuning or named) and self.selection_metric not in self.metrics:
            raise ValueError(
                f"selection_metric {self.selection_metric!r} is not among the metrics {sorted(self.metrics)}"
            )
        known = known_direction(self.selection_metric)
        if len(names) > 1 and self.direction is None and known is None:
            raise ValueError(
                f"selection_metric {self.selection_metric!r}: say with direction: min or direction: max which values are good"
            )
        if known and self.direction not in (None, known):
            raise ValueError(
                f"selection_metric {self.selection_metric!r}: direction {self.direction} would choose the worst"
            )
        if self.script and (boxed := [candidate.name for candidate in self.candidates if candidate.trainer]):
            raise ValueError(
                f"candidate {boxed[0]!r} names a trainer, but script {self.script} trains every candidate: leave one of them out"
            )
        if self.min_candidates > len(names):
            raise ValueError(f"min_candidates is {self.min_candidates}, but there are {len(names)} candidates")
        return self
