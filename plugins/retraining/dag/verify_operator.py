"""The operator that asks an endpoint for its answers, and takes it back when they are wrong; no worker waits meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator

from retraining.dag.pausing import WaitingOperator
from retraining.dag.triggers import JobTrigger
from retraining.jobs.endpoint_update import RETAINED
from retraining.jobs.job import JobBusyError
from retraining.jobs.kinds import JOB_KINDS
from retraining.serving.verification import UnansweredError
from retraining.serving.way_back import WayBack, deletes
from retraining.settings.access import AwsAccess


class GoBackError(RuntimeError):
    """The endpoint answers wrongly and has to be taken back; raised by a task body for its operator, which does it."""

    def __init__(self, way: WayBack) -> None:
        super().__init__(way.verdict)
        self.way = way


class VerifyOperator(WaitingOperator):
    """Call a task body that verifies an endpoint.

    The body returns when all is well, or raises: ``UnansweredError`` or ``JobBusyError`` (it is called again after a pause), or
    ``GoBackError`` (the endpoint is brought to what it served before, and then ``taken_back`` is called).

    Args:
        model: the model's name.
        access: how to reach AWS.
        max_wait: how long the way back may take.
        poll_seconds: returns the seconds between two looks at the endpoint.
        taken_back: ``(way, outcome, context) -> result`` is told how the way back ended, in a sentence.

    """

    def __init__(
        self,
        *,
        model: str,
        access: AwsAccess,
        max_wait: timedelta,
        poll_seconds: Callable[[], float],
        taken_back: Callable[[WayBack, str, Any], Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.access = access
        self.max_wait = max_wait
        self.poll_seconds = poll_seconds
        self.taken_back = taken_back

    def _call(self, context: Any, since: float, pauses: int) -> Any:
        try:
            return PythonOperator.execute(self, context)
        except (UnansweredError, JobBusyError) as error:
            self.pause(f"task {self.task_id}", str(error), since, pauses)
        except GoBackError as error:
            return self._go_back(context, error.way, since, pauses)

    def _go_back(self, context: Any, way: WayBack, since: float, pauses: int) -> Any:
        if deletes(way):
            way.delete(self.access)
            return self.taken_back(way, f"endpoint {way.endpoint} was deleted, because nothing served before", context)
        if way.previous == way.config:
            outcome = (
                f"endpoint {way.endpoint} served {way.config} before this run, too, and was left alone: look at it now"
            )
            return self.taken_back(way, outcome, context)
        if way.barred:
            return self.taken_back(way, way.failed(way.barred), context)
        kept = RETAINED if way.scaled else {}
        request = {"EndpointName": way.endpoint, "EndpointConfigName": way.previous, **kept}
        try:
            handle = JOB_KINDS["endpoint"].submit(self.access, self.model, "return", request).handle
        except JobBusyError as error:
            self.pause(f"task {self.task_id}", str(error), since, pauses)
        except Exception as error:
            return self.taken_back(way, way.failed(str(error)), context)
        self.defer(
            trigger=JobTrigger(
                kind="endpoint",
                handle=handle,
                access=self.access.model_dump(),
                deadline=time.time() + self.max_wait.total_seconds(),
                poll_seconds=self.poll_seconds(),
            ),
            method_name="returned",
            kwargs={"way": way.model_dump(mode="json")},
        )

    def returned(self, context: Any, event: dict[str, Any], way: dict[str, Any]) -> Any:
        """Tell how the way back ended."""
        back = WayBack.model_validate(way)
        if event["outcome"] == "succeeded":
            outcome = f"endpoint {back.endpoint} serves {back.previous} again"
        elif event["outcome"] == "unreachable":
            raise RuntimeError(f"endpoint {back.endpoint} could not be looked at on its way back: {event['reason']}")
        else:
            outcome = back.failed(f"it is {event['state'] or event['outcome']}: {event['reason']}")
        return self.taken_back(back, outcome, context)
