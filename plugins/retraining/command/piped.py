"""Ends a command whose output nobody reads any more (``| head``) as a shell's own programs end: without a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

READER_GONE = 128 + 13  # the exit code of a program that SIGPIPE ends; 0 would say that all was well


def until_nobody_reads(main: Callable[[], int]) -> int:
    """Run a command to its exit code, or to 141 when its reader went away."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        read_no_more()
        return READER_GONE
    return code


def read_no_more() -> None:
    """Let what is still printed go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
