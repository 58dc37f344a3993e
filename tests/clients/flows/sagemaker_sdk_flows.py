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
from sagemaker.core.experiments.run import Run, load_run
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.processing import FrameworkProcessor
from sagemaker.core.remote_function import remote
from sagemaker.core.shapes import CheckpointConfig, OutputDataConfig, S3DataSource
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import TrainingStep
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
    count, data = options.pop("instances", 1), options.pop("data", str(FOLDER / "data"))
    trainer = ModelTrainer(
        sagemaker_session=session, role=ROLE, base_job_name=name, training_image=options.pop("image", IMAGE), source_code=code,
        compute=Compute(instance_type=MACHINE, instance_count=count), **options,
    )  # fmt: skip
    data = InputData(channel_name="train", data_source=data)
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


@piece
def hyperparameters_of_a_file():
    status, reason, job = train(
        "tuned", code={"entry_script": "told.py"}, hyperparameters=str(FOLDER / "source" / "hyperparameters.yaml")
    )
    return [status, reason, job.hyper_parameters["rate"]]


@piece
def two_instances_with_a_part_of_the_data_each():
    for name in "ab":
        s3.put_object(Bucket="sdk-flows", Key=f"parts/{name}.csv", Body=name.encode())
    data = S3DataSource(
        s3_data_type="S3Prefix", s3_uri="s3://sdk-flows/parts/", s3_data_distribution_type="ShardedByS3Key"
    )
    output = OutputDataConfig(s3_output_path="s3://sdk-flows/cluster", compression_type="NONE")
    status, reason, job = train(
        "cluster", code={"entry_script": "told.py"}, instances=2, data=data, training_input_mode="FastFile",
        output_data_config=output,
    )  # fmt: skip
    uri = job.model_artifacts.s3_model_artifacts.removeprefix("s3://sdk-flows/")
    found = {}
    for item in s3.list_objects_v2(Bucket="sdk-flows", Prefix=uri)["Contents"]:
        found[item["Key"].rpartition("/")[2]] = (
            s3.get_object(Bucket="sdk-flows", Key=item["Key"])["Body"].read().decode()
        )
    return [status, reason, found]


@piece
def xgboost_in_script_mode():
    image = IMAGE.partition("/")[0] + "/sagemaker-xgboost:3.0-5"
    status, reason, _ = train("boosted", code={"entry_script": "boost.py"}, image=image)
    return [status, reason]


@piece
def a_remote_function():
    @remote(
        sagemaker_session=session, role=ROLE, instance_type=MACHINE, s3_root_uri="s3://sdk-flows/remote",
        image_uri="885854791233.dkr.ecr.us-east-1.amazonaws.com/sagemaker-distribution-prod:3.2-cpu",
    )  # fmt: skip
    def divide(a, b=1):
        return a / b

    return divide(6, b=4)


@piece
def a_pipeline_of_a_trainer():
    trainer = ModelTrainer(
        sagemaker_session=PipelineSession(boto_session=boto3.Session(), default_bucket="sdk-flows"), role=ROLE,
        base_job_name="piped", training_image=IMAGE, compute=Compute(instance_type=MACHINE, instance_count=1),
        source_code=SourceCode(source_dir=str(FOLDER / "source"), entry_script="train.py"),
    )  # fmt: skip
    data = InputData(channel_name="train", data_source=str(FOLDER / "data"))
    step = TrainingStep(name="Train", step_args=trainer.train(input_data_config=[data]))
    pipeline = Pipeline(name="by-the-sdk", steps=[step], sagemaker_session=session)
    pipeline.upsert(role_arn=ROLE)
    pipeline.upsert(role_arn=ROLE, description="again")
    execution = pipeline.start()
    execution.wait(delay=1)
    return [execution.describe()["PipelineExecutionStatus"], [one["StepStatus"] for one in execution.list_steps()]]


@piece
def a_run_of_an_experiment():
    with Run(experiment_name="by-the-sdk", run_name="first", sagemaker_session=session) as run:
        run.log_parameter("rate", 0.5)
        for step, loss in enumerate((3.0, 1.0)):
            run.log_metric(name="loss", value=loss, step=step)
    with load_run(experiment_name="by-the-sdk", run_name="first", sagemaker_session=session) as run:
        run.log_parameter("depth", 3)
    components = boto3.client("sagemaker").list_trial_components(ExperimentName="by-the-sdk")
    [component] = components["TrialComponentSummaries"]
    described = boto3.client("sagemaker").describe_trial_component(TrialComponentName=component["TrialComponentName"])
    return [
        sorted(described["Parameters"]),
        [[metric["MetricName"], metric["Last"]] for metric in described["Metrics"]],
    ]


found = {}
for function in pieces:
    try:
        found[function.__name__] = function()
    except Exception:
        found[function.__name__] = traceback.format_exc()
sys.stdout.write("\n" + json.dumps(found) + "\n")
