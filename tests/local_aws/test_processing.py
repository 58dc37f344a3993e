"""Processing jobs run their command on their inputs."""

import json

import pytest
from local_account import BUCKET, Account, s3_input, s3_output, wait_for

pytestmark = pytest.mark.local_aws


def test_inputs_arguments_and_outputs_by_their_container_paths(account: Account) -> None:
    account.put("processing/in/a.csv", "1\n2\n")
    script = """
import sys, os
from pathlib import Path
source, target = Path(sys.argv[2]), Path(sys.argv[4])
(target / "deep").mkdir()
(target / "deep" / "sum.txt").write_text(str(sum(map(int, (source / "a.csv").read_text().split()))))
Path(os.environ["REPORT"]).write_text("done")
Path("/opt/ml/output".replace("/opt/ml", str(source.parents[2])), "message").write_text("all well")
"""
    request = account.processing_request("processing-complete", script)
    request["AppSpecification"]["ContainerArguments"] = [
        *("--in", "/opt/ml/processing/input/data"),
        *("--out", "/opt/ml/processing/output"),
    ]
    request["Environment"] = {"REPORT": "/opt/ml/processing/output/report.txt"}
    request["ProcessingInputs"].append(
        s3_input("data", f"s3://{BUCKET}/processing/in", "/opt/ml/processing/input/data")
    )
    request["ProcessingOutputConfig"] = {
        "Outputs": [s3_output("out", f"s3://{BUCKET}/processing/out", "/opt/ml/processing/output")]
    }
    account.sagemaker.create_processing_job(**request)
    job = account.processing_end("processing-complete")

    assert job["ProcessingJobStatus"] == "Completed", job
    assert job["ExitMessage"] == "all well"
    assert account.read(f"s3://{BUCKET}/processing/out/deep/sum.txt") == b"3"
    assert account.read(f"s3://{BUCKET}/processing/out/report.txt") == b"done"
    assert job["ProcessingEndTime"] >= job["ProcessingStartTime"] >= job["CreationTime"]


def test_a_failing_command_fails_the_job_and_keeps_its_outputs(account: Account) -> None:
    script = """
import pathlib, sys
out = pathlib.Path(__file__).parents[2] / "output"
(out / "partial.txt").write_text("partial")
print("cannot score", file=sys.stderr)
sys.exit(4)
"""
    outputs = {"Outputs": [s3_output("out", f"s3://{BUCKET}/processing/failed", "/opt/ml/processing/output")]}
    request = account.processing_request("processing-fails", script, ProcessingOutputConfig=outputs)
    account.sagemaker.create_processing_job(**request)
    job = account.processing_end("processing-fails")

    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: cannot score, exit code: 4"
    assert account.keys("processing/failed") == ["processing/failed/partial.txt"]


def test_stop_and_time_limit_end_with_stopped(account: Account) -> None:
    script = "import time\nprint('started', flush=True)\ntime.sleep(60)"
    limit = {"MaxRuntimeInSeconds": 1}
    account.sagemaker.create_processing_job(
        **account.processing_request("processing-limit", script, StoppingCondition=limit)
    )
    account.sagemaker.create_processing_job(**account.processing_request("processing-stop", script))
    log = account.data_dir / "jobs/processing-job/processing-stop/log.txt"
    wait_for(lambda: log.exists() and "started" in log.read_text())
    account.sagemaker.stop_processing_job(ProcessingJobName="processing-stop")

    assert account.processing_end("processing-stop")["ProcessingJobStatus"] == "Stopped"
    assert account.processing_end("processing-limit")["ProcessingJobStatus"] == "Stopped"


def test_paths_outside_of_the_container_are_refused(account: Account) -> None:
    for number, path in enumerate(("/etc/cron.d", "/opt/ml/../../etc")):
        name = f"processing-escape-{number}"
        request = account.processing_request(name, "")
        request["ProcessingInputs"].append(s3_input("evil", f"s3://{BUCKET}/code/{name}/", path))
        account.sagemaker.create_processing_job(**request)
        job = account.processing_end(name)
        assert job["ProcessingJobStatus"] == "Failed", json.dumps(job, default=str)
        assert "ClientError" in job["FailureReason"]
