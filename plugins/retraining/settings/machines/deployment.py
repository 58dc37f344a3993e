"""The endpoint of a model: what serves it, and how an update of it goes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from retraining.settings.machines.image_uris import Image
from retraining.settings.machines.instances import InstanceType
from retraining.settings.strict import Strict

Name = Annotated[str, Field(max_length=24, pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
LONGEST_SHIFT = 28_800
"""Seconds: MaximumExecutionTimeoutInSeconds of a blue/green update."""
Script = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\.py$")]


class Canary(Strict):
    """Blue/green traffic shifting of an endpoint update on AWS, watched by CloudWatch alarms."""

    percent: Annotated[int, Field(gt=0, le=50)] = 10
    wait_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    alarms: tuple[str, ...] = ()


class Deployment(Strict):
    """The endpoint and what stands around it. ``keep`` superseded models and configs stay for a rollback."""

    endpoint: Name
    image: Image
    instance_type: InstanceType = "ml.t2.medium"
    script: Script | None = None
    """File of the model folder with serving functions of its own (``model_fn``, ``transform_fn``, ...), in place of the library's."""
    instance_count: PositiveInt = 1
    startup_timeout_seconds: Annotated[int, Field(ge=60, le=3600)] = 300
    max_wait_seconds: PositiveInt = 3600
    data_capture_percent: Annotated[int, Field(ge=0, le=100)] = 100
    keep: Annotated[int, Field(ge=1)] = 3
    smoke_tolerance: Annotated[float, Field(gt=0)] = 1e-6
    canary: Canary | None = None

    @model_validator(mode="after")
    def _can_shift(self) -> Deployment:
        if self.canary and self.instance_count * self.canary.percent < 100:
            least = -(-100 // self.canary.percent)
            raise ValueError(
                f"canary: percent {self.canary.percent} of {self.instance_count} is less than an instance, which AWS refuses: "
                f"ask for {least} instances, or a larger share"
            )
        if self.canary and self.max_wait_seconds > LONGEST_SHIFT:
            raise ValueError(
                f"max_wait_seconds is {self.max_wait_seconds}: with a canary AWS takes at most {LONGEST_SHIFT}"
            )
        return self
