"""Going back to an earlier approved model: the choice, and the whole rollback against a running local_aws."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError
from serving_stage import Run, Stage

from retraining.serving import registry
from retraining.serving.registry import Package
from retraining.serving.rollback import RollbackError, choose, rollback_id

PERSON = Run("manual__1", dag_id="stage_rollback", triggering_user_name="on-call")


def package(version: int, status: str = "Approved", **metadata: str) -> Package:
    return Package(
        arn=f"arn:aws:sagemaker:us-east-1:000000000000:model-package/m-models/{version}",
        version=version,
        status=status,
        container={"ModelDataUrl": f"s3://b/{version}"},
        metadata=metadata,
        reason="the gate said no" if status == "Rejected" else "",
    )


HISTORY = [package(5, "PendingManualApproval"), package(4), package(3, "Rejected"), package(2), package(1)]


@pytest.mark.parametrize(
    ("wanted", "target", "abandoned"),
    [(None, 2, [4]), ("", 2, [4]), ("1", 1, [4, 2]), (HISTORY[3].arn, 2, [4]), ("4", 4, [])],
)
def test_the_package_to_go_back_to_and_what_that_abandons(wanted, target, abandoned):
    chosen, newer = choose(HISTORY, wanted)
    assert chosen.version == target
    assert [item.version for item in newer] == abandoned


@pytest.mark.parametrize(
    ("packages", "wanted", "message"),
    [
        (HISTORY, "9", "there is no model package '9'; approved versions: 4, 2, 1"),
        (HISTORY, "3", r"model package 3 is Rejected and never served \(the gate said no\)"),
        (HISTORY, "5", "model package 5 is PendingManualApproval and never served"),
        ([package(1)], None, "no approved package before the newest; approved versions: 1"),
        ([], None, "approved versions: none"),
    ],
)
def test_what_cannot_be_gone_back_to_is_refused_with_what_can(packages, wanted, message):
    with pytest.raises(RollbackError, match=message):
        choose(packages, wanted)


def test_an_abandoned_package_can_be_chosen_again():
    chosen, newer = choose([package(2, "Rejected", abandoned="r1"), package(1)], "2")
    assert (chosen.version, newer) == (2, ())


def test_the_id_is_the_runs_own():
    assert rollback_id(PERSON) == rollback_id(replace(PERSON, clear_number=3))
    assert rollback_id(PERSON).startswith("20260504T030201Z-")
    assert rollback_id(PERSON) != rollback_id(replace(PERSON, run_id="manual__2"))


# -- against a running local_aws ---------------------------------------------------------------------------------------


@pytest.fixture
def stage(account, access, config, bucket) -> Iterator[Stage]:
    stage = Stage(account, access, config, bucket)
    yield stage
    try:
        account.sagemaker.delete_endpoint(EndpointName=stage.name)
    except ClientError as error:
        assert "Could not find" in str(error)


def go_back(stage: Stage, run: Run, **params: str) -> dict:
    """Run the tasks of the rollback DAG in their order."""
    steps = stage.rollback
    chosen = steps.choose_package({"why": "predictions drift, see ticket 7", "who": None, **params}, run)
    status, deployed = stage.bring(steps.deploy_request(chosen), "rollback")
    assert status.outcome == "succeeded", status
    return steps.record_rollback(chosen, steps.verify_endpoint(chosen, deployed), run)


@pytest.mark.local_aws
def test_a_rollback_serves_the_previous_model_settles_the_registry_and_is_on_record(stage):
    stage.promote("v1", factor=2)
    first = stage.serving()["EndpointConfigName"]
    stage.promote("v2", factor=3)
    with stage.load() as load:
        record = go_back(stage, PERSON)
    assert load.failures == []
    assert set(load.answers) == {9.0, 6.0}
    assert load.answers[-1] == 6.0
    assert stage.serving()["EndpointConfigName"] == first

    assert stage.statuses() == {1: "Approved", 2: "Rejected"}
    assert registry.champion(stage.account.sagemaker, stage.name).run_key == "v1"
    assert "predictions drift, see ticket 7 (on-call, rollback" in stage.packages()[2].reason
    [key] = stage.keys("rollbacks/")
    assert key == f"rollbacks/{rollback_id(PERSON)}.json"
    assert stage.get(key) == record
    assert (record["who"], record["why"]) == ("on-call", "predictions drift, see ticket 7")
    assert record["done_at"]
    [letter] = stage.mail()
    assert letter["Subject"] == f"{stage.name}: rolled back"
    assert "serves package 1 again: predictions drift" in letter["Message"]
    assert "on-call" in letter["Message"]


@pytest.mark.local_aws
def test_a_repeated_rollback_run_goes_back_once(stage):
    for number in (1, 2):
        stage.promote(f"v{number}", factor=number)
    first = go_back(stage, PERSON)
    again = go_back(stage, PERSON)  # every task of the run, cleared
    assert again["target"] == first["target"]
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}
    assert len(stage.keys("rollbacks/")) == 1
    assert len(stage.mail()) == 1
    assert stage.ask() == 3.0
    with pytest.raises(AirflowFailException, match="no approved package before the newest"):
        go_back(stage, replace(PERSON, run_id="manual__2"))

    stage.promote("v3", factor=5)
    with pytest.raises(AirflowFailException, match="package 3 was approved since: start a new run"):
        go_back(stage, PERSON)  # cleared much later
    assert stage.ask() == 15.0


@pytest.mark.local_aws
def test_what_was_abandoned_does_not_return_by_itself_but_by_choice(stage):
    stage.promote("v1", factor=2)
    champion = registry.champion(stage.account.sagemaker, stage.name)
    stage.promote("v2", factor=3)
    go_back(stage, PERSON)
    trained = [{"name": "train-v2", "model_data": stage.packages()[2].model_data, "metrics": {}}]
    with pytest.raises(
        AirflowFailException, match=r"was abandoned: predictions drift, see ticket 7 \(on-call, rollback 20260504T"
    ):
        stage.register("v2", trained, champion)
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}

    go_back(stage, replace(PERSON, run_id="manual__2"), package="2", why="the drift was in the data")
    assert stage.ask() == 9.0
    assert stage.statuses() == {1: "Approved", 2: "Approved"}
    assert registry.champion(stage.account.sagemaker, stage.name).run_key == "v2"
    assert registry.ABANDONED not in stage.packages()[2].metadata
    stage.register("v2", trained, champion)


@pytest.mark.local_aws
def test_every_approved_model_within_the_kept_ones_can_return_and_no_other(stage):
    for number in range(1, 5):
        stage.promote(f"v{number}", factor=number)
    with pytest.raises(
        AirflowFailException, match=r"artifact of model package 2, .* was cleared away: deployment.keep is 1"
    ):
        go_back(stage, PERSON, package="2")
    assert stage.ask() == 12.0
    assert stage.statuses()[4] == "Approved"
    go_back(stage, replace(PERSON, run_id="manual__2"), package="3")
    assert stage.ask() == 9.0


@pytest.mark.local_aws
def test_a_rollback_to_a_model_that_answers_otherwise_keeps_what_serves(stage):
    stage.promote("v1", factor=2)
    stage.promote("v2", factor=3)
    before = stage.serving()["EndpointConfigName"]
    stage.put("runs/v1/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 7})
    with pytest.raises(AirflowFailException, match=f"serves {before} again; the registry is unchanged"):
        go_back(stage, PERSON)
    assert stage.ask() == 9.0
    assert stage.statuses() == {1: "Approved", 2: "Approved"}
    [key] = stage.keys("rollbacks/")
    assert stage.get(key)["done_at"] is None


@pytest.mark.local_aws
def test_somebody_must_answer_for_it(stage):
    nobody = replace(PERSON, triggering_user_name=None)
    with pytest.raises(AirflowFailException, match="give the parameter 'who'"):
        stage.rollback.choose_package({"why": "because"}, nobody)
    stage.promote("v1", factor=2)
    stage.promote("v2", factor=3)
    assert stage.rollback.choose_package({"why": "because", "who": "night shift"}, nobody)["who"] == "night shift"


@pytest.mark.local_aws
def test_a_missing_smoke_request_stops_before_the_endpoint_is_touched(stage):
    stage.promote("v1", factor=2)
    stage.promote("v2", factor=3)
    stage.account.s3.delete_object(Bucket=stage.bucket, Key=f"{stage.name}/runs/v1/evaluation/smoke.json")
    with pytest.raises(AirflowFailException, match="model package 1 cannot be verified in service"):
        go_back(stage, PERSON)
    assert stage.ask() == 9.0
