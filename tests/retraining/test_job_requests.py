import json

import botocore.session
import pytest
from botocore.validate import ParamValidator

from retraining.aws.naming import digest
from retraining.inside.job_file import as_job
from retraining.jobs import code_bundle
from retraining.jobs import requests as job_requests
from retraining.jobs.plan import Champion
from retraining.sdk.context import training_context
from retraining.serving import batch, monitoring, smoke_job
from retraining.serving.batch import Scorer
from retraining.settings.machines.deployment import Canary, Deployment
from retraining.settings.model_config import ModelConfig
from retraining.settings.training.candidate import Candidate

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


HOSTILE = {"sagemaker_program": "other.py", "columns": "[]", "path": "$(touch /tmp/x); `id` 'a\"b", "text": "x" * 5000}


def test_hyperparameters_travel_in_the_job_file_and_reach_no_argument(config, platform, plan, training):
    candidate = config.training.candidates[0].model_copy(update={"hyperparameters": HOSTILE})
    request = job_requests.training_request(config, platform, plan, candidate, MANIFESTS)
    assert request["HyperParameters"] == training["HyperParameters"]
    document = json.loads(code_bundle.document_bytes(code_bundle.training_document(config, plan, candidate)))
    assert document["hyperparameters"] == HOSTILE
    job = as_job(document)
    assert (job.program, job.hyperparameters, job.seed) == ("train.py", HOSTILE, 0)


def wide(config, columns: int):
    names = [f"measurement_number_{number:03d}" for number in range(columns)]
    contract = {"columns": [{"name": name, "type": "double"} for name in names], "target": names[0]}
    settings = config.model_dump(mode="json") | {"contract": contract, "present": None}
    return ModelConfig.model_validate(settings | {"evaluation": settings["evaluation"] | {"group": None}})


def test_no_number_of_columns_is_too_large_for_a_request(config, platform, plan):
    few, many = (wide(config, columns) for columns in (2, 5000))
    requests = []
    for changed in (few, many):
        candidate = changed.training.candidates[0]
        training = job_requests.training_request(changed, platform, plan, candidate, MANIFESTS)
        evaluation = job_requests.evaluation_request(changed, platform, plan, MANIFESTS["test"], "s3://b/m", "s3://b/c")
        validate("sagemaker", "CreateTrainingJob", {"TrainingJobName": "x", **training})
        validate("sagemaker", "CreateProcessingJob", {"ProcessingJobName": "x", **evaluation})
        requests.append((len(json.dumps(training)), len(json.dumps(evaluation))))
    assert requests[0] == requests[1]


@pytest.mark.parametrize(
    ("given", "image"),
    [
        ({"trainer": "linear"}, "sagemaker-scikit-learn:1.9-0-cpu-py3"),
        ({"trainer": "xgboost"}, "sagemaker-xgboost:3.2-0"),
        ({"trainer": "keras_mlp"}, "tensorflow-training:2.19-cpu-py312"),
        ({"trainer": "xgboost", "image": "1.dkr.ecr.eu-west-1.amazonaws.com/ours:7"}, "ours:7"),
    ],
)
def test_a_candidate_trains_in_its_trainers_image_unless_it_names_one(config, platform, plan, given, image):
    candidate = Candidate(name="c", **given)
    request = job_requests.training_request(config, platform, plan, candidate, MANIFESTS)
    assert request["AlgorithmSpecification"]["TrainingImage"].rpartition("/")[2] == image
    assert training_context(config, platform, plan, candidate, MANIFESTS).image.rpartition("/")[2] == image
    evaluation = job_requests.evaluation_request(config, platform, plan, MANIFESTS["test"], "s3://b/m", None)
    assert "sagemaker-scikit-learn" in evaluation["AppSpecification"]["ImageUri"]


