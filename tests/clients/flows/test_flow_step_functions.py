"""Step Functions whose tasks start jobs of this account and wait for them."""

import itertools
import json
import time
from types import SimpleNamespace

import pytest
from airflow.providers.amazon.aws.operators.step_function import (
    StepFunctionGetExecutionOutputOperator,
    StepFunctionStartExecutionOperator,
)
from airflow.providers.amazon.aws.sensors.step_function import StepFunctionExecutionSensor
from local_account import BUCKET, ROLE, Account, wait_for

pytestmark = pytest.mark.local_aws

SCRIPT = "import sys; print('RAN', sys.argv); sys.exit(1) if '--fail' in sys.argv else None"


def machine(account: Account, name: str, **states: dict) -> str:
    """Make a state machine of the states in their order; return its ARN."""
    names = list(states)
    for state, following in itertools.pairwise(names):
        states[state].setdefault("Next", following)
    if states[names[-1]]["Type"] == "Task":
        states[names[-1]]["End"] = True
    definition = {"StartAt": names[0], "States": states}
    made = account.stepfunctions.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)
    return made["stateMachineArn"]


def task(resource: str, parameters: dict, **more: object) -> dict:
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, **more}


def end(account: Account, arn: str, given: object = None) -> dict:
    started = account.stepfunctions.start_execution(stateMachineArn=arn, input=json.dumps(given or {}))

    def ended() -> dict | None:
        execution = account.stepfunctions.describe_execution(executionArn=started["executionArn"])
        return execution if execution["status"] != "RUNNING" else None

    return wait_for(ended, timeout=120)


@pytest.fixture(scope="module")
def glue_job(account: Account) -> str:
    location = account.put("scripts/stated.py", SCRIPT)
    command = {"Name": "pythonshell", "ScriptLocation": location, "PythonVersion": "3.9"}
    account.glue.create_job(Name="stated", Role=ROLE, Command=command)
    return "stated"


def test_a_merge_a_training_and_a_model_follow_each_other(account: Account, glue_job: str) -> None:
    script = "import os; open(os.environ['SM_MODEL_DIR'] + '/m', 'w').write(os.environ['SM_HP_RATE'])"
    training = account.training_request("placeholder", script)
    del training["TrainingJobName"]
    training["HyperParameters"]["rate.$"] = "$.rate"
    container = {"Image": training["AlgorithmSpecification"]["TrainingImage"]}
    container["ModelDataUrl.$"] = "$.trained.ModelArtifacts.S3ModelArtifacts"
    arn = machine(
        account, "retrain",
        merge=task("glue:startJobRun.sync", {"JobName": glue_job, "Arguments": {"--rows": "1"}}, ResultPath="$.merged"),
        train=task("sagemaker:createTrainingJob.sync", training | {"TrainingJobName.$": "$.name"}, ResultPath="$.trained"),
        model=task("sagemaker:createModel", {"ModelName.$": "$.name", "ExecutionRoleArn": ROLE, "PrimaryContainer": container},
                   ResultPath="$.model"),
        look=task("aws-sdk:sagemaker:describeModel", {"ModelName.$": "$.name"}, ResultPath="$.seen"),
    )  # fmt: skip
    execution = end(account, arn, {"name": "stated-training", "rate": "0.5"})
    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    output = json.loads(execution["output"])
    assert output["merged"]["JobRunState"] == "SUCCEEDED"
    assert output["merged"]["StartedOn"] > time.time() * 1000 - 600_000
    assert output["trained"]["TrainingJobStatus"] == "Completed"
    assert output["seen"]["PrimaryContainer"]["ModelDataUrl"].endswith("stated-training/output/model.tar.gz")
    assert account.sagemaker.describe_model(ModelName="stated-training")["ModelArn"] == output["model"]["ModelArn"]


