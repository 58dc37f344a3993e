"""Tasks of the SageMaker SDK form that are killed while they hold a worker, as Airflow does it: by on_kill, beside the running execute."""

import threading

import pytest
import small_jobs
from airflow.sdk.exceptions import AirflowFailException
from task_runs import SDK_PYTHON, run_operator, sdk_operator, wait_until, with_retries

from retraining.jobs.kinds import JOB_KINDS

TRAINING = JOB_KINDS["training"]
pytestmark = pytest.mark.skipif(not SDK_PYTHON.exists(), reason="no environment of the SageMaker SDK: make setup-sdk")


class Killable:
    """An operator that executes in a thread of its own, to be killed from this one."""

    def __init__(self, world, script=small_jobs.SLEEPS):
        self.context = small_jobs.sdk_training(world.account, world.model, script)
        self.operator = sdk_operator(world.model, "train", world.access, self.context)
        self.error = None
        self.thread = threading.Thread(target=self._execute, daemon=True)
        self.thread.start()

    def _execute(self):
        try:
            self.operator.execute({"ti": None, "run_id": "manual"})
        except BaseException as error:
            self.error = error

    def kill(self):
        self.operator.on_kill()

    def ended(self):
        self.thread.join(180)
        assert not self.thread.is_alive()
        return self.error


def training_jobs(world):
    return world.account.sagemaker.list_training_jobs(NameContains=world.model)["TrainingJobSummaries"]


@pytest.mark.parametrize("operation", ["DescribeTrainingJob", "CreateTrainingJob"])
def test_a_task_killed_while_its_job_is_created_stops_that_job(world, operation):
    held = world.proxy.add(operation, "held")
    task = Killable(world)
    assert held.arrived.wait(180)
    task.kill()
    held.release.set()
    error = task.ended()
    assert isinstance(error, AirflowFailException) and "was killed while it started" in str(error)
    assert len(training_jobs(world)) == 1
    wait_until(lambda: training_jobs(world)[0]["TrainingJobStatus"] == "Stopped", "the job has stopped")
    world.check()


def test_a_task_killed_before_its_job_is_created_creates_none(world):
    held = world.proxy.add("GetCallerIdentity", "held")
    upload = world.proxy.add("PUT *", "held")
    task = Killable(world)
    wait_until(lambda: held.arrived.is_set() or upload.arrived.is_set() or _puts(world), "the SDK is at work", 180)
    task.kill()
    held.release.set()
    upload.release.set()
    error = task.ended()
    assert isinstance(error, AirflowFailException) and "was killed before" in str(error)
    assert training_jobs(world) == []
    world.check()


def _puts(world):
    return any(seen.startswith("PUT") for seen in world.proxy.seen)


def test_a_lost_reply_to_the_creation_starts_no_second_job(world):
    context = small_jobs.sdk_training(world.account, world.model)
    lost = world.proxy.add("CreateTrainingJob", "lost")
    result = with_retries(lambda: run_operator(lambda: sdk_operator(world.model, "train", world.access, context)))
    assert (lost.happened, len(training_jobs(world)), result["model_data"] != "") == (1, 1, True)
    world.check()


def test_a_second_try_adopts_the_finished_job(world):
    context = small_jobs.sdk_training(world.account, world.model)
    build = lambda: sdk_operator(world.model, "train", world.access, context)  # noqa: E731 - a task
    first, second = run_operator(build), run_operator(build)
    assert (first["adopted"], second["adopted"], first["name"]) == (False, True, second["name"])
    world.check()


def test_code_that_does_not_do_its_work_fails_the_task_for_good_and_leaves_nothing_running(world):
    context = small_jobs.sdk_training(world.account, world.model, small_jobs.SLEEPS)
    twice = small_jobs.SDK_JOBS.read_text().replace(
        "wait=False)\n",
        "wait=False)\n    trainer.environment = {'A': 'b'}\n    trainer.train(input_data_config=data, wait=False)\n",
        1,
    )
    world.account.put(context.code_uri.split("/", 3)[3] + "sdk_jobs.py", twice)
    with pytest.raises(AirflowFailException, match="submits a second job"):
        run_operator(lambda: sdk_operator(world.model, "train", world.access, context))
    wait_until(lambda: [job["TrainingJobStatus"] for job in training_jobs(world)] == ["Stopped"], "the first one stops")
    world.check()


def test_a_missing_environment_is_told_with_its_remedy(world):
    context = small_jobs.sdk_training(world.account, world.model)
    operator = sdk_operator(world.model, "train", world.access, context)
    operator.python = "/nowhere/bin/python"
    with pytest.raises(
        AirflowFailException, match="/nowhere/bin/python does not exist: create it with `make setup-sdk`"
    ):
        operator.execute({"ti": None, "run_id": "manual"})
