"""Write here is code there: who may write what a deployment executes or believes, tried on an account that enforces policies."""

import json
from collections.abc import Iterator

import boto3
import cloudformation
import pytest
from access import statements
from botocore.exceptions import ClientError
from local_account import Account

from deploy import code_writers, data_platform, settings
from deploy.code_writers import CodeWritersError, check_caller_writes, deployers, principals
from deploy.environment import Project

ARN = "arn:aws:iam::000000000000:"
RESOURCES = cloudformation.read(data_platform.TEMPLATE)["Resources"]
TRUST = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
EVERYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
CODE = ["code/x.tar.gz", "serving/artifacts/x.json", "rollbacks/x.json", "dataset/log/000001.json"]
MODELS, ROWS, RUNS = (
    ["models/x/model.tar.gz"],
    ["dataset/data/x", "batches/b/etl_report.json", "rebuilt/x"],
    ["runs/v1/decision.json"],
)
OPEN = ["new/x.csv", "raw/x.csv", "batch/in/x.csv", "experiments/x", "captured/x", "survey/x"]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with Account(tmp_path_factory.mktemp("writers") / "data", "--enforce-policies") as account:
        for name in (
            "deployer",
            "landing",
            "retraining-prod-environment-ExecutionRole-A1",
            "retraining-dev-environment-ExecutionRole-A1",
        ):
            account.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
            account.iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
        yield account


@pytest.fixture(scope="module")
def buckets(account, acting) -> tuple[str, str]:
    """Artifacts and data bucket of a deployment that the role deployer made."""
    session = acting("deployer")
    data = data_platform.deploy(session, "prod", "abalone", {}, print)[1]["DataBucketName"]
    for name in ("TrainRole", "GlueRole", "EvaluateRole", "ExperimentRole"):
        role = role_of(account, name)
        account.iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(TRUST))
        account.iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
    return data_platform.artifacts_bucket(session, "prod"), data


@pytest.fixture(scope="module")
def acting(account):
    """Return a session in a role, whose clients lead to the account."""

    def session(role: str) -> boto3.Session:
        keys = account.sts.assume_role(RoleArn=f"{ARN}role/{role}", RoleSessionName="test")["Credentials"]
        return boto3.Session(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name="us-east-1"
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", account.url)
        yield session


def role_of(account: Account, logical: str) -> str:
    found = account.client("cloudformation").describe_stack_resource(
        StackName="retraining-prod-abalone", LogicalResourceId=logical
    )
    return found["StackResourceDetail"]["PhysicalResourceId"].rpartition("/")[2]


def refused(call, **params) -> bool:
    try:
        call(**params)
    except ClientError as error:
        assert "explicit deny in a resource-based policy" in str(error)
        return True
    return False


@pytest.mark.local_aws
@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("landing", []),
        ("retraining-dev-environment-ExecutionRole-A1", []),
        ("ExperimentRole", []),
        ("TrainRole", MODELS),
        ("GlueRole", ROWS),
        ("EvaluateRole", RUNS),
        ("retraining-prod-environment-ExecutionRole-A1", [*CODE, *MODELS, *ROWS, *RUNS]),
        ("deployer", [*CODE, *MODELS, *ROWS, *RUNS]),
    ],
)
def test_who_may_do_everything_still_writes_only_what_is_his(account, acting, buckets, role, may):
    s3 = acting(role_of(account, role) if role.endswith("Role") else role).client("s3")
    written = []
    for key in (*CODE, *MODELS, *ROWS, *RUNS, *OPEN):
        place = {"Bucket": buckets[1], "Key": f"abalone/{key}"}
        version = account.s3.put_object(**place, Body=b"theirs")["VersionId"]
        answers = {
            refused(s3.put_object, **place, Body=b"mine"),
            refused(s3.copy_object, **place, CopySource=f"{buckets[1]}/{place['Key']}", MetadataDirective="REPLACE"),
            refused(s3.delete_object, **place),
            refused(s3.delete_object, **place, VersionId=version),
        }
        assert len(answers) == 1, key
        written += [key] if answers == {False} else []
    assert written == [*may, *OPEN]


@pytest.mark.local_aws
@pytest.mark.parametrize(("role", "may"), [("landing", False), ("TrainRole", False), ("deployer", True)])
def test_the_artifacts_bucket_is_written_by_deployers_alone(account, acting, buckets, role, may):
    s3 = acting(role_of(account, role) if role.endswith("Role") else role).client("s3")
    for key in (
        "prod/dags/x.py",
        "prod/plugins.zip",
        "prod/requirements.txt",
        "prod/startup.sh",
        "glue/x.py",
        "lambda/x.zip",
    ):
        assert refused(s3.put_object, Bucket=buckets[0], Key=key, Body=b"") is not may
        assert refused(s3.delete_object, Bucket=buckets[0], Key=key) is not may


