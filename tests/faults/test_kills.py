"""Processes that die without a word: the task, the triggerer, AWS itself. The work is found again and done once; nothing is orphaned."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_jobs
from airflow.sdk.exceptions import AirflowFailException
from task_runs import (
    SDK_PYTHON,
    deferral_of,
    event_of,
    job_operator,
    rebuilt,
    run_operator,
    sdk_operator,
    training_operator,
    wait_until,
    with_retries,
)

from retraining.jobs.job import Asker
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.leftovers import stop_leftovers
from retraining.settings.access import AwsAccess

HERE = Path(__file__).parent
TRAINING = JOB_KINDS["training"]
NEEDS_SDK = pytest.mark.skipif(not SDK_PYTHON.exists(), reason="no environment of the SageMaker SDK: make setup-sdk")
ASKER = Asker("prod", "m_retraining", "manual__1")
STARTS = 180.0  # seconds for a task to get to work on a busy machine: Airflow starts, then the SDK beside it
SLOW = f"import time; time.sleep(4)\n{small_jobs.TRAINS}"


@pytest.fixture(params=["declarative", pytest.param("sdk", marks=NEEDS_SDK)])
def form(request):
    """How the training is written; the guarantees are the same."""
    return request.param


@pytest.fixture
def order(world, form):
    """What the task is to train: a request, or the context of the SDK's function."""
    if form == "sdk":
        slow = SLOW.replace("sleep(4)", "sleep(20)")  # the SDK's process has to end before the task waits for the job
        return small_jobs.sdk_training(world.account, world.model, slow).model_dump(mode="json")
    return small_jobs.training(world.account, SLOW)


@pytest.fixture
def task_process(world, form, order, tmp_path):
    """A task in a process of its own; killed at the end in any case."""
    path = tmp_path / "order.json"
    path.write_text(json.dumps(order))
    paths = [HERE, HERE.parent / "local_aws", HERE.parents[1], HERE.parents[1] / "plugins"]
    environment = {**os.environ, "AIRFLOW_ENV_NAME": ASKER.airflow, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    with (tmp_path / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, HERE / "killable_task.py", world.proxy.url, world.model, form, path],
            env=environment, stdout=said, stderr=said,
        )  # fmt: skip
    yield process
    process.kill()
    process.wait(timeout=10)


@pytest.fixture
def at_work(task_process, tmp_path):
    """Wait until the task has come to where it is to be killed; one that has ended before fails the test with what it said."""

    def reached(condition, what):
        def look():
            alive = task_process.poll() is None
            here = condition()
            assert here or alive, (tmp_path / "said.txt").read_text()
            return here

        wait_until(look, what, STARTS)

    return reached


def kill(process):
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=10) == -signal.SIGKILL


def next_try(world, form, order):
    """The retry of the task that Airflow starts for a dead one."""
    return run_operator(lambda: training_operator(form, world.model, world.access, order))


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param("CreateTrainingJob", id="during-submit"),
        pytest.param("DescribeTrainingJob", id="between-submit-and-defer"),
    ],
)
def test_a_task_killed_around_its_submit_is_followed_by_one_that_adopts_the_job(
    world, task_process, at_work, form, order, operation
):
    if operation == "DescribeTrainingJob":  # the first look finds nothing, the second one follows the creation
        at_work(lambda: world.proxy.count("CreateTrainingJob"), "the task creates its job")
    held = world.proxy.add(operation, "held")
    at_work(held.arrived.is_set, f"the task calls {operation}")
    kill(task_process)
    held.release.set()
    assert next_try(world, form, order)["adopted"] is True
    world.check()


def test_a_task_killed_while_its_job_runs_is_followed_by_one_that_adopts_the_job(
    world, task_process, at_work, form, order
):
    at_work(lambda: world.proxy.count("DescribeTrainingJob") > 5, "the task waits for its job")
    kill(task_process)
    assert next_try(world, form, order)["adopted"] is True
    world.check()


def test_a_task_that_is_killed_and_never_tried_again_leaves_nothing_running_after_its_run(world, task_process, at_work):
    at_work(lambda: world.proxy.count("CreateTrainingJob"), "the task creates its job")
    kill(task_process)
    stopped = stop_leftovers(world.access, world.model, world.glue_job, ASKER)
    assert len(stopped) == 1
    wait_until(lambda: not jobs_in_progress(world), "the job has stopped")
    world.check()


