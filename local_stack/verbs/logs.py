"""``make logs``: the whole log of a job of the local account, as its container wrote it."""

from __future__ import annotations

import difflib
from pathlib import Path

from local_stack import layout
from local_stack.verbs import calls

PLACES = ("*-job/*/log.txt", "glue/*/*/output.txt", "glue/*/*/error.txt", "endpoint/*/*.txt")


def jobs() -> dict[str, list[Path]]:
    """Return the log files by the name of their job, Glue run or endpoint, the oldest first."""
    root = layout.AWS_DATA / "jobs"
    found: dict[str, list[Path]] = {}
    for path in sorted((path for place in PLACES for path in root.glob(place)), key=lambda path: path.stat().st_mtime):
        found.setdefault(path.parent.name, []).append(path)
    return found


def logs_of(job: str | None) -> list[Path]:
    """Return the log files of a job; a part of its name is enough when it fits one job only, None means the newest job.

    Raises:
        CallError: there is no such job, or several fit.

    """
    known = jobs()
    if not known:
        raise calls.CallError("no job has run on this machine yet: make retrain FILE=path.csv starts some")
    if not job:
        return list(known.values())[-1]
    if job in known:
        return known[job]
    fitting = [name for name in known if job in name]
    if len(fitting) == 1:
        return known[fitting[0]]
    near = fitting or difflib.get_close_matches(job, known, 5, cutoff=0.3) or list(known)[-5:]
    words = "several jobs fit" if fitting else "there is no job"
    raise calls.CallError(f"{words} {job!r}: {', '.join(near[-5:])}")
