"""Every way through the workflow, one after the other over one model with real jobs; after each of them the invariants hold.

They are: what serves is the champion and the newest approved package; every landed file has one outcome; no job is left without a task;
each run tells its outcome once.
"""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
import yaml
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from conftest import abalone_rows
from invariants import RunRecord, packages
from task_runs import BEFORE_DECISION, DEPLOYMENT, Run

from retraining.dag.rollback_dag import rollback_dag
from retraining.dataset.landing_zone import landed_files, unseen
from retraining.dataset.log import DatasetLog
from retraining.jobs.job import JobBusyError
from retraining.serving.champion import standing

pytestmark = pytest.mark.spark

ROWS = 1200
SMOOTHNESS = (0.0005 * 1.42**step for step in range(28))
"""Of support vectors, from a useless model to the best one: each following model is better than all before."""
PERSON = {"chosen_options": ["Approve"], "responded_by_user": {"id": "1", "name": "who decides"}}
ROLLBACK = ("choose_package", "return_endpoint", "verify_endpoint", "record_rollback")


def smoothness(penalty):
    """Return hyperparameters: support vectors of this penalty beside a boosting that learns nothing."""
    return {"algorithm": "svr_hgb", "params": {"svr_C": penalty, "hgb_max_iter": 1, "hgb_learning_rate": 0.001}}


def better(**params):
    """Return parameters of a run whose model is better than all before it."""
    return {"force_retrain": True, "hyperparameters": smoothness(next(SMOOTHNESS)), **params}


class Rollback(Run):
    """One run of the rollback DAG."""

    def __init__(self, folder, package=None):
        super().__init__(
            folder, {"package": package, "why": "to see what happens", "who": "who decides"}, build=rollback_dag
        )

    def path(self):
        """Yield its tasks."""
        yield from ROLLBACK


class Story:
    """One model, what happens to it, and what its topic hears of that."""

    def __init__(self, world):
        self.world = world
        account = world.account
        platform = json.loads(
            account.ssm.get_parameter(Name=f"/retraining/dev/{world.model}/platform")["Parameter"]["Value"]
        )
        self.queue = account.sqs.create_queue(QueueName=f"{world.model}-heard")["QueueUrl"]
        arn = account.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        account.sns.subscribe(TopicArn=platform["topic_arn"], Protocol="sqs", Endpoint=arn)

    def retrain(self, *told, run=None, state="success", **params):
        """Play a run to its end and check what holds after it; ``told`` are the outcomes that the topic is to hear."""
        run = run or Run(self.world.folder, params)
        record = run.play()
        assert record.state == state, record.reason
        return self.after(run, record, *told)

    def skip(self, *told):
        """Play a run that finds nothing to do."""
        run = Run(self.world.folder)
        run.execute("settle_endpoint")
        with pytest.raises(AirflowSkipException, match="nothing to do"):
            run.task("sense_new_data").execute(run.context("sense_new_data"))
        run.end()
        self.after(run, RunRecord("success"), *told)

    def after(self, run, record, *told):
        """Check what holds after a run, and that it told these outcomes since the last one."""
        self.record = record
        assert self.heard() == sorted(told)
        self.world.check(record)
        world, sagemaker = self.world, self.world.account.sagemaker
        now = standing(sagemaker, world.model, f"dev-{world.model}")
        assert (now.disagreement, now.champion.package_arn) == ("", self.serving())
        log, s3 = DatasetLog(world.account.s3, world.bucket, f"{world.model}/"), world.account.s3
        assert unseen(landed_files(s3, world.bucket, f"{world.model}/", run.config.landing), log.read()) == ([], [])
        return run

    @contextmanager
    def configured(self, change):
        """Go on with another model.yaml for a while; ``change`` changes what it holds."""
        file = self.world.folder / "model.yaml"
        before = file.read_text()
        config = yaml.safe_load(before)
        change(config)
        file.write_text(yaml.safe_dump(config))
        try:
            yield
        finally:
            file.write_text(before)

    def heard(self):
        """Return the outcomes of the messages that came."""
        sqs, heard = self.world.account.sqs, []
        while found := sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", []):
            for message in found:
                told = json.loads(message["Body"])
                heard.append(told["MessageAttributes"]["outcome"]["Value"])
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return sorted(heard)

    def serving(self):
        """Return the ARN of the package that serves."""
        sagemaker = self.world.account.sagemaker
        config = sagemaker.describe_endpoint(EndpointName=f"dev-{self.world.model}")["EndpointConfigName"]
        variant = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]
        data = sagemaker.describe_model(ModelName=variant["ModelName"])["PrimaryContainer"]["ModelDataUrl"]
        return next(
            package["arn"] for package in packages(self.world.account, self.world.model) if package["data"] == data
        )

    def newest(self):
        """Return the package that was registered last."""
        return packages(self.world.account, self.world.model)[0]


