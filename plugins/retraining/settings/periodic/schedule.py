"""The section ``schedule`` of ``model.yaml``: when the data are looked at, besides the events, and what is a reason to retrain."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from retraining.settings.periodic.cron import Cron
from retraining.settings.strict import Strict


class Schedule(Strict):
    """The daily schedule besides the events, a cron expression in UTC."""

    cron: Cron = "0 5 * * *"
    min_interval_minutes: Annotated[int, Field(ge=0, le=10_080)] = 0
    """New files wait until the newest dataset version is this old, so that single rows do not each pay for a training."""
    min_rows: Annotated[int, Field(ge=0)] = 0
    """New rows are merged at once, and trained on when this many have come since the newest version with a judged model."""
    retrain_on_change: bool = True
    """Whether changed code or configuration is a reason to run, without new data."""
