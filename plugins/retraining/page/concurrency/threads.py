"""The page's own threads: Airflow's routes share one pool, and must not wait for those who look at the page.

What reads a little and what takes the time of a file or of the endpoint have threads of their own, too: a view does not wait for the
files of others. Who waits holds no thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

R = TypeVar("R")

LOOKING, WORKING = 4, 8
"""Requests of each kind that an API server process answers at a time."""
_looking: RunVar[CapacityLimiter] = RunVar("retraining page, looking")
_working: RunVar[CapacityLimiter] = RunVar("retraining page, working")


async def looking(work: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Do what reads a little in a thread of the page."""
    return await _threaded(_looking, LOOKING, work, *args, **kwargs)


async def working(work: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Do what takes the time of a file or of the endpoint in a thread of the page."""
    return await _threaded(_working, WORKING, work, *args, **kwargs)


async def _threaded(
    kind: RunVar[CapacityLimiter], threads: int, work: Callable[..., R], *args: Any, **kwargs: Any
) -> R:
    try:
        limiter = kind.get()
    except LookupError:
        kind.set(limiter := CapacityLimiter(threads))  # of this event loop
    return await to_thread.run_sync(functools.partial(work, *args, **kwargs), limiter=limiter)
