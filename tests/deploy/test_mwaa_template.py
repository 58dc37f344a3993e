"""Properties of infra/mwaa.yaml and infra/mwaa_access.yaml that CloudFormation would not miss, but a person would."""

import json
from pathlib import Path

import cloudformation
import pytest
from botocore.loaders import Loader

from deploy import environment

TEMPLATE = cloudformation.read(environment.ENVIRONMENT_TEMPLATE)
ACCESS = cloudformation.read(environment.ACCESS_TEMPLATE)
RESOURCES = TEMPLATE["Resources"]
NAMES = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "111122223333",
    "ModelName": "abcdefghijklmnopqrstuvwx",  # the longest that is allowed
    "EndpointName": "e" * 63,
    "HasEndpoint": "yes",
    "EnvironmentName": "verify-12345",
    "DataBucketName": "b" * 63,
    "JobRoleArns": ",".join(["arn:aws:iam::111122223333:role/" + "r" * 64] * 4),
}


def of_type(kind):
    return {name: item for name, item in RESOURCES.items() if item["Type"] == kind}


def test_the_environment_is_airflow_3_3_1_encrypted_logged_and_in_private_subnets():
    assert TEMPLATE["Parameters"]["AirflowVersion"]["Default"] == "3.3.1"
    properties = RESOURCES["Environment"]["Properties"]
    assert properties["KmsKey"] == {"Fn::GetAtt": "Key.Arn"}
    assert properties["NetworkConfiguration"]["SubnetIds"] == [{"Ref": "PrivateSubnetA"}, {"Ref": "PrivateSubnetB"}]
    assert len(properties["LoggingConfiguration"]) == 5
    assert all(item["Enabled"] for item in properties["LoggingConfiguration"].values())
    assert properties["PluginsS3ObjectVersion"] == {"Ref": "PluginsVersion"}
    assert properties["RequirementsS3ObjectVersion"] == {"Ref": "RequirementsVersion"}
    assert RESOURCES["Key"]["Properties"]["EnableKeyRotation"] is True


def test_a_startup_script_is_named_only_when_a_step_needs_the_sagemaker_sdk():
    properties = RESOURCES["Environment"]["Properties"]
    assert TEMPLATE["Parameters"]["StartupVersion"]["Default"] == ""
    for name in ("StartupScriptS3Path", "StartupScriptS3ObjectVersion"):
        condition, _, otherwise = properties[name]["Fn::If"]
        assert (condition, otherwise) == ("HasStartup", {"Ref": "AWS::NoValue"})


def test_the_web_server_is_public_or_private_by_parameter():
    assert RESOURCES["Environment"]["Properties"]["WebserverAccessMode"] == {"Ref": "WebserverAccess"}


def test_every_service_that_the_dags_call_has_an_endpoint():
    services = {
        item["Properties"]["ServiceName"]["Fn::Sub"].removeprefix("com.amazonaws.${AWS::Region}.")
        for item in of_type("AWS::EC2::VPCEndpoint").values()
    }
    called = {"ssm", "sqs", "sns", "glue", "lambda", "logs", "sagemaker.api", "sagemaker.runtime", "s3"}
    assert services == called | {"monitoring", "kms", "airflow.api", "airflow.env", "ecr.api", "ecr.dkr", "sts"}


def test_there_is_no_way_to_the_internet_unless_asked_for():
    public = ("AWS::EC2::NatGateway", "AWS::EC2::EIP", "AWS::EC2::InternetGateway", "AWS::EC2::Route")
    for kind in public:
        assert of_type(kind)
        assert all(item["Condition"] == "UseNat" for item in of_type(kind).values())
    assert TEMPLATE["Parameters"]["Egress"]["Default"] == "endpoints"
    for item in of_type("AWS::EC2::Subnet").values():
        assert item["Properties"]["MapPublicIpOnLaunch"] is False


def test_interface_endpoints_take_https_from_the_environment_only():
    [rule] = RESOURCES["EndpointSecurityGroup"]["Properties"]["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"]) == (443, 443)
    assert rule["SourceSecurityGroupId"] == {"Fn::GetAtt": "SecurityGroup.GroupId"}


def taggable() -> set[str]:
    return {
        "AWS::EC2::VPC",
        "AWS::EC2::Subnet",
        "AWS::EC2::RouteTable",
        "AWS::EC2::InternetGateway",
        "AWS::EC2::EIP",
        "AWS::EC2::NatGateway",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::VPCEndpoint",
        "AWS::KMS::Key",
        "AWS::IAM::Role",
        "AWS::MWAA::Environment",
        "AWS::Budgets::Budget",
    }


