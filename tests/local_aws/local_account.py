"""A local_aws process for tests, driven by boto3, and short forms of long requests."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from local_stack import layout

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENTS = layout.VENVS
ROLE = "arn:aws:iam::000000000000:role/service"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
BUCKET = "account-bucket"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    """Poll until `condition` returns something true; fail with its last answer after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not reached within {timeout} s: {condition}"
        time.sleep(0.05)


def archive(files: Mapping[str, str]) -> bytes:
    """Return a tar.gz of text files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Account:
    """A local_aws process and clients for it."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.access_key = self.secret_key = "test"
        self.process: subprocess.Popen[bytes] | None = None
        self._clients: dict[str, Any] = {}

    def start(self) -> None:
        command = [ENVIRONMENTS / "local_aws" / "bin" / "python", "-m", "local_aws", "--port", str(self.port)]
        command += ["--data-dir", self.data_dir, "--environments", ENVIRONMENTS, *self.options]
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "credentials").write_text(
            f"[default]\naws_access_key_id = {self.access_key}\naws_secret_access_key = {self.secret_key}\n"
        )
        with (self.data_dir / "process.log").open("ab") as log:
            secret = {"PARENT_SECRET": "must-not-reach-a-job"}
            self.process = subprocess.Popen(
                command, cwd=REPOSITORY, stdout=log, stderr=log, env=dict(os.environ) | secret
            )
        wait_for(self._ready)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.stop()

    @property
    def variables(self) -> dict[str, str]:
        """The standard variables that lead a client here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def _ready(self) -> bool:
        assert self.process and self.process.poll() is None, (self.data_dir / "process.log").read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/_local_aws/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def __getattr__(self, service: str) -> Any:
        """Return the boto3 client of a service, e.g. ``account.sagemaker_runtime``."""
        if service.startswith("_"):
            raise AttributeError(service)
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service.replace("_", "-"),
                endpoint_url=self.url,
                region_name="us-east-1",
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
            )
        return self._clients[service]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

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
        """Return all lines of the log streams with a prefix."""
        streams = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=stream_prefix)["logStreams"]
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