def test_the_training_request_is_complete_and_known_to_aws(config, plan, training):
    document = code_bundle.training_document(config, plan, config.training.candidates[0])
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
            "sagemaker_program": '"job.py"',
            "sagemaker_submit_directory": '"s3://data-bucket/abalone/code/cccccccccccccccc/sourcedir.tar.gz"',
            "sagemaker_region": '"eu-west-1"',
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
        ]
        + [
            {
                "ChannelName": "job",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"s3://data-bucket/abalone/code/jobs/{digest(document)}/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://data-bucket/abalone/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "RoleArn": "arn:aws:iam::123456789012:role/train",
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
        "job": code_bundle.document_uri("data-bucket", plan, code_bundle.evaluation_document(config, plan)),
        "test": MANIFESTS["test"],
        "challenger": "s3://data-bucket/new/model.tar.gz",
        **({"champion": champion} if champion else {}),
    }
    assert request["AppSpecification"] == {
        "ImageUri": "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3",
        "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/job.py"],
        "ContainerArguments": ["--inputs", "/opt/ml/processing/input", "--output", "/opt/ml/processing/output"],
    }
    assert (
        request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
        == "s3://data-bucket/abalone/runs/v2-0123456789ab/evaluation"
    )


OLD_IMAGE = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.4-2"


def test_a_champion_that_serves_in_another_image_is_scored_there(config, platform, plan):
    champion = Champion(package_arn="arn", model_data="s3://data-bucket/old/model.tar.gz", image=OLD_IMAGE)
    assert job_requests.scored_apart(config, platform, champion)
    digests = {"champion": "f" * 64}
    request = job_requests.champion_request(config, platform, plan, MANIFESTS["test"], champion, digests)
    validate("sagemaker", "CreateProcessingJob", {"ProcessingJobName": "x", **request})
    document = code_bundle.champion_document(config, plan, digests)
    assert (document["step"], document["artifacts"]) == ("champion", digests)
    inputs = {item["InputName"]: item["S3Input"]["S3Uri"] for item in request["ProcessingInputs"]}
    assert inputs == {
        "code": "s3://data-bucket/abalone/code/cccccccccccccccc/",
        "job": code_bundle.document_uri("data-bucket", plan, document),
        "test": MANIFESTS["test"],
        "champion": champion.model_data,
    }
    both = job_requests.evaluation_request(config, platform, plan, MANIFESTS["test"], "s3://c", champion.model_data)
    [output] = request["ProcessingOutputConfig"]["Outputs"]
    assert output["S3Output"]["S3Uri"] == "s3://data-bucket/abalone/runs/v2-0123456789ab/champion"
    assert request["AppSpecification"] == {**both["AppSpecification"], "ImageUri": OLD_IMAGE}
    for same in ("ProcessingResources", "NetworkConfig", "RoleArn", "StoppingCondition"):
        assert request[same] == both[same]


def test_one_job_scores_both_where_images_are_the_same_or_the_evaluation_is_the_model_folder_s_own(config, platform):
    champion = Champion(package_arn="arn", model_data="s3://b/old/model.tar.gz", image=OLD_IMAGE)
    now = job_requests.serving_container(config, platform, champion.model_data)["Image"]
    for other in (None, champion.model_copy(update={"image": now}), champion.model_copy(update={"image": ""})):
        assert not job_requests.scored_apart(config, platform, other)
    own = config.evaluation.model_copy(update={"script": "mine.py"})
    sdk = config.steps.model_copy(update={"evaluation": "sdk"})
    for changed in ({"evaluation": own}, {"steps": sdk}):
        assert not job_requests.scored_apart(config.model_copy(update=changed), platform, champion)


def test_the_glue_request_sizes_and_limits_the_run(config, platform, plan):
    request = job_requests.glue_job_request(config, platform, plan)
    validate("glue", "StartJobRun", request)
    assert request == {
        "JobName": "retraining-dev-abalone-merge",
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
        {"ModelName": "m", "PrimaryContainer": container, "ExecutionRoleArn": platform.serve_role_arn},
    )
    request = job_requests.endpoint_config_request(config, platform, "m")
    validate("sagemaker", "CreateEndpointConfig", {"EndpointConfigName": "c", **request})
    assert request["DataCaptureConfig"]["InitialSamplingPercentage"] == 100
    validate("sagemaker", "UpdateEndpoint", job_requests.endpoint_request(config, "c"))


