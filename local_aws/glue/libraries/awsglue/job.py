"""A Glue job as its script sees it: begin, and remember at the end which files were read."""

from __future__ import annotations

from typing import Any


class Job:
    """``job = Job(glue_context); job.init(name, args); ...; job.commit()``."""

    def __init__(self, glue_context: Any) -> None:
        self._context = glue_context
        self._initialized = False

    def init(self, job_name: str, args: Any = None) -> None:
        """Begin the job: from here on its bookmarks count."""
        if self._initialized:
            raise RuntimeError("Job already initialized")
        self._initialized = True
        self._context.bookmarks.begin()

    def isInitialized(self) -> bool:
        """Return whether `init` was called."""
        return self._initialized

    def commit(self) -> None:
        """Let the next run begin behind what this one has read."""
        if not self._initialized:
            raise RuntimeError("Job.init() comes before Job.commit()")
        self._context.bookmarks.commit()
