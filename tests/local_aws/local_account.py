"""A local_aws process for tests, driven by boto3, and short forms of long requests."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local_aws.testing import LocalAccount
from local_aws.testing import free_port as free_port
from local_stack import layout

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENTS = layout.VENVS
ROLE = "arn:aws:iam::000000000000:role/service"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
BUCKET = "account-bucket"


def wait_for(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    """Poll until `condition` returns something true, ever more seldom; fail with its last answer after `timeout` seconds."""
    deadline, pause = time.monotonic() + timeout, 0.02
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not reached within {timeout} s: {condition}"
        time.sleep(pause)
        pause = min(0.2, pause * 1.2)


def archive(files: Mapping[str, str]) -> bytes:
    """Return a tar.gz of text files, the same bytes for the same files."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Account(LocalAccount):
    """A local_aws process and clients for it: ``account.s3``, ``account.sagemaker_runtime``."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        super().__init__(data_dir, ENVIRONMENTS, *options)
        self.access_key = self.secret_key = "test"

    def start(self, **variables: str) -> None:
        super().start(PARENT_SECRET="must-not-reach-a-job", **variables)

    def __getattr__(self, service: str) -> Any:
        if service.startswith("_"):
            raise AttributeError(service)
        return self.client(service.replace("_", "-"))

    # -- short forms of long requests ------------------------------------------------------------------------------

    def put(self, key: str, body: str | bytes) -> str:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def keys(self, prefix: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]

    def training_request(self, name: str, script: str, **changes: Any) -> dict[str, Any]:
        """Return a CreateTrainingJob request that runs `script` as train.py in script mode."""
        source = self.put(f"code/{name}/sourcedir.tar.gz", archive({"train.py": script}))
        request = {
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "HyperParameters": {
                "sagemaker_program": '"train.py"',
                "sagemaker_submit_directory": f'"{source}"',
            },
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }
        return request | changes

    def train(self, name: str, script: str, **changes: Any) -> dict[str, Any]:
        """Run a training job to its end; return its description."""
        self.sagemaker.create_training_job(**self.training_request(name, script, **changes))
        return self.training_end(name)

    def training_end(self, name: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            job = self.sagemaker.describe_training_job(TrainingJobName=name)
            return job if job["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return wait_for(ended)

    def processing_request(self, name: str, script: str, **changes: Any) -> dict[str, Any]:
        """Return a CreateProcessingJob request that runs `script`."""
        source = self.put(f"code/{name}/run.py", script)
        request = {
            "ProcessingJobName": name,
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": IMAGE,
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/run.py"],
            },
            "ProcessingInputs": [s3_input("code", source, "/opt/ml/processing/input/code")],
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }
        return request | changes

    def processing_end(self, name: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            job = self.sagemaker.describe_processing_job(ProcessingJobName=name)
            return job if job["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return wait_for(ended)

    def model(self, name: str, inference: str, **environment: str) -> None:
        """Create a model and an endpoint configuration of the same name around an inference script."""
        data = self.put(f"models/{name}.tar.gz", archive({"code/inference.py": inference}))
        container = {
            "Image": IMAGE,
            "ModelDataUrl": data,
            "Environment": {
                "SAGEMAKER_PROGRAM": "inference.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                **environment,
            },
        }
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant(name)])

    def endpoint_settled(self, name: str) -> dict[str, Any]:
        def settled() -> dict[str, Any] | None:
            endpoint = self.sagemaker.describe_endpoint(EndpointName=name)
            return endpoint if endpoint["EndpointStatus"] in ("InService", "Failed") else None

        return wait_for(settled)

    def invoke(self, name: str, body: str, **options: Any) -> str:
        answer = self.sagemaker_runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body, **options)
        return answer["Body"].read().decode()

    def log(self, group: str, stream_prefix: str) -> str:
        """Return all lines of the log streams with a prefix; none where nothing was logged as yet."""
        try:
            streams = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=stream_prefix)[
                "logStreams"
            ]
        except self.logs.exceptions.ResourceNotFoundException:
            return ""
        lines = []
        for stream in streams:
            events = self.logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
            lines += [event["message"] for event in events]
        return "\n".join(lines)


def s3_input(name: str, uri: str, path: str, kind: str = "S3Prefix") -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {"S3Uri": uri, "LocalPath": path, "S3DataType": kind, "S3InputMode": "File"},
    }


def s3_output(name: str, uri: str, path: str) -> dict[str, Any]:
    return {"OutputName": name, "S3Output": {"S3Uri": uri, "LocalPath": path, "S3UploadMode": "EndOfJob"}}


def channel(name: str, uri: str, kind: str = "S3Prefix") -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": uri}}}


def variant(model: str, **changes: Any) -> dict[str, Any]:
    chosen = {"VariantName": "AllTraffic", "ModelName": model, "InitialInstanceCount": 1}
    return chosen | {"InstanceType": "ml.m5.large"} | changes


#: A model that multiplies by a number.
TIMES = """
def model_fn(model_dir):
    return {factor}

def input_fn(body, content_type):
    if not body.strip():
        raise ValueError("the body is empty")
    return [float(value) for value in body.split(",")]

def predict_fn(data, model):
    return [value * model for value in data]

def output_fn(prediction, accept):
    return ",".join(str(value) for value in prediction), "text/csv"
"""

#: A model that cannot be loaded.
BROKEN = "raise RuntimeError('this model is broken')\n"
