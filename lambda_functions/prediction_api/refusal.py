"""A request that is not answered: the status, a word for programs, a sentence for people, and what is wrong with each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class RefusalError(Exception):
    """Why a request gets no prediction.

    Args:
        status: of HTTP.
        code: a word that stays the same, for programs.
        message: a sentence for people.
        problems: of rows that break the contract, at most ``MOST_PROBLEMS`` of them.
        detail: what the log says beside; the client does not see it.

    """

    def __init__(
        self, status: int, code: str, message: str, problems: Sequence[dict[str, Any]] = (), detail: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.problems = list(problems)
        self.detail = detail
