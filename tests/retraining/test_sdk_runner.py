"""What the runner makes of a function that calls AWS; the functions here use boto3 as the SDK does, the SDK itself is in test_sdk_forms."""

import io
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import boto3
import jsonschema
import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET

from retraining.aws.errors import is_refusal
from retraining.aws.naming import digest
from retraining.jobs.job import DIGEST_TAG, JobError
from retraining.jobs.kinds import JOB_KINDS
from retraining.sdk import runner
from retraining.sdk.capture import SdkStepError
from retraining.sdk.context import SdkContext
from retraining.sdk.runner import _check_each_schema_once, submit

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
import time
import boto3

def name():
    return "sdk-" + time.strftime("%Y%m%d%H%M%S") + str(time.time_ns() % 1000)

def create(ctx, **changes):
    client = boto3.client("sagemaker", region_name=ctx.region)
    request = {REQUEST}
    request |= {"TrainingJobName": name(), **changes}
    answer = client.create_training_job(**request)
    return client, request["TrainingJobName"], answer
"""
PROCESS = (
    'client.create_processing_job(ProcessingJobName=name(), RoleArn="arn:aws:iam::000000000000:role/r", '
    'AppSpecification={"ImageUri": "i"}, ProcessingResources={"ClusterConfig": '
    '{"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}})'
)


@pytest.fixture(scope="module", autouse=True)
def job_bucket(account):
    account.s3.create_bucket(Bucket=BUCKET)


@pytest.fixture(autouse=True)
def standard_variables(account, access, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def run(account, access, tmp_path, request):
    """Submit through a function with this body; a model of the test's own."""
    model = f"s{digest(request.node.name, 8)}"
    job = account.training_request("source", f"import os; open(os.environ['SM_MODEL_DIR'] + '/{model}', 'w').close()")
    del job["TrainingJobName"]

    def start(body, function="training", defined="training", head=HEAD):
        folder = tmp_path / "model"
        if not folder.exists():
            shutil.copytree(ROOT / "dags" / "models" / "abalone", folder)
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        (folder / "sdk_jobs.py").write_text(head.replace("{REQUEST}", repr(job)) + f"\ndef {defined}(ctx):\n{lines}\n")
        return submit(folder, function, context_of(model), access, model, "train")

    start.model = model
    return start


def context_of(model):
    return SdkContext(
        model=model, bucket=BUCKET, region="us-east-1", role_arn="r", image="i", instance_type="ml.m5.large", instance_count=1,
        volume_gb=1, max_runtime_seconds=60, columns=("rings",), target="rings", group="sex", dataset_version=1, manifests={},
        output_path="s3://b/o/",
    )  # fmt: skip


def test_a_job_is_named_and_tagged_by_its_request_and_found_again(run, account):
    first, second = run("create(ctx)"), run("return create(ctx)")
    assert (first.adopted, second.adopted) == (False, True)
    assert first.handle == second.handle
    name = first.handle["name"]
    assert name.startswith(f"dev-{run.model}-train-")
    arn = account.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
    assert DIGEST_TAG in {tag["Key"] for tag in account.sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert len(account.sagemaker.list_training_jobs(NameContains=run.model)["TrainingJobSummaries"]) == 1


def test_another_request_is_another_job(run):
    assert run("create(ctx)").handle != run("create(ctx, StoppingCondition={'MaxRuntimeInSeconds': 61})").handle


def test_later_calls_may_use_the_name_that_the_function_knows(run):
    body = """
client, own, answer = create(ctx)
found = client.describe_training_job(TrainingJobName=own)
assert found["TrainingJobName"] != own and found["TrainingJobArn"] == answer["TrainingJobArn"]
assert client.list_tags(ResourceArn=answer["TrainingJobArn"].rsplit("/", 1)[0] + "/" + own)["Tags"]
"""
    assert run(body).adopted is False


def test_tags_of_the_function_s_own_are_kept(run, account):
    name = run("create(ctx, Tags=[{'Key': 'team', 'Value': 'shells'}])").handle["name"]
    arn = account.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
    assert {"Key": "team", "Value": "shells"} in account.sagemaker.list_tags(ResourceArn=arn)["Tags"]


def test_a_function_that_waits_for_its_job_is_not_waited_for(run, account):
    body = """
client, own, _ = create(ctx)
while True:
    client.describe_training_job(TrainingJobName=own)
"""
    assert run(body).handle["name"].startswith(f"dev-{run.model}")


def test_a_function_that_fails_after_its_job_exists_has_submitted_it(run):
    assert run("create(ctx)\nraise RuntimeError('afterwards')").adopted is False


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return None", "submitted no job"),
        ("create(ctx)\ncreate(ctx, Environment={'A': 'b'})", "submits a second job"),
        ("raise KeyError('oops')", r"failed: KeyError: 'oops'"),
        ("create(ctx, RoleArn=7)", "failed: ParamValidationError"),
        (f"client = boto3.client('sagemaker')\n{PROCESS}", "submits a processing job, but this step is a training job"),
    ],
    ids=["no-job", "two-jobs", "an-error", "wrong-type", "wrong-kind"],
)  # fmt: skip
def test_a_function_that_does_not_do_its_work_is_told_so(run, body, words):
    with pytest.raises(SdkStepError, match=words):
        run(body)


