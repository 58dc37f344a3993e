"""The largest requests that a model.yaml can lead to, against the patterns, lengths and enums of AWS's service models.

botocore's own check looks at names and types only; SageMaker and Glue refuse the rest, after a run has begun.
"""

import json

import pytest
import yaml
from botocore.exceptions import ClientError
from botocore.session import get_session

from deploy import artifacts
from local_aws.gateway.admission import INVOCATION_BYTES
from local_aws.shared.requests.java_patterns import compiled
from local_aws.shared.requests.validation import check_request, service_model
from retraining.aws.naming import job_name
from retraining.jobs import requests as job_requests
from retraining.jobs.plan import Champion, RunPlan
from retraining.serving import deployment, registry
from retraining.settings.environment import VARIABLE
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform
from retraining.survey import job as survey_job

LONGEST = "m" + "o" * 22 + "l"
ENVIRONMENT = "verify-abcd"
ACCOUNT, REGION = "123456789012", "ap-southeast-4"
NAME = f"retraining-{ENVIRONMENT}-{LONGEST}"
BUCKET = f"retraining-{ENVIRONMENT}-{'b' * 63}"[:63]
WORDS = "Promoted: the challenger is better by 12 % [rmse 1.2 < 1.4] “quoted”, naïve\n\ttabs; 100 000 € @home #1 (see /x?y=z&a) 日本"


@pytest.fixture(autouse=True)
def longest_environment(monkeypatch):
    monkeypatch.setenv(VARIABLE, ENVIRONMENT)


@pytest.fixture
def config():
    document = yaml.safe_load((artifacts.ROOT / "dags" / "models" / "abalone" / "model.yaml").read_text())
    first = document["training"]["candidates"][0]
    settings = {"deep": {"list": [1, 2, 3], "text": "x" * 4000}, "choices": [[1], [2]]}
    document["training"]["candidates"] = [
        {**first, "name": f"{'c' * 22}-{place}", "hyperparameters": {**first.get("hyperparameters", {}), **settings}}
        for place in range(3)
    ]
    document |= {"name": LONGEST}
    document["deployment"] |= {"endpoint": LONGEST, "instance_count": 4}
    document["deployment"]["canary"] = {"percent": 25, "wait_seconds": 3600, "alarms": [f"{NAME}-{'a' * 180}"] * 10}
    return ModelConfig.model_validate(document)


@pytest.fixture
def platform():
    roles = {
        f"{name}_role_arn": f"arn:aws:iam::{ACCOUNT}:role/{'r' * 64}"
        for name in ("train", "evaluate", "serve", "survey", "experiment")
    }
    return Platform(
        account=ACCOUNT,
        region=REGION,
        bucket=BUCKET,
        queue_url=f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{NAME}-new-data",
        glue_database=f"retraining_{ENVIRONMENT}_{LONGEST}",
        glue_crawler=f"{NAME}-landing",
        glue_job=f"{NAME}-merge",
        analyze_function=f"{NAME}-analyze-results",
        topic_arn=f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAME}-outcomes",
        **roles,
    )


@pytest.fixture
def plan(config):
    champion = Champion(package_arn="arn", model_data=f"s3://{BUCKET}/{LONGEST}/models/x/output/model.tar.gz")
    return RunPlan(
        model=LONGEST,
        run_key="v999999-0123456789ab",
        batch="b" * 16,
        version=999_999,
        candidates=tuple(candidate.name for candidate in config.training.candidates),
        code_digest="c" * 16,
        work_digest="w" * 16,
        champion=champion,
    )


def uri(place):
    return f"s3://{BUCKET}/{LONGEST}/{place}"


MANIFESTS = {split: f"dataset/manifests/999999-{split}.json" for split in ("train", "validation", "test")}


def requests_of(config, platform, plan):
    """Yield service, operation and parameters of every request that a run of the retraining DAG and a survey make."""
    manifests = {split: uri(place) for split, place in MANIFESTS.items()}
    tags = [{"Key": f"retraining:{name}", "Value": LONGEST} for name in ("model", "step", "request")]
    for candidate in config.training.candidates:
        training = job_requests.training_request(config, platform, plan, candidate, manifests)
        name = job_name(LONGEST, f"train-{candidate.name}", "d" * 16, 10)
        yield "sagemaker", "CreateTrainingJob", {"TrainingJobName": name, "Tags": tags, **training}
    evaluation = job_requests.evaluation_request(config, platform, plan, manifests["test"], uri("m"), uri("c"))
    evaluated = {"ProcessingJobName": job_name(LONGEST, "evaluate", "d" * 16, 10), "Tags": tags, **evaluation}
    yield "sagemaker", "CreateProcessingJob", evaluated
    container = job_requests.serving_container(config, platform, uri("models/x/output/model.tar.gz"))
    recorder = Recorder()
    model = deployment.ensure_model(recorder, LONGEST, container, platform.serve_role_arn)
    request = job_requests.endpoint_config_request(config, platform, model)
    name = deployment.ensure_endpoint_config(recorder, LONGEST, request)
    lineage = {"run_key": plan.run_key, "dataset_version": "999999", "reason": WORDS, "candidates": "a, b [c]"}
    registry.register(recorder, LONGEST, container, registry.APPROVED, uri("m.json"), WORDS * 20, lineage)
    yield from recorder.made
    update = job_requests.endpoint_request(config, name)
    yield "sagemaker", "UpdateEndpoint", update
    yield "glue", "StartJobRun", job_requests.glue_job_request(config, platform, plan)
    keys = [f"{LONGEST}/new/{'k' * 900}{place}.csv" for place in range(500)]
    yield "glue", "UpdateCrawler", job_requests.crawl_request(platform, keys)
    places = {
        name: uri(f"survey/{name}/") for name in ("code", "train", "known", "held-back", "model", "request", "output")
    }
    for method in ("ctgan", "copula", "replay"):
        survey = survey_job.survey_request(config, platform, survey_job.SurveyMachines(), method, places, False)
        name = job_name(LONGEST, "survey", "d" * 16, 10)
        yield "sagemaker", "CreateProcessingJob", {"ProcessingJobName": name, "Tags": tags, **survey}


