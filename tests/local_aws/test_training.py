"""Training jobs really train, and answer as SageMaker's do."""

import io
import json
import tarfile

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, ROLE, Account, archive, channel, wait_for

pytestmark = pytest.mark.local_aws

WRITE_MODEL = """
import json, os, sys
with open(os.environ["SM_MODEL_DIR"] + "/seen.json", "w") as file:
    json.dump({"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}, file)
"""


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {item.name: tar.extractfile(item).read() for item in tar if item.isfile()}


def error_of(call, **request) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_a_script_gets_arguments_channels_and_variables_and_its_model_is_uploaded(account: Account) -> None:
    account.put("data/train/part=1/a.csv", "1,2\n")
    account.put("data/train/b.csv", "3,4\n")
    manifest = account.put("manifests/m.json", json.dumps([{"prefix": f"s3://{BUCKET}/data/"}, "train/part=1/a.csv"]))
    script = """
import argparse, os, json
from pathlib import Path
parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float)
parser.add_argument("--columns", type=json.loads)
arguments = parser.parse_args()
found = {
    name: sorted(path.relative_to(os.environ["SM_CHANNEL_" + name]).as_posix()
                 for path in Path(os.environ["SM_CHANNEL_" + name]).rglob("*.csv"))
    for name in ("TRAIN", "VALIDATION")
}
model = Path(os.environ["SM_MODEL_DIR"])
(model / "code").mkdir()
(model / "code" / "x.json").write_text(json.dumps([arguments.alpha, arguments.columns, found]))
Path(os.environ["SM_OUTPUT_DATA_DIR"], "plot.txt").write_text("plot")
print("train:rmse=3.0; validation:rmse=2.5;")
print("validation:rmse=2.25;")
"""
    request = account.training_request(
        "train-complete",
        script,
        InputDataConfig=[
            channel("train", f"s3://{BUCKET}/data/train/"),
            channel("validation", manifest, "ManifestFile"),
        ],
    )
    request["HyperParameters"] |= {"alpha": "0.5", "columns": json.dumps('["a", "b"]')}
    request["AlgorithmSpecification"]["MetricDefinitions"] = [
        {"Name": "validation:rmse", "Regex": "validation:rmse=([0-9.]+);"}
    ]
    arn = account.sagemaker.create_training_job(**request)["TrainingJobArn"]
    job = account.training_end("train-complete")

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed"), job
    assert arn == job["TrainingJobArn"] == "arn:aws:sagemaker:us-east-1:000000000000:training-job/train-complete"
    assert [(m["MetricName"], m["Value"]) for m in job["FinalMetricDataList"]] == [("validation:rmse", 2.25)]
    assert job["TrainingStartTime"] >= job["CreationTime"]
    assert job["TrainingEndTime"] >= job["TrainingStartTime"]
    steps = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert steps == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    artifact = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifact == f"s3://{BUCKET}/models/train-complete/output/model.tar.gz"
    alpha, columns, found = json.loads(members(account.read(artifact))["code/x.json"])
    assert (alpha, columns) == (0.5, ["a", "b"])
    assert found == {"TRAIN": ["b.csv", "part=1/a.csv"], "VALIDATION": ["train/part=1/a.csv"]}
    output = account.read(f"s3://{BUCKET}/models/train-complete/output/output.tar.gz")
    assert members(output) == {"plot.txt": b"plot"}
    assert "validation:rmse=2.25;" in account.log("/aws/sagemaker/TrainingJobs", "train-complete/")
    assert "validation:rmse" in (account.data_dir / "jobs/training-job/train-complete/log.txt").read_text()


def test_an_uncompressed_model_lies_in_files_and_the_default_is_an_archive(account: Account) -> None:
    script = """
import os, pathlib
for folder, name in (("SM_MODEL_DIR", "part/model.txt"), ("SM_OUTPUT_DATA_DIR", "plot.txt")):
    path = pathlib.Path(os.environ[folder], name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
"""
    found = {}
    for kind in ("NONE", "GZIP"):
        output = {"S3OutputPath": f"s3://{BUCKET}/models", "CompressionType": kind}
        job = account.train(f"train-{kind.lower()}", script, OutputDataConfig=output)
        assert job["TrainingJobStatus"] == "Completed", job
        base = f"models/train-{kind.lower()}/output"
        artifact = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{BUCKET}/{base}/")
        found[kind] = artifact, [key.removeprefix(f"{base}/") for key in account.keys(base)]
    assert found == {
        "NONE": ("model/", ["data/plot.txt", "model/part/model.txt"]),
        "GZIP": ("model.tar.gz", ["model.tar.gz", "output.tar.gz"]),
    }


def test_a_job_sees_only_the_environment_that_the_service_gives(account: Account) -> None:
    job = account.train("train-environment", WRITE_MODEL, Environment={"MY_SETTING": "/opt/ml/input/x"})
    seen = json.loads(members(account.read(job["ModelArtifacts"]["S3ModelArtifacts"]))["seen.json"])

    assert "PARENT_SECRET" not in seen["env"]
    assert seen["env"]["AWS_ENDPOINT_URL"] == account.url
    assert seen["env"]["MY_SETTING"] == "/opt/ml/input/x"
    assert seen["env"]["HOME"].startswith(str(account.data_dir))


def test_a_failing_script_fails_the_job_with_its_last_words(account: Account) -> None:
    job = account.train("train-fails", "raise ValueError('no rows in channel train')")

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"].startswith("AlgorithmError: ExecuteUserScriptError")
    assert "ValueError: no rows in channel train" in job["FailureReason"]
    assert job["FailureReason"].endswith("exit code: 1")
    bucket, key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").split("/", 1)
    assert not account.s3.list_objects_v2(Bucket=bucket, Prefix=key).get(
        "Contents"
    )  # named, as AWS does, and not there
    assert "no rows in channel train" in account.log("/aws/sagemaker/TrainingJobs", "train-fails/")


