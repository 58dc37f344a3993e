"""An endpoint that is scaled: promotions, rollbacks and ways back keep the instances that the requests asked for."""

from collections.abc import Iterator

import pytest
from airflow.sdk.exceptions import AirflowFailException
from pydantic import ValidationError
from serving_stage import RETRAINING, Run, Stage
from test_rollback import go_back

from retraining.jobs.requests import VARIANT
from retraining.settings.machines.deployment import Autoscaling, Deployment

pytestmark = pytest.mark.local_aws
IMAGE = "sagemaker-scikit-learn:1.9-0-cpu-py3"
SCALED = {"min": 1, "max": 6, "invocations_per_instance": 100}
PERSON = Run("manual__back", dag_id="stage_rollback", triggering_user_name="night shift")


@pytest.fixture
def stage(account, access, config, bucket) -> Iterator[Stage]:
    with Stage(account, access, config, bucket) as stage:
        use(stage, instance_type="ml.m5.large", autoscaling=Autoscaling(**SCALED))
        yield stage


def use(stage: Stage, **changes) -> None:
    stage.use(stage.config.model_copy(update={"deployment": stage.config.deployment.model_copy(update=changes)}))


def count(stage: Stage) -> int:
    [variant] = stage.serving()["ProductionVariants"]
    return variant["DesiredInstanceCount"]


def grow(stage: Stage, instances: int) -> None:
    """Do what Application Auto Scaling does when requests come."""
    wanted = [{"VariantName": VARIANT, "DesiredInstanceCount": instances}]
    stage.account.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=stage.endpoint, DesiredWeightsAndCapacities=wanted
    )


def targets(stage: Stage) -> list[tuple[int, int]]:
    resource = f"endpoint/{stage.endpoint}/variant/{VARIANT}"
    found = stage.account.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[resource]
    )["ScalableTargets"]
    return [(item["MinCapacity"], item["MaxCapacity"]) for item in found]


def followed(stage: Stage) -> list[float]:
    resource = f"endpoint/{stage.endpoint}/variant/{VARIANT}"
    found = stage.account.client("application-autoscaling").describe_scaling_policies(
        ServiceNamespace="sagemaker", ResourceId=resource
    )["ScalingPolicies"]
    return [item["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] for item in found]


def test_a_promotion_and_a_rollback_keep_the_instances_that_the_requests_asked_for(stage):
    stage.promote("v1", factor=2)
    assert (count(stage), targets(stage), followed(stage)) == (1, [(1, 6)], [100.0])
    grow(stage, 5)
    stage.promote("v2", factor=3)
    assert (stage.ask(), count(stage), targets(stage)) == (9.0, 5, [(1, 6)])
    use(stage, instance_count=2)  # what a new endpoint begins with
    stage.promote("v3", factor=4)
    assert (stage.ask(), count(stage)) == (12.0, 5)
    go_back(stage, PERSON, why="it drifts")
    assert (stage.ask(), count(stage), targets(stage)) == (9.0, 5, [(1, 6)])


def test_a_way_back_keeps_them_too(stage):
    stage.promote("v1", factor=2)
    grow(stage, 4)
    use(stage, instance_count=3)
    champion, trained = stage.champion(), stage.candidate("v2", 5)
    stage.put("runs/v2/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 7})
    package, plan = stage.register("v2", trained, champion), stage.plan("v2", champion)
    _, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
    with pytest.raises(AirflowFailException, match="again"):
        stage.verify(plan, package, deployed)
    assert (stage.ask(), count(stage)) == (6.0, 4)


def test_another_type_of_instance_ends_the_scaling_for_the_time_of_the_update(stage):
    stage.promote("v1", factor=2)
    grow(stage, 3)
    use(stage, instance_type="ml.m5.xlarge")
    champion, trained = stage.champion(), stage.candidate("v2", 3)
    package, plan = stage.register("v2", trained, champion), stage.plan("v2", champion)
    status, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
    assert (status.outcome, targets(stage), count(stage)) == ("succeeded", [], 3)
    stage.verify(plan, package, deployed)
    assert (targets(stage), count(stage)) == ([(1, 6)], 3)


def test_each_run_sees_that_the_endpoint_is_scaled_as_model_yaml_says(stage):
    use(stage, autoscaling=None)
    stage.promote("v1", factor=2)
    assert targets(stage) == []
    use(stage, autoscaling=Autoscaling(min=2, max=3, invocations_per_instance=50))
    assert stage.settle() is None
    assert (targets(stage), followed(stage), count(stage)) == ([(2, 3)], [50.0], 2)


def test_what_refuses_to_scale_is_no_reason_not_to_serve(stage, caplog):
    use(stage, instance_type="ml.t2.medium")  # model_copy checks nothing
    stage.promote("v1", factor=2)
    assert (stage.ask(), targets(stage)) == (6.0, [])
    assert "is not scaled" in caplog.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "serverless"}, "a serverless endpoint has no instances: leave the key out"),
        ({"mode": "none", "endpoint": None}, "a model with mode none has no endpoint: leave the key out"),
        ({"instance_type": "ml.t2.medium"}, "does not scale burstable instances such as ml.t2.medium"),
        ({"instance_count": 7}, "choose it from 1 to 6"),
        ({"autoscaling": {**SCALED, "min": 7}}, "min 7 is more than max 6"),
        ({"autoscaling": {**SCALED, "min": 0}}, "greater than 0"),
        ({"instance_count": 5, "canary": {"percent": 20}}, "canary: percent 20 of 1 is less than an instance"),
    ],
)
def test_what_cannot_be_scaled_is_refused_with_words(changes, words):
    asked = {"endpoint": "a", "image": IMAGE, "instance_type": "ml.m5.large", "autoscaling": SCALED, **changes}
    if "mode" in changes:
        asked.pop("instance_type")
    if asked["endpoint"] is None:
        asked.pop("endpoint")
    with pytest.raises(ValidationError, match=words):
        Deployment.model_validate(asked)