@pytest.mark.local_aws
def test_who_may_not_write_may_not_change_the_policy_either_and_root_may(account, acting, buckets):
    landing = acting("landing").client("s3")
    for bucket in buckets:
        policy = account.s3.get_bucket_policy(Bucket=bucket)["Policy"]
        assert refused(landing.delete_bucket_policy, Bucket=bucket)
        assert refused(landing.put_bucket_policy, Bucket=bucket, Policy=policy)
        assert refused(landing.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
        rule = {"ID": "all", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}
        assert refused(
            landing.put_bucket_lifecycle_configuration, Bucket=bucket, LifecycleConfiguration={"Rules": [rule]}
        )
        assert json.loads(policy) == json.loads(account.s3.get_bucket_policy(Bucket=bucket)["Policy"])
        account.s3.put_bucket_policy(Bucket=bucket, Policy=policy)


@pytest.mark.local_aws
def test_who_deployed_first_goes_on_and_another_is_refused_with_words_before_anything_changes(account, acting, buckets):
    first, second = acting("deployer"), acting("landing")
    check_caller_writes(first, buckets[0], ())
    assert data_platform.deploy(first, "prod", "abalone", {}, print)[0] == "unchanged"
    with pytest.raises(CodeWritersError, match="role/landing is none of the deployers") as error:
        check_caller_writes(second, buckets[0], ())
    assert f"{ARN}role/deployer" in str(error.value)
    assert refused(
        data_platform.ensure_artifacts_bucket, session=second, environment="prod", named=[f"{ARN}role/landing"]
    )
    assert deployers(second, buckets[0], ()) == (
        f"{ARN}root",
        *principals(f"{ARN}role/deployer"),
        f"{ARN}role/*/deployer",
    )


@pytest.mark.local_aws
def test_a_deployment_s_file_names_who_may_and_a_change_of_it_is_part_of_the_plan(account, acting, buckets):
    named = (f"{ARN}role/deployer", f"{ARN}role/ops-*")
    session = acting("deployer")
    deployment = settings.Deployment("prod", "us-east-1", deployers=named)
    project = Project(session, deployment, print, with_environment=False)
    project.check_writes()
    config = next(config for config in project.models if config.name == "abalone")
    assert project.platform_request(config).parameters["CodeWriters"].split(",")[:3] == [f"{ARN}root", *named]
    [line] = [
        line
        for step in project.plan()
        if step.title == "stack retraining-prod-abalone"
        for line in step.difference.lines
        if line.startswith("CodeWriters")
    ]
    assert "role/ops-*" in line.partition("->")[2]


def test_a_session_is_known_by_its_role_with_any_path_and_root_and_users_by_their_name():
    assert principals("arn:aws:sts::1:assumed-role/AWSReservedSSO_Admin_1/me@there") == (
        "arn:aws:iam::1:role/AWSReservedSSO_Admin_1",
        "arn:aws:iam::1:role/*/AWSReservedSSO_Admin_1",
    )
    for arn in ("arn:aws:iam::1:root", "arn:aws:iam::1:user/people/me"):
        assert principals(arn) == (arn,)


@pytest.mark.parametrize("value", ["'*'", "[deployer]", "['arn:aws:sts::123456789012:assumed-role/a/b']", "[1]"])
def test_deployers_are_arns_of_roles_and_users(tmp_path, value):
    (tmp_path / "prod.yaml").write_text(f"region: us-east-1\ndeployers: {value}\n")
    with pytest.raises(settings.SettingsError, match=r"prod\.yaml: deployers"):
        settings.load("prod", tmp_path)
    (tmp_path / "prod.yaml").write_text("region: us-east-1\ndeployers: ['arn:aws:iam::123456789012:role/deploy-*']\n")
    assert settings.load("prod", tmp_path).deployers == ("arn:aws:iam::123456789012:role/deploy-*",)


def test_each_role_of_the_platform_that_may_write_a_guarded_prefix_is_let_through_and_no_other():
    """What a role's own policy allows and the bucket's policy denies would fail on AWS at the first run."""
    prefix = "arn:<AWS::Partition>:s3:::<DataBucketName>/<ModelName>/"
    guarded = {}
    for statement in RESOURCES["DataBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]:
        exempt = statement["Condition"].get("ArnNotEquals", {}).get("aws:PrincipalArn", {}).get("Fn::GetAtt", "")
        for place in cloudformation.resolve(statement["Resource"], {}):
            if place.startswith(prefix):
                assert tuple(statement["Action"]) == code_writers.WRITING
                guarded[place.removeprefix(prefix)] = exempt.removesuffix(".Arn")
    roles = [(name, role) for name, role in RESOURCES.items() if role["Type"] == "AWS::IAM::Role"]
    allowed = {
        (place.removeprefix(prefix), name)
        for name, role in roles
        for statement in statements(cloudformation.resolve(role, {}))
        if statement["Effect"] == "Allow" and set(code_writers.WRITING) & set(statement["Action"])
        for place in statement["Resource"]
        if place.removeprefix(prefix) in guarded
    }
    assert allowed == {(place, role) for place, role in guarded.items() if role}
