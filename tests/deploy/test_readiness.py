"""Zones, quotas and rights: the comparisons on made-up accounts, and the calls against botocore's models."""

import boto3
import pytest
from botocore.stub import Stubber

from deploy import artifacts, preflight, readiness, settings, zones
from retraining.settings.machines.deployment import Deployment
from retraining.settings.model_config import load_model_config

MODEL = load_model_config(artifacts.ROOT / "dags" / "models" / "abalone" / "model.yaml")
SERVICES = zones.endpoint_services("us-east-1")


def test_a_zone_without_every_endpoint_service_is_passed_over():
    offered = {name: ["us-east-1a", "us-east-1b", "us-east-1c"] for name in SERVICES}
    offered["com.amazonaws.us-east-1.sagemaker.api"] = ["us-east-1b", "us-east-1c"]
    chosen = zones.choose("us-east-1", ["us-east-1a", "us-east-1b", "us-east-1c"], offered, SERVICES)
    assert chosen == {"ZoneA": "us-east-1b", "ZoneB": "us-east-1c"}


def test_a_region_without_two_such_zones_is_refused_with_what_is_missing():
    offered = {name: ["x-a", "x-b"] for name in SERVICES} | {SERVICES[1]: ["x-a"]}
    with pytest.raises(zones.ZoneError, match=rf"1 zone\(s\).*{SERVICES[1]} is missing in x-b"):
        zones.choose("x", ["x-a", "x-b"], offered, SERVICES)


def test_zones_are_asked_for_as_ec2_wants_it_and_gateways_need_none():
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1")
    ec2 = session.client("ec2")
    with Stubber(ec2) as stub:
        names = [{"ZoneName": name} for name in ("us-east-1a", "us-east-1b")]
        stub.add_response("describe_availability_zones", {"AvailabilityZones": names})
        details = [
            {
                "ServiceName": name,
                "ServiceType": [{"ServiceType": "Interface"}],
                "AvailabilityZones": ["us-east-1b", "us-east-1a"],
            }
            for name in SERVICES
            if not name.endswith(".s3")
        ]
        details.append({"ServiceName": "com.amazonaws.us-east-1.s3", "ServiceType": [{"ServiceType": "Gateway"}]})
        stub.add_response("describe_vpc_endpoint_services", {"ServiceDetails": details})

        class Answering:
            region_name = "us-east-1"

            def client(self, _name):
                return ec2

        assert zones.find(Answering(), "endpoints") == {"ZoneA": "us-east-1a", "ZoneB": "us-east-1b"}


def test_what_runs_at_the_same_time_is_counted():
    needed = readiness.instances_needed([MODEL])
    assert needed == {
        "ml.m5.large for training job usage": len(MODEL.training.candidates),
        "ml.m5.large for processing job usage": 1,
        "ml.t2.medium for endpoint usage": 2,
    }


def test_trials_that_run_at_the_same_time_are_counted():
    tuning = {"trials": 20, "parallel": 3, "ranges": {"algorithm": {"values": ["linear", "svr_hgb"]}}}
    training = MODEL.training.model_dump() | {"tuning": tuning}
    searching = MODEL.model_copy(update={"training": type(MODEL.training).model_validate(training)})
    needed = readiness.instances_needed([searching])
    assert needed["ml.m5.large for training job usage"] == len(MODEL.training.candidates) + 3


def test_a_model_needs_the_machines_of_its_mode():
    image = MODEL.deployment.image
    for deployment, machines in (
        (Deployment(mode="serverless", endpoint="e", image=image), {"ml.m5.large for processing job usage": 1}),
        (
            Deployment(mode="none", image=image),
            {"ml.m5.large for processing job usage": 1, "ml.m5.tiny for processing job usage": 1},
        ),
    ):
        batch = MODEL.batch.model_copy(update={"instance_type": "ml.m5.tiny"})
        model = MODEL.model_copy(update={"deployment": deployment, "batch": batch})
        training = {"ml.m5.large for training job usage": len(MODEL.training.candidates)}
        assert readiness.instances_needed([model]) == training | machines
        wrong = readiness.unknown_instance_types([model])
        assert ["batch.instance_type 'ml.m5.tiny'" in sentence for sentence in wrong] == [True] * (len(machines) - 1)


