"""One candidate of ``training.candidates`` in ``model.yaml``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from retraining.settings.machines.deployment import Name
from retraining.settings.machines.image_uris import Image, OwnImage
from retraining.settings.run_parameters import check_hyperparameters
from retraining.settings.strict import Strict
from retraining.settings.trainers import Trainer, complete


class Candidate(Strict):
    """One algorithm to train: a trainer in the box, or ``fit`` in train.py. ``image`` overrides the trainer's own and the step's."""

    name: Name
    trainer: Trainer | None = None
    """One of the trainers in the box, which need no code; null for the model folder's train.py."""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    image: Image | None = None
    container: OwnImage | None = None
    """An image of one's own registry that trains and serves by itself, in any language; null for the library's code."""

    @field_validator("hyperparameters")
    @classmethod
    def _its_own(cls, value: dict[str, Any]) -> dict[str, Any]:
        check_hyperparameters(value)
        return value

    @model_validator(mode="after")
    def _known_to_its_trainer(self) -> Candidate:
        if self.trainer:
            complete(self.trainer, self.hyperparameters)
        return self

    @model_validator(mode="after")
    def _one_code(self) -> Candidate:
        if self.container and (given := [key for key in ("trainer", "image") if getattr(self, key)]):
            raise ValueError(
                f"candidate {self.name!r} has a container, which trains and serves by itself: leave {given[0]} out"
            )
        return self
