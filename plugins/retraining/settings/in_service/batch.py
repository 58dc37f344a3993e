"""The section ``batch`` of ``model.yaml``: when files are scored, and on what."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from retraining.settings.in_service.cron import check_cron
from retraining.settings.strict import Strict


class Batch(Strict):
    """Scoring of files below ``NAME/batch/in/``: when to look for them, and the machine of the job. The image is the model's own."""

    cron: str = "20 * * * *"
    instance_type: str = "ml.m5.large"
    volume_gb: Annotated[int, Field(gt=0)] = 10
    max_runtime_seconds: Annotated[int, Field(gt=0)] = 3600

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        check_cron(cron)
        return cron
