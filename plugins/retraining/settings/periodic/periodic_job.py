"""What the sections of ``model.yaml`` about a model in service share: when their job runs, and on what."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from retraining.settings.machines.instances import InstanceType
from retraining.settings.machines.overrides import PROCESSING, adds_to
from retraining.settings.periodic.cron import Cron
from retraining.settings.strict import Strict


class PeriodicJob(Strict):
    """A processing job on one machine, at the times of a cron expression."""

    cron: Cron
    instance_type: InstanceType = "ml.m5.large"
    volume_gb: Annotated[int, Field(gt=0)]
    max_runtime_seconds: Annotated[int, Field(gt=0)] = 3600
    network_isolation: bool = True
    """Whether the job has no network; SageMaker brings inputs and outputs all the same. `false` for code of yours that needs one."""
    overrides: Annotated[dict[str, Any], AfterValidator(adds_to(PROCESSING))] = Field(default_factory=dict)
    """Members of CreateProcessingJob in AWS's spelling that have no key here."""

    @property
    def instance_count(self) -> int:
        """Machines of the job: files and captured requests are read one after another."""
        return 1
