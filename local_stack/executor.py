"""Airflow's LocalExecutor with workers that have imported what tasks need: tasks are forks of them, and most of a short one is imports.

Who changes the library while the stack runs finds the change in the next task: a fork that sees one imports the library anew.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from airflow.executors import local_executor

_LOG = logging.getLogger(__name__)
LIBRARY = "retraining"
NOT_OF_TASKS = ("command", "inside", "page")
"""Rooms of the library that no task imports; what they need is not all in Airflow's environment."""
SERVICES = ("glue", "lambda", "logs", "s3", "sagemaker", "sagemaker-runtime", "sns", "ssm")
"""AWS services that a run talks to."""


class LocalExecutor(local_executor.LocalExecutor):
    """Its name is that of Airflow's own, by which Airflow knows a stack for development."""

    def start(self) -> None:
        """Import what tasks need, and start the workers."""
        try:
            import_ahead()
        except Exception:  # a library that is broken just now: its tasks say so themselves
            _LOG.warning("the library cannot be imported: each task does it by itself", exc_info=True)
        scheduler = os.getpid()
        os.register_at_fork(after_in_child=lambda: give_way(os.getppid() == scheduler))
        super().start()


def give_way(worker: bool) -> None:
    """Keep a worker, which supervises its task and wakes at the task's last words, from taking the processor before the task has ended.

    It would not notice the end before its next heartbeat, and hold the worker slot until then.
    """
    with suppress(OSError, AttributeError):  # some containers do not allow it, macOS does not have it
        os.sched_setscheduler(0, os.SCHED_BATCH if worker else os.SCHED_OTHER, os.sched_param(0))


def import_ahead() -> None:
    """Import the library and read what its clients are made of, for all processes that will be forked from this one."""
    from retraining.aws.clients import read_ahead

    root = Path(importlib.import_module(LIBRARY).__path__[0])
    seen = state_of(root)
    for name in _modules(root):
        importlib.import_module(name)
    read_ahead(SERVICES)
    os.register_at_fork(after_in_child=lambda: None if state_of(root) == seen else forget())


def state_of(folder: Path) -> tuple[int, int]:
    """Return how many modules there are below a folder, and when the newest was written, in ns; the same while nothing changes."""
    times = [path.stat().st_mtime_ns for path in folder.rglob("*.py")]
    return len(times), max(times, default=0)


def forget() -> None:
    """Let the library be imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == LIBRARY]:
        del sys.modules[name]


def _modules(root: Path) -> list[str]:
    """Return the names of the library's modules, but those of rooms that no task imports."""
    found = [path.relative_to(root.parent).with_suffix("").parts for path in sorted(root.rglob("*.py"))]
    return [".".join(parts).removesuffix(".__init__") for parts in found if parts[1] not in NOT_OF_TASKS]
