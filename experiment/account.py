"""Whose account an experiment runs in: the local stack's, or that of the shell after a person agreed to pay."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class RefusedError(RuntimeError):
    """Nobody agreed to the cost of the jobs; none was started."""


def is_local(environment: Mapping[str, str]) -> bool:
    """Whether AWS clients of this environment are led to this machine."""
    return urlsplit(environment.get("AWS_ENDPOINT_URL", "")).hostname in LOOPBACK


def _on_terminal(question: str) -> bool:
    return sys.stdin.isatty() and input(question).strip().lower() in ("y", "yes")


@dataclass(frozen=True)
class Consent:
    """Asks before jobs are started that cost money."""

    given: bool = False
    ask: Callable[[str], bool] = _on_terminal

    def to(self, account: str) -> None:
        """Ask whether jobs may be started in an account.

        Raises:
            RefusedError: the answer is no, or there is nobody to ask.

        """
        if self.given or is_local(os.environ):
            return
        if not self.ask(f"This starts training and processing jobs in {account}, which cost money. Go on? [y/N] "):
            raise RefusedError(
                f"no job was started in {account}: say yes, or give YES=1 (--yes) where nobody can answer"
            )
