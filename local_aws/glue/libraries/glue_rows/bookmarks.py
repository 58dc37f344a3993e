"""Job bookmarks: which objects a job has read, so that its next run begins behind them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

_OPTION = "--job-bookmark-option"

#: Where local_aws puts what earlier runs read, and where it finds what this one read.
STATE_VARIABLE = "LOCAL_AWS_GLUE_BOOKMARK"


class Bookmarks:
    """Which version of which object each `transformation_ctx` has read: ``{context: {uri: etag}}``."""

    def __init__(self) -> None:
        self._mode = "disable"
        self._known: dict[str, dict[str, str]] = {}
        self._read: dict[str, dict[str, str]] = {}

    def begin(self) -> None:
        """Read what earlier runs have seen, if the job asks for bookmarks."""
        argv = sys.argv
        option = argv[argv.index(_OPTION) + 1] if _OPTION in argv[:-1] else ""
        self._mode = option.removeprefix("job-bookmark-") or "disable"
        path = os.environ.get(STATE_VARIABLE)
        if self._mode != "disable" and path and Path(path).exists():
            self._known = json.loads(Path(path).read_text())

    def new_of(self, context: str, objects: dict[str, str]) -> dict[str, str]:
        """Return those of `objects` (ETag by URI) that no committed run of the job has read under this context."""
        if self._mode == "disable" or not context:
            return objects
        known = self._known.get(context, {})
        self._read.setdefault(context, {}).update(objects)
        return {uri: etag for uri, etag in objects.items() if known.get(uri) != etag}

    def commit(self) -> None:
        """Hand over what was read; a paused bookmark stays where it is."""
        path = os.environ.get(STATE_VARIABLE)
        if self._mode != "enable" or not path:
            return
        state = {context: self._known.get(context, {}) | read for context, read in self._read.items()}
        partial = Path(f"{path}.partial")
        partial.write_text(json.dumps(self._known | state))
        partial.rename(f"{path}.committed")
