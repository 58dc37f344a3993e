"""Application Auto Scaling of endpoints: bounds are held, and what AWS refuses of an endpoint that is scaled is refused."""

import json

import boto3
import pytest
from botocore.exceptions import ClientError
from local_account import TIMES, Account, variant

pytestmark = pytest.mark.local_aws
TRACKING = {
    "TargetValue": 100.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
}


def target(endpoint: str, name: str = "AllTraffic") -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{name}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def tracked(endpoint: str, policy: str = "p") -> dict:
    return {
        **target(endpoint),
        "PolicyName": policy,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": TRACKING,
    }


@pytest.fixture(scope="module")
def scaling(account: Account):
    return account.client("application-autoscaling")


def served(account: Account, name: str) -> None:
    account.model(name, TIMES.format(factor=2))
    account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    assert account.endpoint_settled(name)["EndpointStatus"] == "InService"


def count(account: Account, name: str) -> int:
    [found] = account.sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"]
    return found["DesiredInstanceCount"]


def test_a_target_is_kept_within_its_bounds_from_its_registration_on(account, scaling):
    served(account, "bounded")
    scaling.register_scalable_target(**target("bounded"), MinCapacity=2, MaxCapacity=4)
    assert count(account, "bounded") == 2
    scaling.register_scalable_target(**target("bounded"), MinCapacity=3)
    assert count(account, "bounded") == 3
    scaling.register_scalable_target(**target("bounded"), MinCapacity=1, MaxCapacity=2)
    assert count(account, "bounded") == 2
    [found] = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[target("bounded")["ResourceId"]]
    )["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 2)
    with pytest.raises(ClientError, match="MinCapacity must be less"):
        scaling.register_scalable_target(**target("bounded"), MinCapacity=3)
    assert (
        scaling.put_scaling_policy(**tracked("bounded"))["PolicyARN"]
        == scaling.put_scaling_policy(**tracked("bounded"))["PolicyARN"]
    )
    [policy] = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"] == TRACKING
    with pytest.raises(ClientError, match="Only one"):
        scaling.put_scaling_policy(**tracked("bounded", "another"))
    scaling.deregister_scalable_target(**target("bounded"))
    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
    assert count(account, "bounded") == 2
    with pytest.raises(scaling.exceptions.ObjectNotFoundException):
        scaling.deregister_scalable_target(**target("bounded"))


def test_what_cannot_be_scaled_is_refused(account, scaling):
    served(account, "unscaled")
    for wanted, words in (
        ({**target("nobody"), "MinCapacity": 1, "MaxCapacity": 2}, "Could not find endpoint"),
        ({**target("unscaled", "Other"), "MinCapacity": 1, "MaxCapacity": 2}, 'Variant "Other" not found'),
        ({**target("unscaled"), "MinCapacity": 1}, "must both be given"),
        ({**target("unscaled"), "ServiceNamespace": "ecs", "MinCapacity": 1, "MaxCapacity": 2}, "namespace sagemaker"),
        ({**target("unscaled"), "ResourceId": "endpoint/unscaled", "MinCapacity": 1, "MaxCapacity": 2}, "Unsupported"),
    ):
        with pytest.raises(ClientError, match=words):
            scaling.register_scalable_target(**wanted)
    with pytest.raises(scaling.exceptions.ObjectNotFoundException, match="No scalable target"):
        scaling.put_scaling_policy(**tracked("unscaled"))
    account.sagemaker.create_endpoint_config(
        EndpointConfigName="burst", ProductionVariants=[variant("unscaled", InstanceType="ml.t2.medium")]
    )
    account.sagemaker.update_endpoint(EndpointName="unscaled", EndpointConfigName="burst")
    account.endpoint_settled("unscaled")
    with pytest.raises(ClientError, match="burstable"):
        scaling.register_scalable_target(**target("unscaled"), MinCapacity=1, MaxCapacity=2)
    with pytest.raises(ClientError, match="not available in local_aws"):
        scaling.put_scheduled_action(**target("unscaled"), ScheduledActionName="night")


def test_an_update_to_another_type_of_instance_is_refused_while_a_variant_is_a_target(account, scaling):
    served(account, "typed")
    for name, changes in (("same", {}), ("larger", {"InstanceType": "ml.m5.xlarge"})):
        account.sagemaker.create_endpoint_config(
            EndpointConfigName=f"typed-{name}", ProductionVariants=[variant("typed", **changes)]
        )
    scaling.register_scalable_target(**target("typed"), MinCapacity=2, MaxCapacity=2)
    with pytest.raises(ClientError, match="Deregister them from auto scaling first"):
        account.sagemaker.update_endpoint(EndpointName="typed", EndpointConfigName="typed-larger")
    account.sagemaker.update_endpoint(EndpointName="typed", EndpointConfigName="typed-same")
    account.endpoint_settled("typed")
    assert count(account, "typed") == 1  # as on AWS: the config's own number, for nobody asked to keep the other
    scaling.deregister_scalable_target(**target("typed"))
    account.sagemaker.update_endpoint(EndpointName="typed", EndpointConfigName="typed-larger")
    assert account.endpoint_settled("typed")["EndpointConfigName"] == "typed-larger"


def test_the_end_of_an_endpoint_ends_its_targets(account, scaling):
    served(account, "ended")
    scaling.register_scalable_target(**target("ended"), MinCapacity=1, MaxCapacity=2)
    account.sagemaker.delete_endpoint(EndpointName="ended")
    ids = [target("ended")["ResourceId"]]
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=ids)["ScalableTargets"] == []


def test_a_role_needs_the_right_for_the_namespace(tmp_path):
    with Account(tmp_path / "data", "--enforce-policies") as strict:
        trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
        strict.iam.create_role(RoleName="scaler", AssumeRolePolicyDocument=json.dumps(trust))
        keys = strict.sts.assume_role(RoleArn="arn:aws:iam::000000000000:role/scaler", RoleSessionName="test")[
            "Credentials"
        ]
        session = boto3.Session(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name="us-east-1"
        )
        client = session.client("application-autoscaling", endpoint_url=strict.url)
        said = []
        for namespace in ("ecs", "sagemaker"):
            statement = {
                "Effect": "Allow",
                "Action": "application-autoscaling:RegisterScalableTarget",
                "Resource": "arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/*",
                "Condition": {"StringEquals": {"application-autoscaling:service-namespace": namespace}},
            }
            strict.iam.put_role_policy(
                RoleName="scaler", PolicyName="p", PolicyDocument=json.dumps({"Statement": [statement]})
            )
            with pytest.raises(ClientError) as error:
                client.register_scalable_target(**target("nobody"), MinCapacity=1, MaxCapacity=1)
            said.append(str(error.value))
        assert "not authorized to perform: application-autoscaling:RegisterScalableTarget" in said[0]
        assert "Could not find endpoint" in said[1]
