"""Pipelines whose steps are jobs of this account: what they hand on to each other, which way they take, how they end."""

import json

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, IMAGE, ROLE, Account, channel, s3_output, wait_for

from local_aws.sagemaker.pipelines.definitions import holds, parameters, read, resolve, waits_for, walk
from local_aws.shared.errors import JobError, ServiceError

PREPARE = """
import json, pathlib, sys
out = pathlib.Path("/opt/ml/processing/output")
(out / "rows.csv").write_text("1,2")
(out / "evaluation.json").write_text(json.dumps({"metrics": {"error": {"value": float(sys.argv[1])}}}))
"""
TRAIN = """
import os, pathlib
rows = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "rows.csv").read_text()
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(rows + os.environ["SM_HP_RATE"])
"""


def definition(account: Account, name: str) -> dict:
    """Return a pipeline that prepares, trains, and registers the model if its error is small enough."""
    prepare = account.processing_request(
        name, PREPARE,
        ProcessingOutputConfig={"Outputs": [s3_output("rows", f"s3://{BUCKET}/pipelines/{name}/rows", "/opt/ml/processing/output")]},
    )  # fmt: skip
    prepare["AppSpecification"]["ContainerArguments"] = [{"Get": "Parameters.Error"}]
    rows = channel("train", "")
    rows["DataSource"]["S3DataSource"]["S3Uri"] = {
        "Get": "Steps.Prepare.ProcessingOutputConfig.Outputs['rows'].S3Output.S3Uri"
    }
    train = account.training_request(name, TRAIN, InputDataConfig=[rows])
    train["HyperParameters"]["rate"] = {"Get": "Parameters.Rate"}
    del prepare["ProcessingJobName"], train["TrainingJobName"]
    error = {"PropertyFile": {"Get": "Steps.Prepare.PropertyFiles.Evaluation"}, "Path": "metrics.error.value"}
    condition = {
        "Type": "LessThanOrEqualTo",
        "LeftValue": {"Std:JsonGet": error},
        "RightValue": {"Get": "Parameters.Limit"},
    }
    container = {"Image": IMAGE, "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}}
    specification = {"Containers": [container], "SupportedContentTypes": [], "SupportedResponseMIMETypes": []}
    register = {"ModelPackageGroupName": {"Get": "Execution.PipelineName"}, "InferenceSpecification": specification}
    message = {"Std:Join": {"On": " ", "Values": ["error above", {"Get": "Parameters.Limit"}]}}
    files = [{"PropertyFileName": "Evaluation", "OutputName": "rows", "FilePath": "evaluation.json"}]
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            {"Name": "Error", "Type": "String", "DefaultValue": "1.5"},
            {"Name": "Limit", "Type": "Float", "DefaultValue": 2.0},
            {"Name": "Rate", "Type": "Float", "DefaultValue": 0.5},
        ],
        "Steps": [
            {"Name": "Prepare", "Type": "Processing", "Arguments": prepare, "PropertyFiles": files},
            {"Name": "Train", "Type": "Training", "Arguments": train},
            {
                "Name": "Good",
                "Type": "Condition",
                "Arguments": {
                    "Conditions": [condition],
                    "IfSteps": [{"Name": "Register", "Type": "RegisterModel", "Arguments": register}],
                    "ElseSteps": [{"Name": "Refuse", "Type": "Fail", "Arguments": {"ErrorMessage": message}}],
                },
                "DependsOn": ["Train"],
            },
        ],
    }


def create(account: Account, name: str, document: dict) -> None:
    account.sagemaker.create_pipeline(
        PipelineName=name, PipelineDefinition=json.dumps(document), RoleArn=ROLE, ClientRequestToken=name.ljust(32, "x")
    )


def end(account: Account, arn: str) -> tuple[str, dict[str, dict]]:
    def ended() -> str | None:
        status = account.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
        return None if status in ("Executing", "Stopping") else status

    status = wait_for(ended, timeout=120)
    steps = account.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
    return status, {step["StepName"]: step for step in steps["PipelineExecutionSteps"]}


@pytest.mark.local_aws
def test_steps_hand_on_what_they_made_and_a_condition_chooses_the_way(account: Account) -> None:
    account.sagemaker.create_model_package_group(ModelPackageGroupName="Piped")
    create(account, "Piped", definition(account, "piped"))
    start = account.sagemaker.start_pipeline_execution
    arn = start(PipelineName="Piped", ClientRequestToken="first".ljust(32, "x"))["PipelineExecutionArn"]
    assert start(PipelineName="Piped", ClientRequestToken="first".ljust(32, "x"))["PipelineExecutionArn"] == arn
    status, steps = end(account, arn)
    assert status == "Succeeded", steps
    assert list(steps) == ["Prepare", "Train", "Good", "Register"]
    assert steps["Good"]["Metadata"]["Condition"]["Outcome"] == "True"
    listed = account.sagemaker.list_training_jobs(NameContains="pipelines-")["TrainingJobSummaries"]
    by_arn = {job["TrainingJobArn"]: job["TrainingJobName"] for job in listed}
    job = by_arn[steps["Train"]["Metadata"]["TrainingJob"]["Arn"]]
    trained = account.sagemaker.describe_training_job(TrainingJobName=job)
    assert trained["HyperParameters"]["rate"] == "0.5"
    package = account.sagemaker.describe_model_package(
        ModelPackageName=steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    )
    [container] = package["InferenceSpecification"]["Containers"]
    assert container["ModelDataUrl"] == trained["ModelArtifacts"]["S3ModelArtifacts"]

    arn = start(
        PipelineName="Piped",
        PipelineParameters=[{"Name": "Error", "Value": "9"}],
        ClientRequestToken="second".ljust(32, "x"),
    )["PipelineExecutionArn"]
    status, steps = end(account, arn)
    assert (status, steps["Refuse"]["FailureReason"]) == ("Failed", "error above 2.0")
    listed = account.sagemaker.list_pipeline_executions(PipelineName="Piped")["PipelineExecutionSummaries"]
    assert [run["PipelineExecutionStatus"] for run in listed] == ["Failed", "Succeeded"]
    account.sagemaker.delete_pipeline(PipelineName="Piped", ClientRequestToken="x" * 32)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        account.sagemaker.describe_pipeline(PipelineName="Piped")


