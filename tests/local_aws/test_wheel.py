"""local_aws outside of this repository: a wheel in a fresh environment, one command, and the script of somebody who knows only AWS."""

import os
import re
import signal
import subprocess
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_account import REPOSITORY, free_port

from local_stack import layout

PACKAGE = REPOSITORY / "local_aws"
UV = layout.VENVS / "uv" / "bin" / "uv"
SCRIPT = """
import io, tarfile, time
import boto3

s3, sagemaker, iam = boto3.client("s3"), boto3.client("sagemaker"), boto3.client("iam")
s3.create_bucket(Bucket="stranger")
trust = '{"Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
role = iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
code = b"import os\\nopen(os.environ['SM_MODEL_DIR'] + '/model.txt', 'w').write('learned')\\n"
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
    member = tarfile.TarInfo("train.py")
    member.size = len(code)
    tar.addfile(member, io.BytesIO(code))
s3.put_object(Bucket="stranger", Key="source.tar.gz", Body=buffer.getvalue())
sagemaker.create_training_job(
    TrainingJobName="first",
    RoleArn=role,
    AlgorithmSpecification={
        "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3",
        "TrainingInputMode": "File",
    },
    HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://stranger/source.tar.gz"},
    OutputDataConfig={"S3OutputPath": "s3://stranger/models"},
    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
    StoppingCondition={"MaxRuntimeInSeconds": 60},
)
while (job := sagemaker.describe_training_job(TrainingJobName="first"))["TrainingJobStatus"] == "InProgress":
    time.sleep(0.2)
body = s3.get_object(Bucket="stranger", Key="models/first/output/model.tar.gz")["Body"].read()
with tarfile.open(fileobj=io.BytesIO(body)) as tar:
    print(job["TrainingJobStatus"], tar.extractfile("model.txt").read().decode())
"""


def run(*command: object, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it into a fresh environment; return the environment's programs."""
    folder = tmp_path_factory.mktemp("wheel")
    run("sh", "-c", "make wheel", cwd=REPOSITORY, env=os.environ | {"WHEELS": str(folder)})
    [wheel] = folder.glob("*.whl")
    home = folder / "venv"
    run(UV, "venv", "--quiet", "--python", layout.python("local_aws"), home)
    pins = REPOSITORY / "requirements" / "local_aws.txt"
    run(UV, "pip", "install", "--quiet", "--python", home / "bin" / "python", "--requirement", pins)
    run(UV, "pip", "install", "--quiet", "--python", home / "bin" / "python", wheel)
    return home / "bin"


@pytest.fixture
def variables(installed: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Start the account in an empty folder by its one command; yield the variables that it prints."""
    port = free_port()
    log = tmp_path / "log.txt"
    own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with log.open("w") as file:
        command = [installed / "local-aws", "--port", str(port)]
        process = subprocess.Popen(command, cwd=tmp_path, env=own, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_local_aws/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        printed = dict(re.findall(r"(AWS_\w+)=(\S+)", log.read_text()))
        yield own | printed
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()


@pytest.mark.long
@pytest.mark.local_aws
def test_a_stranger_installs_the_wheel_starts_it_and_trains(installed: Path, variables: dict, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    assert run(installed / "python", "script.py", cwd=tmp_path, env=variables).strip() == "Completed learned"
    assert (tmp_path / ".local_aws" / "credentials").exists()


TEST = """
import subprocess
import sys


def test_the_script_of_somebody(local_account):
    assert subprocess.check_output([sys.executable, "script.py"], text=True).strip() == "Completed learned"
"""


@pytest.mark.long
@pytest.mark.local_aws
def test_a_stranger_tests_with_the_fixture_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    lock = (REPOSITORY / "requirements" / "dev.txt").read_text()
    pin = re.search(r"^pytest==\S+", lock, re.MULTILINE)
    assert pin
    run(UV, "pip", "install", "--quiet", "--python", installed / "python", pin[0])
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["local_aws.testing"]\n')
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "test_mine.py").write_text(TEST)
    own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = run(installed / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path, env=own)
    assert "1 passed" in done


def pins(name: str) -> set[str]:
    lines = (REPOSITORY / "requirements" / f"{name}.in").read_text().splitlines()
    return {line.partition("#")[0].strip() for line in lines} - {""}


def test_the_wheel_asks_for_what_the_environments_have() -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) == pins("local_aws")
    assert set(project["dependencies"]) | set(project["optional-dependencies"]["jobs"]) >= pins("jobs")
    assert f'__version__ = "{project["version"]}"' in (PACKAGE / "__init__.py").read_text()


def test_the_readme_shows_the_example_of_a_workflow() -> None:
    example = (REPOSITORY / "docs" / "examples" / "local-aws-action.yml").read_text()
    assert f"```yaml\n{example}```\n" in (PACKAGE / "README.md").read_text()
