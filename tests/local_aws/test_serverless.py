"""Serverless endpoints of local_aws: they answer, and what the service refuses is refused."""

import threading

import pytest
from botocore.exceptions import ClientError
from local_account import TIMES, Account, variant, wait_for

pytestmark = pytest.mark.local_aws
SLOW = "import time\n" + TIMES.replace(
    "def predict_fn(data, model):",
    "def predict_fn(data, model):\n    time.sleep(4.0)  # longer than a client waits before its second try",
)
CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/captured/",
    "CaptureOptions": [{"CaptureMode": "Input"}],
}


@pytest.fixture(scope="module")
def plain(account: Account) -> Account:
    """The account with a model of that name."""
    account.model("plain", TIMES.format(factor=2))
    return account


def serverless(model: str, most: int = 1, **more) -> dict:
    found = {name: value for name, value in variant(model).items() if name in ("VariantName", "ModelName")}
    return {**found, "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": most}, **more}


def configured(account: Account, name: str, *variants: dict, **more) -> None:
    account.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=list(variants), **more)


def settled(account: Account, name: str) -> dict:
    endpoint = account.endpoint_settled(name)
    assert endpoint["EndpointStatus"] == "InService", endpoint
    return endpoint


def test_a_serverless_endpoint_answers_within_its_concurrency_and_size(account: Account) -> None:
    account.model("doubles", TIMES.format(factor=2))
    configured(account, "doubles-serverless", serverless("doubles"))
    account.sagemaker.create_endpoint(EndpointName="less", EndpointConfigName="doubles-serverless")
    [found] = settled(account, "less")["ProductionVariants"]
    assert found["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
    assert "CurrentInstanceCount" not in found

    with pytest.raises(ClientError, match="larger than 4 MB"):
        account.invoke("less", "1" * (4 * 2**20 + 1))

    account.model("fast", TIMES.format(factor=5))
    configured(account, "fast-serverless", serverless("fast", most=20))
    account.sagemaker.update_endpoint(EndpointName="less", EndpointConfigName="fast-serverless")
    wait_for(lambda: settled(account, "less")["EndpointConfigName"] == "fast-serverless")
    assert account.invoke("less", "3") == "15.0"
    rolling = {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 10},
            "WaitIntervalInSeconds": 0,
        }
    }
    with pytest.raises(ClientError, match="RollingUpdatePolicy is not supported for serverless"):
        account.sagemaker.update_endpoint(
            EndpointName="less", EndpointConfigName="doubles-serverless", DeploymentConfig=rolling
        )


def test_more_requests_than_its_concurrency_are_throttled(account: Account) -> None:
    account.model("busy", SLOW.format(factor=2))
    configured(account, "busy-serverless", serverless("busy"))
    account.sagemaker.create_endpoint(EndpointName="busy", EndpointConfigName="busy-serverless")
    settled(account, "busy")
    outcomes = []

    def ask() -> None:
        try:
            outcomes.append(account.invoke("busy", "3"))
        except ClientError as error:
            outcomes.append(error.response["Error"]["Code"])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["6.0", "ThrottlingException"]
    assert account.invoke("busy", "3") == "6.0", "there is room again"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"VolumeSizeInGB": 10}, "VolumeSizeInGB is not supported"),
        (
            {"ContainerStartupHealthCheckTimeoutInSeconds": 60},
            "ContainerStartupHealthCheckTimeoutInSeconds is not supp",
        ),
        ({"ServerlessConfig": {"MemorySizeInMB": 1500, "MaxConcurrency": 1}}, "multiple of 1024"),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1, "ProvisionedConcurrency": 2}},
            "must not be above MaxConcurrency",
        ),
    ],
)
def test_a_variant_that_the_service_does_not_take_is_refused(plain: Account, more, words) -> None:
    with pytest.raises(ClientError, match=words):
        configured(plain, "refused", serverless("plain", **more))


def test_what_serverless_endpoints_do_not_have_is_refused(plain: Account) -> None:
    account = plain
    with pytest.raises(ClientError, match="DataCaptureConfig is not supported"):
        configured(account, "captured", serverless("plain"), DataCaptureConfig=CAPTURE)
    with pytest.raises(ClientError, match="Multiple production variants are not supported"):
        configured(account, "two", serverless("plain"), serverless("plain", VariantName="Other"))
    described = account.sagemaker.describe_model(ModelName="plain")
    kept = {name: described[name] for name in ("PrimaryContainer", "ExecutionRoleArn")}
    account.sagemaker.create_model(ModelName="isolated", EnableNetworkIsolation=True, **kept)
    with pytest.raises(ClientError, match="Model isolated: EnableNetworkIsolation is not supported"):
        configured(account, "isolated", serverless("isolated"))


def test_an_endpoint_with_instances_does_not_become_serverless_but_the_other_way(account: Account) -> None:
    account.model("turns", TIMES.format(factor=2))
    configured(account, "turns-less", serverless("turns", most=5))
    account.sagemaker.create_endpoint(EndpointName="turns", EndpointConfigName="turns")
    settled(account, "turns")
    with pytest.raises(ClientError, match="cannot be updated to a serverless endpoint"):
        account.sagemaker.update_endpoint(EndpointName="turns", EndpointConfigName="turns-less")
    account.sagemaker.create_endpoint(EndpointName="turned", EndpointConfigName="turns-less")
    settled(account, "turned")
    account.sagemaker.update_endpoint(EndpointName="turned", EndpointConfigName="turns")
    wait_for(lambda: settled(account, "turned")["EndpointConfigName"] == "turns")
    assert account.invoke("turned", "3") == "6.0"
