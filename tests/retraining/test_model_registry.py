"""The registry: one package per candidate whatever is repeated, against a running local_aws."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from retraining.serving import registry

pytestmark = pytest.mark.local_aws
CONTAINER = {
    "Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3",
    "ModelDataUrl": "s3://bucket/model.tar.gz",
    "Environment": {"SAGEMAKER_PROGRAM": "inference.py"},
}
METRICS = "s3://bucket/analysis.json"


@pytest.fixture
def model() -> str:
    return f"m{uuid.uuid4().hex[:8]}"


@pytest.fixture
def sagemaker(account):
    return account.sagemaker


def register(sagemaker, model, key="v1-a", status=registry.PENDING, reason="it is better", container=CONTAINER, **more):
    lineage = {"run_key": key, "work_digest": f"w-{key}", "dataset_version": "1", **more}
    return registry.register(sagemaker, model, container, status, METRICS, reason, lineage)


def versions(sagemaker, model):
    return [package.version for package in registry.packages(sagemaker, model)]


def test_a_package_holds_container_metrics_lineage_and_reason(sagemaker, model):
    registered = register(sagemaker, model, decision="approved, by 2 %", champion="none")
    described = sagemaker.describe_model_package(ModelPackageName=registered.arn)
    assert described["ModelApprovalStatus"] == registry.PENDING
    assert described["ModelPackageDescription"] == "v1-a: it is better"
    assert described["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"] == METRICS
    assert "Explainability" not in described["ModelMetrics"]
    [package] = registry.packages(sagemaker, model)
    assert package.container == CONTAINER
    assert package.metadata["run_key"] == "v1-a"
    assert package.metadata["decision"] == "approved- by 2 -"  # SageMaker takes no comma and no percent sign there


def test_a_package_tells_where_it_says_what_the_model_goes_by(sagemaker, model):
    why = "s3://bucket/explanations/analysis.json"
    made = registry.register(sagemaker, model, CONTAINER, registry.PENDING, METRICS, "r", {"run_key": "v1-a"}, why)
    metrics = sagemaker.describe_model_package(ModelPackageName=made.arn)["ModelMetrics"]
    assert metrics["Explainability"] == {"Report": {"ContentType": "application/json", "S3Uri": why}}


def test_a_repeated_registration_finds_the_package(sagemaker, model):
    first = register(sagemaker, model)
    assert register(sagemaker, model) == first
    assert register(sagemaker, model, reason="other words") == first
    assert versions(sagemaker, model) == [1]


def test_many_registrations_at_once_make_one_package(sagemaker, model):
    register(sagemaker, model, "v0-other")
    with ThreadPoolExecutor(max_workers=8) as pool:
        results = list(pool.map(lambda _: register(sagemaker, model), range(8)))
    assert len({result.arn for result in results}) == 1
    assert versions(sagemaker, model) == [2, 1]


def test_many_first_registrations_at_once_make_one_group(sagemaker, model):
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda _: register(sagemaker, model), range(8)))
    assert versions(sagemaker, model) == [1]


class LosesReplies:
    """A SageMaker client whose CreateModelPackage arrives, but whose reply does not."""

    def __init__(self, sagemaker):
        self._sagemaker = sagemaker

    def __getattr__(self, name):
        return getattr(self._sagemaker, name)

    def create_model_package(self, **request):
        self._sagemaker.create_model_package(**request)
        raise ConnectionError("the reply was lost")


def test_a_lost_reply_does_not_make_a_second_package(sagemaker, model):
    with pytest.raises(ConnectionError):
        register(LosesReplies(sagemaker), model)
    assert register(sagemaker, model).version == 1
    assert versions(sagemaker, model) == [1]


def test_the_token_alone_keeps_a_registration_single_when_the_list_lags(sagemaker, model, monkeypatch):
    """Lists are eventually consistent: a package just made may be missing from them."""
    first = register(sagemaker, model)
    monkeypatch.setattr(registry, "_find", lambda *_: None)
    assert register(sagemaker, model) == first
    assert versions(sagemaker, model) == [1]


def test_another_run_and_another_artifact_are_other_packages(sagemaker, model):
    register(sagemaker, model, "v1-a")
    register(sagemaker, model, "v1-ab")
    register(sagemaker, model, "v1-a", container={**CONTAINER, "ModelDataUrl": "s3://bucket/other.tar.gz"})
    assert versions(sagemaker, model) == [3, 2, 1]


def test_the_status_follows_the_decision(sagemaker, model):
    registered = register(sagemaker, model)
    approved = registry.set_status(sagemaker, registered, registry.APPROVED, "verified\n in service")
    assert approved.status == registry.APPROVED
    [package] = registry.packages(sagemaker, model)
    assert (package.status, package.reason) == (registry.APPROVED, "verified in service")
    assert (
        register(sagemaker, model, status=registry.REJECTED).status == registry.APPROVED
    )  # what serves stays approved

    pending = register(sagemaker, model, "v2")
    assert register(sagemaker, model, "v2", registry.REJECTED, "declined").status == registry.REJECTED
    assert registry.set_status(sagemaker, pending, registry.PENDING, "").status == registry.PENDING


def test_the_champion_is_the_newest_approved_package(sagemaker, model):
    assert registry.champion(sagemaker, model) is None
    for number in range(1, 15):  # more than one page of the list
        registered = register(sagemaker, model, f"v{number}")
        if number in (1, 2):
            registry.set_status(sagemaker, registered, registry.APPROVED, "verified")
    champion = registry.champion(sagemaker, model)
    assert (champion.run_key, champion.work_digest) == ("v2", "w-v2")
    assert versions(sagemaker, model) == list(range(14, 0, -1))


def test_an_abandoned_package_is_not_approved_by_a_run_but_can_be_reinstated(sagemaker, model):
    registered = register(sagemaker, model)
    registry.set_status(sagemaker, registered, registry.APPROVED, "verified")
    for _ in range(2):
        registry.abandon(sagemaker, [registered], "rollback-1", "it drifts")
    assert registry.champion(sagemaker, model) is None
    with pytest.raises(registry.AbandonedError, match="it drifts"):
        register(sagemaker, model)
    assert register(sagemaker, model, status=registry.REJECTED).status == registry.REJECTED
    for _ in range(2):
        registry.reinstate(sagemaker, next(registry.packages(sagemaker, model)), "the drift was elsewhere")
    assert registry.champion(sagemaker, model).run_key == "v1-a"
    assert register(sagemaker, model).status == registry.APPROVED
