"""Jobs in the form of the SageMaker SDK: start scripts from S3 that name /opt/ml literally, run by a shell."""

import pytest
from local_account import BUCKET, IMAGE, s3_input, s3_output

pytestmark = pytest.mark.local_aws

START = """#!/bin/bash
set -e
command -v pip
python3 /opt/ml/input/data/sm_drivers/scripts/environment.py
source /opt/ml/input/sm_training.env
cd /opt/ml/input/data/code
python3 train.py
"""
ENVIRONMENT = """
import json
with open("/opt/ml/input/config/inputdataconfig.json") as file:
    channels = json.load(file)
with open("/opt/ml/input/sm_training.env", "w") as file:
    file.write("export SM_MODEL_DIR='/opt/ml/model'\\n")
    for name in channels:
        file.write(f"export SM_CHANNEL_{name.upper()}='/opt/ml/input/data/{name}'\\n")
"""
TRAIN = """
import os, pathlib
text = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "a.csv").read_text()
literal = "/opt/ml/model"
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(text)
print(f"rows={len(text.splitlines())}; user code keeps {literal}")
"""


def channel(name, uri):
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def sdk_training(account, name, start=START):
    """CreateTrainingJob as ModelTrainer sends it: an entrypoint, and the channels code and sm_drivers."""
    root = f"staged/{name}/input"
    account.put(f"{root}/code/train.py", TRAIN)
    account.put(f"{root}/sm_drivers/sm_train.sh", start)
    account.put(f"{root}/sm_drivers/scripts/environment.py", ENVIRONMENT)
    account.put(f"{root}/train/a.csv", "1\n2\n3\n")
    script = "/opt/ml/input/data/sm_drivers/sm_train.sh"
    return account.training_request(name, TRAIN) | {
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/bash"],
            "ContainerArguments": ["-c", f"chmod +x {script} && {script}"],
            "MetricDefinitions": [{"Name": "rows", "Regex": "rows=([0-9]+);"}],
        },
        "HyperParameters": {"seed": "0"},
        "InputDataConfig": [channel(item, f"s3://{BUCKET}/{root}/{item}") for item in ("train", "code", "sm_drivers")],
    }


def test_a_model_trainer_job_runs_its_drivers_in_the_sandbox(account):
    account.sagemaker.create_training_job(**sdk_training(account, "sdk-train"))
    job = account.training_end("sdk-train")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert [(metric["MetricName"], metric["Value"]) for metric in job["FinalMetricDataList"]] == [("rows", 3.0)]
    log = (account.data_dir / "jobs" / "training-job" / "sdk-train" / "log.txt").read_text()
    assert "user code keeps /opt/ml/model" in log


@pytest.mark.parametrize("pip", ["pip", "python3 -m pip"])
def test_a_job_that_asks_for_packages_gets_those_that_are_there_and_is_told_what_is_missing(account, pip):
    name = f"sdk-{pip.replace(' ', '')}"
    account.put(f"staged/{name}/input/code/requirements.txt", "# libraries\nscikit-learn >= 1.0\npandas\n")
    install = f"cd /opt/ml/input/data/code && {pip} install -r requirements.txt"
    account.sagemaker.create_training_job(**sdk_training(account, name, START.replace("command -v pip", install)))
    job = account.training_end(name)
    assert job["TrainingJobStatus"] == "Completed", job["FailureReason"]
    missing = f"{pip} install -q --upgrade 'scikit-learn==0.1' nowhere-to-be-found"
    request = sdk_training(account, f"{name}-missing", START.replace("command -v pip", missing))
    account.sagemaker.create_training_job(**request)
    job = account.training_end(f"{name}-missing")
    assert job["TrainingJobStatus"] == "Failed"
    assert "local_aws installs no packages" in job["FailureReason"]
    assert "lacks scikit-learn==0.1 (the environment has scikit-learn 1." in job["FailureReason"]
    assert "nowhere-to-be-found (the environment has no nowhere-to-be-found)" in job["FailureReason"]


def test_a_framework_processor_job_runs_its_start_script_in_the_sandbox(account):
    code, out = "/opt/ml/processing/input/code", "/opt/ml/processing/output"
    account.put("staged/proc/source/run.py", "import sys, pathlib; pathlib.Path(sys.argv[1], 'a.txt').write_text('x')")
    script = account.put("staged/proc/source/runproc.sh", f'cd {code}/\npython3 run.py "$@"\n')
    request = account.processing_request("sdk-proc", "") | {
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["/bin/bash", "/opt/ml/processing/input/entrypoint/runproc.sh"],
            "ContainerArguments": [out],
        },
        "ProcessingInputs": [
            s3_input("code", f"s3://{BUCKET}/staged/proc/source/", code),
            s3_input("entrypoint", script, "/opt/ml/processing/input/entrypoint"),
        ],
        "ProcessingOutputConfig": {"Outputs": [s3_output("out", f"s3://{BUCKET}/staged/proc/out/", out)]},
    }
    account.sagemaker.create_processing_job(**request)
    job = account.processing_end("sdk-proc")
    assert job["ProcessingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.s3.get_object(Bucket=BUCKET, Key="staged/proc/out/a.txt")["Body"].read() == b"x"
