"""Airflow's triggerer, which looks for new triggers, and passes on what they yield, ten times a second instead of once.

On AWS a second more or less is nothing beside jobs of minutes. Here jobs take seconds, and each waits for the triggerer.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from airflow.jobs import triggerer_job_runner
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from sqlalchemy import select

PAUSE = 0.1
"""Seconds between two looks."""
ROUND = 1.0
"""Seconds between two rounds of Airflow's own: heartbeats, and deleting what has ended."""


class TriggerRunner(triggerer_job_runner.TriggerRunner):
    """The process in which triggers run."""

    async def cancel_triggers(self) -> None:
        """Take the last of the steps after which Airflow's loop sleeps for a second, and all of them more often for a minute."""
        await super().cancel_triggers()
        until = time.monotonic() + 60
        while not self.stop and time.monotonic() < until:
            await asyncio.sleep(PAUSE)
            await self.sync_state_to_supervisor(await self.cleanup_finished_triggers())
            await self.create_triggers()
            await super().cancel_triggers()


class TriggerRunnerSupervisor(triggerer_job_runner.TriggerRunnerSupervisor):
    """The process that knows from the database which triggers are to run, and writes there what they yield."""

    _next_round = 0.0

    def run_once(self) -> None:
        """Pass on what has come, and take up what is new; now and then do what else Airflow does."""
        if time.monotonic() >= self._next_round:
            super().run_once()
            self._next_round = time.monotonic() + ROUND
            return
        self._service_subprocess(PAUSE)
        self.handle_events()
        self.handle_failed_triggers()
        if any_is_new():
            self.load_triggers()

    def _service_subprocess(self, max_wait_time: float, *args: Any, **options: Any) -> int | None:
        """Look again soon whether the process of the triggers has ended: that its last message has come wakes nobody a second time."""
        return super()._service_subprocess(min(max_wait_time, PAUSE), *args, **options)

    @classmethod
    def run_in_process(cls) -> None:
        """Run triggers."""
        TriggerRunner().run()


def any_is_new() -> bool:
    """Whether a trigger waits that no triggerer has taken up."""
    with create_session() as session:
        return session.scalar(select(Trigger.id).where(Trigger.triggerer_id.is_(None)).limit(1)) is not None


def prepare() -> None:
    """Put them in the place of Airflow's."""
    triggerer_job_runner.TriggerRunnerSupervisor = TriggerRunnerSupervisor  # type: ignore[misc]
