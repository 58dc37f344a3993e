"""The section ``batch`` of ``model.yaml``: when files are scored, and on what."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from retraining.settings.periodic.cron import Cron
from retraining.settings.periodic.periodic_job import PeriodicJob


class Batch(PeriodicJob):
    """Scoring of files below ``NAME/batch/in/``: when to look for them, and the machine of the job. The image is the model's own."""

    cron: Cron = "20 * * * *"
    volume_gb: Annotated[int, Field(gt=0)] = 10
    explain: bool = False
    """Say of each row, too, by how much each column moved its answer; many times as dear as the answer."""