@pytest.mark.local_aws
def test_a_step_that_fails_ends_the_execution_and_a_stop_stops_the_job(account: Account) -> None:
    document = definition(account, "broken")
    document["Steps"][0]["Arguments"]["AppSpecification"]["ContainerArguments"] = ["no number"]
    create(account, "broken", document)
    arn = account.sagemaker.start_pipeline_execution(PipelineName="broken", ClientRequestToken="x" * 32)
    status, steps = end(account, arn["PipelineExecutionArn"])
    assert (status, list(steps)) == ("Failed", ["Prepare"])
    assert "could not convert string to float" in steps["Prepare"]["FailureReason"]

    arguments = account.training_request("piped-sleeps", "import time; time.sleep(60)")
    create(account, "sleeps", {"Steps": [{"Name": "Sleep", "Type": "Training", "Arguments": arguments}]})
    started = account.sagemaker.start_pipeline_execution(PipelineName="sleeps", ClientRequestToken="y" * 32)
    arn = started["PipelineExecutionArn"]
    wait_for(lambda: account.sagemaker.list_training_jobs(NameContains="piped-sleeps")["TrainingJobSummaries"])
    account.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="z" * 32)
    status, steps = end(account, arn)
    assert (status, steps["Sleep"]["StepStatus"]) == ("Stopped", "Stopped")


def step(name: str, **more: object) -> dict:
    return {"Name": name, "Type": "Fail", "Arguments": {}, **more}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("no json", "Unable to parse"),
        ({}, "Unable to parse"),
        ({"Steps": [step("a"), step("a")]}, "unique"),
        ({"Steps": [step("a", Type="Lambda")]}, "type Lambda is not available"),
        ({"Steps": [step("a", DependsOn=["b"])]}, "unknown steps: b"),
        ({"Steps": [step("a", Arguments={"x": [{"Get": "Steps.c.y"}]})]}, "unknown steps: c"),
        ({"Steps": [step("a", CacheConfig={"Enabled": True, "ExpireAfter": "P1D"})]}, "CacheConfig"),
    ],
)
def test_a_definition_that_cannot_be_run_is_refused(document: object, words: str) -> None:
    with pytest.raises(ServiceError, match=words):
        read(document if isinstance(document, str) else json.dumps(document))


def test_references_name_what_a_step_waits_for() -> None:
    inner = step("inner", Arguments={"x": {"Get": "Steps.late.Arn"}})
    condition = {"Type": "Equals", "LeftValue": {"Get": "Steps.first['x']"}, "RightValue": 1}
    choose = {
        "Name": "c",
        "Type": "Condition",
        "DependsOn": ["d"],
        "Arguments": {"Conditions": [condition], "IfSteps": [inner]},
    }
    assert waits_for(choose) == {"first", "d"}
    assert waits_for(inner) == {"late"}


def test_values_are_found_joined_and_compared() -> None:
    value = {"Outputs": [{"OutputName": "a", "Uri": 1}, {"OutputName": "b", "Uri": [5, 6]}]}
    assert walk(value, "Outputs['b'].Uri[1]") == 6
    with pytest.raises(JobError, match="nothing at Outputs"):
        walk(value, "Outputs['c'].Uri")
    joined = {"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "x"}, 3]}}
    assert resolve([joined, {"a": {"Get": "x"}}], lambda path: path.upper(), lambda *_: None) == [
        "s3://X/3",
        {"a": "X"},
    ]
    never = {"Type": "In", "QueryValue": 1, "Values": [2]}
    smaller = {"Type": "Not", "Condition": {"Type": "GreaterThan", "LeftValue": 1, "RightValue": 2}}
    assert holds({"Type": "Or", "Conditions": [never, smaller]})
    assert not holds({"Type": "Or", "Conditions": [never]})
    with pytest.raises(JobError, match="Near is not available"):
        holds({"Type": "Near", "LeftValue": 1, "RightValue": 1})


def test_parameters_have_their_types() -> None:
    document = {
        "Parameters": [{"Name": "n", "Type": "Integer", "DefaultValue": 1}, {"Name": "b", "Type": "Boolean"},
                       {"Name": "s", "Type": "String", "DefaultValue": "x", "EnumValues": ["x", "y"]}]
    }  # fmt: skip
    given = [{"Name": "b", "Value": "True"}, {"Name": "n", "Value": "7"}]
    assert parameters(document, given) == {"n": 7, "b": True, "s": "x"}
    for wrong, words in (
        ([], "b has no value"),
        ([*given, {"Name": "z", "Value": "1"}], "not defined: z"),
        ([given[0], {"Name": "n", "Value": "one"}], "'one' is no Integer"),
        ([*given, {"Name": "s", "Value": "q"}], "one of x, y"),
    ):
        with pytest.raises(ServiceError, match=words):
            parameters(document, wrong)
