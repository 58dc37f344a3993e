"""Views that many people ask for at the same moment: made once, and believed for a moment.

A view holds nothing of the person who asks, and is made after that person's rights were checked, so that one answer serves all. Who has
just changed something gets a view that was begun afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from anyio.lowlevel import RunVar

from retraining.page.concurrency.threads import looking
from retraining.page.rights import Visitor

R = TypeVar("R")

BELIEVED_SECONDS = 5.0


@dataclass(frozen=True)
class _Making:
    """A view that is made, or was made a moment ago."""

    begun: float
    task: asyncio.Task[Any]

    def holds(self, now: float) -> bool:
        """Say whether anybody may have it: who joins a failing view is told how it failed, later ones try anew."""
        if not self.task.done():
            return True
        failed = self.task.cancelled() or self.task.exception() is not None
        return not failed and now - self.begun < BELIEVED_SECONDS


_views: RunVar[dict[tuple[Hashable, ...], _Making]] = RunVar("retraining page, views")


async def shared(view: Callable[..., R], visitor: Visitor, *arguments: Hashable, **named: Hashable) -> R:
    """Return a view of a model, made in a thread of the page unless one was begun a moment ago.

    Args:
        view: called with the model and the arguments; raises what it raises for everybody who waits for it.
        visitor: the person who asks; their model is the view's first argument.
        arguments: which view it is, beside the model's name.
        named: so are these.

    """
    key = (visitor.model.name, view, *arguments, *sorted(named.items()))
    return await once(key, lambda: looking(view, visitor.model, *arguments, **named), unchanged=visitor.unchanged)


async def once(key: tuple[Hashable, ...], make: Callable[[], Coroutine[Any, Any, R]], *, unchanged: float) -> R:
    """Return what `make` makes, unless it was begun a moment ago under the same key; who waits holds no thread.

    Args:
        key: says what is made, and for whom when not for everybody.
        make: begins to make it.
        unchanged: seconds since the person who asks has changed something; what was begun before is too old.

    """
    views, now = _of_this_loop(), time.monotonic()
    for old in [known for known, making in views.items() if not making.holds(now)]:
        del views[old]
    if key not in views or now - views[key].begun >= unchanged:
        views[key] = _Making(now, asyncio.create_task(make()))
    made: R = await asyncio.shield(views[key].task)  # a person who leaves takes it from nobody else
    return made


def _of_this_loop() -> dict[tuple[Hashable, ...], _Making]:
    try:
        return _views.get()
    except LookupError:
        made: dict[tuple[Hashable, ...], _Making] = {}
        _views.set(made)
        return made
