"""The DAGs of a model in service, killed after each of their writes, cleared, run twice, and without network.

They lose and repeat nothing: each row is scored once, each captured request counts once, there is one incident. A message may come once
more where a task was killed between telling and noting it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time
import traceback

import pytest
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError
from conftest import ROOT, abalone_rows
from task_runs import Run, wait_until
from test_every_path import Story

from retraining.aws.clients import client
from retraining.dag.service_dags import batch_dag, monitor_dag

pytestmark = pytest.mark.spark

WRITES = ("Put", "Copy", "Create", "Publish", "Delete", "Update", "Stop", "Complete")
AFTER = (*range(1, 13), 16, 24, 36, 54, 80, 120, 180)
"""Writes after which a task is killed, one try after the other."""
SECONDS = 120


@pytest.fixture(scope="module")
def story(account, new_world):
    """A model in service."""
    story = Story(new_world(account))
    story.world.put("raw/abalone.csv", abalone_rows(0, 1200))
    story.retrain("promoted")
    [profile] = objects(story, "dataset/profiles/").values()
    assert sum(json.loads(profile)["rows"].values()) == 1190, "the merge left the profile of its version"
    return story


def killed_after(run: Run, task: str, writes: int) -> bool:
    """Let a process of its own try a task, and kill it right after so many writes; return whether it came so far."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            client.cache_clear()  # the connections are the parent's
            die_after(writes)
            run.execute(task)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    ends = time.monotonic() + SECONDS
    while (done := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > ends:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"{task} did not end within {SECONDS} s")
        time.sleep(0.02)
    killed = os.WIFSIGNALED(done[1])
    assert killed or os.WEXITSTATUS(done[1]) == 0, f"{task} failed, see its traceback"
    return killed


def die_after(writes: int) -> None:
    """Kill this process when AWS has answered so many writes."""
    call, left = BaseClient._make_api_call, [writes]

    def counted(self, operation, arguments):
        answer = call(self, operation, arguments)
        if operation.startswith(WRITES):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
        return answer

    BaseClient._make_api_call = counted


def in_spite_of_kills(run: Run, task: str) -> int:
    """Kill a task after its first write, its next try after the second, and so on; then let it end, and clear it. Return the kills."""
    kills = 0
    for writes in AFTER:
        if not killed_after(run, task, writes):
            break
        kills += 1
    run.execute(task)
    assert same(run.execute(task), run.result(task))
    return kills


def same(one: dict, other: dict) -> bool:
    """Whether two tries of a task came to the same, but for the time."""
    return {**one, "at": 0} == {**other, "at": 0}


def without_network(story: Story, run: Run, task: str) -> None:
    """A task that reaches nothing fails; what it does is done by a later try."""
    cut = story.world.proxy.add("*", "cut", times=10**9)
    try:
        with pytest.raises(BotoCoreError):
            run.execute(task)
    finally:
        cut.times = 0


def objects(story: Story, folder: str) -> dict[str, str]:
    """Return what lies below a folder of the model, by name."""
    s3, bucket, prefix = story.world.account.s3, story.world.bucket, f"{story.world.model}/{folder}"
    found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    keys = [item["Key"] for item in found]
    return {key.removeprefix(prefix): s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys}


def test_each_row_of_a_batch_is_scored_once_however_its_tasks_die(story):
    lines = [line.rpartition(",")[0] for line in abalone_rows(1300, 60).splitlines()]
    story.world.put("batch/in/a.csv", "\n".join([*lines[:40], "M,9,9,9,9,9,9,9", ""]))
    story.world.put("batch/in/b.csv", "\n".join([*lines[40:], ""]))
    run, other = (Run(story.world.folder, build=batch_dag) for _ in range(2))
    assert in_spite_of_kills(run, "claim_files") >= 3
    other.execute("claim_files")
    assert other.result("claim_files") == run.result("claim_files")
    assert killed_after(run, "score_files", 1), "right after it had submitted its job"
    run.execute("score_files")
    other.execute("score_files")
    without_network(story, run, "publish_scores")
    assert objects(story, "batch/out/") == {}
    assert in_spite_of_kills(run, "publish_scores") >= 6
    published = objects(story, "batch/out/")
    other.execute("publish_scores")
    assert objects(story, "batch/out/") == published
    names = [name.rpartition("/")[2] for name in published]
    assert sorted(names) == sorted(2 * ["scored.csv", "rejected.csv", "record.json"])
    scored, rejected = (
        [row for name, body in published.items() if name.endswith(end) for row in csv.DictReader(io.StringIO(body))]
        for end in ("scored.csv", "rejected.csv")
    )
    told = [",".join(list(row.values())[1:9]) for row in scored]
    assert sorted(told + [row["row"] for row in rejected]) == sorted([*lines, "M,9,9,9,9,9,9,9"])
    assert len(scored) > 50
    assert set(story.heard()) == {"batch scored"}
    for each in (run, other):
        each.end()
    story.world.check()
    with pytest.raises(AirflowSkipException, match="all 2 file"):
        Run(story.world.folder, build=batch_dag).execute("claim_files")


