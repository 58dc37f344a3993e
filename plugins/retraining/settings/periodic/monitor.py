"""The section ``monitor`` of ``model.yaml``: when the model in service is looked at, and what counts as drift."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from retraining.settings.periodic.cron import Cron
from retraining.settings.periodic.periodic_job import PeriodicJob

DAYS_OF_A_YEAR = 365.0


class Monitor(PeriodicJob):
    """The watch over the requests of the endpoint: when it looks, how seldom it may be wrong, and the machine of its job."""

    cron: Cron = "50 4 * * *"
    years_between_false_alarms: Annotated[float, Field(gt=0)] = 20.0
    """An undrifted year has a false alarm with a probability of at most one in this many."""
    tolerance: Annotated[float, Field(ge=0, lt=0.5)] = 0.01
    """Change of a column's mean rank among the training rows, or of a share, that is no drift."""
    cooldown_days: Annotated[float, Field(ge=0)] = 7.0
    """After an incident has woken the retraining, the next one leaves it alone for so long."""
    explained_rows: Annotated[int, Field(ge=0, le=1000)] = 0
    """Rows of each look that the model explains, to see whether it goes by other columns than on its validation rows; 0 does without."""
    label_days: Annotated[float, Field(ge=0, le=60)] = 30.0
    """Days that labels below ``NAME/monitor/labels/`` and the answers that they belong to wait for each other; 0 takes no labels."""
    volume_gb: Annotated[int, Field(gt=0)] = 20

    @property
    def alarm(self) -> float:
        """Value of the drift detectors that opens an incident."""
        return DAYS_OF_A_YEAR * self.years_between_false_alarms
