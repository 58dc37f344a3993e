import json

import botocore.session
import pytest
from botocore.validate import ParamValidator

from local_aws.sagemaker.training_toolkit import decode_hyperparameters, script_arguments
from retraining.aws.naming import digest
from retraining.jobs import requests as job_requests
from retraining.settings.model_config import Canary

SESSION = botocore.session.get_session()
MANIFESTS = {
    split: f"s3://data-bucket/abalone/dataset/manifests/000002-{split}.json"
    for split in ("train", "validation", "test")
}


def validate(service: str, operation: str, request: dict) -> None:
    shape = SESSION.get_service_model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()


@pytest.fixture
def training(config, platform, plan):
    return job_requests.training_request(config, platform, plan, config.training.candidates[0], MANIFESTS)


def test_a_mapping_reaches_the_training_script_as_json(config, platform, plan):
    settings = {"algorithm": "svr_hgb", "params": {"svr_C": 3, "hgb_max_iter": 50}, "seed": 1}
    candidate = config.training.candidates[0].model_copy(update={"hyperparameters": settings})
    request = job_requests.training_request(config, platform, plan, candidate, MANIFESTS)
    arguments = script_arguments(decode_hyperparameters(request["HyperParameters"]))
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert (given["--algorithm"], given["--seed"]) == ("svr_hgb", "1")
    assert json.loads(given["--params"]) == settings["params"]


def test_the_training_request_is_complete_and_known_to_aws(training):
    validate("sagemaker", "CreateTrainingJob", {"TrainingJobName": "x", **training})
    assert training == {
        "AlgorithmSpecification": {
            "TrainingImage": "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3",
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "train:rmse", "Regex": "train:rmse=([0-9.]+);"},
                {"Name": "validation:rmse", "Regex": "validation:rmse=([0-9.]+);"},
            ],
        },
        "HyperParameters": {
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"s3://data-bucket/abalone/code/cccccccccccccccc/sourcedir.tar.gz"',
            "sagemaker_region": '"eu-west-1"',
            "columns": json.dumps(
                [
                    "rings",
                    "sex",
                    "length",
                    "diameter",
                    "height",
                    "whole_weight",
                    "shucked_weight",
                    "viscera_weight",
                    "shell_weight",
                ]
            ),
            "target": '"rings"',
            "group": '"sex"',
            "dataset-version": "2",
            "algorithm": '"svr_hgb"',
            "seed": "0",
        },
        "InputDataConfig": [
            {
                "ChannelName": split,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "ManifestFile",
                        "S3Uri": MANIFESTS[split],
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
                "ContentType": "text/csv",
            }
            for split in ("train", "validation")
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://data-bucket/abalone/models/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "RoleArn": "arn:aws:iam::123456789012:role/sagemaker",
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def test_nothing_of_the_run_is_in_the_training_request_so_that_another_run_finds_the_job(
    config, platform, plan, training
):
    other = plan.model_copy(update={"run_key": "v2-other", "work_digest": "x"})
    again = job_requests.training_request(config, platform, other, config.training.candidates[0], MANIFESTS)
    assert digest(again) == digest(training)


def test_other_hyperparameters_are_another_job(config, platform, plan, training):
    candidate = config.training.candidates[0].model_copy(
        update={"hyperparameters": {"algorithm": "svr_hgb", "seed": 1}}
    )
    other = job_requests.training_request(config, platform, plan, candidate, MANIFESTS)
    assert digest(other) != digest(training)


@pytest.mark.parametrize("champion", [None, "s3://data-bucket/abalone/models/old/output/model.tar.gz"])
def test_the_evaluation_request_scores_both_models_on_the_same_rows(config, platform, plan, champion):
    request = job_requests.evaluation_request(
        config, platform, plan, MANIFESTS["test"], "s3://data-bucket/new/model.tar.gz", champion
    )
    validate("sagemaker", "CreateProcessingJob", {"ProcessingJobName": "x", **request})
    inputs = {item["InputName"]: item["S3Input"]["S3Uri"] for item in request["ProcessingInputs"]}
    assert inputs == {
        "code": "s3://data-bucket/abalone/code/cccccccccccccccc/",
        "test": MANIFESTS["test"],
        "challenger": "s3://data-bucket/new/model.tar.gz",
        **({"champion": champion} if champion else {}),
    }
    arguments = request["AppSpecification"]["ContainerArguments"]
    assert ("--champion" in arguments) == bool(champion)
    assert (
        request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
        == "s3://data-bucket/abalone/runs/v2-0123456789ab/evaluation/"
    )


def test_the_glue_request_sizes_and_limits_the_run(config, platform, plan):
    request = job_requests.glue_job_request(config, platform, plan)
    validate("glue", "StartJobRun", request)
    assert request == {
        "JobName": "retraining-abalone-merge",
        "Arguments": {"--manifest": "s3://data-bucket/abalone/batches/bbbbbbbbbbbbbbbb/manifest.json"},
        "WorkerType": "G.1X",
        "NumberOfWorkers": 2,
        "Timeout": 60,
    }


def test_the_serving_requests_are_known_to_aws(config, platform):
    container = job_requests.serving_container(config, platform, "s3://data-bucket/new/model.tar.gz")
    validate(
        "sagemaker",
        "CreateModel",
        {"ModelName": "m", "PrimaryContainer": container, "ExecutionRoleArn": platform.sagemaker_role_arn},
    )
    request = job_requests.endpoint_config_request(config, platform, "m")
    validate("sagemaker", "CreateEndpointConfig", {"EndpointConfigName": "c", **request})
    assert request["DataCaptureConfig"]["InitialSamplingPercentage"] == 100
    validate("sagemaker", "UpdateEndpoint", job_requests.endpoint_request(config, "c"))


def test_no_capture_is_asked_for_at_zero_percent(config, platform):
    silent = config.model_copy(update={"deployment": config.deployment.model_copy(update={"data_capture_percent": 0})})
    assert "DataCaptureConfig" not in job_requests.endpoint_config_request(silent, platform, "m")


def test_a_canary_shifts_traffic_under_the_watch_of_alarms(config):
    canary = Canary(percent=20, wait_seconds=120, alarms=("errors",))
    guarded = config.model_copy(update={"deployment": config.deployment.model_copy(update={"canary": canary})})
    request = job_requests.endpoint_request(guarded, "c")
    validate("sagemaker", "UpdateEndpoint", request)
    assert request["DeploymentConfig"]["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "errors"}]}
    assert (
        request["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["CanarySize"]["Value"] == 20
    )


def test_a_canary_may_do_without_alarms(config):
    guarded = config.model_copy(update={"deployment": config.deployment.model_copy(update={"canary": Canary()})})
    request = job_requests.endpoint_request(guarded, "c")
    validate("sagemaker", "UpdateEndpoint", request)
    assert "AutoRollbackConfiguration" not in request["DeploymentConfig"]
