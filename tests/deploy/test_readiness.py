"""Zones, quotas and rights: the comparisons on made-up accounts, and the calls against botocore's models."""

import boto3
import pytest
from botocore.stub import Stubber

from deploy import artifacts, preflight, readiness, settings, zones
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
    preflight.check_network(settings.Deployment("prod", "us-east-1", environment={"Egress": "nat"}), sdk_steps=True)


def test_what_an_account_does_not_answer_is_said_and_not_guessed(session):
    found = readiness.check_account(session, [MODEL], True, True, False)
    assert found.missing == []
    assert any("instances" in sentence for sentence in found.unknown)


def test_a_region_without_mwaa_is_named():
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name="mx-central-1")
    assert "mx-central-1" not in session.get_available_regions("mwaa")