def jobs_in_progress(world):
    listed = world.account.sagemaker.list_training_jobs(NameContains=world.model)["TrainingJobSummaries"]
    return [job for job in listed if job["TrainingJobStatus"] in ("InProgress", "Stopping")]


OTHERS = {
    "the survey DAG": replace(ASKER, dag="m_survey"),
    "another environment with a DAG of the same name": replace(ASKER, airflow="dev"),
    "a run of the same DAG that goes on": replace(ASKER, run="manual__2"),
    "a command": None,
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_the_end_of_a_run_stops_its_own_jobs_and_nobody_else_s(world, account, other):
    glue = JOB_KINDS["glue_job"]
    job = small_jobs.glue_job(account, small_jobs.SLEEPS)
    started = {}
    for whose, asker in (("mine", ASKER), ("other", other)):
        training, merge = small_jobs.training(account, small_jobs.SLEEPS), {"JobName": job, "Arguments": {"--x": whose}}
        started[whose] = [
            (TRAINING, TRAINING.submit(world.access, world.model, "train", training, asker).handle),
            (glue, glue.submit(world.access, world.model, "merge", merge, asker).handle),
        ]
    over = {"manual__2": False}
    stopped = stop_leftovers(world.access, world.model, job, ASKER, lambda run: over.get(run, True))
    assert sorted(stopped) == sorted(kind.title(handle) for kind, handle in started["mine"])
    assert {kind.poll(world.access, handle).outcome for kind, handle in started["other"]} == {"running"}
    if other and other.run == "manual__2":  # a run that died without its own end is cleared up by the next one
        assert len(stop_leftovers(world.access, world.model, job, ASKER, lambda run: True)) == 2
    for kind, handle in started["other"]:
        kind.stop(world.access, handle)


def test_a_job_that_is_adopted_belongs_to_the_run_that_adopted_it(world, account):
    request = small_jobs.training(account, small_jobs.SLEEPS)
    TRAINING.submit(world.access, world.model, "train", request, ASKER)
    second = replace(ASKER, run="manual__2")
    assert TRAINING.submit(world.access, world.model, "train", request, second).adopted
    assert stop_leftovers(world.access, world.model, world.glue_job, ASKER) == []
    assert len(stop_leftovers(world.access, world.model, world.glue_job, second)) == 1


def test_a_triggerer_that_lost_its_trigger_to_another_one_does_not_stop_the_job(world, monkeypatch):
    """Airflow tells such a triggerer the same as when a person kills the task; the task itself is still deferred."""
    request = small_jobs.training(world.account, small_jobs.SLEEPS)
    deferral = deferral_of(job_operator("training", world.model, "train", world.access, lambda: request))
    trigger = rebuilt(deferral.trigger)
    trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="train", map_index=-1)
    states = {"r": {"train": "deferred"}}
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states",
        lambda *_, **__: states,
    )
    asyncio.run(trigger.on_kill())
    assert TRAINING.poll(world.access, deferral.kwargs["handle"]).state == "InProgress"
    states["r"]["train"] = "failed"
    asyncio.run(trigger.on_kill())
    wait_until(lambda: not jobs_in_progress(world), "the job has stopped")
    world.check()


def test_a_trigger_rebuilt_by_another_triggerer_goes_on_waiting_for_the_same_job(world):
    request = small_jobs.training(world.account, SLOW)
    build = lambda: job_operator("training", world.model, "train", world.access, lambda: request)  # noqa: E731 - a task
    deferral = deferral_of(build())

    async def interrupted():
        waiting = asyncio.create_task(anext(deferral.trigger.run()))
        await asyncio.sleep(0.5)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(interrupted())
    event = event_of(rebuilt(deferral.trigger))
    result = build().resume({}, event, **deferral.kwargs)
    assert result["model_data"]
    world.check()


