"""Several deployments in one account: names that differ and fit, and a second deployment that leaves the first alone."""

import hashlib

import pytest

from deploy import data_platform, environment, settings
from retraining.aws.naming import JOB_NAME_LIMIT, job_name
from retraining.settings import environment as deployments
from retraining.settings.environment import EnvironmentNameError, checked

LONGEST_MODEL = "abcdefghijklmnopqrstuvwx"
LONGEST_REGION = "ap-southeast-1"


@pytest.mark.parametrize("name", ["prod", "dev", "staging", "verify-ab12", "e" * 11])
def test_names_of_deployments(name):
    assert checked(name) == name


@pytest.mark.parametrize("name", ["verify", "Prod", "my-prod", "1st", "", "e" * 12, "prod\n", "verify-"])
def test_names_that_could_be_mistaken_or_do_not_fit_are_refused(name):
    with pytest.raises(EnvironmentNameError, match="up to eleven small letters"):
        checked(name)


@pytest.mark.parametrize("region", ["us-east-1", LONGEST_REGION])
@pytest.mark.parametrize("name", ["dev", "verify-ab12"])
@pytest.mark.parametrize("model", ["a", "abalone", LONGEST_MODEL])
def test_bucket_names_fit_and_differ(name, model, region):
    bucket = data_platform.bucket_name(name, model, "123456789012", region)
    assert len(bucket) <= 63 and bucket.startswith(f"retraining-{name}-") and bucket.endswith(f"-123456789012-{region}")
    assert bucket != data_platform.bucket_name(name, model[:-1] + "z", "123456789012", region)


@pytest.mark.parametrize("step", ["train", "evaluate", "survey", "model", "config"])
def test_names_of_jobs_fit_whatever_the_model_and_the_deployment_are_called(step, monkeypatch):
    monkeypatch.setenv(deployments.VARIABLE, "verify-ab12")
    for model in (LONGEST_MODEL, f"{LONGEST_MODEL}.exp"):
        name = job_name(model, step, "0123456789abcdef", 10)
        assert len(name) <= JOB_NAME_LIMIT and name.startswith(f"verify-ab12-{LONGEST_MODEL}")


def test_the_library_takes_its_deployment_from_the_option_that_the_template_sets(monkeypatch):
    monkeypatch.delenv(deployments.VARIABLE, raising=False)
    assert deployments.platform_parameter("abalone") == "/retraining/dev/abalone/platform"
    monkeypatch.setenv(deployments.VARIABLE, "prod")
    assert deployments.platform_parameter("abalone") == "/retraining/prod/abalone/platform"
    assert deployments.queue_name("abalone") == "retraining-prod-abalone-new-data"
    option = environment.ENVIRONMENT_TEMPLATE.read_text().split("AirflowConfigurationOptions:")[1].split(":")[0].strip()
    assert f"AIRFLOW__{option.upper().replace('.', '__')}" == deployments.VARIABLE


def test_shipped_deployments_have_networks_of_their_own():
    shipped = [settings.load(path.stem) for path in settings.FOLDER.glob("*.yaml")]
    assert {item.name for item in shipped} >= {"dev", "staging", "prod"}
    networks = [item.environment.get("VpcCidr", "10.192.0.0/20") for item in shipped]
    assert len(set(networks)) == len(networks)


def everything(session) -> dict[str, str]:
    """Return a digest of each object and the description of each resource of the account."""
    s3, found = session.client("s3"), {}
    for bucket in s3.list_buckets()["Buckets"]:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket["Name"]):
            for item in page.get("Versions", []):
                found[f"{bucket['Name']}/{item['Key']}@{item['VersionId']}"] = item["ETag"]
    for stack in session.client("cloudformation").list_stacks()["StackSummaries"]:
        name = stack["StackName"]
        for item in session.client("cloudformation").describe_stack_resources(StackName=name)["StackResources"]:
            found[f"{name}/{item['LogicalResourceId']}"] = f"{item.get('PhysicalResourceId')} {item['ResourceStatus']}"
    for queue in session.client("sqs").list_queues().get("QueueUrls", []):
        attributes = session.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy", "QueueArn"])
        found[queue] = hashlib.sha256(str(sorted(attributes["Attributes"].items())).encode()).hexdigest()
    return found


def test_a_second_deployment_changes_no_byte_and_no_resource_of_the_first(session):
    short = {"PollSeconds": "1", "SettleSeconds": "1"}
    first = environment.Project(
        session, settings.Deployment("staging", "us-east-1", platform=short), print, with_environment=False
    )
    first.up()
    before = everything(session)
    assert len(before) > 40
    second = environment.Project(
        session, settings.Deployment("prod", "us-east-1", platform=short), print, with_environment=False
    )
    second.up()
    after = everything(session)
    assert {name: after.get(name) for name in before} == before
    assert len(after) >= 2 * len(before)
    second.destroy()
    assert {name: everything(session).get(name) for name in before} == before
