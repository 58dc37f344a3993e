"""Machines of a SageMaker job, and its time limit."""

from __future__ import annotations

from pydantic import PositiveInt

from retraining.settings.strict import Strict


class Instances(Strict):
    """Machines of a SageMaker job and its time limit."""

    image: str
    instance_type: str = "ml.m5.large"
    instance_count: PositiveInt = 1
    volume_gb: PositiveInt = 10
    max_runtime_seconds: PositiveInt = 3600
