"""Airflow's LocalExecutor with workers that have imported what tasks need: tasks are forks of them."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from airflow.executors import local_executor
from airflow.sdk.execution_time import supervisor, task_runner

from local_stack import importing

CLIENTS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("glue", {}),
    ("glue", {"retry": False}),
    ("lambda", {"retry": False, "read_timeout": 930}),
    ("logs", {}),
    ("s3", {}),
    ("sagemaker", {}),
    ("sagemaker-runtime", {}),
    ("sns", {}),
    ("ssm", {}),
)
"""Clients of AWS that a run asks for: service and options."""
ENDING = 0.01
"""Seconds between two looks at a process that has said its last word."""
PATIENCE = 10.0
"""Seconds for which a task waits for the end of its earlier process."""


def _for_tasks() -> None:
    """Do once, for all tasks that will be forked from this process, what Airflow 3.3.1 would do in each of them."""
    importlib.import_module("jinja2.ext")
    # It makes the reader of JSON anew for each templated field of a task.
    task_runner.TypeAdapter = cache(task_runner.TypeAdapter)  # type: ignore[misc, assignment]


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

    def _send_heartbeat_if_needed(self) -> None:
        """Send no heartbeat in the first moment: what has told the API server that the task begins is one."""
        if not self._last_heartbeat_attempt:
            self._last_heartbeat_attempt = time.monotonic()
        super()._send_heartbeat_if_needed()


class LocalExecutor(local_executor.LocalExecutor):
    """Its name is that of Airflow's own, by which Airflow knows a stack for development."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._begun: set[Any] = set()
        self._held: dict[Any, float] = {}

    def start(self) -> None:
        """Import what tasks need, and start the workers."""
        importing.for_forks(CLIENTS)
        _for_tasks()
        supervisor.ActivitySubprocess = ActivitySubprocess  # type: ignore[misc]
        super().start()

    def _process_workloads(self, workload_list: Sequence[Any]) -> None:
        """Remember what is handed to workers: Airflow 3.3.1's LocalExecutor does not."""
        for workload in workload_list:
            self._begun.add(workload.key)
            self._held.pop(workload.key, None)
        super()._process_workloads(workload_list)

    def change_state(self, key: Any, *arguments: Any, **options: Any) -> None:
        """Note the end of a process, too."""
        self._begun.discard(key)
        super().change_state(key, *arguments, **options)

    def order_queued_tasks_by_priority(self) -> list[Any]:
        """Leave out tasks that came back from the triggerer before the end of their first process was read.

        Airflow would run them at once, take that end for theirs, and fail them as killed from outside. The end of a worker that was killed
        is never read: then they wait for ``PATIENCE``.
        """
        now = time.monotonic()
        return [
            (key, workload)
            for key, workload in super().order_queued_tasks_by_priority()
            if key not in self._begun or now - self._held.setdefault(key, now) > PATIENCE
        ]
