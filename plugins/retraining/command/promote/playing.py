"""Plays an operator in this process to its end, its pauses and its waiting for jobs included, as Airflow does across processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from airflow.sdk.exceptions import TaskDeferred

from retraining.dag.operators import JobOperator
from retraining.dag.triggers import PauseTrigger

WAITS = "  it waits for its turn: another run changes the endpoint, or the service is busy or away"


def played(operator: Any, context: dict[str, Any], say: Callable[[str], None]) -> Any:
    """Run an operator and all its triggers; return its result, and say when it waits for others.

    A job that is under way when a person interrupts is stopped, as that of a task that is killed: a repetition starts it again. A change of
    an endpoint is not: AWS ends it, and a repetition finds it.
    """
    following: Any = operator.execute
    arguments: dict[str, Any] = {}
    try:
        while True:
            try:
                return following(context, **arguments)
            except TaskDeferred as deferral:
                if isinstance(deferral.trigger, PauseTrigger):
                    say(WAITS)
                event = asyncio.run(first_event(deferral.trigger))
                following = getattr(operator, deferral.method_name)
                arguments = {**(deferral.kwargs or {}), "event": event}
    except KeyboardInterrupt:
        if isinstance(operator, JobOperator) and operator.kind != "endpoint":
            operator.on_kill()
        raise


async def first_event(trigger: Any) -> Any:
    """Return the payload of a trigger's first event."""
    async for event in trigger.run():
        return event.payload
    raise RuntimeError(f"{type(trigger).__name__} ended without an event")
