"""Bringing a model into service, and not: verification, roll-back and clearing away, against a running local_aws."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError, EndpointConnectionError
from local_account import ROLE, wait_for
from serving_stage import BROKEN, MULTIPLIES, RETRAINING, Run, Stage, played

from local_stack.verbs import service
from retraining.aws.clients import client
from retraining.dag import pausing
from retraining.dag.operators import AwsJobOperator
from retraining.dag.verify_operator import VerifyOperator
from retraining.jobs import requests as job_requests
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.plan import Champion
from retraining.jobs.requests import VARIANT
from retraining.serving import deployment, registry, verification
from retraining.serving.champion import standing, status_of

pytestmark = pytest.mark.local_aws


@pytest.fixture
def stage(account, access, config, bucket) -> Iterator[Stage]:
    with Stage(account, access, config, bucket) as stage:
        yield stage


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
    champion = stage.champion()
    trained = stage.candidate("v2", 5, BROKEN)
    stage.register("v2", trained, champion)
    request = stage.steps.deploy_request(stage.plan("v2", champion), trained, RETRAINING)
    with stage.load() as load:
        status, _ = stage.bring(request)
    assert (status.state, status.outcome) == ("RolledBack", "failed")
    assert "did not come up" in status.reason
    assert "this model is broken" in status.reason
    handle = {"endpoint": stage.endpoint, "config": request["EndpointConfigName"]}
    # CloudWatch gets the lines a moment later; they must be those of the new container, not of the old one, which logs requests.
    wait_for(
        lambda: any("this model is broken" in line for line in JOB_KINDS["endpoint"].log_tail(stage.access, handle))
    )
    assert load.failures == []
    assert set(load.answers) == {6.0}
    assert stage.serving()["EndpointConfigName"] == old
    assert stage.statuses() == {1: "Approved", 2: "PendingManualApproval"}
    assert stage.champion() == champion


def test_wrong_answers_bring_the_old_model_back_without_a_failed_request(stage):
    old = stage.promote("v1", factor=2)["config"]
    champion = stage.champion()
    trained = stage.candidate("v2", 5)
    stage.put("runs/v2/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 15.001})
    package = stage.register("v2", trained, champion)
    plan = stage.plan("v2", champion)
    with stage.load() as load:
        status, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
        assert status.outcome == "succeeded"
        with pytest.raises(AirflowFailException, match=r"answers 15 where the evaluation predicted 15\.001") as caught:
            stage.verify(plan, package, deployed)
    assert f"serves {old} again" in str(caught.value)
    assert load.failures == []
    assert set(load.answers) == {6.0, 15.0}
    assert load.answers[-1] == 6.0
    assert stage.serving()["EndpointConfigName"] == old
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}
    assert "answers 15" in stage.packages()[2].reason
    # the version counts as judged: the next scheduled run does not deploy the same model again
    assert stage.keys("dataset/trained/000002/") == ["dataset/trained/000002/v2.json"]

    with pytest.raises(AirflowFailException, match=f"answers 15 .* serves {old} again"):  # a second try changes nothing
        stage.verify(plan, package, deployed)
    assert stage.serving()["EndpointConfigName"] == old


def test_the_first_model_that_answers_wrongly_leaves_no_endpoint(stage):
    trained = stage.candidate("v1", 2)
    stage.put("runs/v1/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 7})
    package, plan = stage.register("v1", trained), stage.plan("v1")
    _, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
    with pytest.raises(AirflowFailException, match="was deleted, because nothing served before"):
        stage.verify(plan, package, deployed)
    stage.account.sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=stage.endpoint, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )


def test_a_model_that_served_before_the_run_is_not_deleted_when_its_check_fails(stage):
    stage.promote("v1", factor=2)
    champion = stage.champion()
    trained = [{"name": "train-v1", "candidate": "one", "model_data": champion.model_data, "metrics": {}}]
    package, plan = stage.register("v2", trained, champion), stage.plan("v2", champion)
    stage.put("runs/v2/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 7})
    _, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
    with pytest.raises(AirflowFailException, match=r"served .* before this run, too, and was left alone"):
        stage.verify(plan, package, deployed)
    assert stage.ask() == 6.0


def test_another_persons_change_is_not_rolled_back_over_and_is_no_verdict(stage):
    stage.promote("v1", factor=2)
    by_hand = stage.serving()["EndpointConfigName"]
    champion, trained = stage.champion(), stage.candidate("v2", 3)
    package, plan = stage.register("v2", trained, champion), stage.plan("v2", champion)
    _, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
    stage.bring({"EndpointName": stage.endpoint, "EndpointConfigName": by_hand})
    with pytest.raises(AirflowFailException, match="somebody changed it before it was verified"):
        stage.verify(plan, package, deployed)
    assert stage.ask() == 6.0
    assert stage.statuses() == {1: "Approved", 2: "PendingManualApproval"}
    assert stage.keys("dataset/trained/000002/") == []


def test_a_way_back_to_a_config_that_is_gone_says_so_and_keeps_what_serves(stage):
    stage.promote("v1", factor=2)
    champion, trained = stage.champion(), stage.candidate("v2", 3)
    package, plan = stage.register("v2", trained, champion), stage.plan("v2", champion)
    stage.put("runs/v2/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 7})
    _, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
    stage.put(
        "runs/v2/deployment.json",
        {**stage.get("runs/v2/deployment.json"), "previous_config": f"{stage.name}-config-gone"},
    )
    with pytest.raises(AirflowFailException, match=r"could not be returned to .*-config-gone: .*; look at it now"):
        stage.verify(plan, package, deployed)
    assert stage.ask() == 9.0


def test_what_goes_back_is_what_served_before_this_attempt(stage):
    """Only the instance count changes and the run is repeated: the run's first deployment is not what served before the second."""
    stage.promote("v1", factor=2)
    stage.promote("v2", factor=3)
    second = stage.serving()["EndpointConfigName"]
    larger = stage.config.deployment.model_copy(update={"instance_count": 2})
    stage.steps.config = stage.config.model_copy(update={"deployment": larger})
    champion = stage.champion()
    trained = [{"name": "train-v2", "candidate": "one", "model_data": champion.model_data, "metrics": {}}]
    plan, package = stage.plan("v2", champion), {**stage.packages()[2].model_dump(include={"arn", "version", "status"})}
    stage.put("runs/v2/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 7})
    _, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
    assert deployed["config"] != second
    with pytest.raises(AirflowFailException, match=f"serves {second} again"):
        stage.verify(plan, package, deployed)
    assert stage.serving()["EndpointConfigName"] == second


def test_an_update_keeps_what_somebody_gave_the_endpoint_since(stage):
    """Autoscaling changes an endpoint beside its config, as its weight is changed here."""
    stage.promote("v1", factor=2)
    wanted = [{"VariantName": VARIANT, "DesiredWeight": 0.5}]
    stage.account.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=stage.endpoint, DesiredWeightsAndCapacities=wanted
    )
    wait_for(lambda: stage.serving()["EndpointStatus"] == "InService")
    stage.promote("v2", factor=3)
    [variant] = stage.serving()["ProductionVariants"]
    assert (variant["DesiredWeight"], stage.ask()) == (0.5, 9.0)


