"""The page's own threads: Airflow's routes share one pool, and must not wait for those who look at the page.

What reads a little and what takes the time of a file or of the endpoint have threads of their own, too: a view does not wait for the
files of others. Who waits holds no thread.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

P = ParamSpec("P")
R = TypeVar("R")

LOOKING, WORKING = 4, 8
"""Requests of each kind that an API server process answers at a time."""
_looking: RunVar[CapacityLimiter] = RunVar("retraining page, looking")
_working: RunVar[CapacityLimiter] = RunVar("retraining page, working")


def looking(work: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Return a route or dependency that reads a little as one that reads it in a thread of the page."""

    @functools.wraps(work)
    async def looked(*args: P.args, **kwargs: P.kwargs) -> R:
        call = functools.partial(work, *args, **kwargs)
        return await to_thread.run_sync(call, limiter=_limiter(_looking, LOOKING))

    return looked


async def working(work: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Do what takes the time of a file or of the endpoint in a thread of the page."""
    return await to_thread.run_sync(functools.partial(work, *args, **kwargs), limiter=_limiter(_working, WORKING))


def _limiter(kind: RunVar[CapacityLimiter], threads: int) -> CapacityLimiter:
    """Return the limiter of this event loop."""
    try:
        return kind.get()
    except LookupError:
        kind.set(made := CapacityLimiter(threads))
        return made