class Recorder:
    """A client of SageMaker that keeps what it is asked to make."""

    def __init__(self):
        self.made = []
        operations = get_session().get_service_model("sagemaker").operation_names
        self._operations = {name.lower(): name for name in operations}

    def __getattr__(self, name):
        operation = self._operations.get(name.replace("_", ""))
        if operation == "DescribeModelPackageGroup":
            missing = {"Error": {"Code": "ValidationException", "Message": "ModelPackageGroup does not exist."}}
            raise ClientError(missing, operation)
        if operation is None:
            raise AttributeError(name)

        def call(**params):
            self.made.append(("sagemaker", operation, params))
            arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{ENVIRONMENT}-{LONGEST}-models/1"
            return {
                "ModelPackageArn": arn,
                "ModelPackageVersion": 1,
                "ModelApprovalStatus": registry.APPROVED,
                "CreationTime": 0,
                "ModelPackageSummaryList": [],
                "InferenceSpecification": {"Containers": [{"Image": "i", "ModelDataUrl": uri("m")}]},
            }

        return call

    def get_paginator(self, name):
        return type("Pages", (), {"paginate": lambda *_, **__: iter([{"ModelPackageSummaryList": []}])})()


def test_the_largest_requests_fit_into_aws_limits(config, platform, plan):
    checked = set()
    for service, operation, params in requests_of(config, platform, plan):
        check_request(service, operation, json.loads(json.dumps(params)))
        checked.add(operation)
    assert {
        "CreateTrainingJob",
        "CreateProcessingJob",
        "CreateModel",
        "CreateEndpointConfig",
        "UpdateEndpoint",
        "CreateModelPackage",
        "CreateModelPackageGroup",
        "StartJobRun",
        "UpdateCrawler",
    } <= checked


def outputs_in(value, name=""):
    """Yield the S3 URIs at which a service writes for a request."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from outputs_in(item, f"{name}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from outputs_in(item, name)
    elif name.endswith((".S3OutputPath", ".DestinationS3Uri", ".S3Output.S3Uri")):
        yield value


def test_no_output_is_asked_for_at_a_uri_that_ends_with_a_slash(config, platform, plan):
    """Some services write ``PREFIX//FILE`` after ``PREFIX/``, where no reader would look."""
    found = {uri for _, _, params in requests_of(config, platform, plan) for uri in outputs_in(params)}
    assert {uri for uri in found if uri.endswith("/")} == set()
    assert {uri(place) for place in ("models", "captured", f"runs/{plan.run_key}/evaluation")} <= found


def test_an_endpoint_is_sent_no_longer_request_here_than_there():
    assert service_model("sagemaker-runtime").shape_for("BodyBlob").metadata["max"] == INVOCATION_BYTES


def test_a_model_server_has_a_way_to_the_package_index_that_its_start_asks(config, platform, plan):
    """SageMaker's container installs the serving code with pip when it starts, which fetches what it builds with."""
    [model] = [params for _, operation, params in requests_of(config, platform, plan) if operation == "CreateModel"]
    assert not model.get("EnableNetworkIsolation") and "VpcConfig" not in model


def test_every_pattern_of_the_services_is_understood():
    for service in ("sagemaker", "sagemaker-runtime", "glue"):
        model = service_model(service)
        patterns = {model.shape_for(name).metadata.get("pattern") for name in model.shape_names}
        for pattern in patterns - {None}:
            compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", ["ä b_1:/=+-@", "日本 ٣"], ["a,b", "x[1]", "a\nb", "“q”"]),
        (r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,256}", ["a b"], ["a;b"]),
        (r"[\p{L}\p{M}\p{Z}\p{S}\p{N}\p{P}]*", ["a, “b” [c] €", "e\u0301"], ["a\nb", "a\tb", "\x1b[1m"]),
        (r"arn:[\p{Alnum}\-]+:x", ["arn:aws-cn:x"], ["arn:a_b:x"]),
        (r"\p{ASCII}*", ["a b"], ["ä"]),
        (r"\A\S[\p{Print}]*\z", ["ab c"], [" a", "a\nb"]),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", ["a\t😀"], ["a\nb"]),
    ],
)
def test_patterns_of_java_mean_here_what_they_mean_there(pattern, good, bad):
    for text in good:
        assert compiled(pattern).fullmatch(text), text
    for text in bad:
        assert not compiled(pattern).fullmatch(text), text
