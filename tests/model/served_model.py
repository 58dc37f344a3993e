"""A model of abalones in a running local_aws: its platform, its package, its endpoint, its jobs, and what was told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from abalone_artifacts import CONFIG, MODEL, pack
from local_account import IMAGE, ROLE, Account, wait_for

from retraining.aws.clients import client
from retraining.dag.tasks.base import TaskBodies
from retraining.jobs.kinds import JOB_KINDS
from retraining.serving import registry
from retraining.settings.access import AwsAccess
from retraining.settings.platform import Platform

BUCKET = "abalone-bucket"
RUN = SimpleNamespace(dag_id="abalone_batch", run_id="r1", clear_number=0)


@contextmanager
def running(folder: Path) -> Iterator[Account]:
    """Yield an account with a bucket, to which clients without arguments are led."""
    with Account(folder) as account, pytest.MonkeyPatch.context() as patch:
        for name, value in account.variables.items():
            patch.setenv(name, value)
        client.cache_clear()  # those that another module left behind know an account that is gone
        account.s3.create_bucket(Bucket=BUCKET)
        yield account
        client.cache_clear()


def tasks(account: Account, kind: type[TaskBodies]) -> Any:
    """Return task bodies with a platform in the account."""
    topic = account.sns.create_topic(Name="retraining-dev-abalone-outcomes")["TopicArn"]
    queue = account.sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = account.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    account.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    glue = account.glue
    glue.create_job(Name="merge", Role=ROLE, Command={"Name": "glueetl", "ScriptLocation": f"s3://{BUCKET}/x.py"})
    steps = kind(CONFIG, MODEL)
    names = {name: name for name in Platform.model_fields if not name.endswith("_seconds")}
    steps.platform = Platform(
        **{
            **names,
            "account": "000000000000",
            "region": "us-east-1",
            "bucket": BUCKET,
            "topic_arn": topic,
            "queue_url": queue,
            "train_role_arn": ROLE,
            "evaluate_role_arn": ROLE,
            "serve_role_arn": ROLE,
            "survey_role_arn": ROLE,
            "experiment_role_arn": ROLE,
            "glue_job": "merge",
        }
    )
    return steps


def told(steps) -> list[str]:
    sqs = boto3.client("sqs", region_name="us-east-1")
    found = sqs.receive_message(QueueUrl=steps.platform.queue_url, MaxNumberOfMessages=10).get("Messages", [])
    for message in found:
        sqs.delete_message(QueueUrl=steps.platform.queue_url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"])["Message"] for message in found]


def read(account: Account, uri: str) -> str:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return account.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def register(account: Account, artifact: Path, folder: Path, run: str) -> registry.Registered:
    """Upload an artifact and register it as approved."""
    key = f"abalone/models/{run}/model.tar.gz"
    account.s3.upload_file(str(pack(artifact, folder / run) / "model.tar.gz"), BUCKET, key)
    container = {
        "Image": IMAGE,
        "ModelDataUrl": f"s3://{BUCKET}/{key}",
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
    }
    lineage = {"run_key": f"v1-{run}"}
    return registry.register(account.sagemaker, "abalone", container, registry.APPROVED, "s3://b/m", "good", lineage)


def serve(account: Account, package: registry.Registered, name: str = "m") -> None:
    """Let the endpoint serve a package, under a model and a configuration of this name; create it if there is none."""
    described = account.sagemaker.describe_model_package(ModelPackageName=package.arn)
    [container] = described["InferenceSpecification"]["Containers"]
    wanted = {name: container[name] for name in ("Image", "ModelDataUrl", "Environment")}
    account.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=wanted)
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.t2.medium"}
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{BUCKET}/abalone/captured/",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
    }
    account.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{**variant, "InitialInstanceCount": 1}],
        DataCaptureConfig=capture,
    )
    exists = account.sagemaker.list_endpoints(NameContains="dev-abalone")["Endpoints"]
    change = account.sagemaker.update_endpoint if exists else account.sagemaker.create_endpoint
    change(EndpointName="dev-abalone", EndpointConfigName=name)

    def status():
        return account.sagemaker.describe_endpoint(EndpointName="dev-abalone")["EndpointStatus"]

    assert wait_for(lambda: (now := status()) not in ("Creating", "Updating") and now, 120) == "InService"


def run_job(request: dict, step: str = "batch", seconds: float = 180) -> bool:
    """Do what the operator and its trigger do; return whether the job was adopted."""
    job, access = JOB_KINDS["processing"], AwsAccess()
    submitted = job.submit(access, "abalone", step, request)
    status = wait_for(lambda: (s := job.poll(access, submitted.handle)).outcome != "running" and s, seconds)
    assert status.outcome == "succeeded", (status, job.log_tail(access, submitted.handle))
    return submitted.adopted
