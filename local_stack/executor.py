"""Airflow's LocalExecutor with workers that have imported what tasks need: tasks are forks of them."""

from __future__ import annotations

import os
from contextlib import suppress

from airflow.executors import local_executor

from local_stack import importing

SERVICES = ("glue", "lambda", "logs", "s3", "sagemaker", "sagemaker-runtime", "sns", "ssm")
"""AWS services that a run talks to."""


class LocalExecutor(local_executor.LocalExecutor):
    """Its name is that of Airflow's own, by which Airflow knows a stack for development."""

    def start(self) -> None:
        """Import what tasks need, and start the workers."""
        importing.for_forks(SERVICES)
        scheduler = os.getpid()
        os.register_at_fork(after_in_child=lambda: give_way(os.getppid() == scheduler))
        super().start()


def give_way(worker: bool) -> None:
    """Keep a worker, which supervises its task and wakes at the task's last words, from taking the processor before the task has ended.

    It would not notice the end before its next heartbeat, and hold the worker slot until then.
    """
    with suppress(OSError, AttributeError):  # some containers do not allow it, macOS does not have it
        os.sched_setscheduler(0, os.SCHED_BATCH if worker else os.SCHED_OTHER, os.sched_param(0))
