"""Machines of a SageMaker job, and its time limit."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, PositiveInt

from retraining.settings.strict import Strict

_TYPE = re.compile(r"ml\.[a-z][a-z0-9-]*\.[a-z0-9-]+")


def _instance_type(value: str) -> str:
    if _TYPE.fullmatch(value):
        return value
    meant = f"; did you mean ml.{value}?" if _TYPE.fullmatch(f"ml.{value}") else ", such as ml.m5.large"
    raise ValueError(f"{value!r} is no instance type of SageMaker: they begin with ml.{meant}")


InstanceType = Annotated[str, AfterValidator(_instance_type)]


class Instances(Strict):
    """Machines of a SageMaker job and its time limit."""

    image: str
    instance_type: InstanceType = "ml.m5.large"
    instance_count: PositiveInt = 1
    volume_gb: PositiveInt = 10
    max_runtime_seconds: PositiveInt = 3600