def test_an_endpoint_that_is_scaled_needs_twice_the_most_that_it_may_grow_to():
    scaled = {"instance_type": "ml.m5.large", "autoscaling": {"min": 1, "max": 4, "invocations_per_instance": 9}}
    deployment = Deployment(endpoint="e", image=MODEL.deployment.image, **scaled)
    needed = readiness.instances_needed([MODEL.model_copy(update={"deployment": deployment})])
    assert needed["ml.m5.large for endpoint usage"] == 8


def test_a_quota_that_is_too_small_is_named_with_both_numbers():
    quotas = {"ml.m5.large for training job usage": 20.0, "ml.t2.medium for endpoint usage": 0.0}
    [sentence] = readiness.missing_quotas(readiness.instances_needed([MODEL]), quotas)
    assert "'ml.t2.medium for endpoint usage' is 0, 2 needed" in sentence


def test_an_instance_type_that_the_service_does_not_have_is_named_with_its_key():
    wrong = MODEL.model_copy(update={"deployment": MODEL.deployment.model_copy(update={"instance_type": "ml.m5.tiny"})})
    [sentence] = readiness.unknown_instance_types([wrong])
    assert "deployment.instance_type 'ml.m5.tiny'" in sentence


def test_a_network_in_which_no_task_would_start_is_refused():
    shut = settings.Deployment("prod", "us-east-1", environment={"WebserverAccess": "PUBLIC_ONLY"})
    with pytest.raises(preflight.PreflightError, match="none would start"):
        preflight.check_network(shut, sdk_steps=False)
    with pytest.raises(preflight.PreflightError, match="no way to one"):
        preflight.check_network(settings.Deployment("prod", "us-east-1"), sdk_steps=True)
    with pytest.raises(preflight.PreflightError, match="no way there"):
        preflight.check_network(settings.Deployment("prod", "us-east-1"), sdk_steps=False, scaled=True)
    preflight.check_network(settings.Deployment("prod", "us-east-1", environment={"Egress": "nat"}), True, True)


def test_what_an_account_does_not_answer_is_said_and_not_guessed(session):
    found = readiness.check_account(session, [MODEL], True, True, False)
    assert found.missing == []
    assert any("instances" in sentence for sentence in found.unknown)


def test_a_region_without_mwaa_is_named():
    assert readiness.check_account(Account("mx-central-1"), [], True, False, False).missing == [
        "Amazon MWAA is not offered in mx-central-1"
    ]
    assert readiness.check_account(Account("us-east-1"), [], True, False, False).missing == []


class Account:
    """A session of an account that lists some of SageMaker's quotas, and whose caller is its root."""

    arn = "arn:aws:iam::123456789012:root"

    def __init__(self, region, **quotas):
        self.region_name, self.quotas = region, quotas

    def get_available_regions(self, service):
        return boto3.Session().get_available_regions(service)

    def client(self, _name, **_):
        return self

    def get_caller_identity(self):
        return {"Arn": self.arn}

    def simulate_principal_policy(self, PolicySourceArn, ActionNames):
        decision = dict.fromkeys(ActionNames, "allowed") | {"kms:CreateGrant": "implicitDeny"}
        return {"EvaluationResults": [{"EvalActionName": key, "EvalDecision": decision[key]} for key in ActionNames]}

    def get_paginator(self, _):
        return self

    def paginate(self, ServiceCode):
        return [{"Quotas": [{"QuotaName": name, "Value": value} for name, value in self.quotas.items()]}]


def test_a_right_that_the_deployer_lacks_is_named():
    account = Account("us-east-1")
    account.arn = "arn:aws:iam::123456789012:user/deployer"
    found = readiness.check_account(account, [], True, False, False)
    assert found.missing == ["arn:aws:iam::123456789012:user/deployer may not call kms:CreateGrant (implicitDeny)"]


def test_an_instance_type_that_the_region_lists_no_quota_for_is_said():
    region = Account("eu-south-2", **{"ml.m5.large for training job usage": 20, "ml.t2.medium for endpoint usage": 2})
    found = readiness.check_account(region, [MODEL], False, False, False)
    assert found.missing == []
    assert found.unknown == [
        "SageMaker in eu-south-2 lists no quota 'ml.m5.large for processing job usage': does it have that instance type?"
    ]
