"""What a job prints, line by line while it runs, for the log of the task that awaits it: throttled and bounded."""

from __future__ import annotations

from typing import Any

from retraining.aws.clients import client
from retraining.contract.plain_text import plain
from retraining.settings.access import AwsAccess

PAGE = 100
"""Lines of one request."""
PAGES = 5
"""Requests to one stream in one look; what is behind that comes at the next look."""
LINES_IN_ALL = 2_000
"""Lines of one job that a task's log holds; the rest is in CloudWatch."""
LONGEST_LINE = 500
STREAMS = 10


class LiveLog:
    """Reads on in the log streams of one job.

    Where it stands is known to this object alone: a triggerer that takes over begins at the job's first line, so lines may come twice,
    but none is lost.

    Args:
        access: how to reach AWS.
        group: log group.
        prefix: of the names of the job's streams.

    """

    def __init__(self, access: AwsAccess, group: str, prefix: str) -> None:
        self._access = access
        self._group = group
        self._prefix = prefix
        self._tokens: dict[str, str | None] = {}
        self._shown = 0

    def fresh(self) -> list[str]:
        """Return the lines since the last call as plain text; none when the log cannot be read, which must not disturb the job."""
        from botocore.exceptions import BotoCoreError, ClientError

        if self._shown >= LINES_IN_ALL:
            return []
        logs = client("logs", self._access)
        found: list[str] = []
        try:
            for stream in self._streams(logs):
                self._read(logs, stream, found)
        except (ClientError, BotoCoreError):  # not there yet, or throttled: the next look reads on
            pass
        found = found[: LINES_IN_ALL - self._shown]
        self._shown += len(found)
        if self._shown >= LINES_IN_ALL:
            found.append(
                f"... {LINES_IN_ALL:,} lines are shown; all of them are in CloudWatch, log group {self._group}"
            )
        return found

    def _streams(self, logs: Any) -> list[str]:
        query = {"logGroupName": self._group, "logStreamNamePrefix": self._prefix, "limit": STREAMS}
        for stream in logs.describe_log_streams(**query)["logStreams"]:
            self._tokens.setdefault(stream["logStreamName"], None)
        return list(self._tokens)

    def _read(self, logs: Any, stream: str, found: list[str]) -> None:
        """Add the lines of one stream from where the last look ended."""
        for _ in range(PAGES):
            token = self._tokens[stream]
            position = {"nextToken": token} if token else {}
            page = logs.get_log_events(
                logGroupName=self._group, logStreamName=stream, startFromHead=True, limit=PAGE, **position
            )
            found += [plain(event["message"].rstrip(), LONGEST_LINE) for event in page["events"]]
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == token:  # the end, for now
                return
