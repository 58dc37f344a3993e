"""Documents that do not change any more: fetched side by side when they are not known, and believed for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

V = TypeVar("V")

READERS = 16
MOST = 5_000
"""How many are kept; one more, and all are forgotten."""


class Remembered(Generic[V]):
    """Values by key.

    Args:
        seconds: how long one is believed.
        settled: tells whether a value stays as it is.

    """

    def __init__(self, seconds: float, settled: Callable[[V], bool] = lambda value: True) -> None:
        self.seconds = seconds
        self._settled = settled
        self._known: dict[str, tuple[float, V]] = {}

    def of(self, keys: Sequence[str], read: Callable[[str], V | None]) -> dict[str, V]:
        """Return values in the order of their keys, without those of which there are none.

        Args:
            keys: of the values.
            read: fetches one that is not known; None when there is none. Called in threads when there are several.

        """
        now = time.monotonic()
        found = {key: known[1] for key in keys if (known := self._known.get(key)) and now - known[0] < self.seconds}
        unknown = [key for key in keys if key not in found]
        if len(unknown) > 1:
            with ThreadPoolExecutor(READERS) as pool:
                values = list(pool.map(read, unknown))
        else:
            values = [read(key) for key in unknown]
        for key, value in zip(unknown, values, strict=True):
            if value is not None:
                found[key] = value
                self._keep(key, value, now)
        return {key: found[key] for key in keys if key in found}

    def _keep(self, key: str, value: V, now: float) -> None:
        if not self._settled(value):
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = now, value

    def forget(self) -> None:
        """Let everything be read anew."""
        self._known.clear()