SILENCES = {
    "refused connection": EndpointConnectionError(endpoint_url="http://runtime"),
    "no permission": ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "InvokeEndpoint"),
    "throttled": ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "InvokeEndpoint"),
    "expired token": ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "old"}}, "InvokeEndpoint"),
    "cold model": ClientError(
        {"Error": {"Code": "ModelError", "Message": "Your invocation timed out while waiting for a response"}},
        "InvokeEndpoint",
    ),
}


@pytest.mark.parametrize("error", SILENCES.values(), ids=SILENCES)
def test_only_an_answer_is_a_verdict(stage, monkeypatch, error):
    trained = stage.candidate("v1", 2)
    package, plan = stage.register("v1", trained), stage.plan("v1")
    _, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
    runtime, calls = client("sagemaker-runtime", stage.access), []
    invoke = runtime.invoke_endpoint

    def silent_at_first(**request):
        calls.append(request)
        if len(calls) < 3:
            raise error
        return invoke(**request)

    monkeypatch.setattr(pausing, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(runtime, "invoke_endpoint", silent_at_first)
    assert stage.verify(plan, package, deployed)["smoke"]["answer"] == 6.0
    assert stage.statuses() == {1: "Approved"}


def test_a_single_wrong_answer_is_no_verdict_but_a_repeated_one_is(stage, monkeypatch):
    monkeypatch.setattr(verification, "PAUSE_SECONDS", 0)
    stage.promote("v1", factor=2)
    sagemaker, config = stage.account.sagemaker, stage.serving()["EndpointConfigName"]

    def answering(*values):
        given = iter(values)
        answer = lambda **_: {"Body": io.BytesIO(json.dumps({"predictions": [next(given)]}).encode())}  # noqa: E731
        return SimpleNamespace(invoke_endpoint=answer)

    smoke = {"content_type": "text/csv", "body": "3", "prediction": 6.0}
    assert verification.verify(sagemaker, answering(7, 6), stage.endpoint, config, smoke, 1e-6) == [6.0]
    with pytest.raises(verification.VerificationError, match="answers 8 where the evaluation predicted 6"):
        verification.verify(sagemaker, answering(7, 7, 8), stage.endpoint, config, smoke, 1e-6)


def test_every_smoke_row_must_be_answered_as_evaluated(stage):
    stage.promote("v1", factor=2)
    sagemaker, runtime = stage.account.sagemaker, stage.account.sagemaker_runtime
    config = stage.serving()["EndpointConfigName"]
    rows = [{"body": "4", "prediction": 8.0, "why": "group M"}, {"body": "0", "prediction": 1.0, "why": "least length"}]
    smoke = {"content_type": "text/csv", "body": "3", "prediction": 6.0, "rows": rows[:1]}
    assert verification.verify(sagemaker, runtime, stage.endpoint, config, smoke, 1e-6) == [6.0, 8.0]
    with pytest.raises(
        verification.VerificationError, match=r"answers 0 where .* predicted 1 for the request '0' \(least length\)"
    ):
        verification.verify(sagemaker, runtime, stage.endpoint, config, {**smoke, "rows": rows}, 1e-6)


def unfinished(stage, key="v2", factor=3, prediction=None):
    """Bring a model into service and let its run die before it is verified."""
    champion, trained = stage.champion(), stage.candidate(key, factor)
    if prediction is not None:
        stage.put(
            f"runs/{key}/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": prediction}
        )
    package, plan = stage.register(key, trained, champion), stage.plan(key, champion)
    status, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
    assert status.outcome == "succeeded"
    stage.steps.lease(RETRAINING).release()
    return plan, package, deployed


