"""What the page believes for a while."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from local_account import IMAGE, ROLE, Account, variant
from page_site import BUCKET, Site

from retraining.page.concurrency import remembered
from retraining.page.concurrency.remembered import Remembered
from retraining.page.concurrency.sparing import Sparing
from retraining.page.known_models import known_model
from retraining.serving import registry


def test_values_come_in_the_order_of_their_keys_and_are_read_once(monkeypatch):
    asked: list[str] = []

    def read(key: str) -> str | None:
        asked.append(key)
        return None if key == "none" else key.upper()

    known: Remembered[str] = Remembered(60, settled=lambda value: value != "NEW")
    assert known.of(["b"], read) == {"b": "B"}
    assert list(known.of(["a", "none", "b", "new"], read).items()) == [("a", "A"), ("b", "B"), ("new", "NEW")]
    assert sorted(asked) == ["a", "b", "new", "none"]
    known.of(["a", "none", "b", "new"], read)
    assert sorted(asked[4:]) == ["new", "none"]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    known.of(["a"], read)
    assert asked[-1] == "a"


def test_what_is_not_known_is_fetched_side_by_side_and_what_is_needs_no_thread(monkeypatch):
    together = threading.Barrier(3, timeout=10)
    known: Remembered[int] = Remembered(60)
    assert known.of(["a", "b", "c"], lambda key: together.wait()).keys() == {"a", "b", "c"}
    monkeypatch.setattr(remembered, "ThreadPoolExecutor", None)
    assert known.of(["a", "b", "c", "d"], lambda key: 7)["d"] == 7


def test_no_more_are_kept_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(remembered, "MOST", 2)
    asked: list[str] = []
    known: Remembered[str] = Remembered(60)
    for key in ("a", "b", "c", "a"):
        known.of([key], lambda key: asked.append(key) or key)
    assert asked == ["a", "b", "c", "a"]
    assert len(known._known) == 2


@pytest.fixture
def packages(site: Site, account: Account) -> Iterator[list[str]]:
    """Approved packages of abalone, newest first."""
    sagemaker, group = account.sagemaker, "dev-abalone-models"
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    container = {"Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3"}
    account.s3.put_object(Bucket=BUCKET, Key="abalone/model.tar.gz", Body=b"x")
    made = [
        sagemaker.create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus="Approved",
            InferenceSpecification={
                "Containers": [container | {"ModelDataUrl": f"s3://{BUCKET}/abalone/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
            CustomerMetadataProperties={"run_key": f"v{number}-000000000000", "dataset_version": str(number)},
        )["ModelPackageArn"]
        for number in (1, 2, 3)
    ]
    yield made[::-1]
    for arn in made:
        sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName=group)


def test_an_approved_package_is_described_once_and_whether_it_is_approved_is_asked_each_time(
    site: Site, account: Account, packages: list[str]
) -> None:
    described: list[str] = []
    sagemaker = known_model("abalone").sagemaker

    def note(params: dict, **_: object) -> None:
        described.append(params["body"].decode())

    sagemaker.meta.events.register("before-call.sagemaker.DescribeModelPackage", note)
    try:
        assert [item["dataset_version"] for item in site.get("/models/abalone/now")["approved"]] == ["3", "2", "1"]
        first = len(described)
        site.get("/models/abalone/now")
        again = len(described) - first
    finally:
        sagemaker.meta.events.unregister("before-call.sagemaker.DescribeModelPackage", note)
    assert (first, again) == (3, 0)
    account.sagemaker.update_model_package(ModelPackageArn=packages[0], ModelApprovalStatus="Rejected")
    assert [item["dataset_version"] for item in site.get("/models/abalone/now")["approved"]] == ["2", "1"]


@contextmanager
def asked_of(client: Any) -> Iterator[list[str]]:
    """Names of the operations that a client asks AWS for."""
    names: list[str] = []

    def note(model: Any, **_: object) -> None:
        names.append(model.name)

    client.meta.events.register("before-call.sagemaker", note)
    yield names
    client.meta.events.unregister("before-call.sagemaker", note)


def test_a_package_is_described_again_when_its_list_tells_another_status(account: Account, packages: list[str]) -> None:
    sagemaker, model = account.sagemaker, "abalone"
    with asked_of(sagemaker) as asked:
        assert [package.arn for package in registry.packages(Sparing(sagemaker), model)] == packages
        assert sorted(asked) == [*["DescribeModelPackage"] * 3, "ListModelPackages"]
        asked.clear()
        assert [package.status for package in registry.packages(Sparing(sagemaker), model)] == [registry.APPROVED] * 3
        assert asked == ["ListModelPackages"]
        sagemaker.update_model_package(
            ModelPackageArn=packages[1], ModelApprovalStatus=registry.REJECTED, ApprovalDescription="It is worse"
        )
        asked.clear()
        _, rejected, _ = registry.packages(Sparing(sagemaker), model)
        assert (rejected.status, rejected.reason) == (registry.REJECTED, "It is worse")
        assert asked == ["ListModelPackages", "DescribeModelPackage"]


def test_what_serves_is_described_again_when_the_endpoint_has_changed(account: Account) -> None:
    sagemaker, name = account.sagemaker, "dev-described"

    def serve(artifact: str) -> None:
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/abalone/{artifact}"}
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant(name)])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def remove() -> None:
        sagemaker.delete_endpoint(EndpointName=name)
        sagemaker.delete_endpoint_config(EndpointConfigName=name)
        sagemaker.delete_model(ModelName=name)

    def artifact() -> str:
        looked = Sparing(sagemaker)
        config = looked.describe_endpoint(EndpointName=name)["EndpointConfigName"]
        assert looked.describe_endpoint(EndpointName=name)["EndpointConfigName"] == config
        [served] = looked.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
        container = looked.describe_model(ModelName=served["ModelName"])["PrimaryContainer"]
        return container["ModelDataUrl"].rpartition("/")[2]

    for data in ("one.tar.gz", "two.tar.gz"):
        account.s3.put_object(Bucket=BUCKET, Key=f"abalone/{data}", Body=b"x")
    serve("one.tar.gz")
    account.endpoint_settled(name)
    with asked_of(sagemaker) as asked:
        assert artifact() == "one.tar.gz"
        assert asked == ["DescribeEndpoint", "DescribeEndpointConfig", "DescribeModel"]
        asked.clear()
        assert artifact() == "one.tar.gz"
        assert asked == ["DescribeEndpoint"]
    remove()
    serve("two.tar.gz")
    assert artifact() == "two.tar.gz"
    account.endpoint_settled(name)
    remove()
