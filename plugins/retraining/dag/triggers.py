"""What the triggerer awaits while no worker is held: a job, a settling landing zone, a message that new data has landed.

boto3 calls run in threads, so the same code looks at a job from a worker and from the triggerer. The threads are of two kinds of their
own, because one triggerer serves many models: looks at jobs take a moment and share a pool; a watcher waits in its call for seconds, so
each has a thread to itself. Neither uses asyncio's default pool, which has few threads and serves everything else. On MWAA the triggerer
imports this module from plugins.zip; it must not import anything from the DAG folder.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote_plus

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TaskSuccessEvent, TriggerEvent

from retraining.aws.clients import client
from retraining.aws.errors import error_code
from retraining.contract.plain_text import plain
from retraining.jobs.job import AwsJob, Handle, JobStatus
from retraining.jobs.kinds import JOB_KINDS
from retraining.settings.access import AwsAccess

UNREACHABLE_SECONDS = 60.0
LINES_SECONDS = 1.0
"""Seconds between two looks at the lines that a job prints, at least: each is three calls to AWS, and one at the job's state."""
LONG_POLL_SECONDS = 10
HELD_SECONDS = 120.0
"""How long a message stays in its queue after a watcher has counted it: until its event is stored, and other environments have seen it."""
HIDDEN_SECONDS = 4
"""How long at most a received message is hidden from all watchers: shorter than a poll, so that another one's poll is open when it ends.

Each receive draws its own time: with a fixed one, two watchers that take turns can stay in step, and each sees the same half for ever.
"""
LOOKS = ThreadPoolExecutor(max_workers=32, thread_name_prefix="look")
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


