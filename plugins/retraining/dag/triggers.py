"""What the triggerer awaits while no worker is held: a job, a settling landing zone, a message that new data has landed.

boto3 calls run in threads, so the same code looks at a job from a worker and from the triggerer. On MWAA the triggerer imports this
module from plugins.zip; it must not import anything from the DAG folder.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from retraining.aws.clients import client
from retraining.aws.errors import error_code
from retraining.contract.plain_text import plain
from retraining.jobs.job import AwsJob, Handle
from retraining.jobs.kinds import JOB_KINDS
from retraining.settings.access import AwsAccess

UNREACHABLE_SECONDS = 60.0
LONG_POLL_SECONDS = 10
PERMANENT_ERRORS = frozenset(
    {
        "AccessDeniedException",
        "AccessDenied",
        "ValidationException",
        "EntityNotFoundException",
        "ResourceNotFound",
        "InvalidInputException",
    }
)


class JobTrigger(BaseTrigger):
    """Wait until a job has ended, and stop it when its time is up or the task is killed.

    The event is ``{"outcome": "succeeded"|"failed"|"timeout"|"unreachable", "state": ..., "reason": ...}``.

    Args:
        kind: key of ``jobs.kinds.JOB_KINDS``.
        handle: the job.
        access: fields of ``AwsAccess``.
        deadline: Unix time at which the job is stopped; later than the job's own limit.
        poll_seconds: seconds between two looks.

    """

    def __init__(self, kind: str, handle: Handle, access: dict[str, Any], deadline: float, poll_seconds: float) -> None:
        super().__init__()
        self.kind = kind
        self.handle = handle
        self.access = access
        self.deadline = deadline
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what rebuilds this trigger in another triggerer."""
        names = ("kind", "handle", "access", "deadline", "poll_seconds")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the job until it has ended."""
        job, access = JOB_KINDS[self.kind], AwsAccess(**self.access)
        title, last_contact, last_state = job.title(self.handle), time.monotonic(), ""
        while True:
            try:
                status = await asyncio.to_thread(job.poll, access, self.handle)
            except Exception as error:
                if error_code(error) in PERMANENT_ERRORS:
                    yield TriggerEvent({"outcome": "failed", "state": error_code(error), "reason": str(error)})
                    return
                silent = time.monotonic() - last_contact
                self.log.warning("%s: cannot be looked at for %.0f s: %s", title, silent, error)
                if silent > UNREACHABLE_SECONDS:
                    yield TriggerEvent({"outcome": "unreachable", "state": "UNKNOWN", "reason": str(error)})
                    return
            else:
                last_contact = time.monotonic()
                if status.state != last_state:
                    self.log.info("%s is %s %s", title, status.state, plain(status.reason))
                    last_state = status.state
                if status.outcome != "running":
                    yield TriggerEvent({"outcome": status.outcome, "state": status.state, "reason": status.reason})
                    return
            if time.time() > self.deadline and await self._stopped(job, access):
                yield TriggerEvent(
                    {
                        "outcome": "timeout",
                        "state": last_state,
                        "reason": "the task's time limit is over; the job was stopped",
                    }
                )
                return
            await asyncio.sleep(self.poll_seconds)

    async def _stopped(self, job: AwsJob, access: AwsAccess) -> bool:
        """Stop a job whose time is up; False when AWS did not take the call, which is then made again after the next look."""
        try:
            await asyncio.to_thread(job.stop, access, self.handle)
        except Exception as error:
            self.log.warning("%s: its time is up, but it cannot be stopped yet: %s", job.title(self.handle), error)
            return False
        return True

    async def on_kill(self) -> None:
        """Stop the job when a person cleared, failed or marked the deferred task."""
        job = JOB_KINDS[self.kind]
        self.log.info("the task was killed: stopping %s", job.title(self.handle))
        await asyncio.to_thread(job.stop, AwsAccess(**self.access), self.handle)


class SettleTrigger(BaseTrigger):
    """Wait until listed files have not changed for a while, or ``deadline`` (Unix time) is over."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what rebuilds this trigger in another triggerer."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, then let the sensor list again."""
        await asyncio.sleep(self.seconds)
        yield TriggerEvent({"slept": self.seconds})


def new_data_messages(bodies: Iterable[str]) -> int:
    """Count the message bodies that speak of objects; S3's test event and whatever else is in the queue do not."""
    return sum(_speaks_of_objects(body) for body in bodies)


def _speaks_of_objects(body: str) -> bool:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("Records"), list)


class NewDataTrigger(BaseEventTrigger):
    """Fire an asset event when the new-data queue has messages.

    A message only wakes a run: which files are new is decided by listing S3 against the dataset log. Messages are deleted when received;
    if one is lost, the DAG's cron is the net.

    Args:
        queue_name: the SQS queue that S3 notifies.
        access: fields of ``AwsAccess``.

    """

    def __init__(self, queue_name: str, access: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.queue_name = queue_name
        self.access = access or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what rebuilds this trigger in another triggerer."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "queue_name": self.queue_name,
            "access": self.access,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the queue for ever; one event per burst of messages."""
        delay = 1.0
        while True:
            try:
                received = await asyncio.to_thread(self._receive)
            except Exception as error:
                self.log.warning("queue %s cannot be read, next try in %.0f s: %s", self.queue_name, delay, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 60.0)
                continue
            delay = 1.0
            if received:
                yield TriggerEvent({"messages": received})

    def _receive(self) -> int:
        """Long-poll once, then drain what else is there; return how many messages speak of objects."""
        sqs = client("sqs", AwsAccess(**self.access))
        url = sqs.get_queue_url(QueueName=self.queue_name)["QueueUrl"]
        received, wait = 0, LONG_POLL_SECONDS
        for _ in range(50):
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait).get(
                "Messages", []
            )
            if not messages:
                break
            entries = [
                {"Id": str(position), "ReceiptHandle": message["ReceiptHandle"]}
                for position, message in enumerate(messages)
            ]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            received += new_data_messages(message["Body"] for message in messages)
            wait = 0
        return received
