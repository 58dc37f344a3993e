"""The data platform deployed to a running local_aws with plain boto3."""

import json
from pathlib import Path

import cloudformation
import pytest
from local_account import wait_for

from deploy import data_platform
from retraining.aws.platform_parameter import PlatformError, read_platform
from retraining.settings.access import AwsAccess
from retraining.settings.environment import queue_name

RESOURCES = cloudformation.read(data_platform.TEMPLATE)["Resources"]


@pytest.fixture(scope="module")
def deployed(session):
    return data_platform.deploy(
        session, "dev", "abalone", {"PollSeconds": "1", "SettleSeconds": "2"}, lambda line: None
    )


def test_the_first_deployment_creates_and_the_second_changes_nothing(session, deployed):
    assert deployed[0] == "created"
    change, outputs = data_platform.deploy(
        session, "dev", "abalone", {"PollSeconds": "1", "SettleSeconds": "2"}, lambda line: None
    )
    assert change == "unchanged"
    assert outputs == deployed[1]


def test_the_parameter_tells_the_dag_what_exists(account, session, deployed):
    platform = read_platform(
        "/retraining/dev/abalone/platform", AwsAccess(region="us-east-1", endpoint_url=account.url)
    )
    assert platform.bucket == deployed[1]["DataBucketName"]
    assert (platform.poll_seconds, platform.settle_seconds) == (1, 2)
    assert (
        session.client("glue").get_crawler(Name=platform.glue_crawler)["Crawler"]["DatabaseName"]
        == platform.glue_database
    )
    assert session.client("glue").get_job(JobName=platform.glue_job)["Job"]["GlueVersion"] == "6.0"
    assert (
        session.client("lambda").get_function(FunctionName=platform.analyze_function)["Configuration"]["Runtime"]
        == "python3.12"
    )
    assert platform.queue_url == session.client("sqs").get_queue_url(QueueName=queue_name("abalone"))["QueueUrl"]


def test_a_missing_platform_says_how_to_deploy_it(account, session):
    with pytest.raises(PlatformError, match=r"deploy infra/data_platform\.yaml"):
        read_platform("/retraining/nobody/platform", AwsAccess(region="us-east-1", endpoint_url=account.url))


def test_an_upload_below_new_reaches_the_queue_and_one_elsewhere_does_not(session, deployed):
    bucket, sqs = deployed[1]["DataBucketName"], session.client("sqs")
    url = sqs.get_queue_url(QueueName=queue_name("abalone"))["QueueUrl"]
    session.client("s3").put_object(Bucket=bucket, Key="abalone/raw/ignored.csv", Body=b"x")
    session.client("s3").put_object(Bucket=bucket, Key="abalone/new/seen.csv", Body=b"x")

    def messages():
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages", [])
        return [
            json.loads(item["Body"])["Records"][0]["s3"]["object"]["key"] for item in found if "Records" in item["Body"]
        ]

    assert wait_for(messages) == ["abalone/new/seen.csv"]


def test_the_data_bucket_is_versioned_encrypted_closed_and_survives_the_stack():
    bucket = RESOURCES["DataBucket"]
    properties = bucket["Properties"]
    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["BucketEncryption"]
    tls, *others = RESOURCES["DataBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert {item["Effect"] for item in (tls, *others)} == {"Deny"}
    assert (tls["Action"], tls["Condition"]) == ("s3:*", {"Bool": {"aws:SecureTransport": "false"}})


def test_what_may_be_about_people_expires_after_days_that_a_deployment_chooses():
    rules = {
        rule["Prefix"]["Fn::Sub"].removeprefix("${ModelName}/") if "Prefix" in rule else "": rule
        for rule in RESOURCES["DataBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    }
    assert {rule["Status"] for rule in rules.values()} == {"Enabled"}
    assert rules["captured/"]["ExpirationInDays"] == {"Ref": "CaptureRetentionDays"}
    assert rules["captured/"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 7
    assert rules["quarantine/"]["ExpirationInDays"] == {"Ref": "QuarantineRetentionDays"}
    assert rules[""]["NoncurrentVersionExpiration"]["NoncurrentDays"] == {"Ref": "SupersededRetentionDays"}
    parameters = cloudformation.read(data_platform.TEMPLATE)["Parameters"]
    for name in ("CaptureRetentionDays", "QuarantineRetentionDays", "SupersededRetentionDays", "LogRetentionDays"):
        assert 1 <= parameters[name]["Default"] <= 365


@pytest.mark.parametrize("template", sorted(data_platform.TEMPLATE.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_log_group_of_a_template_keeps_its_lines_for_ever(template):
    groups = [
        resource["Properties"]
        for resource in cloudformation.read(template)["Resources"].values()
        if resource["Type"] == "AWS::Logs::LogGroup"
    ]
    assert all(group.get("RetentionInDays") == {"Ref": "LogRetentionDays"} for group in groups)


def test_a_wildcard_resource_has_a_written_reason():
    lines = Path(data_platform.TEMPLATE).read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        if line.strip().startswith('Resource: "*"'):
            assert "#" in line, f"line {number}: a wildcard resource needs its reason behind it"


def test_every_statement_has_a_name_and_no_action_is_a_wildcard():
    for name, resource in RESOURCES.items():
        properties = cloudformation.resolve(resource.get("Properties", {}), {"HasKey": "yes"})
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            documents.append(properties["PolicyDocument"])
        for document in documents:
            for statement in document["Statement"]:
                assert statement["Sid"], name
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert not any("*" in action for action in actions), (name, statement["Sid"])
