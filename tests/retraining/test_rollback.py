"""Going back to an earlier approved model: the choice, and the whole rollback against a running local_aws."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from airflow.sdk.exceptions import AirflowFailException
from serving_stage import RETRAINING, Run, Stage

from retraining.aws.lease import LeaseHeldError
from retraining.jobs.job import JobBusyError
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
    [(None, 2, [5, 4]), ("", 2, [5, 4]), ("1", 1, [5, 4, 2]), (HISTORY[3].arn, 2, [5, 4]), ("4", 4, [5])],
)
def test_the_package_to_go_back_to_and_what_that_abandons(wanted, target, abandoned):
    chosen, newer = choose(HISTORY, wanted, HISTORY[1])
    assert chosen.version == target
    assert [item.version for item in newer] == abandoned


@pytest.mark.parametrize(
    ("serving", "target", "abandoned"),
    [
        (HISTORY[0], 4, [5]),
        (HISTORY[1], 2, [5, 4]),
        (HISTORY[3], 1, [5, 4, 2]),
        (HISTORY[2], 2, [5, 4]),
        (None, 4, [5]),
    ],
    ids=["pending", "newest approved", "an older one", "rejected by hand", "nothing known"],
)
def test_going_back_counts_from_what_serves(serving, target, abandoned):
    chosen, newer = choose(HISTORY, None, serving)
    assert (chosen.version, [item.version for item in newer]) == (target, abandoned)


@pytest.mark.parametrize(
    ("packages", "wanted", "message"),
    [
        (HISTORY, "9", "there is no model package '9'; approved versions: 4, 2, 1"),
        (HISTORY, "3", r"model package 3 is Rejected and never served \(the gate said no\)"),
        (HISTORY, "5", "model package 5 is PendingManualApproval and never served"),
        ([package(1)], None, "no approved package before package 1, which serves; approved versions: 1"),
        ([], None, "approved versions: none"),
    ],
)
def test_what_cannot_be_gone_back_to_is_refused_with_what_can(packages, wanted, message):
    with pytest.raises(RollbackError, match=message):
        choose(packages, wanted, packages[0] if packages else None)


def test_an_abandoned_package_can_be_chosen_again():
    chosen, newer = choose([package(2, "Rejected", abandoned="r1"), package(1)], "2", None)
    assert (chosen.version, newer) == (2, ())


def test_the_id_is_the_runs_own():
    assert rollback_id(PERSON) == rollback_id(replace(PERSON, clear_number=3))
    assert rollback_id(PERSON).startswith("20260504T030201Z-")
    assert rollback_id(PERSON) != rollback_id(replace(PERSON, run_id="manual__2"))


# -- against a running local_aws ---------------------------------------------------------------------------------------


@pytest.fixture
def stage(account, access, config, bucket) -> Iterator[Stage]:
    with Stage(account, access, config, bucket) as stage:
        yield stage


def go_back(stage: Stage, run: Run, **params: str) -> dict:
    """Run the tasks of the rollback DAG in their order."""
    steps = stage.rollback
    try:
        chosen = steps.choose_package({"why": "predictions drift, see ticket 7", "who": None, **params}, run)
        return carried_out(stage, chosen, run)
    finally:
        steps.release_endpoint(run)


def carried_out(stage: Stage, chosen: dict, run: Run) -> dict:
    steps = stage.rollback
    status, deployed = stage.bring(steps.deploy_request(chosen, run), "rollback")
    assert status.outcome == "succeeded", status
    arguments = {"rollback": chosen, "deployed": deployed}
    verified = stage.question(steps.verify_endpoint, steps.taken_back, run, **arguments)
    return steps.record_rollback(chosen, verified, run)


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
    assert stage.champion().run_key == "v1"
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


def with_another_image(stage: Stage) -> tuple[str, str]:
    """Change deployment.image; return the URI of the image before, and of the one from now on."""
    before = stage.champion().image
    after = before.replace("1.9-0", "1.4-2")
    deployment = stage.config.deployment.model_copy(update={"image": after})
    stage.use(stage.config.model_copy(update={"deployment": deployment}))
    return before, after


@pytest.mark.local_aws
def test_the_same_model_in_another_image_is_a_package_of_its_own_and_a_rollback_brings_the_image_back(stage):
    stage.promote("v1")
    before, after = with_another_image(stage)
    assert before != after
    stage.promote("v1")
    assert stage.statuses() == {1: "Approved", 2: "Approved"}
    assert [item.container["Image"] for _, item in sorted(stage.packages().items())] == [before, after]
    assert (stage.champion().package_arn, stage.champion().image) == (stage.packages()[2].arn, after)
    go_back(stage, PERSON)
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}
    assert (stage.champion().package_arn, stage.champion().image) == (stage.packages()[1].arn, before)


@pytest.mark.local_aws
def test_the_same_model_in_another_image_that_nobody_verified_is_verified_by_the_next_run(stage):
    stage.promote("v1")
    _, after = with_another_image(stage)
    champion, trained = stage.champion(), stage.candidate("v1")
    stage.register("v1", trained, champion)
    stage.bring(stage.steps.deploy_request(stage.plan("v1", champion), trained, RETRAINING))
    assert stage.statuses() == {1: "Approved", 2: "PendingManualApproval"}
    assert "package 2" in stage.settle()
    assert (stage.champion().package_arn, stage.champion().image) == (stage.packages()[2].arn, after)


@pytest.mark.local_aws
def test_a_rollback_counts_from_the_image_that_serves_and_not_from_one_that_is_still_to_come(stage):
    stage.promote("v1")
    with_another_image(stage)
    stage.register("v1", stage.candidate("v1"), stage.champion())
    with pytest.raises(AirflowFailException, match="no approved package before package 1, which serves"):
        go_back(stage, PERSON)


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
    with pytest.raises(AirflowFailException, match="no approved package before package 1, which serves"):
        go_back(stage, replace(PERSON, run_id="manual__2"))

    stage.promote("v3", factor=5)
    with pytest.raises(AirflowFailException, match="package 3 was approved since: start a new run"):
        go_back(stage, PERSON)  # cleared much later
    assert stage.ask() == 15.0


@pytest.mark.local_aws
def test_what_was_abandoned_does_not_return_by_itself_but_by_choice(stage):
    stage.promote("v1", factor=2)
    champion = stage.champion()
    stage.promote("v2", factor=3)
    go_back(stage, PERSON)
    trained = [{"name": "train-v2", "candidate": "one", "model_data": stage.packages()[2].model_data, "metrics": {}}]
    with pytest.raises(
        AirflowFailException, match=r"was abandoned: predictions drift, see ticket 7 \(on-call, rollback 20260504T"
    ):
        stage.register("v2", trained, champion)
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}

    go_back(stage, replace(PERSON, run_id="manual__2"), package="2", why="the drift was in the data")
    assert stage.ask() == 9.0
    assert stage.statuses() == {1: "Approved", 2: "Approved"}
    assert stage.champion().run_key == "v2"
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


# -- beside a retraining ------------------------------------------------------------------------------------------------


@pytest.mark.local_aws
def test_a_bad_model_that_is_still_pending_goes_one_back_and_not_two(stage):
    stage.promote("v1", factor=2)
    stage.promote("v2", factor=3)
    deployed_but_pending(stage)
    record = go_back(stage, PERSON)
    assert record["target"]["version"] == 2
    assert stage.ask() == 9.0
    assert stage.statuses() == {1: "Approved", 2: "Approved", 3: "Rejected"}


@pytest.mark.local_aws
def test_a_rollback_and_a_retraining_take_turns_at_every_step(stage):
    """Who has the endpoint keeps it to the end; what was registered meanwhile is abandoned, too, and cannot be deployed."""
    stage.promote("v1", factor=2)
    champion = stage.promote("v2", factor=3) and stage.champion()
    trained, plan = stage.candidate("v3", 5), stage.plan("v3", champion)
    request = stage.steps.deploy_request(plan, trained, RETRAINING)
    with pytest.raises(JobBusyError, match=r"waits for its turn: .* stage_retraining manual__0 is changing it until"):
        stage.rollback.choose_package({"why": "it drifts"}, PERSON)
    stage.steps.lease(RETRAINING).release()

    chosen = stage.rollback.choose_package({"why": "it drifts"}, PERSON)
    package = stage.register("v3", trained, champion)  # between choice and record
    for step in (
        lambda: stage.steps.deploy_request(plan, trained, RETRAINING),
        lambda: stage.steps.verify_endpoint(plan, package, {"config": request["EndpointConfigName"]}, RETRAINING),
    ):
        with pytest.raises(JobBusyError, match=r"waits for its turn: .* stage_rollback manual__1"):
            step()
    carried_out(stage, chosen, PERSON)
    stage.rollback.release_endpoint(PERSON)
    assert stage.statuses() == {1: "Approved", 2: "Rejected", 3: "Rejected"}
    with pytest.raises(
        AirflowFailException, match=r"the champion is .*/1 now, but this run compared its model with .*/2"
    ):
        stage.steps.deploy_request(plan, trained, RETRAINING)
    assert (stage.ask(), stage.champion().run_key) == (6.0, "v1")


@pytest.mark.local_aws
def test_a_rollback_waits_for_an_update_under_way(stage, monkeypatch):
    stage.promote("v1", factor=2)
    stage.promote("v2", factor=3)
    monkeypatch.setattr("retraining.dag.tasks.rollback.status_of", lambda *_: "Updating")
    with pytest.raises(JobBusyError, match="is Updating"):
        stage.rollback.choose_package({"why": "it drifts"}, PERSON)
    stage.rollback.release_endpoint(PERSON)


@pytest.mark.local_aws
def test_who_dies_with_the_endpoint_loses_it_when_its_time_is_over(stage):
    lease = stage.steps.lease(RETRAINING)
    lease.take("deploying", 60)
    other = stage.rollback.lease(PERSON)
    with pytest.raises(LeaseHeldError, match=r"is changing it until .* \(deploying\)"):
        other.take("going back", 60)
    lease.take("deploying", -1)  # its time is over
    other.take("going back", 60)
    lease.release()  # no longer its own
    with pytest.raises(LeaseHeldError, match="going back"):
        lease.take("deploying", 60)


@pytest.mark.local_aws
def test_a_run_of_this_airflow_that_is_over_holds_the_endpoint_no_more(stage, monkeypatch):
    monkeypatch.setattr("retraining.dag.tasks.endpoint.run_is_over", lambda dag, run: run == "manual__0")
    monkeypatch.setenv("AIRFLOW_ENV_NAME", "another")
    stage.steps.hold_endpoint(RETRAINING, "deploying")
    monkeypatch.setenv("AIRFLOW_ENV_NAME", "this")
    with pytest.raises(JobBusyError, match=r"another stage_retraining manual__0 is changing it"):
        stage.rollback.hold_endpoint(PERSON, "going back")  # of a run of another Airflow nobody here knows how it goes
    monkeypatch.setenv("AIRFLOW_ENV_NAME", "another")
    stage.rollback.hold_endpoint(PERSON, "going back")
    with pytest.raises(JobBusyError, match="going back"):
        stage.steps.hold_endpoint(RETRAINING, "deploying")
    stage.rollback.release_endpoint(PERSON)


@pytest.mark.local_aws
def test_of_many_who_take_the_endpoint_at_once_one_gets_it(stage):
    def take(number):
        try:
            stage.steps.lease(Run(f"manual__{number}")).take("racing", 60)
        except LeaseHeldError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1


def deployed_but_pending(stage: Stage) -> None:
    champion, trained = stage.champion(), stage.candidate("v3", 5)
    stage.register("v3", trained, champion)
    status, _ = stage.bring(stage.steps.deploy_request(stage.plan("v3", champion), trained, RETRAINING))
    assert status.outcome == "succeeded"
    stage.steps.lease(RETRAINING).release()