@pytest.mark.parametrize(
    "kind", ["training", "processing", "transform", "glue_job", pytest.param("sdk", marks=NEEDS_SDK)]
)
def test_a_deferred_task_that_is_cleared_or_marked_failed_stops_its_job(world, kind):
    if kind == "glue_job":
        request = {"JobName": small_jobs.glue_job(world.account, small_jobs.SLEEPS)}
    elif kind == "transform":
        request = small_jobs.transform(world.account)
    elif kind == "sdk":
        request = small_jobs.sdk_training(world.account, world.model, small_jobs.SLEEPS)
    else:
        request = getattr(small_jobs, kind)(world.account, small_jobs.SLEEPS)
    if kind == "sdk":
        kind, operator = "training", sdk_operator(world.model, "train", world.access, request)
    else:
        operator = job_operator(kind, world.model, kind, world.access, lambda: request)
    deferral = deferral_of(operator)
    trigger = rebuilt(deferral.trigger)
    asyncio.run(trigger.on_kill())
    job, handle = JOB_KINDS[kind], deferral.kwargs["handle"]
    wait_until(lambda: job.poll(world.access, handle).outcome != "running", "the job has stopped")
    assert job.poll(world.access, handle).outcome == "failed"
    world.check()


def test_a_job_adopted_from_a_task_that_is_only_then_killed_is_started_again(world):
    """Airflow may start the next try of a cleared task before it tells the trigger of the last one that it was killed."""
    request = small_jobs.training(world.account, SLOW)
    build = lambda: job_operator("training", world.model, "train", world.access, lambda: request)  # noqa: E731 - a task
    cleared, following = deferral_of(build()), deferral_of(build())
    assert following.kwargs["adopted"]
    asyncio.run(rebuilt(cleared.trigger).on_kill())
    event = event_of(rebuilt(following.trigger))
    with pytest.raises(RuntimeError, match="it was stopped before it completed") as caught:
        build().resume({}, event, **following.kwargs)
    assert not isinstance(caught.value, AirflowFailException)
    assert with_retries(lambda: run_operator(build))["name"] == following.kwargs["handle"]["name"] + "-2"
    world.check()


def test_a_job_whose_time_is_up_is_stopped_even_when_the_first_stop_call_fails(world, monkeypatch):
    request = small_jobs.training(world.account, small_jobs.SLEEPS)
    deferral = deferral_of(job_operator("training", world.model, "train", world.access, lambda: request))
    trigger = rebuilt(deferral.trigger)
    trigger.deadline = 0.0
    real_stop, calls = type(TRAINING).stop, []

    def failing_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise ConnectionError("no route")
        real_stop(*arguments)

    monkeypatch.setattr(type(TRAINING), "stop", failing_once)
    assert event_of(trigger)["outcome"] == "timeout"
    assert len(calls) == 2
    wait_until(lambda: not jobs_in_progress(world), "the job has stopped")
    world.check()


def test_aws_killed_in_the_middle_of_a_job_fails_that_job_and_the_task_s_next_try_does_the_work(own_account, new_world):
    world = new_world(own_account)
    request = small_jobs.training(own_account, SLOW)
    build = lambda: job_operator("training", world.model, "train", world.access, lambda: request)  # noqa: E731 - a task
    deferral = deferral_of(build())
    first = deferral.kwargs["handle"]["name"]
    own_account.stop(signal.SIGKILL)
    own_account.start()
    event = event_of(rebuilt(deferral.trigger))
    with pytest.raises(RuntimeError, match="local_aws stopped while the job was running") as caught:
        build().resume({}, event, **deferral.kwargs)
    assert not isinstance(caught.value, AirflowFailException)  # so Airflow tries again
    result = with_retries(lambda: run_operator(build))
    assert result["name"] == f"{first}-2"
    world.check()


def test_aws_that_is_away_while_a_task_waits_is_waited_for(own_account, new_world):
    """The job itself dies with local_aws; what must survive is the waiting: no crash of the trigger, and a reason at the end."""
    world = new_world(own_account)
    request = small_jobs.training(own_account, SLOW)
    deferral = deferral_of(job_operator("training", world.model, "train", world.access, lambda: request))
    away = world.proxy.add("DescribeTrainingJob", "cut", times=3)
    event = event_of(rebuilt(deferral.trigger))
    assert (event["outcome"], away.happened) == ("succeeded", 3)
    world.check()


def test_access_through_another_region_than_the_machine_s_is_kept_by_the_trigger(world, monkeypatch):
    access = AwsAccess(region="us-east-1", verify="/ca.pem", endpoint_url=world.proxy.url)
    request = {"JobName": small_jobs.glue_job(world.account)}
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")  # which this account does not have
    deferral = deferral_of(job_operator("glue_job", world.model, "merge", access, lambda: request))
    assert AwsAccess(**rebuilt(deferral.trigger).access) == access
    assert event_of(rebuilt(deferral.trigger))["outcome"] == "succeeded"