def test_no_second_job_is_created(run, account):
    with pytest.raises(SdkStepError, match="submits a second job"):
        run("create(ctx)\ntry:\n    create(ctx, Environment={'A': 'b'})\nexcept Exception:\n    pass")
    assert len(account.sagemaker.list_training_jobs(NameContains=run.model)["TrainingJobSummaries"]) == 1


def test_what_aws_refuses_is_told_in_its_words(run):
    with pytest.raises(ClientError, match="Sideways") as caught:
        run("create(ctx, AlgorithmSpecification={'TrainingImage': 'i', 'TrainingInputMode': 'Sideways'})")
    assert is_refusal(caught.value)


def test_an_error_that_the_function_hides_is_told_nevertheless(run):
    body = f"client = boto3.client('sagemaker')\ntry:\n    {PROCESS}\nexcept Exception:\n    pass"
    with pytest.raises(SdkStepError, match="submits a processing job"):
        run(body)


def test_a_missing_function_or_file_is_told(run, tmp_path, access):
    with pytest.raises(SdkStepError, match=r"has no function training\(ctx\)"):
        run("pass", defined="trainig")
    with pytest.raises(SdkStepError, match="cannot be imported: ModuleNotFoundError"):
        run("pass", head="import a_package_that_is_not_there\n")
    (tmp_path / "model" / "sdk_jobs.py").unlink()
    with pytest.raises(SdkStepError, match=r"has no sdk_jobs\.py"):
        submit(tmp_path / "model", "training", context_of(run.model), access, run.model, "train")


def test_a_function_finds_the_model_s_code_but_not_itself(run):
    body = """
import os
assert sorted(os.listdir(ctx.source_dir)) == ["features.py", "hyperparameters.py", "job.py", "retraining", "train.py"]
create(ctx)
"""
    assert run(body)


def test_an_unreachable_service_is_an_error_that_may_pass(run, monkeypatch):
    with pytest.raises(Exception) as caught:
        run(
            "from botocore.config import Config\n"
            "once = Config(retries={'total_max_attempts': 1})\n"
            "boto3.client('sts', endpoint_url='http://127.0.0.1:9', config=once).get_caller_identity()"
        )
    assert not isinstance(caught.value, JobError)


def test_without_a_submission_nothing_is_watched(account, access):
    request = account.training_request(f"plain-{time.time_ns()}", "pass")
    boto3.client("sagemaker", region_name="us-east-1").create_training_job(**request)
    JOB_KINDS["training"].stop(access, {"name": request["TrainingJobName"]})


def test_the_sdks_schema_is_checked_once_and_a_wrong_one_is_refused(monkeypatch):
    checks = []
    check = jsonschema.Draft202012Validator.check_schema
    monkeypatch.setattr(
        jsonschema.Draft202012Validator, "check_schema", lambda schema, **_: checks.append(schema) or check(schema)
    )
    _check_each_schema_once.__wrapped__()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}
    for _ in range(3):
        jsonschema.validate({}, schema)
    assert checks == [schema]
    for _ in range(2):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate([], schema)
        with pytest.raises(jsonschema.SchemaError):
            jsonschema.validate({}, {**schema, "type": "nonsense"})


def test_no_key_is_written_outside_of_the_folder_of_the_code(tmp_path, monkeypatch):
    keys = ["m/code/d/train.py", "m/code/d/retraining/../../../escaped.py"]
    s3 = SimpleNamespace(
        list_objects_v2=lambda **_: {"Contents": [{"Key": key} for key in keys]},
        get_object=lambda **_: {"Body": io.BytesIO(b"A = 1")},
    )
    monkeypatch.setattr(runner, "client", lambda *_: s3)
    with pytest.raises(SdkStepError, match=r"escaped\.py would be written outside of its folder"):
        runner._download("s3://b/m/code/d/", None, tmp_path / "source")
    assert [path.name for path in tmp_path.rglob("*.py")] == ["train.py"]