def test_the_failure_file_is_the_reason(account: Account) -> None:
    script = """
import os, sys
with open(os.environ["SM_OUTPUT_DIR"] + "/failure", "w") as file:
    file.write("the label column is constant")
sys.exit(3)
"""
    job = account.train("train-failure-file", script)
    assert job["FailureReason"] == "AlgorithmError: the label column is constant, exit code: 1"  # the container's own


def test_missing_input_and_unknown_image_fail_with_the_cause(account: Account) -> None:
    config = [channel("train", f"s3://{BUCKET}/nothing/here/")]
    with pytest.raises(ClientError, match=f'No S3 objects found under S3 URL "s3://{BUCKET}/nothing/here/"'):
        account.train("train-no-input", WRITE_MODEL, InputDataConfig=config)

    image = {"TrainingImage": "1.dkr.ecr.us-east-1.amazonaws.com/magic:1", "TrainingInputMode": "File"}
    job = account.train("train-no-image", WRITE_MODEL, AlgorithmSpecification=image)
    assert job["TrainingJobStatus"] == "Failed"
    assert "magic:1 is not known to local_aws" in job["FailureReason"]


def test_a_source_archive_cannot_write_outside_of_the_job(account: Account) -> None:
    request = account.training_request("train-escape", WRITE_MODEL)
    members = {"../../../../../escaped.txt": "x", "train.py": WRITE_MODEL}
    source = account.put("code/escape.tar.gz", archive(members))
    request["HyperParameters"]["sagemaker_submit_directory"] = f'"{source}"'
    account.sagemaker.create_training_job(**request)
    job = account.training_end("train-escape")

    assert job["TrainingJobStatus"] == "Failed"
    assert "cannot be unpacked" in job["FailureReason"]
    assert not (account.data_dir / "jobs/training-job/escaped.txt").exists()


def test_a_key_cannot_leave_the_channel(account: Account) -> None:
    manifest = account.put("manifests/evil.json", json.dumps([{"prefix": f"s3://{BUCKET}/data/"}, "../../../x"]))
    job = account.train("train-evil-key", WRITE_MODEL, InputDataConfig=[channel("train", manifest, "ManifestFile")])
    assert job["TrainingJobStatus"] == "Failed"
    assert "points outside" in job["FailureReason"]


def test_a_job_ends_at_its_time_limit(account: Account) -> None:
    script = "import os, time\nopen(os.environ['SM_MODEL_DIR'] + '/half', 'w').write('x')\ntime.sleep(60)"
    job = account.train("train-limit", script, StoppingCondition={"MaxRuntimeInSeconds": 1})

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert members(account.read(job["ModelArtifacts"]["S3ModelArtifacts"])) == {"half": b"x"}


def test_a_job_can_be_stopped_and_not_twice(account: Account) -> None:
    script = "import time\nprint('started', flush=True)\ntime.sleep(60)"
    account.sagemaker.create_training_job(**account.training_request("train-stop", script))
    log = account.data_dir / "jobs/training-job/train-stop/log.txt"
    wait_for(lambda: log.exists() and "started" in log.read_text())
    account.sagemaker.stop_training_job(TrainingJobName="train-stop")
    job = account.training_end("train-stop")

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    code, message = error_of(account.sagemaker.stop_training_job, TrainingJobName="train-stop")
    assert (code, "in status Stopped" in message) == ("ValidationException", True)


def test_duplicate_and_unknown_names_and_bad_requests_are_refused_as_by_aws(account: Account) -> None:
    request = account.training_request("train-once", WRITE_MODEL)
    account.sagemaker.create_training_job(**request)
    code, message = error_of(account.sagemaker.create_training_job, **request)
    assert code == "ResourceInUse"
    assert message.startswith("Training job names must be unique within an AWS account and region")
    account.training_end("train-once")

    describe = account.sagemaker.describe_training_job
    assert error_of(describe, TrainingJobName="unknown") == ("ValidationException", "Requested resource not found.")

    code, message = error_of(account.sagemaker.create_training_job, **(request | {"TrainingJobName": "under_score"}))
    assert code == "ValidationException"
    assert "'under_score' at 'trainingJobName' failed to satisfy constraint" in message

    code, message = error_of(
        account.sagemaker.create_training_job, **(request | {"RoleArn": "just-a-role-without-arn"})
    )
    assert (code, "roleArn" in message) == ("ValidationException", True)


def test_the_list_is_filtered_sorted_and_paged(account: Account) -> None:
    for name in ("listed-a", "listed-b", "listed-c"):
        account.train(name, "")
    pages = account.sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains="listed-", StatusEquals="Completed", PaginationConfig={"PageSize": 2}
    )
    names = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    assert names == ["listed-c", "listed-b", "listed-a"]


def test_waiters_and_tags(account: Account) -> None:
    request = account.training_request("train-tags", "") | {"Tags": [{"Key": "digest", "Value": "abc"}]}
    arn = account.sagemaker.create_training_job(**request)["TrainingJobArn"]
    waiter = account.sagemaker.get_waiter("training_job_completed_or_stopped")
    waiter.wait(TrainingJobName="train-tags", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    account.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "more", "Value": "1"}])
    account.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["digest"])
    assert account.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "more", "Value": "1"}]
    assert ROLE in account.sagemaker.describe_training_job(TrainingJobName="train-tags")["RoleArn"]
