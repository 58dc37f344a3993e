"""Whom the endpoints of MWAA's network let through."""

import fnmatch

import cloudformation
import pytest

from deploy import environment

OURS, FOREIGN, MWAAS = "111122223333", "444455556666", "777788889999"
NAMES = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": OURS}
ENDPOINTS = {
    item["Properties"]["ServiceName"]["Fn::Sub"].removeprefix("com.amazonaws.${AWS::Region}."): item["Properties"]
    for item in cloudformation.read(environment.ENVIRONMENT_TEMPLATE)["Resources"].values()
    if item["Type"] == "AWS::EC2::VPCEndpoint"
}
#: With full access, which MWAA's guide asks for: its components use them, and nobody says with which identities.
OF_MWAA = {"airflow.api", "airflow.env", "logs", "monitoring", "sqs", "kms", "ecr.api", "ecr.dkr"}
OF_DAGS = {
    "ssm": "ssm:GetParameter",
    "sns": "sns:Publish",
    "glue": "glue:StartJobRun",
    "lambda": "lambda:InvokeFunction",
}
OF_DAGS |= {"sagemaker.api": "sagemaker:CreateModel", "sagemaker.runtime": "sagemaker:InvokeEndpoint"}
OF_DAGS |= {"sts": "sts:AssumeRole"}
LAYERS = "arn:aws:s3:::prod-eu-west-1-starport-layer-bucket/x"


OPERATORS = {
    "StringEquals": lambda found, wanted: found == wanted,
    "StringEqualsIfExists": lambda found, wanted: found in (None, wanted),
}


def lets_through(service, action, resource="*", principal=OURS, owner=OURS):
    """Tell whether an endpoint's policy allows a request: of an account's principal, to a resource of an account (None: of no resource)."""
    policy = cloudformation.resolve(ENDPOINTS[service]["PolicyDocument"], NAMES)
    keys = {"aws:PrincipalAccount": principal, "aws:ResourceAccount": owner}
    assert {(item["Principal"], item["Effect"]) for item in policy["Statement"]} == {("*", "Allow")}
    return any(
        fnmatch.fnmatchcase(action, item["Action"])
        and fnmatch.fnmatchcase(resource, item["Resource"])
        and all(
            OPERATORS[operator](keys[name], wanted)
            for operator, needed in item.get("Condition", {}).items()
            for name, wanted in needed.items()
        )
        for item in policy["Statement"]
    )


def test_every_endpoint_has_a_policy_or_is_one_that_mwaas_guide_wants_open():
    assert {name for name, item in ENDPOINTS.items() if "PolicyDocument" not in item} == OF_MWAA
    assert set(ENDPOINTS) == OF_MWAA | set(OF_DAGS) | {"s3"}


@pytest.mark.parametrize(("service", "action"), OF_DAGS.items())
def test_what_only_the_dags_use_takes_this_accounts_principals_and_resources(service, action):
    assert lets_through(service, action)
    assert lets_through(service, action, owner=None), "an operation without a resource, such as a list"
    assert not lets_through(service, action, principal=FOREIGN)
    assert not lets_through(service, action, principal=FOREIGN, owner=FOREIGN)
    assert not lets_through(service, action, owner=FOREIGN)


def test_nothing_is_carried_into_a_foreign_bucket_and_ours_stay_in_reach_of_whom_mwaa_acts_as():
    for action in ("s3:PutObject", "s3:GetObject", "s3:ListBucket"):
        for principal in (OURS, FOREIGN, MWAAS):
            assert lets_through("s3", action, "arn:aws:s3:::ours/k", principal)
            assert not lets_through("s3", action, "arn:aws:s3:::theirs/k", principal, FOREIGN)


def test_the_layers_of_images_can_be_read_and_not_written():
    assert lets_through("s3", "s3:GetObject", LAYERS, MWAAS, MWAAS)
    assert not lets_through("s3", "s3:PutObject", LAYERS, FOREIGN, MWAAS)
    assert not lets_through("s3", "s3:GetObject", LAYERS.replace("eu-west-1", "eu-west-1-theirs"), FOREIGN, FOREIGN)
