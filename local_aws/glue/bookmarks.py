"""Job bookmarks: what a Glue job has read is kept from run to run, shown and reset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from local_aws.shared.errors import ServiceError
from local_aws.shared.store import Store

#: Names the file through which a run's `awsglue` learns what earlier runs have read; see ``glue_rows/bookmarks.py``.
STATE_VARIABLE = "LOCAL_AWS_GLUE_BOOKMARK"
_KIND = "glue-bookmark"

Document = dict[str, Any]


class JobBookmarks:
    """GetJobBookmark and ResetJobBookmark, and the hand-over to and from runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def hand_out(self, job: str, work: Path) -> Path:
        """Write what the job has read for its next run; return the file."""
        path = work / "bookmark.json"
        known = self._store.get(_KIND, job)
        if known:
            path.write_text(known["JobBookmark"])
        return path

    def take_back(self, run: Document, path: Path) -> None:
        """Keep what a run has committed; a run that never reached ``Job.commit()`` changes nothing."""
        committed = Path(f"{path}.committed")
        if not committed.is_file() or committed.is_symlink():
            return
        job = run["JobName"]
        earlier = self._store.get(_KIND, job) or {"Version": 0, "Run": 0}
        entry = {
            "JobName": job,
            "Version": earlier["Version"] + 1,
            "Run": earlier["Run"] + 1,
            "Attempt": run["Attempt"],
            "PreviousRunId": earlier.get("RunId", ""),
            "RunId": run["Id"],
            "JobBookmark": json.dumps(json.loads(committed.read_text())),
        }
        self._store.put(_KIND, job, entry)

    def get(self, params: Document) -> Document:
        """Return what the job has read."""
        return {"JobBookmarkEntry": self._entry(params["JobName"])}

    def reset(self, params: Document) -> Document:
        """Let the job's next run read everything again."""
        entry = self._entry(params["JobName"])
        if "RunId" in params:
            raise ServiceError(
                "InvalidInputException", "local_aws keeps a job's newest bookmark only: reset it without a RunId."
            )
        self._store.put(_KIND, params["JobName"], entry | {"JobBookmark": "{}", "Version": entry["Version"] + 1})
        return {"JobBookmarkEntry": entry | {"JobBookmark": "{}"}}

    def forget(self, job: str) -> None:
        """Drop the bookmark of a job that is deleted."""
        self._store.delete(_KIND, job)

    def _entry(self, job: str) -> Document:
        entry = self._store.get(_KIND, job)
        if entry is None:
            raise ServiceError("EntityNotFoundException", f"Job bookmark for job name {job} does not exist.")
        return entry