@pytest.fixture(scope="module")
def story(account, new_world):
    """A model in service that everything else beats."""
    story = Story(new_world(account))
    file = story.world.folder / "model.yaml"
    config = yaml.safe_load(file.read_text())
    config["training"]["candidates"] = [{"name": "svr-hgb", "hyperparameters": smoothness(next(SMOOTHNESS))}]
    config["deployment"]["keep"] = 30  # so that every rollback may go back to the first one
    file.write_text(yaml.safe_dump(config))
    story.world.put("raw/abalone.csv", abalone_rows(0, ROWS))
    story.retrain("promoted")
    return story


def stop_before(run, task):
    """Play a run up to a task, which it does not play any more."""
    path = [*BEFORE_DECISION, *DEPLOYMENT]
    for name in path[: path.index(task)]:
        run.execute(name)
    return run


def test_a_run_without_new_data_is_skipped(story):
    before = story.serving()
    story.skip()
    assert story.serving() == before


def test_a_dry_run_changes_nothing(story):
    before, package = story.serving(), story.newest()
    story.retrain("approved, not deployed (dry run)", **better(dry_run=True))
    assert (story.serving(), story.newest()) == (before, package)


def test_a_forced_run_with_a_better_model_puts_it_into_service(story):
    before = story.serving()
    story.retrain("promoted", **better())
    assert story.serving() == story.newest()["arn"] != before


def test_a_forced_run_with_a_worse_model_keeps_the_old_one(story):
    before = story.serving()
    story.retrain("rejected", force_retrain=True, hyperparameters=smoothness(0.0001))
    assert story.serving() == before
    assert story.newest()["status"] == "Rejected"


def test_a_person_s_yes_deploys(story):
    story.retrain("approval waits", "promoted", run=Run(story.world.folder, better(require_approval=True), PERSON))
    assert story.serving() == story.newest()["arn"]


def test_a_person_s_no_keeps_the_old_model(story):
    before = story.serving()
    no = {**PERSON, "chosen_options": ["Reject"]}
    story.retrain(
        "approval waits", "declined by a person", run=Run(story.world.folder, better(require_approval=True), no)
    )
    assert story.serving() == before
    assert story.newest()["status"] == "Rejected"


def test_silence_is_no_answer_and_keeps_the_old_model(story):
    before, package = story.serving(), story.newest()
    silence = {"chosen_options": ["Reject"], "responded_by_user": None, "timedout": True}
    story.retrain(
        "approval waits", "approval timed out", run=Run(story.world.folder, better(require_approval=True), silence)
    )
    assert (story.serving(), story.newest()) == (before, package)


def test_refused_data_alone_ends_the_run_and_the_next_one_merges_what_is_good(story):
    before = story.serving()
    story.world.put("new/foreign.csv", "a,b,c\n1,2,3\n")
    story.retrain("data refused", state="failed")
    assert story.serving() == before
    story.world.put("new/survey.csv", abalone_rows(3200, 100))
    run = Run(story.world.folder)
    record = run.play()
    assert record.state == "success", record.reason
    assert run.result("check_data_quality")["version"] == 2
    story.after(run, record, "promoted" if record.summary["endpoint"] else record.summary["decision"])


def test_a_candidate_that_fails_ends_the_run_with_its_reason(story):
    before = story.serving()
    run = story.retrain("failed", state="failed", force_retrain=True, hyperparameters={"algorithm": "nonsense"})
    assert "nonsense" in story.record.reason
    assert (story.serving(), run.result("register_model")) == (before, None)


def test_a_candidate_that_fails_beside_a_good_one_is_named_and_vetoes_nobody(story):
    before = story.serving()

    def change(config):
        [good] = config["training"]["candidates"]
        config["training"]["candidates"] = [{"name": "broken", "hyperparameters": {"algorithm": "nonsense"}}, good]
        good["hyperparameters"] = smoothness(next(SMOOTHNESS))

    with story.configured(change):
        run = story.retrain("promoted", force_retrain=True)
    assert [result["candidate"] for result in run.result("training")] == ["svr-hgb"]
    told = {row["name"]: (row["chosen"], bool(row.get("left_out"))) for row in story.record.summary["candidates"]}
    assert told == {"broken": (False, True), "svr-hgb": (True, False)}
    assert story.serving() == story.newest()["arn"] != before


