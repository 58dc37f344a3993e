"""Events may be repeated, reordered, lost or malformed: they only wake a run. What is new is decided by listing."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from conftest import abalone_rows
from task_runs import Run, rebuilt, wait_until

from retraining.dag.triggers import HIDDEN_SECONDS, LONG_POLL_SECONDS, NewDataTrigger
from retraining.dataset.landing_zone import LandedFile, age_in_seconds, split_settled
from retraining.dataset.records import FileRecord

pytestmark = pytest.mark.faults_fast
POLL, HIDDEN = LONG_POLL_SECONDS, HIDDEN_SECONDS
"""As they are outside of these tests, which use shorter ones."""


@pytest.fixture(autouse=True)
def short_polls(monkeypatch):
    monkeypatch.setattr("retraining.dag.triggers.LONG_POLL_SECONDS", 3)
    monkeypatch.setattr("retraining.dag.triggers.HIDDEN_SECONDS", 2)


def notification(key):
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}}]})


def queue_of(world):
    return f"retraining-dev-{world.model}-new-data"


def send(world, *bodies):
    url = world.account.sqs.get_queue_url(QueueName=queue_of(world))["QueueUrl"]
    for body in bodies:
        world.account.sqs.send_message(QueueUrl=url, MessageBody=body)


def watcher(world, model=None):
    """The watcher of a model, whose queue is the world's."""
    return rebuilt(NewDataTrigger(queue_of(world), f"{model or world.model}/new/", world.access.model_dump()))


def left_in_queue(world):
    """How many messages the queue holds, seen or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = world.account.sqs.get_queue_url(QueueName=queue_of(world))["QueueUrl"]
    counts = world.account.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(counts[name]) for name in names)


def emptied(world):
    """Take S3's own test event out of the queue."""
    world.account.sqs.purge_queue(QueueUrl=world.account.sqs.get_queue_url(QueueName=queue_of(world))["QueueUrl"])


def reason_to_run(world):
    return Run(world.folder).dag.task_dict["sense_new_data"].execute({"params": {}})


def test_duplicated_and_reordered_events_are_one_burst_and_the_listing_decides(world):
    emptied(world)
    send(world, *(notification(f"{world.model}/new/{name}.csv") for name in ("b", "a", "b", "b", "a")))
    mine = watcher(world)
    assert mine._receive() == 5
    assert mine._receive() == 0
    with pytest.raises(AirflowSkipException, match="no new data"):
        reason_to_run(world)


def test_a_lost_event_loses_no_data_because_the_next_run_lists(world):
    world.put("new/a.csv", abalone_rows(0, 5))
    emptied(world)
    assert watcher(world)._receive() == 0
    assert reason_to_run(world) == "1 new file(s)"


def test_malformed_events_are_removed_without_starting_a_run_or_stopping_the_watcher(world):
    emptied(world)
    mine = watcher(world)
    test_event = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})
    send(world, "not json", "{", "[]", "null", '"Records"', json.dumps({"Records": None}), test_event)
    assert mine._receive() == 0
    assert left_in_queue(world) == 0
    send(world, notification(f"{world.model}/new/a.csv"))
    assert mine._receive() == 1


def test_a_message_is_deleted_only_after_its_event_had_time_to_be_stored(world, monkeypatch):
    emptied(world)
    send(world, notification(f"{world.model}/new/a.csv"))
    mine = watcher(world)
    assert mine._receive() == 1
    assert left_in_queue(world) == 1
    assert watcher(world)._receive() == 1  # a triggerer that died after it took the message: the next one is woken, too
    monkeypatch.setattr("retraining.dag.triggers.HELD_SECONDS", 0.0)
    wait_until(lambda: mine._receive() == 0 and left_in_queue(world) == 0, "the message is deleted")


def test_two_environments_on_one_queue_are_both_woken_once(world):
    assert HIDDEN < POLL  # else two that take turns stay in step, and one sees nothing
    emptied(world)
    send(world, *(notification(f"{world.model}/new/{number}.csv") for number in range(20)))
    environments, woken = [watcher(world), watcher(world)], [0, 0]

    def look():
        for number, environment in enumerate(environments):
            woken[number] += environment._receive()
        return woken == [20, 20]

    wait_until(look, "both environments have seen all messages")


def test_a_watcher_leaves_another_model_s_messages_on_a_shared_queue(world):
    emptied(world)
    send(world, notification("other/new/a+b.csv"), notification(f"{world.model}/new/a.csv"))
    assert watcher(world)._receive() == 1
    theirs = watcher(world, "other")
    wait_until(lambda: theirs._receive() == 1, "the other model is woken")


def test_the_watcher_survives_a_queue_that_cannot_be_read(world):
    emptied(world)
    world.proxy.add("GetQueueUrl", "cut", times=1)
    send(world, notification(f"{world.model}/new/a.csv"))

    async def first():
        async for event in watcher(world).run():
            return event.payload

    assert asyncio.run(asyncio.wait_for(first(), 60))["messages"] >= 1


def test_a_file_dated_in_the_future_waits_and_is_not_lost():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    files = [
        LandedFile(FileRecord(key=key, etag="e", size=1), age_in_seconds(now - age, now))
        for key, age in (("old", timedelta(hours=1)), ("future", timedelta(hours=-1)), ("fresh", timedelta(seconds=2)))
    ]
    settled, unsettled = split_settled(files, 60)
    assert [record.key for record in settled] == ["old"]
    assert [record.key for record in unsettled] == ["future", "fresh"]
    later, _ = split_settled(
        [LandedFile(file.record, age_in_seconds(now + timedelta(hours=1), now + timedelta(hours=2))) for file in files],
        60,
    )
    assert len(later) == 3


def test_clock_skew_between_files_changes_neither_the_batch_nor_its_digest(world):
    """Two uploaders' clocks, or the order in which files arrive, must not make another batch of the same files."""
    first = world.put("new/b.csv", abalone_rows(0, 5))
    world.put("new/a.csv", abalone_rows(5, 5))
    before = Run(world.folder).execute("claim_new_data")
    world.put(first.removeprefix(f"{world.model}/"), abalone_rows(0, 5))  # the same bytes, dated later
    assert Run(world.folder).execute("claim_new_data") == before
