"""SageMaker takes no role that it may not assume."""

import json

import pytest
from botocore.exceptions import ClientError
from local_account import IMAGE, Account

from local_aws.shared.trust import trusts

SERVICE = "sagemaker.amazonaws.com"
CONTEXT = {
    "aws:sourceaccount": "000000000000",
    "aws:sourcearn": "arn:aws:sagemaker:us-east-1:000000000000:training-job/a",
}


def statement(**changes: object) -> dict:
    plain = {"Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [plain | changes]}


def role(account: Account, name: str, document: dict) -> str:
    made = account.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
    return made["Role"]["Arn"]


@pytest.mark.parametrize(
    ("document", "allowed"),
    [
        (statement(), True),
        (statement(Principal={"Service": ["glue.amazonaws.com", SERVICE]}, Action=["sts:AssumeRole"]), True),
        (statement(Principal="*"), True),
        (statement(Principal={"AWS": "*"}, Action="sts:*"), True),
        (statement(Principal={"Service": "glue.amazonaws.com"}), False),
        (statement(Principal={"AWS": "arn:aws:iam::000000000000:root"}), False),
        (statement(Action="sts:TagSession"), False),
        (statement(Condition={"StringEquals": {"aws:SourceAccount": "000000000000"}}), True),
        (statement(Condition={"StringEquals": {"aws:SourceAccount": ["1", "2"]}}), False),
        (statement(Condition={"ArnLike": {"aws:SourceArn": "arn:aws:sagemaker:*:000000000000:*"}}), True),
        (statement(Condition={"ArnLike": {"aws:SourceArn": "arn:aws:glue:*"}}), False),
        (statement(Condition={"StringEquals": {"aws:SourceVpc": "vpc-1"}}), False),
        (statement(Condition={"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}), True),
        ({"Statement": statement()["Statement"] + statement(Effect="Deny")["Statement"]}, False),
        ({"Statement": []}, False),
    ],
)
def test_a_trust_policy_names_who_may_assume_its_role(document: dict, allowed: bool) -> None:
    assert trusts(document, SERVICE, CONTEXT) is allowed


@pytest.mark.local_aws
def test_a_role_for_another_service_is_refused_at_the_call(account: Account) -> None:
    theirs = role(account, "for-glue", statement(Principal={"Service": "glue.amazonaws.com"}))
    training = account.training_request("distrusted", "print(1)", RoleArn=theirs)
    container = {"Image": IMAGE}
    for call, request in (
        (account.sagemaker.create_training_job, training),
        (
            account.sagemaker.create_processing_job,
            account.processing_request("distrusted", "print(1)", RoleArn=theirs),
        ),
        (
            account.sagemaker.create_model,
            {"ModelName": "distrusted", "ExecutionRoleArn": theirs, "PrimaryContainer": container},
        ),
    ):
        with pytest.raises(ClientError, match=f"ValidationException.*Could not assume role {theirs}"):
            call(**request)
    assert account.sagemaker.list_training_jobs(NameContains="distrusted")["TrainingJobSummaries"] == []
    wrong_path = theirs.replace(":role/", ":role/service-role/")
    with pytest.raises(ClientError, match="Could not assume role"):
        account.sagemaker.create_training_job(**(training | {"RoleArn": wrong_path}))
    ours = role(account, "for-sagemaker", statement())
    account.sagemaker.create_model(ModelName="trusted", ExecutionRoleArn=ours, PrimaryContainer=container)


@pytest.mark.local_aws
def test_a_role_that_does_not_exist_is_refused_where_policies_are_enforced(tmp_path) -> None:
    arn = "arn:aws:iam::000000000000:role/nobody"
    request = {"ModelName": "orphan", "ExecutionRoleArn": arn, "PrimaryContainer": {"Image": IMAGE}}
    with Account(tmp_path / "data", "--enforce-policies") as strict, pytest.raises(ClientError, match="role exists"):
        strict.sagemaker.create_model(**request)
