"""A killed local_aws comes back with its state, and tells the truth about what was under way."""

import io
import json
import signal
import zipfile
from pathlib import Path
from typing import Any

import pytest
from local_account import BUCKET, IMAGE, ROLE, TIMES, Account, wait_for

pytestmark = pytest.mark.local_aws

TEMPLATE = {
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "stack-queue"}},
        "Job": {
            "Type": "AWS::Glue::Job",
            "Properties": {
                "Name": "stack-job",
                "Role": ROLE,
                "Command": {"Name": "glueetl", "ScriptLocation": f"s3://{BUCKET}/job.py"},
                "ExecutionProperty": {"MaxConcurrentRuns": 3},
            },
        },
    }
}

SLEEP = "import time, os\nprint('pid', os.getpid(), flush=True)\ntime.sleep(300)"


def pid_in(log: Path) -> int:
    text = wait_for(lambda: log.exists() and "pid" in log.read_text() and log.read_text())
    return int(text.split("pid")[1].split()[0])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def with_function(account: Account) -> Any:
    """Create the function `echo`; return the client of Lambda."""
    functions = account.__getattr__("lambda")
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as file:
        file.writestr(
            "handler.py", "import os\ndef handler(event, context):\n    return [event, 'PARENT_SECRET' in os.environ]"
        )
    functions.create_function(
        FunctionName="echo",
        Runtime="python3.12",
        Role=ROLE,
        Handler="handler.handler",
        Code={"ZipFile": code.getvalue()},
    )
    return functions


def test_a_kill_loses_no_definition_and_ends_all_jobs_as_failed(own_account: Account) -> None:
    account = own_account
    # What MiniStack keeps.
    account.ssm.put_parameter(Name="/a/b", Value="kept", Type="String")
    queue = account.sqs.create_queue(QueueName="events")["QueueUrl"]
    queue_arn = account.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    account.s3.put_bucket_notification_configuration(
        Bucket=BUCKET,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": queue_arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    functions = with_function(account)
    account.cloudformation.create_stack(StackName="stack", TemplateBody=json.dumps(TEMPLATE))
    account.cloudformation.get_waiter("stack_create_complete").wait(StackName="stack", WaiterConfig={"Delay": 1})
    # What this package keeps.
    account.sagemaker.create_model_package_group(ModelPackageGroupName="group")
    account.model("served", TIMES.format(factor=4))
    account.sagemaker.create_endpoint(EndpointName="served", EndpointConfigName="served")
    account.endpoint_settled("served")
    assert account.invoke("served", "1") == "4.0"
    # What is under way.
    account.sagemaker.create_training_job(**account.training_request("running", SLEEP))
    account.sagemaker.create_processing_job(**account.processing_request("running", SLEEP))
    location = account.put("job.py", SLEEP)
    assert account.glue.get_job(JobName="stack-job")["Job"]["ExecutionProperty"] == {"MaxConcurrentRuns": 3}
    run_id = account.glue.start_job_run(JobName="stack-job")["JobRunId"]
    assert location.endswith("job.py")
    jobs = account.data_dir / "jobs"
    pids = [
        pid_in(jobs / "training-job/running/log.txt"),
        pid_in(jobs / "processing-job/running/log.txt"),
        pid_in(jobs / "glue/stack-job" / run_id / "output.txt"),
    ]
    state = account.data_dir / "state"
    wait_for(lambda: "kept" in (state / "ssm.json").read_text() and "stack-job" in (state / "glue.json").read_text())
    wait_for(lambda: (state / "cloudformation.json").exists() and (state / "lambda.json").exists())

    account.stop(signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, pids)))
    account.start()

    reason = "local_aws stopped while the job was running"
    job = account.sagemaker.describe_training_job(TrainingJobName="running")
    assert job["TrainingJobStatus"] == "Failed" and reason in job["FailureReason"]
    job = account.sagemaker.describe_processing_job(ProcessingJobName="running")
    assert job["ProcessingJobStatus"] == "Failed" and reason in job["FailureReason"]
    run = account.glue.get_job_run(JobName="stack-job", RunId=run_id)["JobRun"]
    assert run["JobRunState"] == "FAILED" and reason in run["ErrorMessage"]
    assert account.invoke("served", "1") == "4.0"
    assert account.sagemaker.describe_model_package_group(ModelPackageGroupName="group")

    assert account.ssm.get_parameter(Name="/a/b")["Parameter"]["Value"] == "kept"
    assert account.cloudformation.describe_stacks(StackName="stack")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    assert account.glue.get_job(JobName="stack-job")["Job"]["ExecutionProperty"] == {"MaxConcurrentRuns": 3}
    answer = functions.invoke(FunctionName="echo", Payload=b'"ping"')
    assert json.loads(answer["Payload"].read()) == ["ping", False]
    account.put("after/restart.csv", "1")
    received = account.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5, MaxNumberOfMessages=10)["Messages"]
    assert any("after/restart.csv" in message["Body"] for message in received)
    # The work that was lost can be done again under a new name; the old name stays taken.
    again = account.train("running-again", "")
    assert again["TrainingJobStatus"] == "Completed"


