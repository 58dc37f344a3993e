"""Creating, adopting and judging jobs, against a running local_aws."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from local_account import BUCKET, wait_for

from retraining.aws.naming import digest, job_name
from retraining.jobs.job import DIGEST_TAG, JobBusyError, JobError
from retraining.jobs.kinds import JOB_KINDS

TRAINING = JOB_KINDS["training"]
QUICK = "import os; print('trained'); open(os.environ['SM_MODEL_DIR'] + '/model.txt', 'w').close()"
SLOW = "import time; time.sleep(120)"


@pytest.fixture(scope="module", autouse=True)
def job_bucket(account):
    account.s3.create_bucket(Bucket=BUCKET)


@pytest.fixture
def model() -> str:
    return f"m{uuid.uuid4().hex[:8]}"


def request_for(account, script, **changes):
    request = account.training_request(f"source-{uuid.uuid4().hex[:8]}", script, **changes)
    del request["TrainingJobName"]
    return request


def ended(access, handle, kind=TRAINING):
    return wait_for(lambda: (status := kind.poll(access, handle)).outcome != "running" and status)


def jobs_of(account, model):
    return [
        job["TrainingJobName"]
        for job in account.sagemaker.list_training_jobs(NameContains=model)["TrainingJobSummaries"]
    ]


def test_a_request_is_created_once_and_adopted_afterwards(account, access, model):
    request = request_for(account, QUICK)
    first = TRAINING.submit(access, model, "train", request)
    again = TRAINING.submit(access, model, "train", request)
    assert (first.adopted, again.adopted) == (False, True)
    assert first.handle == again.handle == {"name": job_name(model, "train", digest(request))}
    assert ended(access, first.handle).outcome == "succeeded"
    assert TRAINING.submit(access, model, "train", request).adopted
    assert len(jobs_of(account, model)) == 1


def test_many_writers_at_once_start_one_job(account, access, model):
    request = request_for(account, QUICK)
    with ThreadPoolExecutor(max_workers=6) as pool:
        results = list(pool.map(lambda _: TRAINING.submit(access, model, "train", request), range(6)))
    assert sum(not result.adopted for result in results) == 1
    assert len(jobs_of(account, model)) == 1


def test_a_failed_job_is_followed_by_a_new_attempt(account, access, model):
    request = request_for(account, "raise SystemExit(3)")
    first = TRAINING.submit(access, model, "train", request)
    status = ended(access, first.handle)
    assert status.outcome == "failed"
    assert "exit code" in status.reason.lower()
    second = TRAINING.submit(access, model, "train", request)
    assert not second.adopted
    assert second.handle["name"] == first.handle["name"] + "-2"


def test_a_stopped_job_is_a_failure(account, access, model):
    submitted = TRAINING.submit(access, model, "train", request_for(account, SLOW))
    TRAINING.stop(access, submitted.handle)
    status = ended(access, submitted.handle)
    assert (status.state, status.outcome) == ("Stopped", "failed")
    assert "stopped" in status.reason
    TRAINING.stop(access, submitted.handle)  # stopping what has ended is no error


def test_a_job_of_the_same_name_that_is_not_ours_is_never_adopted(account, access, model):
    request = request_for(account, QUICK)
    account.sagemaker.create_training_job(
        TrainingJobName=job_name(model, "train", digest(request)),
        **request,
        Tags=[{"Key": DIGEST_TAG, "Value": "something else"}],
    )
    with pytest.raises(JobError, match="was not started for these inputs"):
        TRAINING.submit(access, model, "train", request)


def test_the_result_carries_artifact_and_metrics(account, access, model):
    algorithm = {
        "TrainingImage": request_for(account, QUICK)["AlgorithmSpecification"]["TrainingImage"],
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "validation:rmse", "Regex": "validation:rmse=([0-9.]+);"}],
    }
    submitted = TRAINING.submit(
        access,
        model,
        "train",
        request_for(account, f"{QUICK}; print('validation:rmse=2.5;')", AlgorithmSpecification=algorithm),
    )
    ended(access, submitted.handle)
    result = TRAINING.result(access, submitted.handle)
    assert result["metrics"] == {"validation:rmse": 2.5}
    assert result["model_data"] == f"s3://{BUCKET}/models/{submitted.handle['name']}/output/model.tar.gz"


def test_the_log_of_a_failed_job_ends_with_its_last_words(account, access, model):
    submitted = TRAINING.submit(
        access, model, "train", request_for(account, "print('so far so good'); raise ValueError('no rows')")
    )
    ended(access, submitted.handle)
    assert any("no rows" in line for line in TRAINING.log_tail(access, submitted.handle))


def test_a_log_that_is_missing_hides_nothing(access):
    assert TRAINING.log_tail(access, {"name": "never-started"}) == []


def test_an_endpoint_is_created_adopted_and_a_rolled_back_update_is_a_failure(account, access, model):
    good = "\n".join(
        [
            "def model_fn(folder): return 1",
            "def input_fn(body, kind): return body",
            "def predict_fn(data, model): return data",
            "def output_fn(prediction, accept): return 'ok', 'text/csv'",
        ]
    )
    account.model(f"{model}-a", good)
    account.model(f"{model}-b", "raise RuntimeError('cannot start')")
    endpoint = JOB_KINDS["endpoint"]
    to_a = {"EndpointName": model, "EndpointConfigName": f"{model}-a"}
    to_b = {"EndpointName": model, "EndpointConfigName": f"{model}-b"}
    created = endpoint.submit(access, model, "deploy", to_a)
    assert endpoint.submit(access, model, "deploy", to_a).adopted
    assert ended(access, created.handle, endpoint).outcome == "succeeded"
    assert endpoint.submit(access, model, "deploy", to_a).adopted
    updated = endpoint.submit(access, model, "deploy", to_b)
    with pytest.raises(JobBusyError, match="is Updating with config"):
        endpoint.submit(access, model, "deploy", to_a)
    status = ended(access, updated.handle, endpoint)
    assert (status.state, status.outcome) == ("RolledBack", "failed")
    assert f"{model}-a still serves" in status.reason
    assert account.invoke(model, "x") == "ok"
    account.sagemaker.delete_endpoint(EndpointName=model)
