"""The sensor that decides whether a run has anything to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowSkipException

from retraining.dag.triggers import PauseTrigger

WAITED_OUT = 1.0
"""Seconds that a process of the task waits itself: to give up its worker slot and begin anew in another process takes longer."""


class NewDataSensor(BaseSensorOperator):
    """Pass when there is settled new data (or another reason to run), skip the run when there is none.

    Args:
        look: returns ``(reason to run or None, seconds until unsettled files may have settled or None)``.
        max_settle: how long to wait for files that keep changing; then the run goes on with those that have settled.

    """

    def __init__(
        self,
        *,
        look: Callable[[Any], tuple[str | None, float | None]],
        max_settle: timedelta = timedelta(minutes=30),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.look = look
        self.max_settle = max_settle

    def execute(self, context: Any) -> Any:
        """Look once; defer when files may still change."""
        return self._decide(context, waited=0.0)

    def resume(self, context: Any, event: dict[str, Any], waited: float) -> Any:
        """Look again after the wait."""
        return self._decide(context, waited + float(event["slept"]))

    def _decide(self, context: Any, waited: float, waited_out: float = 0.0) -> Any:
        reason, unsettled_for = self.look(context)
        patience = self.max_settle.total_seconds() - waited
        if unsettled_for is not None and patience > 0:
            short = min(max(unsettled_for, 0.2), patience)
            if waited_out + short <= WAITED_OUT:
                self.log.info("files may still change; waiting %.1f s", short)
                time.sleep(short)
                return self._decide(context, waited + short, waited_out + short)
            seconds = min(max(unsettled_for, 0.5), patience)
            self.log.info("files may still change; looking again in %.1f s", seconds)
            self.defer(trigger=PauseTrigger(seconds), method_name="resume", kwargs={"waited": waited})
        if reason is None:
            raise AirflowSkipException(
                "no new data that is due, and the newest dataset version has a judged model or waits for more rows: nothing to do"
            )
        self.log.info("this run has work to do: %s", reason)
        return reason