def test_a_model_without_an_endpoint_is_tried_where_files_are_scored(config, platform):
    places = {"code": "s3://b/code/", "job": "s3://b/job/", "output": "s3://b/runs/v1/smoke/"}
    container = {"Image": "i", "ModelDataUrl": "s3://b/m.tar.gz"}
    request = smoke_job.smoke_request(config, platform, container, places)
    validate("sagemaker", "CreateProcessingJob", {"ProcessingJobName": "p", **request})
    inputs = {item["InputName"]: item["S3Input"]["S3Uri"] for item in request["ProcessingInputs"]}
    assert inputs == {"code": "s3://b/code/", "job": "s3://b/job/", "model": "s3://b/m.tar.gz"}
    [output] = request["ProcessingOutputConfig"]["Outputs"]
    assert output["S3Output"]["S3Uri"] == "s3://b/runs/v1/smoke"
    assert request["AppSpecification"]["ImageUri"] == "i"
    assert request["ProcessingResources"]["ClusterConfig"]["InstanceType"] == config.batch.instance_type


@pytest.mark.parametrize("provisioned", [None, 2])
def test_a_serverless_endpoint_asks_for_memory_and_concurrency_and_for_no_machine(config, platform, provisioned):
    capacity = {"memory_mb": 3072, "max_concurrency": 7, "provisioned_concurrency": provisioned}
    deployment = Deployment(mode="serverless", endpoint="e", image=config.deployment.image, serverless=capacity)
    asked = config.model_copy(update={"deployment": deployment})
    request = job_requests.endpoint_config_request(asked, platform, "m")
    validate("sagemaker", "CreateEndpointConfig", {"EndpointConfigName": "c", **request})
    serverless = {"MemorySizeInMB": 3072, "MaxConcurrency": 7} | (
        {"ProvisionedConcurrency": provisioned} if provisioned else {}
    )
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": "m",
        "InitialVariantWeight": 1.0,
        "ServerlessConfig": serverless,
    }
    assert request == {"ProductionVariants": [variant]}
    validate("sagemaker", "UpdateEndpoint", job_requests.endpoint_request(asked, "c"))


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


@pytest.mark.parametrize(
    ("canary", "alarms"),
    [
        (
            Canary(),
            [
                "retraining-dev-abalone-server-errors",
                "retraining-dev-abalone-latency",
                "retraining-dev-abalone-model-errors",
            ],
        ),
        (Canary(alarms=()), None),
    ],
    ids=["those of the platform", "none"],
)
def test_a_canary_without_names_has_the_alarms_of_the_platform_and_may_do_without(config, canary, alarms):
    guarded = config.model_copy(update={"deployment": config.deployment.model_copy(update={"canary": canary})})
    request = job_requests.endpoint_request(guarded, "c")
    validate("sagemaker", "UpdateEndpoint", request)
    asked = request["DeploymentConfig"].get("AutoRollbackConfiguration")
    assert asked == (alarms and {"Alarms": [{"AlarmName": name} for name in alarms]})


def test_a_list_of_objects_is_an_input_of_another_kind_than_a_prefix(config, platform, plan):
    evaluation = job_requests.evaluation_request(config, platform, plan, MANIFESTS["test"], "s3://b/m", "s3://b/c")
    kinds = {item["InputName"]: item["S3Input"]["S3DataType"] for item in evaluation["ProcessingInputs"]}
    prefixes = dict.fromkeys(("code", "job", "challenger", "champion"), "S3Prefix")
    assert kinds == {**prefixes, "test": "ManifestFile"}
    scorer = Scorer(version="v1", package_arn="", model_data="s3://b/m", image="i")
    places = dict.fromkeys(("code", "job", "captured", "files", "output"), "s3://b/x")
    looked = monitoring.look_request(config, platform, scorer, {n: u for n, u in places.items() if n != "files"})
    scored = batch.batch_request(config, platform, scorer, {n: u for n, u in places.items() if n != "captured"})
    names = [[item["InputName"] for item in request["ProcessingInputs"]] for request in (looked, scored)]
    assert names == [["code", "job", "captured", "model"], ["code", "job", "files", "model"]]
    assert looked["ProcessingInputs"][2]["S3Input"]["S3DataType"] == "ManifestFile"
    assert {item["S3Input"]["S3DataType"] for item in scored["ProcessingInputs"]} == {"S3Prefix"}
