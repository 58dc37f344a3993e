"""Bringing a model into service, and not: verification, roll-back and clearing away, against a running local_aws."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError
from local_account import ROLE, wait_for
from serving_stage import BROKEN, MULTIPLIES, Stage

from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.plan import Champion
from retraining.serving import deployment, registry

pytestmark = pytest.mark.local_aws


@pytest.fixture
def stage(account, access, config, bucket) -> Iterator[Stage]:
    stage = Stage(account, access, config, bucket)
    yield stage
    try:
        account.sagemaker.delete_endpoint(EndpointName=stage.name)
    except ClientError as error:
        assert "Could not find" in str(error)


def test_a_verified_model_serves_and_is_approved_and_a_second_try_changes_nothing(stage):
    verified = stage.promote("v1", factor=2)
    assert verified["smoke"]["answer"] == 6.0
    assert stage.ask() == 6.0
    assert stage.statuses() == {1: "Approved"}
    config = stage.serving()["EndpointConfigName"]
    assert stage.get("runs/v1/deployment.json")["previous_config"] is None

    again = stage.promote("v1", factor=2)
    assert again["config"] == config == stage.serving()["EndpointConfigName"]
    assert stage.statuses() == {1: "Approved"}


def test_a_container_that_never_gets_healthy_leaves_the_old_model_serving(stage):
    old = stage.promote("v1", factor=2)["config"]
    champion = registry.champion(stage.account.sagemaker, stage.name)
    trained = stage.candidate("v2", 5, BROKEN)
    stage.register("v2", trained, champion)
    request = stage.steps.deploy_request(stage.plan("v2", champion), trained)
    with stage.load() as load:
        status, _ = stage.bring(request)
    assert (status.state, status.outcome) == ("RolledBack", "failed")
    assert "did not come up" in status.reason
    assert "this model is broken" in status.reason
    handle = {"endpoint": stage.name, "config": request["EndpointConfigName"]}
    # CloudWatch gets the lines a moment later; they must be those of the new container, not of the old one, which logs requests.
    wait_for(
        lambda: any("this model is broken" in line for line in JOB_KINDS["endpoint"].log_tail(stage.access, handle))
    )
    assert load.failures == []
    assert set(load.answers) == {6.0}
    assert stage.serving()["EndpointConfigName"] == old
    assert stage.statuses() == {1: "Approved", 2: "PendingManualApproval"}
    assert registry.champion(stage.account.sagemaker, stage.name) == champion


def test_wrong_answers_bring_the_old_model_back_without_a_failed_request(stage):
    old = stage.promote("v1", factor=2)["config"]
    champion = registry.champion(stage.account.sagemaker, stage.name)
    trained = stage.candidate("v2", 5)
    stage.put("runs/v2/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 15.001})
    package = stage.register("v2", trained, champion)
    plan = stage.plan("v2", champion)
    with stage.load() as load:
        status, deployed = stage.bring(stage.steps.deploy_request(plan, trained))
        assert status.outcome == "succeeded"
        with pytest.raises(AirflowFailException, match=r"answers 15 where the evaluation predicted 15\.001") as caught:
            stage.steps.verify_endpoint(plan, package, deployed)
    assert f"serves {old} again" in str(caught.value)
    assert load.failures == []
    assert set(load.answers) == {6.0, 15.0}
    assert load.answers[-1] == 6.0
    assert stage.serving()["EndpointConfigName"] == old
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}
    assert "answers 15" in stage.packages()[2].reason
    # the version counts as judged: the next scheduled run does not deploy the same model again
    assert stage.keys("dataset/trained/000002/") == ["dataset/trained/000002/v2.json"]

    with pytest.raises(AirflowFailException, match="was left alone"):  # a second try of the task finds it undone
        stage.steps.verify_endpoint(plan, package, deployed)
    assert stage.serving()["EndpointConfigName"] == old


def test_the_first_model_that_answers_wrongly_leaves_no_endpoint(stage):
    trained = stage.candidate("v1", 2)
    stage.put("runs/v1/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 7})
    package, plan = stage.register("v1", trained), stage.plan("v1")
    _, deployed = stage.bring(stage.steps.deploy_request(plan, trained))
    with pytest.raises(AirflowFailException, match="was deleted, because nothing served before"):
        stage.steps.verify_endpoint(plan, package, deployed)
    stage.account.sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=stage.name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )


def test_a_model_that_served_before_the_run_is_not_deleted_when_its_check_fails(stage):
    stage.promote("v1", factor=2)
    champion = registry.champion(stage.account.sagemaker, stage.name)
    trained = [{"name": "train-v1", "model_data": champion.model_data, "metrics": {}}]
    package, plan = stage.register("v2", trained, champion), stage.plan("v2", champion)
    stage.put("runs/v2/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 7})
    _, deployed = stage.bring(stage.steps.deploy_request(plan, trained))
    with pytest.raises(AirflowFailException, match=r"served .* before this run, too, and was left alone"):
        stage.steps.verify_endpoint(plan, package, deployed)
    assert stage.ask() == 6.0


def test_another_persons_change_is_not_rolled_back_over(stage):
    stage.promote("v1", factor=2)
    stage.promote("v2", factor=3)
    champion = registry.champion(stage.account.sagemaker, stage.name)
    before = stage.serving()["EndpointConfigName"]
    outcome = deployment.roll_back(stage.account.sagemaker, stage.name, "another-config", "older-config", 10, 0.1)
    assert "left alone" in outcome
    assert stage.serving()["EndpointConfigName"] == before
    assert registry.champion(stage.account.sagemaker, stage.name) == champion


def test_a_roll_back_to_a_config_that_is_gone_says_so_and_keeps_what_serves(stage):
    config = stage.promote("v1", factor=2)["config"]
    outcome = deployment.roll_back(stage.account.sagemaker, stage.name, config, f"{stage.name}-config-gone", 10, 0.1)
    assert "could not be returned" in outcome
    assert "look at it now" in outcome
    assert stage.ask() == 6.0


def test_nothing_is_deployed_when_the_champion_changed_under_the_run(stage):
    stage.promote("v1", factor=2)
    stage.promote("v2", factor=3)
    trained = stage.candidate("v3", 4)
    judged = Champion(package_arn=stage.packages()[1].arn, model_data="s3://b/k", run_key="v1")
    with pytest.raises(
        AirflowFailException, match=r"the champion is .*/2 now, but this run compared its model with .*/1"
    ):
        stage.steps.deploy_request(stage.plan("v3", judged), trained)
    assert stage.ask() == 9.0


def test_verification_names_what_is_wrong(stage):
    stage.promote("v1", factor=2)
    sagemaker, runtime = stage.account.sagemaker, stage.account.sagemaker_runtime
    config = stage.serving()["EndpointConfigName"]
    smoke = {"content_type": "text/csv", "body": "3", "prediction": 6.0}
    assert deployment.verify(sagemaker, runtime, stage.name, config, smoke, 1e-6) == 6.0
    with pytest.raises(deployment.VerificationError, match=f"serves config {config}, not other"):
        deployment.verify(sagemaker, runtime, stage.name, "other", smoke, 1e-6)
    with pytest.raises(deployment.VerificationError, match="does not answer the smoke request 'three'"):
        deployment.verify(sagemaker, runtime, stage.name, config, {**smoke, "body": "three"}, 1e-6)
    with pytest.raises(deployment.VerificationError, match="answers nan"):
        deployment.verify(sagemaker, runtime, stage.name, config, {**smoke, "body": "nan"}, 1e-6)


def models_of(stage):
    configs = stage.account.sagemaker.list_endpoint_configs(NameContains=f"{stage.name}-config", MaxResults=100)
    models = stage.account.sagemaker.list_models(NameContains=f"{stage.name}-model", MaxResults=100)
    return len(configs["EndpointConfigs"]), len(models["Models"])


def test_superseded_configs_models_and_artifacts_are_cleared_away_but_never_what_is_needed(stage):
    for number in range(1, 6):
        stage.promote(f"v{number}", factor=number)
    assert stage.ask() == 15.0
    assert models_of(stage) == (2, 2)  # the one that serves, and `keep` = 1
    assert stage.keys("models/") == [f"models/train-v{number}/output/model.tar.gz" for number in (4, 5)]


def test_a_config_that_another_endpoint_serves_is_kept_with_its_model(stage):
    first = stage.promote("v1", factor=1)["config"]
    other = f"{stage.name}-other"
    stage.account.sagemaker.create_endpoint(EndpointName=other, EndpointConfigName=first)
    stage.account.endpoint_settled(other)
    for number in range(2, 5):
        stage.promote(f"v{number}", factor=number)
    kept = stage.account.sagemaker.describe_endpoint_config(EndpointConfigName=first)
    model = stage.account.sagemaker.describe_model(ModelName=kept["ProductionVariants"][0]["ModelName"])
    assert model["PrimaryContainer"]["ModelDataUrl"].endswith("train-v1/output/model.tar.gz")
    assert stage.keys("models/train-v1/")
    assert not stage.keys("models/train-v2/")
    assert models_of(stage) == (3, 3)
    stage.account.sagemaker.delete_endpoint(EndpointName=other)


def test_another_models_configs_are_not_this_models(stage):
    """`NameContains` finds a name anywhere: model `x` must not clear away what belongs to `my-x` or `x-config`."""
    trained = stage.candidate("v1", 2)
    container = stage.config_request(trained[0]["model_data"])
    sagemaker, theirs = stage.account.sagemaker, []
    for neighbour in (f"my-{stage.name}", f"{stage.name}-config"):
        for size in range(3):
            model = deployment.ensure_model(sagemaker, neighbour, container, ROLE)
            variant = {"VariantName": "AllTraffic", "ModelName": model, "InitialInstanceCount": 1 + size}
            request = {"ProductionVariants": [{**variant, "InstanceType": "ml.t2.medium"}]}
            theirs.append(deployment.ensure_endpoint_config(sagemaker, neighbour, request))
    assert deployment.prune(sagemaker, stage.name, 1, None) == []
    for name in theirs:
        sagemaker.describe_endpoint_config(EndpointConfigName=name)


def test_which_artifacts_nothing_needs():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    stored = {f"s3://b/{n}": start + timedelta(days=n) for n in range(10)}
    recent = [f"s3://b/{n}" for n in (9, 8, 7, 6, 4, 2, 1)]  # 0, 3 and 5 lost to another candidate, or their run failed
    approved = [f"s3://b/{n}" for n in (8, 2, 1)]
    stale = deployment.superseded_artifacts(stored, approved, recent, ["s3://b/4"], keep=1)
    assert stale == [f"s3://b/{n}" for n in (0, 1, 3, 5, 6, 7)]
    assert deployment.superseded_artifacts(stored, approved, recent[:2], [], keep=1) == []
    assert deployment.superseded_artifacts(stored, approved, recent, [], keep=9) == []


def test_names_are_created_once(stage):
    trained = stage.candidate("v1", 2, MULTIPLIES)
    container = stage.config_request(trained[0]["model_data"])
    names = {deployment.ensure_model(stage.account.sagemaker, stage.name, container, ROLE) for _ in range(2)}
    assert len(names) == 1
