"""Waiting without a worker, and without using up retries, until something else has ended."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, NoReturn

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk.exceptions import AirflowFailException

from retraining.contract.plain_text import plain_lines
from retraining.dag.triggers import PauseTrigger
from retraining.jobs.job import JobBusyError

FIRST_PAUSE, LONGEST_PAUSE = 15.0, 900.0


class Pausing:
    """What operators share that may have to wait before they can begin.

    The operator's method ``start_again(context, event, since, pauses)`` is called after each pause.
    """

    defer: Any
    log: Any
    patience: timedelta
    longest_pause: float = LONGEST_PAUSE

    def pause(self, what: str, reason: str, since: float, pauses: int) -> NoReturn:
        """Defer before the next try; each pause is longer than the one before.

        Args:
            what: what waits, for the error.
            reason: what it waits for.
            since: Unix time of the first try.
            pauses: how many there were.

        Raises:
            AirflowFailException: it has waited for as long as it may.

        """
        waited = time.time() - since
        left = self.patience.total_seconds() - waited
        if left <= 0:
            raise AirflowFailException(
                plain_lines(f"{what} waited {timedelta(seconds=round(waited))} and could not begin: {reason}")
            )
        seconds = min(FIRST_PAUSE * 2**pauses, self.longest_pause, max(1.0, left))
        self.log.info("%s; looking again in %.0f s", reason, seconds)
        self.defer(
            trigger=PauseTrigger(seconds), method_name="start_again", kwargs={"since": since, "pauses": pauses + 1}
        )
        raise AssertionError


class WaitingOperator(Pausing, PythonOperator):
    """A task body that may find what it needs busy: it raises ``JobBusyError``, and is called again after a pause.

    Args:
        patience: how long it may wait in all.

    """

    longest_pause = 60.0

    def __init__(self, *, patience: timedelta, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patience = patience

    def execute(self, context: Any) -> Any:
        """Call the task body."""
        return self._call(context, time.time(), 0)

    def start_again(self, context: Any, event: dict[str, Any], since: float, pauses: int) -> Any:
        """Call it again after a pause."""
        return self._call(context, since, pauses)

    def _call(self, context: Any, since: float, pauses: int) -> Any:
        try:
            return PythonOperator.execute(self, context)
        except JobBusyError as error:
            self.pause(f"task {self.task_id}", str(error), since, pauses)
