"""How a model is put to use: by an endpoint and an update of it, or by the scoring of files alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticKnownError

from retraining.settings.machines.image_uris import Image
from retraining.settings.machines.instances import InstanceType
from retraining.settings.strict import Strict

Name = Annotated[str, Field(max_length=24, pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
LONGEST_SHIFT = 28_800
"""Seconds: MaximumExecutionTimeoutInSeconds of a blue/green update."""
Script = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\.py$")]
Mode = Literal["instance", "serverless", "none"]
PIP_AT_START = ("sagemaker-scikit-learn", "sagemaker-xgboost")
"""Images whose containers install the serving code as a package, for which pip asks an index."""
INSTANCE_KEYS = ("instance_type", "instance_count", "startup_timeout_seconds", "autoscaling")
BURSTABLE = ("ml.t2.", "ml.t3.")
"""Instance types that Application Auto Scaling does not scale."""
NO_USE: dict[str, dict[str, str]] = {
    "instance": {"serverless": "the endpoint of mode instance has machines of its own"},
    "serverless": {
        **dict.fromkeys(INSTANCE_KEYS, "a serverless endpoint has no instances"),
        "data_capture_percent": "AWS captures no request of a serverless endpoint",
        "canary": "a canary is a share of instances, and a serverless endpoint has none",
        "network_isolation": "AWS isolates no serverless endpoint",
    },
    "none": dict.fromkeys(
        ("endpoint", *INSTANCE_KEYS, "data_capture_percent", "canary", "serverless", "network_isolation"),
        "a model with mode none has no endpoint",
    ),
}
"""By mode the keys that it has no use for, and why."""


class Canary(Strict):
    """Blue/green traffic shifting of an endpoint update on AWS, watched by CloudWatch alarms."""

    percent: Annotated[int, Field(gt=0, le=50)] = 10
    wait_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    alarms: tuple[str, ...] | None = None
    """Names of alarms that take the update back; null for those that the platform makes for the endpoint, an empty list for none."""


class Autoscaling(Strict):
    """Instances that Application Auto Scaling adds and takes away as requests come."""

    min: PositiveInt = 1
    max: PositiveInt
    invocations_per_instance: Annotated[float, Field(gt=0)]
    """Requests a minute that one instance is to get; instances follow so that it gets about as many."""

    @model_validator(mode="after")
    def _in_order(self) -> Autoscaling:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class Serverless(Strict):
    """Capacity of a serverless endpoint, which AWS starts when it is asked and bills by memory and time."""

    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048
    max_concurrency: Annotated[int, Field(ge=1, le=200)] = 5
    """Requests at a time; AWS answers those beyond with ThrottlingException."""
    provisioned_concurrency: Annotated[int, Field(ge=1, le=200)] | None = None
    """How many requests find a started server at any time, billed by the hour; null for none."""

    @model_validator(mode="after")
    def _provisioned_within_its_most(self) -> Serverless:
        if (self.provisioned_concurrency or 0) > self.max_concurrency:
            raise ValueError(
                f"provisioned_concurrency is {self.provisioned_concurrency}: AWS takes at most max_concurrency, {self.max_concurrency}"
            )
        return self


class Deployment(Strict):
    """The way to use the model: `endpoint` names one on machines (mode `instance`) or `serverless`; `none` has none, and scores files."""

    mode: Mode = "instance"
    endpoint: Annotated[Name | None, Field(validate_default=True)] = None
    """Its name without that of the environment; required unless there is none."""
    image: Image
    instance_type: InstanceType = "ml.t2.medium"
    script: Script | None = None
    """File of the model folder with serving functions of its own (``model_fn``, ``transform_fn``, ...), in place of the library's."""
    instance_count: PositiveInt = 1
    startup_timeout_seconds: Annotated[int, Field(ge=60, le=3600)] = 300
    max_wait_seconds: PositiveInt = 3600
    data_capture_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of the requests that are kept with their answers, for the monitor; they may be about people, so none is by default."""
    network_isolation: bool = False
    """Whether the model has no network where it serves; for an image that installs nothing when it starts, as SageMaker's own do."""
    keep: Annotated[int, Field(ge=1)] = 3
    smoke_tolerance: Annotated[float, Field(gt=0)] = 1e-6
    canary: Canary | None = None
    autoscaling: Autoscaling | None = None
    """Number of instances that follows the requests; ``instance_count`` is what a new endpoint begins with."""
    serverless: Serverless = Serverless()

    @field_validator("*")
    @classmethod
    def _has_a_use(cls, value: Any, known: ValidationInfo) -> Any:
        mode, key = known.data.get("mode", "instance"), str(known.field_name)
        if key == "endpoint" and value is None:
            if "endpoint" not in NO_USE.get(mode, {}):
                missing = PydanticKnownError("missing")  # told as that of any other key
                raise missing
        elif reason := NO_USE.get(mode, {}).get(key):
            raise ValueError(f"{reason}: leave the key out")
        return value

    @field_validator("image")
    @classmethod
    def _has_no_gpu(cls, image: str, known: ValidationInfo) -> str:
        if known.data.get("mode") == "serverless" and "gpu" in image.rpartition(":")[2]:
            raise ValueError(f"a serverless endpoint has no GPU: take the image for cpu in place of {image}")
        return image

    @field_validator("network_isolation")
    @classmethod
    def _installs_nothing(cls, isolated: bool, known: ValidationInfo) -> bool:
        repository = str(known.data.get("image", "")).rpartition(":")[0].rpartition("/")[2]
        if isolated and repository in PIP_AT_START:
            raise ValueError(
                f"the container of {repository} installs the serving code with pip when it starts, and does not come up without a network: "
                "take an image of yours, or leave the key out"
            )
        return isolated

    @model_validator(mode="after")
    def _can_scale(self) -> Deployment:
        if self.autoscaling is None:
            return self
        if self.instance_type.startswith(BURSTABLE):
            raise ValueError(f"autoscaling: AWS does not scale burstable instances such as {self.instance_type}")
        least, most = self.autoscaling.min, self.autoscaling.max
        if not least <= self.instance_count <= most:
            raise ValueError(
                f"autoscaling: instance_count is {self.instance_count}, which a new endpoint begins with: choose it from {least} to {most}"
            )
        return self

    @model_validator(mode="after")
    def _can_shift(self) -> Deployment:
        if self.canary and self.fewest_instances * self.canary.percent < 100:
            least = -(-100 // self.canary.percent)
            raise ValueError(
                f"canary: percent {self.canary.percent} of {self.fewest_instances} is less than an instance, which AWS refuses: "
                f"ask for {least} instances, or a larger share"
            )
        if self.canary and self.max_wait_seconds > LONGEST_SHIFT:
            raise ValueError(
                f"max_wait_seconds is {self.max_wait_seconds}: with a canary AWS takes at most {LONGEST_SHIFT}"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_has_no_use(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the mode has no use for, so that what was written can be read again."""
        without = NO_USE.get(self.mode, {})
        return {key: value for key, value in serialize(self).items() if key not in without}

    @property
    def fewest_instances(self) -> int:
        """How many instances the endpoint has at least."""
        return self.autoscaling.min if self.autoscaling else self.instance_count

    @property
    def most_instances(self) -> int:
        """How many instances the endpoint has at most, one update aside."""
        return self.autoscaling.max if self.autoscaling else self.instance_count

    @property
    def isolated(self) -> bool:
        """Whether the model serves without a network, which AWS does not have for a serverless endpoint."""
        return self.network_isolation and "network_isolation" not in NO_USE.get(self.mode, {})

    @property
    def captured_percent(self) -> int:
        """Share of the requests that are captured, in percent; without capture there is nothing to watch."""
        return 0 if "data_capture_percent" in NO_USE.get(self.mode, {}) else self.data_capture_percent
