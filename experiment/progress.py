"""Tells a person what a long command does: a line per event, and on a terminal a running count of seconds below them."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO


class Progress:
    """Lines for a person.

    Args:
        stream: where they go.
        every: seconds between two lines about the same work where nobody watches a terminal.

    """

    def __init__(self, stream: TextIO = sys.stderr, every: float = 60.0) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._every = every
        self._shown = False
        self._last = time.monotonic()

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self.clear()
        print(line, file=self._stream, flush=True)
        self._last = time.monotonic()

    def tick(self, line: str) -> None:
        """Show what goes on at this moment; the next line takes its place."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{line[:width].ljust(width)}")
            self._stream.flush()
            self._shown = True
        elif time.monotonic() - self._last >= self._every:
            self.say(line)

    def clear(self) -> None:
        """Take away what ``tick`` shows."""
        if self._shown:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{' ' * width}\r")
            self._shown = False
