"""The last lines of a job's log, and the text of its failure."""

from __future__ import annotations

from retraining.aws.clients import client
from retraining.aws.console import default_region, has_console
from retraining.contract.plain_text import plain, plain_lines
from retraining.jobs.job import AwsJob, Handle
from retraining.settings.access import AwsAccess

LOG_TAIL_LINES = 15


def cloudwatch_tail(access: AwsAccess, group: str, stream_prefix: str, lines: int = LOG_TAIL_LINES) -> list[str]:
    """Return the last lines of the newest matching log stream, oldest first; empty when there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    logs = client("logs", access)
    try:
        query = (
            {"logStreamNamePrefix": stream_prefix}
            if stream_prefix
            else {"orderBy": "LastEventTime", "descending": True}
        )
        streams = logs.describe_log_streams(logGroupName=group, **query, limit=10)["logStreams"]
        if not streams:
            return []
        # Of an endpoint, the container that started last: the old one goes on logging requests while the new one fails.
        order = "lastEventTimestamp" if stream_prefix else "creationTime"
        newest = max(streams, key=lambda stream: stream.get(order, 0))
        events = logs.get_log_events(
            logGroupName=group, logStreamName=newest["logStreamName"], limit=lines, startFromHead=False
        )["events"]
    except (ClientError, BotoCoreError):  # a missing log must not hide the failure that it would explain
        return []
    return [event["message"].rstrip() for event in events[-lines:]]


def failure_text(job: AwsJob, access: AwsAccess, handle: Handle, state: str, reason: str) -> str:
    """Return what a person needs of a job that failed: why, the last lines of its log, and where to look."""
    lines = [f"{job.title(handle)} ended {state}: {plain_lines(reason) or 'AWS gives no reason'}"]
    if tail := job.log_tail(access, handle):
        lines += ["Last lines of its log:", *(f"  {plain(line)}" for line in tail)]
    if has_console(access):
        lines.append(f"Console: {job.console_url(access.region or default_region(), handle)}")
    return "\n".join(lines)