NEXT = Run("scheduled__2")


def test_a_deployment_that_nobody_verified_is_verified_by_the_next_run(stage):
    stage.promote("v1", factor=2)
    unfinished(stage)
    assert stage.statuses() == {1: "Approved", 2: "PendingManualApproval"}
    assert "serves and is verified now" in stage.settle(NEXT)
    assert stage.statuses() == {1: "Approved", 2: "Approved"}
    assert stage.keys("dataset/trained/") == ["dataset/trained/000001/v2.json"]  # the version that its package names
    assert [letter["Subject"] for letter in stage.mail()] == [f"{stage.name}: verified late"]
    assert stage.settle(NEXT) is None


def test_a_deployment_that_nobody_verified_and_that_answers_wrongly_is_taken_back_by_the_next_run(stage):
    old = stage.promote("v1", factor=2)["config"]
    unfinished(stage, prediction=7)
    assert f"serves {old} again" in stage.settle(NEXT)
    assert stage.ask() == 6.0
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}
    assert [letter["Subject"] for letter in stage.mail()] == [f"{stage.name}: taken back"]


def test_a_verification_killed_on_its_way_back_goes_on(stage, monkeypatch):
    old = stage.promote("v1", factor=2)["config"]
    plan, package, deployed = unfinished(stage, prediction=7)
    with monkeypatch.context() as dying, pytest.raises(MemoryError):
        dying.setattr(VerifyOperator, "_go_back", lambda *_: (_ for _ in ()).throw(MemoryError))
        stage.verify(plan, package, deployed)
    stage.put("runs/v2/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 9})
    with pytest.raises(AirflowFailException, match=f"answers 9 where the evaluation predicted 7.* serves {old} again"):
        stage.verify(plan, package, deployed)
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}


def test_a_deployment_under_way_is_left_to_the_run_that_makes_it(stage):
    stage.promote("v1", factor=2)
    unfinished(stage)
    stage.steps.lease(RETRAINING).take("deploying", 60)
    assert stage.settle(NEXT) is None
    assert stage.statuses() == {1: "Approved", 2: "PendingManualApproval"}


def test_a_container_that_does_not_come_up_is_rejected_and_not_tried_at_the_next_wake(stage):
    stage.promote("v1", factor=2)
    champion, trained = stage.champion(), stage.candidate("v2", 5, BROKEN)
    package, plan = stage.register("v2", trained, champion), stage.plan("v2", champion)
    operator = AwsJobOperator(
        task_id="deploy",
        kind="endpoint",
        model=stage.name,
        step="deploy",
        access=stage.access,
        max_wait=timedelta(seconds=60),
        poll_seconds=lambda: 0.1,
        python_callable=lambda: stage.steps.deploy_request(plan, trained, RETRAINING),
        on_failure=lambda message, context, **_: stage.steps.deployment_failed(message, context, plan, package),
    )
    with pytest.raises(AirflowFailException, match="did not come up"):
        played(operator, {"dag_run": RETRAINING})
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}
    assert stage.keys("dataset/trained/000002/") == ["dataset/trained/000002/v2.json"]
    assert stage.ask() == 6.0