WAITS_FOR_FLAG = """
import os, time
def model_fn(model_dir):
    while not os.path.exists(os.environ["FLAG"]):
        time.sleep(0.02)
    return 7
def input_fn(body, content_type):
    return float(body)
def predict_fn(data, model):
    return data * model
def output_fn(prediction, accept):
    return str(prediction)
"""


def test_an_interrupted_update_is_taken_up_again_while_the_old_model_serves(own_account: Account) -> None:
    account = own_account
    account.model("old", TIMES.format(factor=2))
    account.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="old")
    account.endpoint_settled("e")
    account.model("new", WAITS_FOR_FLAG, FLAG="/tmp/flag")
    account.sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="new")
    endpoint_folder = account.data_dir / "jobs/endpoint/e"
    wait_for(lambda: len(list(endpoint_folder.glob("container-*"))) == 2)
    left = set(endpoint_folder.glob("container-*"))

    account.stop(signal.SIGKILL)
    account.start()

    assert account.invoke("e", "1") == "2.0"
    assert account.sagemaker.describe_endpoint(EndpointName="e")["EndpointStatus"] == "Updating"
    assert not left & set(endpoint_folder.glob("container-*"))
    temporary = wait_for(lambda: len(found := list(endpoint_folder.glob("container-*/**/tmp"))) == 2 and found)
    for folder in temporary:
        (folder / "flag").touch()
    endpoint = account.endpoint_settled("e")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "new")
    assert account.invoke("e", "1") == "7.0"


def test_a_graceful_stop_ends_jobs_and_the_process(own_account: Account) -> None:
    account = own_account
    account.sagemaker.create_training_job(**account.training_request("running", SLEEP))
    pid = pid_in(account.data_dir / "jobs/training-job/running/log.txt")

    assert account.stop(signal.SIGTERM) == 0
    wait_for(lambda: not is_alive(pid))
    account.start()
    job = account.sagemaker.describe_training_job(TrainingJobName="running")
    assert job["TrainingJobStatus"] == "Failed"
    assert "local_aws stopped" in job["FailureReason"]
    assert IMAGE in job["AlgorithmSpecification"]["TrainingImage"]


def test_a_stopped_account_leaves_nothing_of_its_functions(own_account: Account, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    own_account.stop()
    own_account.start(TMPDIR=str(temporary))
    answer = with_function(own_account).invoke(FunctionName="echo", Payload=b'"ping"')
    assert json.loads(answer["Payload"].read()) == ["ping", False]
    assert list(temporary.glob("*echo*"))
    assert own_account.stop() == 0
    assert list(temporary.iterdir()) == []
