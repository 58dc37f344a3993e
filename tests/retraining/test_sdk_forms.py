"""Both forms of a step ask for equivalent jobs: the requests that AWS gets are compared field by field, with the real SDK."""

import json
from pathlib import Path

import pytest
from sdk_environment import needs_sdk, submit

from retraining.jobs import requests as job_requests
from retraining.jobs.code_bundle import (
    code_digest,
    code_files,
    document_bytes,
    document_uri,
    source_archive,
    training_document,
)
from retraining.jobs.kinds import JOB_KINDS
from retraining.sdk import context as sdk_context

FOLDER = Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone"
pytestmark = needs_sdk
DESCRIBED = {
    "ArnKey", "CreationTime", "LastModifiedTime", "ResponseMetadata", "SecondaryStatus", "SecondaryStatusTransitions",
    "TrainingJobArn", "TrainingJobName", "TrainingJobStatus", "TrainingStartTime", "TrainingEndTime", "FailureReason",
    "TrainingTimeInSeconds", "BillableTimeInSeconds", "FinalMetricDataList", "ModelArtifacts",
    "ProcessingJobArn", "ProcessingJobName", "ProcessingJobStatus", "ProcessingStartTime", "ProcessingEndTime",
}  # fmt: skip
"""What Describe adds to the request."""

ACCEPTED_IN_TRAINING = {
    "AlgorithmSpecification.ContainerEntrypoint": "ModelTrainer starts a shell script of its own; the image's toolkit does it otherwise",
    "AlgorithmSpecification.ContainerArguments": "the script, which starts the same job.py",
    "HyperParameters.sagemaker_program": "the toolkit's way to name the program; ModelTrainer's is sm_drivers/sourcecode.json",
    "HyperParameters.sagemaker_submit_directory": "the toolkit's way to name the code; ModelTrainer's is the channel code",
    "HyperParameters.sagemaker_region": "the toolkit's way to tell the region; the container has AWS_REGION as well",
    "InputDataConfig.code": "the model's code, file by file instead of one archive",
    "InputDataConfig.sm_drivers": "ModelTrainer's start scripts",
}
ACCEPTED_IN_EVALUATION = {
    f"ProcessingInputs.{name}.S3Input.S3CompressionType": "the SDK states the default"
    for name in ("code", "job", "challenger", "test")
}


@pytest.fixture
def placed(plan, platform, bucket, account):
    """Plan and platform on the real bucket, with the code and data that the requests name."""
    files = code_files(FOLDER)
    plan = plan.model_copy(update={"code_digest": code_digest(files)})
    platform = platform.model_copy(update={"bucket": bucket, "region": "us-east-1"})
    prefix = plan.code_uri(bucket).removeprefix(f"s3://{bucket}/")
    for name, body in {**files, "sourcedir.tar.gz": source_archive(files)}.items():
        account.s3.put_object(Bucket=bucket, Key=prefix + name, Body=body)
    manifest = json.dumps([{"prefix": f"s3://{bucket}/"}, "none.csv"]).encode()
    for split in ("train", "validation", "test"):
        account.s3.put_object(Bucket=bucket, Key=f"{split}.json", Body=manifest)
    return plan, platform, {split: f"s3://{bucket}/{split}.json" for split in ("train", "validation", "test")}


def told(account, config, plan, platform, candidate):
    """Put job.json where the training's request says it is, as the task does."""
    document = training_document(config, plan, candidate)
    key = document_uri(platform.bucket, plan, document).removeprefix(f"s3://{platform.bucket}/")
    account.s3.put_object(Bucket=platform.bucket, Key=f"{key}job.json", Body=document_bytes(document))
    return candidate


def flat(value, path=""):
    """A request as path -> value; channels, inputs and outputs by their names instead of their places."""
    if isinstance(value, dict):
        return {
            k: v for key, item in value.items() for k, v in flat(item, f"{path}.{key}" if path else key).items()
        }  # fmt: skip
    if isinstance(value, list) and value and isinstance(value[0], dict):
        named = ("ChannelName", "InputName", "OutputName", "Name")
        names = [next(item[key] for key in named if key in item) for item in value]
        return {k: v for name, item in zip(names, value, strict=True) for k, v in flat(item, f"{path}.{name}").items()}
    return {path: value}


def request_of(account, kind, handle):
    describe = getattr(account.sagemaker, f"describe_{kind}_job")
    found = describe(**{f"{kind.title()}JobName": handle["name"]})
    return flat({key: value for key, value in found.items() if key not in DESCRIBED})


def differences(one, other):
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def unexplained(found, accepted):
    return [path for path in found if not any(path == known or path.startswith(f"{known}.") for known in accepted)]


def unneeded(found, accepted):
    return [known for known in accepted if not any(path == known or path.startswith(f"{known}.") for path in found)]


def test_both_forms_of_a_training_ask_for_the_same_job(account, access, config, placed):
    plan, platform, manifests = placed
    candidate = told(account, config, plan, platform, config.training.candidates[0])
    request = job_requests.training_request(config, platform, plan, candidate, manifests)
    declarative = JOB_KINDS["training"].submit(access, "forms", "train", request).handle
    context = sdk_context.training_context(config, platform, plan, candidate, manifests)
    sdk = submit(FOLDER, "training", context, access, "forms", "train")["handle"]
    found = differences(request_of(account, "training", declarative), request_of(account, "training", sdk))
    assert (unexplained(found, ACCEPTED_IN_TRAINING), unneeded(found, ACCEPTED_IN_TRAINING)) == ([], [])


@pytest.mark.parametrize("champion", [None, "s3://{bucket}/champion/model.tar.gz"], ids=["first-model", "champion"])
def test_both_forms_of_an_evaluation_ask_for_the_same_job(account, access, config, placed, champion):
    plan, platform, manifests = placed
    challenger = f"s3://{platform.bucket}/challenger/model.tar.gz"
    champion = champion and champion.format(bucket=platform.bucket)
    arguments = (config, platform, plan, manifests["test"], challenger, champion)
    request = job_requests.evaluation_request(*arguments)
    declarative = JOB_KINDS["processing"].submit(access, "forms", "evaluate", request).handle
    context = sdk_context.evaluation_context(*arguments)
    sdk = submit(FOLDER, "evaluation", context, access, "forms", "evaluate")["handle"]
    found = differences(request_of(account, "processing", declarative), request_of(account, "processing", sdk))
    accepted = dict(ACCEPTED_IN_EVALUATION)
    if champion:
        accepted["ProcessingInputs.champion.S3Input.S3CompressionType"] = "the SDK states the default"
    assert (unexplained(found, accepted), unneeded(found, accepted)) == ([], [])


def test_the_same_step_twice_is_the_same_job_and_leaves_no_dated_upload(account, access, config, placed, bucket):
    plan, platform, manifests = placed
    candidate = config.training.candidates[0].model_copy(update={"hyperparameters": {"algorithm": "linear", "seed": 7}})
    told(account, config, plan, platform, candidate)
    context = sdk_context.training_context(config, platform, plan, candidate, manifests)
    runs = [submit(FOLDER, "training", context, access, "twice", "train") for _ in range(2)]
    assert runs[0]["handle"]["name"].rsplit("-", 1)[0] in runs[1]["handle"]["name"]
    listed = account.s3.list_objects_v2(Bucket=bucket, Prefix="abalone/")["Contents"]
    assert not [item["Key"] for item in listed if "abalone-train-20" in item["Key"]]