def test_a_click_in_the_console_does_not_change_with_what_a_model_is_compared(stage):
    stage.promote("v1", factor=2)
    stage.promote("v2", factor=3)
    sagemaker, second = stage.account.sagemaker, stage.packages()[2]
    for package in stage.packages().values():  # someone rejects everything in Studio
        registry.set_status(sagemaker, package, "Rejected", "by hand")
    now = standing(sagemaker, stage.name, stage.endpoint)
    assert now.champion.model_data == second.model_data
    assert now.disagreement == (
        f"endpoint {stage.endpoint} serves package 2 (Rejected), but no package is approved: the new model is compared with what serves"
    )
    registry.set_status(sagemaker, stage.packages()[1], "Approved", "by hand")
    now = standing(sagemaker, stage.name, stage.endpoint)
    assert now.champion.model_data == second.model_data
    assert "the newest approved package is 1" in now.disagreement
    shown = status_line(stage)
    assert shown.startswith(f"endpoint {stage.endpoint}: model version 2")
    assert shown.endswith(now.disagreement)


def status_line(stage):
    """Return what ``make status`` says of the model."""
    session = SimpleNamespace(client=lambda name: getattr(stage.account, name))
    return str(service.of(session, stage.name, stage.endpoint, stage.bucket))


def test_an_endpoint_changed_by_hand_is_what_a_new_model_is_compared_with(stage):
    stage.promote("v1", factor=2)
    sagemaker = stage.account.sagemaker
    container = stage.config_request(stage.candidate("hand", 7)[0]["model_data"])
    model = deployment.ensure_model(sagemaker, f"{stage.name}x", container, ROLE)
    request = job_requests.endpoint_config_request(stage.config, stage.steps.platform, model)
    config = deployment.ensure_endpoint_config(sagemaker, f"{stage.name}x", request)
    stage.bring({"EndpointName": stage.endpoint, "EndpointConfigName": config})
    now = standing(sagemaker, stage.name, stage.endpoint)
    assert now.champion.model_data == container["ModelDataUrl"]
    assert "which is no package, but the newest approved package is 1" in now.disagreement
    assert status_line(stage) == now.disagreement
    stage.account.sagemaker.delete_endpoint(EndpointName=stage.endpoint)
    wait_for(lambda: status_of(sagemaker, stage.endpoint) is None)
    now = standing(sagemaker, stage.name, stage.endpoint)
    assert (now.champion.run_key, "serves nothing" in now.disagreement) == ("v1", True)
    assert status_line(stage) == now.disagreement


def test_nothing_is_deployed_when_the_champion_changed_under_the_run(stage):
    stage.promote("v1", factor=2)
    stage.promote("v2", factor=3)
    trained = stage.candidate("v3", 4)
    judged = Champion(package_arn=stage.packages()[1].arn, model_data="s3://b/k", run_key="v1")
    with pytest.raises(
        AirflowFailException, match=r"the champion is .*/2 now, but this run compared its model with .*/1"
    ):
        stage.steps.deploy_request(stage.plan("v3", judged), trained, RETRAINING)
    assert stage.ask() == 9.0


def test_verification_names_what_is_wrong(stage, monkeypatch):
    monkeypatch.setattr(verification, "PAUSE_SECONDS", 0)
    stage.promote("v1", factor=2)
    sagemaker, runtime = stage.account.sagemaker, stage.account.sagemaker_runtime
    config = stage.serving()["EndpointConfigName"]
    smoke = {"content_type": "text/csv", "body": "3", "prediction": 6.0}
    verify = lambda config, smoke: verification.verify(sagemaker, runtime, stage.endpoint, config, smoke, 1e-6)  # noqa: E731
    assert verify(config, smoke) == [6.0]
    with pytest.raises(verification.OvertakenError, match=f"serves config {config}, not other"):
        verify("other", smoke)
    with pytest.raises(
        verification.VerificationError, match=r"(?s)does not answer: .* for the request 'three' \(first test row\)"
    ):
        verify(config, {**smoke, "body": "three"})
    with pytest.raises(verification.VerificationError, match="answers nan"):
        verify(config, {**smoke, "body": "nan"})


def models_of(stage):
    configs = stage.account.sagemaker.list_endpoint_configs(NameContains=f"{stage.endpoint}-config", MaxResults=100)
    models = stage.account.sagemaker.list_models(NameContains=f"{stage.endpoint}-model", MaxResults=100)
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
