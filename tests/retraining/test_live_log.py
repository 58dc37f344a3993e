"""What a job prints reaches the log of the task that awaits it, while it runs."""

import asyncio
import contextlib
import logging
import time
from typing import Any

import pytest
from local_account import Account

from retraining.dag.triggers import JobTrigger
from retraining.jobs import kinds
from retraining.jobs.job import JobStatus
from retraining.jobs.live_log import LINES_IN_ALL, PAGE, PAGES, LiveLog
from retraining.settings.access import AwsAccess

GROUP = "/aws/sagemaker/TrainingJobs"


def say(account: Account, stream: str, lines: list[str]) -> None:
    for create in (
        lambda: account.logs.create_log_group(logGroupName=GROUP),
        lambda: account.logs.create_log_stream(logGroupName=GROUP, logStreamName=stream),
    ):
        with contextlib.suppress(account.logs.exceptions.ResourceAlreadyExistsException):
            create()
    now = int(time.time() * 1000)
    for start in range(0, len(lines), 1000):
        events = [{"timestamp": now, "message": line} for line in lines[start : start + 1000]]
        account.logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)


def test_each_look_brings_the_lines_since_the_last_one_from_every_stream(account: Account, access: AwsAccess) -> None:
    live = LiveLog(access, GROUP, "steady/")
    assert live.fresh() == []
    say(account, "steady/algo-1", ["one", "two\x1b[2J\n"])
    assert live.fresh() == ["one", "twoU+001B[2J"]
    assert live.fresh() == []
    say(account, "steady/algo-1", ["three"])
    say(account, "steady/algo-2", ["other"])
    assert sorted(live.fresh()) == ["other", "three"]
    assert LiveLog(access, GROUP, "steady/").fresh()[:2] == ["one", "twoU+001B[2J"]  # another triggerer begins anew


def test_a_talkative_job_fills_neither_log_nor_memory(account: Account, access: AwsAccess) -> None:
    say(account, "loud/algo-1", [f"{at} " + "x" * 2000 for at in range(LINES_IN_ALL + 500)])
    live = LiveLog(access, GROUP, "loud/")
    first = live.fresh()
    assert len(first) == PAGE * PAGES and all(len(line) <= 500 for line in first)
    rest = [line for _ in range(10) for line in live.fresh()]
    assert len(first) + len(rest) == LINES_IN_ALL + 1
    assert [line.split()[0] for line in (first + rest)[:-1]] == [str(at) for at in range(LINES_IN_ALL)]
    assert GROUP in rest[-1] and live.fresh() == []


class Talking:
    """A job that says a line at each look and ends with the third one."""

    def __init__(self, account: Account, access: AwsAccess) -> None:
        self.account, self.access, self.looks = account, access, 0

    def title(self, handle: Any) -> str:
        return "job x"

    def poll(self, access: AwsAccess, handle: Any) -> JobStatus:
        self.looks += 1
        say(self.account, "talking/algo-1", [f"epoch {self.looks}"])
        return JobStatus("Completed", "succeeded") if self.looks == 3 else JobStatus("InProgress", "running")

    def live_log(self, access: AwsAccess, handle: Any) -> LiveLog:
        return LiveLog(self.access, GROUP, "talking/")


def test_the_trigger_writes_them_into_the_log_of_the_task(
    account: Account, access: AwsAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kinds.JOB_KINDS, "talking", Talking(account, access))
    trigger = JobTrigger("talking", {}, {}, time.time() + 60, 0.01)
    said: list[str] = []
    monkeypatch.setattr(type(trigger), "log", logging.getLogger("live"), raising=False)
    monkeypatch.setattr(logging.getLogger("live"), "info", lambda text, *args: said.append(text % args))

    async def events() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(events())
    assert event["outcome"] == "succeeded"
    assert [line for line in said if line.startswith("| ")] == ["| epoch 1", "| epoch 2", "| epoch 3"]
