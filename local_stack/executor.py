"""Airflow's LocalExecutor with workers that have imported what tasks need: tasks are forks of them."""

from __future__ import annotations

from typing import Any

from airflow.executors import local_executor
from airflow.sdk.execution_time import supervisor

from local_stack import importing

SERVICES = ("glue", "lambda", "logs", "s3", "sagemaker", "sagemaker-runtime", "sns", "ssm")
"""AWS services that a run talks to."""
ENDING = 0.01
"""Seconds between two looks at a process that has said its last word."""


class ActivitySubprocess(supervisor.ActivitySubprocess):
    """The process of a task, as its worker sees it."""

    def _service_subprocess(self, max_wait_time: float, *arguments: Any, **options: Any) -> int | None:
        """Wait for what the process says, or for its end.

        Airflow 3.3.1 sleeps until its next heartbeat, and holds the worker slot, when a task closes its pipes a moment before it ends.
        """
        if not self._open_sockets:
            max_wait_time = min(max_wait_time, ENDING)
        code: int | None = super()._service_subprocess(max_wait_time, *arguments, **options)
        return code


class LocalExecutor(local_executor.LocalExecutor):
    """Its name is that of Airflow's own, by which Airflow knows a stack for development."""

    def start(self) -> None:
        """Import what tasks need, and start the workers."""
        importing.for_forks(SERVICES)
        supervisor.ActivitySubprocess = ActivitySubprocess  # type: ignore[misc]
        super().start()

    def order_queued_tasks_by_priority(self) -> list[Any]:
        """Leave out tasks that came back from the triggerer before the end of their first process was read.

        Airflow 3.3.1 would run them at once, take that end for theirs, and fail them as killed from outside.
        """
        return [queued for queued in super().order_queued_tasks_by_priority() if queued[0] not in self.running]
