"""Jobs that end otherwise than they should: over time, on a full disk, without output. None of them is a success."""

import resource

import pytest
import small_jobs
from airflow.sdk.exceptions import AirflowFailException
from conftest import abalone_rows
from local_account import BUCKET
from task_runs import Run, job_operator, run_operator

from retraining.settings.access import AwsAccess

MEGABYTE = 1 << 20
LIMIT = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
FILLS_DISK = "open(__import__('os').environ['SM_MODEL_DIR'] + '/model.bin', 'wb').write(bytes(64 << 20))"
SPLIT_FILES = """
import os, pathlib
for number in range(4):
    pathlib.Path(os.environ['SM_MODEL_DIR'], f'{number}.bin').write_bytes(os.urandom(7 << 20))
"""


def failure_of(kind, model, access, request):
    with pytest.raises(AirflowFailException) as caught:
        run_operator(lambda: job_operator(kind, model, "train", access, lambda: request))
    return str(caught.value)


@pytest.mark.parametrize("kind", ["training", "processing"])
def test_a_job_beyond_its_own_time_limit_fails_its_task_and_says_so(world, kind):
    request = getattr(small_jobs, kind)(world.account, small_jobs.SLEEPS, **LIMIT)
    message = failure_of(kind, world.model, world.access, request)
    assert "ended Stopped" in message
    assert "time limit" in message or "was stopped" in message
    world.check()


def test_a_training_job_that_exits_0_without_a_model_is_a_failure(world):
    message = failure_of("training", world.model, world.access, small_jobs.training(world.account, "print('fine')"))
    assert "wrote nothing to s3://" in message
    world.check()


def test_a_processing_job_that_exits_0_without_its_output_is_a_failure(world):
    message = failure_of("processing", world.model, world.access, small_jobs.processing(world.account, "print('fine')"))
    assert "wrote nothing to s3://" in message
    world.check()


def test_a_job_without_output_is_not_adopted_but_followed_by_a_new_attempt(world):
    request = small_jobs.training(world.account, "print('fine')")
    first = failure_of("training", world.model, world.access, request)
    second = failure_of("training", world.model, world.access, request)
    assert "-2 ended" in second and "-2 ended" not in first


def test_an_evaluation_that_left_everything_but_its_rows_fails_the_run_at_the_analysis(world):
    world.put("new/a.csv", abalone_rows(0, 5))
    run = Run(world.folder)
    plan = run.execute("claim_new_data")
    world.put(f"runs/{plan['run_key']}/evaluation/summary.json", "{}")
    with pytest.raises(AirflowFailException, match=r"could not analyse s3://.*/evaluation/rows\.csv.*NoSuchKey"):
        run.execute("analyze_results")
    world.check()


@pytest.fixture
def small_disk(own_account):
    """An account whose processes cannot write files beyond 16 MB: what a full disk does, without special rights."""
    resource.prlimit(own_account.process.pid, resource.RLIMIT_FSIZE, (16 * MEGABYTE, 16 * MEGABYTE))
    return own_account


@pytest.mark.parametrize(
    ("script", "says"), [(FILLS_DISK, "too large"), (SPLIT_FILES, "too large")], ids=["in-the-script", "in-the-upload"]
)
def test_a_full_disk_during_a_job_fails_the_task_with_the_disk_s_own_words(small_disk, script, says):
    access = AwsAccess(region="us-east-1", endpoint_url=small_disk.url)
    with pytest.raises((AirflowFailException, RuntimeError)) as caught:
        run_operator(
            lambda: job_operator("training", "disk", "train", access, lambda: small_jobs.training(small_disk, script))
        )
    assert says in str(caught.value)
    assert "ended Failed" in str(caught.value)
    listed = small_disk.sagemaker.list_training_jobs()["TrainingJobSummaries"]
    assert [job["TrainingJobStatus"] for job in listed] == ["Failed"]
    small_disk.s3.head_bucket(Bucket=BUCKET)  # the account itself goes on