def test_each_request_counts_once_and_opens_one_incident_however_the_watch_dies(story):
    world = story.world
    for start in (0, 100):
        ask(story, [smaller(line) for line in abalone_rows(1400 + start, 100).splitlines()])
    world.put("new/unjudged.csv", abalone_rows(1700, 20))
    header = (ROOT / "data" / "abalone.csv").read_text().splitlines()[0]
    labels = [f"{smaller(line)},{line.rpartition(',')[2]}" for line in abalone_rows(1400, 200).splitlines()]
    world.put("monitor/labels/a.csv", "\n".join([header, *labels[:150], ""]))
    world.put("monitor/labels/b.csv", "\n".join([header, *labels[100:], ""]))
    world.put("monitor/labels/odd.csv", "a letter, not a table")
    run, other = (Run(world.folder, build=monitor_dag) for _ in range(2))
    assert in_spite_of_kills(run, "find_requests") >= 2
    other.execute("find_requests")
    assert other.result("find_requests")["look"] == run.result("find_requests")["look"]
    assert killed_after(run, "read_requests", 1), "right after it had submitted its job"
    run.execute("read_requests")
    other.execute("read_requests")
    without_network(story, run, "judge_requests")
    assert objects(story, "monitor/incidents/") == {}
    assert in_spite_of_kills(run, "judge_requests") >= 3
    judged = run.result("judge_requests")
    other.execute("judge_requests")
    assert other.result("judge_requests") == judged
    assert (judged["rows"], judged["open"], judged["incident"]) == (200, True, 1)
    assert judged["labelled"] == len(set(labels)), "each label counts once"
    [state] = [json.loads(body) for body in objects(story, "monitor/state/").values()]
    assert (state["rows"], len(state["history"])) == (200, 1), "the look counts once"
    assert state["history"][0]["labelled"]["rows"] == len(set(labels))
    assert len(state["label_files"]) == 3 and len(state["answers"]) == 1
    incidents = objects(story, "monitor/incidents/")
    assert list(incidents) == ["000001.json"] and json.loads(incidents["000001.json"])["woke_at"]
    assert set(story.heard()) == {"incident opened"}
    for each in (run, other, run):
        with pytest.raises(DagRunTriggerException) as woken:
            each.execute("wake_retraining")
        assert woken.value.dag_run_id == "incident__000001" and woken.value.skip_when_already_exists
    for each in (run, other):
        each.end()
    world.check()
    with pytest.raises(AirflowSkipException, match="no request was captured"):
        Run(world.folder, build=monitor_dag).execute("find_requests")


def smaller(line: str) -> str:
    """Return a row without its target as an instrument writes it that reads the shell too light."""
    *cells, shell, _ = line.split(",")
    return ",".join([*cells, f"{0.6 * float(shell):.4f}"])


def ask(story: Story, rows: list[str]) -> None:
    """Ask the endpoint about rows, and wait until the request is captured."""
    before = len(objects(story, "captured/"))
    story.world.account.sagemaker_runtime.invoke_endpoint(
        EndpointName=f"dev-{story.world.model}", ContentType="text/csv", Body="\n".join(rows) + "\n"
    )
    wait_until(lambda: len(objects(story, "captured/")) > before, "the request is captured")