async def in_thread(pool: Executor, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a thread of a pool and await its result."""
    return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


class JobTrigger(BaseTrigger):
    """Wait until a job has ended, and stop it when its time is up or the task is killed.

    The event is ``{"outcome": "succeeded"|"failed"|"timeout"|"unreachable", "state": ..., "reason": ...}``, with which the task goes on in
    a worker. A task that has nothing more to do when its job has succeeded is ended at once, with the job's result.

    Args:
        kind: key of ``jobs.kinds.JOB_KINDS``.
        handle: the job.
        access: fields of ``AwsAccess``.
        deadline: Unix time at which the job is stopped; later than the job's own limit.
        poll_seconds: seconds between two looks.
        ends: what the result of a task says beside its job's, if the job's success is the task's; None when the task goes on.

    """

    def __init__(
        self,
        kind: str,
        handle: Handle,
        access: dict[str, Any],
        deadline: float,
        poll_seconds: float,
        ends: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.handle = handle
        self.access = access
        self.deadline = deadline
        self.poll_seconds = poll_seconds
        self.ends = ends

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what rebuilds this trigger in another triggerer."""
        names = ("kind", "handle", "access", "deadline", "poll_seconds", "ends")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the job until it has ended."""
        job, access = JOB_KINDS[self.kind], AwsAccess(**self.access)
        title, last_contact, last_state = job.title(self.handle), time.monotonic(), ""
        live, next_lines = job.live_log(access, self.handle), 0.0
        while True:
            try:
                status = await in_thread(LOOKS, job.poll, access, self.handle)
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
                if live and (status.outcome != "running" or time.monotonic() >= next_lines):
                    for line in await in_thread(LOOKS, live.fresh):
                        self.log.info("| %s", line)
                    next_lines = time.monotonic() + LINES_SECONDS
                if status.outcome != "running":
                    yield await self._ended(job, access, status)
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

    async def _ended(self, job: AwsJob, access: AwsAccess, status: JobStatus) -> TriggerEvent:
        """Return the end of the task, if its job's success is its own, or else what it goes on with."""
        event = TriggerEvent({"outcome": status.outcome, "state": status.state, "reason": status.reason})
        ti, title = self.task_instance, job.title(self.handle)
        if self.ends is None or ti is None or status.outcome != "succeeded":
            return event
        try:
            result = {**await in_thread(LOOKS, job.result, access, self.handle), **self.ends}
            await _return(ti, result)
        except Exception as error:
            self.log.warning("%s: its result cannot be kept, so the task goes on in a worker: %s", title, error)
            return event
        self.log.info("%s succeeded: %s", title, result)
        return TaskSuccessEvent()

    async def _stopped(self, job: AwsJob, access: AwsAccess) -> bool:
        """Stop a job whose time is up; False when AWS did not take the call, which is then made again after the next look."""
        try:
            await in_thread(LOOKS, job.stop, access, self.handle)
        except Exception as error:
            self.log.warning("%s: its time is up, but it cannot be stopped yet: %s", job.title(self.handle), error)
            return False
        return True

    async def on_kill(self) -> None:
        """Stop the job when a person cleared, failed or marked the deferred task.

        Airflow calls this in one other case: a triggerer that was silent for a while finds its triggers given to another one. Then the
        task still waits, and its job goes on.
        """
        job = JOB_KINDS[self.kind]
        if await self._is_awaited():
            self.log.info(
                "%s goes on: its task is still deferred, in the care of another triggerer", job.title(self.handle)
            )
            return
        self.log.info("the task was killed: stopping %s", job.title(self.handle))
        await in_thread(LOOKS, job.stop, AwsAccess(**self.access), self.handle)

    async def _is_awaited(self) -> bool:
        """Ask Airflow whether the task is still deferred; when it does not say, the task counts as killed."""
        ti: Any = getattr(self, "task_instance", None)
        if ti is None:
            return False
        try:
            state = await in_thread(LOOKS, _task_state, ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        except Exception as error:
            self.log.warning("Airflow does not say whether task %s still waits: %s", ti.task_id, error)
            return False
        return state == "deferred"


async def _return(ti: Any, result: dict[str, Any]) -> None:
    """Store the result of a task as Airflow stores what a task returns.

    The event could carry it, too, but Airflow 3.3.1 writes an XCom of an event as the text of its JSON, which tasks read as a string.
    """
    from airflow.sdk.execution_time.xcom import XCom

    place = {name: getattr(ti, name) for name in ("dag_id", "task_id", "run_id", "map_index")}
    await XCom.aset("return_value", result, **place)


def _task_state(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> str | None:
    """Return the state of a task instance as the API server knows it."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    index = map_index if map_index is not None and map_index >= 0 else None
    states = RuntimeTaskInstance.get_task_states(dag_id, index, run_ids=[run_id], task_ids=[task_id])
    of_run: Mapping[str, Any] = states.get(run_id, {})
    return next((str(state) for name, state in of_run.items() if name in (task_id, f"{task_id}_{index}")), None)


class PauseTrigger(BaseTrigger):
    """Wait for some seconds, after which the task looks again."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what rebuilds this trigger in another triggerer."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, then let the task go on."""
        await asyncio.sleep(self.seconds)
        yield TriggerEvent({"slept": self.seconds})


def object_keys(body: str) -> list[str]:
    """Return the keys of the objects that a message speaks of; S3's test event and whatever else is in the queue speak of none."""
    try:
        records = json.loads(body)["Records"]
        return [unquote_plus(str(record["s3"]["object"]["key"])) for record in records]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []


class NewDataTrigger(BaseEventTrigger):
    """Fire an asset event when the new-data queue has messages about objects below a prefix.

    A message only wakes a run: which files are new is decided by listing S3 against the dataset log. A message that was counted stays in
    the queue for two minutes more: so the event is stored before its cause is deleted, and another environment that listens to the queue
    is woken, too. What speaks of another model's objects is left to that model. If a message is lost, the DAG's cron is the net.

    Args:
        queue_name: the SQS queue that S3 notifies.
        prefix: what keys of the model's new files begin with; empty for all.
        access: fields of ``AwsAccess``.

    """

    def __init__(self, queue_name: str, prefix: str = "", access: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.queue_name = queue_name
        self.prefix = prefix
        self.access = access or {}
        self._counted: dict[str, float] = {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what rebuilds this trigger in another triggerer."""
        names = ("queue_name", "prefix", "access")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the queue for ever; one event per burst of messages."""
        delay = 1.0
        own_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"watch-{self.queue_name}")
        try:
            while True:
                try:
                    received = await in_thread(own_thread, self._receive)
                except Exception as error:
                    self.log.warning("queue %s cannot be read, next try in %.0f s: %s", self.queue_name, delay, error)
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 60.0)
                    continue
                delay = 1.0
                if received:
                    yield TriggerEvent({"messages": received})
        finally:
            own_thread.shutdown(wait=False, cancel_futures=True)

    def _receive(self) -> int:
        """Long-poll once, then drain what else is there; return how many messages are new to this watcher and speak of its objects."""
        sqs = client("sqs", AwsAccess(**self.access))
        url = sqs.get_queue_url(QueueName=self.queue_name)["QueueUrl"]
        received, wait, now = 0, LONG_POLL_SECONDS, time.monotonic()
        self._counted = {name: at for name, at in self._counted.items() if now - at < 100 * HELD_SECONDS}
        for _ in range(50):
            hidden = random.randint(1, HIDDEN_SECONDS)
            messages = sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, VisibilityTimeout=hidden
            ).get("Messages", [])
            if not messages:
                break
            done: list[dict[str, str]] = []
            for message in messages:
                fresh, over = self._count(message["MessageId"], message["Body"])
                received += fresh
                if over:
                    done.append({"Id": str(len(done)), "ReceiptHandle": message["ReceiptHandle"]})
            if done:
                sqs.delete_message_batch(QueueUrl=url, Entries=done)
            wait = 0
        return received

    def _count(self, name: str, body: str) -> tuple[bool, bool]:
        """Return whether a message wakes the model's DAG, and whether it may be deleted."""
        keys, now = object_keys(body), time.monotonic()
        if not any(key.startswith(self.prefix) for key in keys):
            return (
                False,
                not keys,
            )  # another model's message is not ours to delete; what speaks of no object is nobody's
        if name not in self._counted:
            self._counted[name] = now
            return True, HELD_SECONDS <= 0
        return False, now - self._counted[name] >= HELD_SECONDS