def test_a_job_that_fails_is_caught_with_its_description(account: Account, glue_job: str) -> None:
    caught = [{"ErrorEquals": ["States.TaskFailed"], "ResultPath": "$.why", "Next": "told"}]
    arn = machine(
        account, "caught",
        merge=task("glue:startJobRun.sync", {"JobName": glue_job, "Arguments": {"--fail": "yes"}}, Catch=caught),
        told={"Type": "Pass", "End": True},
    )  # fmt: skip
    execution = end(account, arn)
    assert execution["status"] == "SUCCEEDED", execution
    assert json.loads(json.loads(execution["output"])["why"]["Cause"])["JobRunState"] == "FAILED"


def test_what_a_service_refuses_has_the_name_of_its_error(account: Account) -> None:
    missing = end(account, machine(account, "missing", run=task("glue:startJobRun.sync", {"JobName": "no-such-job"})))
    assert (missing["status"], missing["error"]) == ("FAILED", "Glue.EntityNotFoundException")
    model = {"ModelName": "x", "ExecutionRoleArn": ROLE}
    refused = end(account, machine(account, "refused", run=task("sagemaker:createModel", model)))
    assert refused["error"] == "SageMaker.AmazonSageMakerException"
    assert "PrimaryContainer" in refused["cause"]


@pytest.mark.parametrize(
    "resource",
    [
        "glue:startCrawler",
        "sagemaker:createTrainingJob.waitForTaskToken",
        "sagemaker:createModel.sync",
        "ecs:runTask.sync",
        "batch:submitJob.sync",
        "aws-sdk:redshiftdata:executeStatement",
    ],
)
def test_an_integration_that_is_not_there_fails_with_words(account: Account, resource: str) -> None:
    name = resource.replace(":", "-").replace(".", "-")
    execution = end(account, machine(account, name, run=task(resource, {"Name": "x"})))
    assert (execution["status"], execution["error"]) == ("FAILED", "States.Runtime")
    assert resource.partition(".")[0] in execution["cause"], execution


def test_a_stopped_execution_and_one_that_is_late_stop_their_jobs(account: Account) -> None:
    sleeping = account.training_request("stated-sleeps", "import time; time.sleep(60)")
    late = account.training_request("stated-late", "import time; time.sleep(60)")
    arn = machine(account, "sleeps", run=task("sagemaker:createTrainingJob.sync", sleeping))
    started = account.stepfunctions.start_execution(stateMachineArn=arn)["executionArn"]
    wait_for(lambda: account.sagemaker.list_training_jobs(NameContains="stated-sleeps")["TrainingJobSummaries"])
    account.stepfunctions.stop_execution(executionArn=started)
    assert account.training_end("stated-sleeps")["TrainingJobStatus"] == "Stopped"
    arn = machine(account, "late", run=task("sagemaker:createTrainingJob.sync", late, TimeoutSeconds=2))
    assert end(account, arn)["error"] == "States.Timeout"
    assert account.training_end("stated-late")["TrainingJobStatus"] == "Stopped"


@pytest.mark.usefixtures("environment")
def test_the_operator_starts_and_the_sensor_waits(account: Account, glue_job: str) -> None:
    arn = machine(account, "operated", run=task("glue:startJobRun.sync", {"JobName": glue_job}))
    start = StepFunctionStartExecutionOperator(task_id="start", state_machine_arn=arn, aws_conn_id=None)
    execution = start.execute({"ti": None, "task": start})
    sensor = StepFunctionExecutionSensor(task_id="wait", execution_arn=execution, aws_conn_id=None)
    pushed: dict[str, object] = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    wait_for(lambda: sensor.poke({"ti": ti, "task": sensor}))
    assert pushed["output"]["JobRunState"] == "SUCCEEDED"
    get = StepFunctionGetExecutionOutputOperator(task_id="get", execution_arn=execution, aws_conn_id=None)
    assert get.execute({})["JobRunState"] == "SUCCEEDED"


def test_a_query_is_a_task(account: Account) -> None:
    parameters = {"QueryString": "select 1 as n", "ResultConfiguration": {"OutputLocation": f"s3://{BUCKET}/stated/"}}
    execution = end(account, machine(account, "asks", ask=task("athena:startQueryExecution.sync", parameters)))
    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    location = json.loads(execution["output"])["QueryExecution"]["ResultConfiguration"]["OutputLocation"]
    assert account.read(location) == b'"n"\n"1"\n'
