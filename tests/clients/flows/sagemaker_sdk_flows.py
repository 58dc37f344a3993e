"""Short pieces of work with the SageMaker SDK, each as its examples do it; what each found out is printed as one JSON object.

Run by test_flow_sagemaker_sdk.py in the SDK's environment: ``python sagemaker_sdk_flows.py FOLDER ROLE IMAGE``. Unlike the client's story
these leave to the SDK what its users leave to it: output path, output form, limits.
"""
# ruff: noqa: TID251 - this runs in the environment that has the SDK

import json
import sys
import time
import traceback
from pathlib import Path

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.processing import FrameworkProcessor
from sagemaker.core.shapes import CheckpointConfig, OutputDataConfig
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

FOLDER, ROLE, IMAGE = Path(sys.argv[1]), *sys.argv[2:]
MACHINE = "ml.m5.large"
session = Session(boto_session=boto3.Session(), default_bucket="sdk-flows")
s3 = boto3.client("s3")
pieces = []


def piece(function):
    pieces.append(function)
    return function


def ended(job, status):
    """Wait for a job; the SDK's own wait looks only every 5 seconds."""
    while getattr(job.refresh(), status) in ("InProgress", "Stopping"):
        time.sleep(0.2)
    reason = job.failure_reason
    return [getattr(job, status), reason if isinstance(reason, str) else ""]


def train(name, **options):
    code = SourceCode(source_dir=str(FOLDER / "source"), **options.pop("code", {"entry_script": "train.py"}))
    trainer = ModelTrainer(
        sagemaker_session=session, role=ROLE, base_job_name=name, training_image=IMAGE, source_code=code,
        compute=Compute(instance_type=MACHINE, instance_count=1), **options,
    )  # fmt: skip
    data = InputData(channel_name="train", data_source=str(FOLDER / "data"))
    trainer.train(input_data_config=[data], wait=False)
    job = trainer._latest_training_job
    return [*ended(job, "training_job_status"), job]


@piece
def with_nothing_but_defaults_and_requirements_that_are_there():
    status, reason, job = train("plain", code={"entry_script": "train.py", "requirements": "requirements.txt"})
    uri = job.model_artifacts.s3_model_artifacts
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    s3.head_object(Bucket=bucket, Key=key)
    return [status, reason, uri.rpartition("/")[2]]


@piece
def requirements_that_are_missing():
    status, _, job = train("missing", code={"entry_script": "train.py", "requirements": "more.txt"})
    streams = boto3.client("logs").describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=job.training_job_name
    )["logStreams"]
    events = boto3.client("logs").get_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=streams[0]["logStreamName"]
    )["events"]
    return [status, [line["message"] for line in events if "lacks" in line["message"]]]


@piece
def a_command_checkpoints_and_an_uncompressed_model():
    status, reason, job = train(
        "files",
        code={"command": "python3 train.py --epochs 3"},
        output_data_config=OutputDataConfig(s3_output_path="s3://sdk-flows/files", compression_type="NONE"),
        checkpoint_config=CheckpointConfig(s3_uri="s3://sdk-flows/checkpoints"),
    )
    uri = job.model_artifacts.s3_model_artifacts
    listed = s3.list_objects_v2(Bucket="sdk-flows", Prefix=uri.removeprefix("s3://sdk-flows/"))["Contents"]
    checkpoint = s3.get_object(Bucket="sdk-flows", Key="checkpoints/epoch.txt")["Body"].read().decode()
    return [status, reason, [item["Key"].rpartition("/output/")[2] for item in listed], checkpoint]


@piece
def a_framework_processor_with_requirements():
    processor = FrameworkProcessor(
        sagemaker_session=session,
        role=ROLE,
        image_uri=IMAGE,
        command=["python3"],
        instance_type=MACHINE,
        instance_count=1,
    )
    processor.run(code="process.py", source_dir=str(FOLDER / "source"), wait=False, logs=False)
    return ended(processor.latest_job, "processing_job_status")


found = {}
for function in pieces:
    try:
        found[function.__name__] = function()
    except Exception:
        found[function.__name__] = traceback.format_exc()
sys.stdout.write("\n" + json.dumps(found) + "\n")
