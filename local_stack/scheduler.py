"""Airflow's scheduler, which looks at all runs when something has changed, and at the latest after a second.

Airflow's own does it several times a second as long as it runs. With all that it asks its database for, that takes half a processor while a
run is on, and the jobs of the run want it. Whether a run, a task or an asset has changed is a short question, asked far more often: so the
next task also starts sooner.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from airflow.configuration import conf
from airflow.jobs import scheduler_job_runner
from sqlalchemy.engine import make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import now

PAUSE = 0.03
"""Seconds between two questions."""
LONGEST = 1.0
"""Seconds after which it looks in any case: for what the clock brings, and what the question leaves out."""
QUESTIONS = (
    """
    SELECT run.id, run.state, run.clear_number, task.id, task.state, task.try_number
    FROM dag_run AS run LEFT JOIN task_instance AS task ON task.dag_id = run.dag_id AND task.run_id = run.run_id
    WHERE run.state IN ('queued', 'running')
    """,
    "SELECT asset_id, target_dag_id, created_at FROM asset_dag_run_queue",
)
CLOCK = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
"""SQLite's, to the millisecond. With its clock of whole seconds, Airflow's, a new run waits for the next one."""


class Changes:
    """What a scheduler acts on, read beside it."""

    def __init__(self, database: str | Path) -> None:
        self._connection = sqlite3.connect(f"{Path(database).absolute().as_uri()}?mode=ro", uri=True)
        self._acted_on: Any = None

    def pending(self) -> Any:
        """Return what is there, if it has changed since it was acted on; nothing when the database does not answer: Airflow will say so."""
        try:
            found = [self._connection.execute(question).fetchall() for question in QUESTIONS]
        except sqlite3.Error:
            return None
        return found if found != self._acted_on else None

    def acted_on(self, pending: Any) -> None:
        """Note what a look has begun with: what it changes itself is looked at again."""
        self._acted_on = pending


class SchedulerJobRunner(scheduler_job_runner.SchedulerJobRunner):
    """Airflow's scheduler with a question before each look."""

    _changes: Changes | None = None
    _next_look = 0.0
    _freed = False

    def _do_scheduling(self, session: Any) -> int:
        """Wait until there is something to do, for the scheduler or for its executors, and do it."""
        if self._changes is None:
            self._changes = Changes(make_url(conf.get("database", "sql_alchemy_conn")).database or "")
        executors: Any = self.executors
        while (pending := self._changes.pending()) is None and time.monotonic() < self._next_look:
            ended = any(not executor.result_queue.empty() for executor in executors)
            if ended or self._freed:
                # An executor gives a slot away in the round after the one in which it reads that a task has ended.
                self._freed = ended
                return 0
            time.sleep(PAUSE)
        if pending is not None:
            self._changes.acted_on(pending)
        self._next_look = time.monotonic() + LONGEST
        return super()._do_scheduling(session)


def prepare() -> None:
    """Put it in the place of Airflow's, with a clock that has fractions of a second."""
    from airflow.cli.commands import scheduler_command

    scheduler_command.SchedulerJobRunner = SchedulerJobRunner  # type: ignore[misc]
    compiles(now, "sqlite")(lambda *_, **__: CLOCK)