@pytest.mark.parametrize("name", [name for name, item in RESOURCES.items() if item["Type"] in taggable()])
def test_everything_that_can_be_tagged_is(name):
    properties = RESOURCES[name]["Properties"]
    tags = properties.get("Tags") or properties["ResourceTags"]
    keys = set(tags) if isinstance(tags, dict) else {tag["Key"] for tag in tags}
    assert keys >= {"project", "environment"}


def test_only_mwaa_in_this_account_and_for_this_environment_takes_the_execution_role():
    [statement] = RESOURCES["ExecutionRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]}
    assert set(statement["Condition"]) == {"StringEquals", "ArnLike"}


def test_jobs_get_their_own_roles_and_only_through_sagemaker():
    statements = ACCESS["Resources"]["ModelAccess"]["Properties"]["PolicyDocument"]["Statement"]
    [statement] = [item for item in statements if item.get("Action") == "iam:PassRole"]
    assert statement["Resource"] == {"Ref": "JobRoleArns"}
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_the_budget_tells_before_and_when_it_is_exceeded():
    budget = RESOURCES["Budget"]
    assert budget["Condition"] == "HasBudget"
    kinds = [item["Notification"]["NotificationType"] for item in budget["Properties"]["NotificationsWithSubscribers"]]
    assert kinds == ["ACTUAL", "FORECASTED"]


@pytest.mark.parametrize("name", ["DataAccess", "ModelAccess"])
def test_a_managed_policy_keeps_within_the_limit_of_iam(name):
    names = {**NAMES, "IsScaled": "yes"}
    document = cloudformation.resolve(ACCESS["Resources"][name]["Properties"]["PolicyDocument"], names)
    assert len(json.dumps(document, separators=(",", ":"))) <= 6144


def test_only_a_model_that_is_scaled_may_register_it_and_only_at_sagemaker():
    policy = ACCESS["Resources"]["ModelAccess"]["Properties"]["PolicyDocument"]
    more = {}
    for scaled in ("", "yes"):
        statements = cloudformation.resolve(policy, {**NAMES, "IsScaled": scaled})["Statement"]
        more[scaled] = {item["Sid"]: item for item in statements}
    added = {name: more["yes"][name] for name in more["yes"].keys() - more[""].keys()}
    assert added.keys() == {
        "RegisterAutoscaling",
        "ScaleTheEndpoint",
        "KeepTheAlarmsOfAutoscaling",
        "MakeTheRoleOfAutoscaling",
    }
    for name, key in (
        ("RegisterAutoscaling", "application-autoscaling:service-namespace"),
        ("MakeTheRoleOfAutoscaling", "iam:AWSServiceName"),
    ):
        assert added[name]["Condition"]["StringEquals"][key].startswith("sagemaker")
    assert "*" not in [item["Resource"] for item in added.values()]
    assert not any("application-autoscaling" in str(item["Action"]) for item in more[""].values())


def test_a_model_without_an_endpoint_may_make_none():
    names = {name: value for name, value in NAMES.items() if name not in ("HasEndpoint", "EndpointName")}
    policy = ACCESS["Resources"]["ModelAccess"]["Properties"]["PolicyDocument"]
    actions = {"with": set(), "without": set()}
    for which, given in (("with", NAMES), ("without", names)):
        for statement in cloudformation.resolve(policy, given)["Statement"]:
            listed = statement["Action"]
            actions[which] |= set(listed if isinstance(listed, list) else [listed])
    gone = {f"sagemaker:{name}Endpoint" for name in ("Create", "Update", "Delete", "Invoke")}
    assert actions["with"] - actions["without"] == gone
    assert "<EndpointName>" not in json.dumps(cloudformation.resolve(policy, names))


@pytest.mark.parametrize("path", [environment.ENVIRONMENT_TEMPLATE, environment.ACCESS_TEMPLATE])
def test_templates_can_be_sent_without_a_bucket_and_wildcards_have_reasons(path):
    text = Path(path).read_text()
    assert len(text.encode()) <= 51_200
    for number, line in enumerate(text.splitlines(), start=1):
        if ('"*"' in line and "Resource" in line) or ('*"' in line and "Action:" in line):
            assert "#" in line, f"{path.name}:{number}: a wildcard needs its reason behind it"


def test_parameters_of_the_deployments_are_parameters_of_the_template():
    from deploy import settings

    for file in settings.FOLDER.glob("*.yaml"):
        assert set(settings.load(file.stem).environment) <= set(TEMPLATE["Parameters"])


def test_the_environment_has_only_properties_that_the_service_knows():
    model = Loader().load_service_model("mwaa", "service-2")
    known = set(model["shapes"]["CreateEnvironmentInput"]["members"])
    assert set(RESOURCES["Environment"]["Properties"]) <= known
