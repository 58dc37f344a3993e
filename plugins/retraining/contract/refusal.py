"""Why a whole file is refused, and what to do about it."""

from __future__ import annotations


class FileRefused(Exception):
    """A file is not merged.

    Attributes:
        reason: what is wrong with it, one sentence.
        remedy: what to do.

    """

    def __init__(self, reason: str, remedy: str = "mend the file and upload it again") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