def test_a_champion_that_serves_in_another_image_is_scored_there(story):
    def change(config):
        for step in ("training", "evaluation", "deployment"):
            config[step]["image"] = "sagemaker-xgboost:3.2-0"

    with story.configured(change):
        run = story.retrain("approved, not deployed (dry run)", **better(dry_run=True))
    sagemaker = story.world.account.sagemaker
    images = [
        sagemaker.describe_processing_job(ProcessingJobName=run.result(task)["name"])["AppSpecification"]["ImageUri"]
        for task in ("score_champion", "evaluate_model")
    ]
    assert [image.split("/")[-1].split(":")[0] for image in images] == ["sagemaker-scikit-learn", "sagemaker-xgboost"]
    analysis = run.result("analyze_results")
    assert analysis["champion_failed"] is None
    assert analysis["paired"]["n"] == analysis["n"]


def test_a_run_on_a_pinned_version_is_judged_like_any_other(story):
    run = Run(story.world.folder, better(dataset_version=1))
    record = run.play()
    assert record.state == "success", record.reason
    assert record.summary["dataset_version"] == 1
    story.after(run, record, "promoted" if record.summary["endpoint"] else record.summary["decision"])


def test_a_rollback_while_a_person_is_asked_makes_the_yes_come_too_late(story):
    first = packages(story.world.account, story.world.model)[-1]["arn"]
    if story.serving() == first:
        story.retrain("promoted", **better())
    retraining = Run(story.world.folder, better(require_approval=True), PERSON)
    for task in retraining.path():
        if task == "register_model":
            break
        retraining.execute(task)
    story.retrain("approval waits", "rolled back", run=Rollback(story.world.folder, package="1"))
    record = retraining.play(since="register_model")
    story.after(retraining, record, "failed")
    assert "compared" in record.reason
    assert story.serving() == first


def test_a_model_that_answers_otherwise_in_service_is_taken_back(story):
    before = story.serving()
    run = stop_before(Run(story.world.folder, better()), "deploy_model")
    uri = f"{story.world.model}/runs/{run.result('claim_new_data')['run_key']}/evaluation/smoke.json"
    s3 = story.world.account.s3
    smoke = json.loads(s3.get_object(Bucket=story.world.bucket, Key=uri)["Body"].read())
    smoke["prediction"] += 5
    s3.put_object(Bucket=story.world.bucket, Key=uri, Body=json.dumps(smoke).encode())
    story.retrain("failed", state="failed", run=run)
    assert story.serving() == before
    assert story.newest()["status"] == "Rejected"


def test_a_deployment_that_was_killed_is_finished_by_the_next_run_that_has_nothing_to_do(story, monkeypatch):
    before = story.serving()
    run = stop_before(Run(story.world.folder, better()), "deploy_model")
    with pytest.raises(TaskDeferred):
        run.task("deploy_model").execute(run.context("deploy_model"))
    monkeypatch.setattr("retraining.dag.tasks.endpoint.run_is_over", lambda dag, run_id: run_id == run.dag_run.run_id)
    story.skip("verified late")
    assert story.serving() == story.newest()["arn"] != before


@pytest.mark.parametrize(
    "moment",
    [
        "training",
        "evaluate_model",
        "register_model",
        "deploy_model",
        "verify_endpoint",
        "publish_report",
    ],
)
def test_a_rollback_beside_a_retraining_leaves_one_champion(story, moment):
    """Whoever changes the endpoint first, goes first; nothing that a rollback abandoned comes back, and no endpoint is left half-way."""
    first = packages(story.world.account, story.world.model)[-1]["arn"]
    if story.serving() == first:
        story.retrain("promoted", **better())
    retraining, rollback = Run(story.world.folder, better()), Rollback(story.world.folder, package="1")
    for task in retraining.path():
        if task == moment:
            break
        retraining.execute(task)
    assert task == moment
    if moment == "verify_endpoint":
        with pytest.raises(JobBusyError, match="deploying the model of run"):
            rollback.execute("choose_package")
        record = retraining.play(since=moment)
        assert record.state == "success", record.reason
        story.after(retraining, record, "promoted")
        story.retrain("rolled back", run=rollback)
    else:
        story.retrain("rolled back", run=rollback)
        record = retraining.play(since=moment)
        record.summary = None  # what it says that it deployed was taken back since
        story.after(retraining, record, "promoted" if moment == "publish_report" else "failed")
        if moment != "publish_report":
            assert "compared" in record.reason
    assert story.serving() == first
