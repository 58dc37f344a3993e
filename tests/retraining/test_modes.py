"""Other ways to use a model than an endpoint on machines: none (`mode: none`), and a serverless one, against a running local_aws."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from pydantic import ValidationError
from serving_stage import BROKEN, FOLDER, MULTIPLIES, RETRAINING, Run, Stage

from local_stack.verbs.service import Service
from retraining.dag.retraining_dag import retraining_dag
from retraining.dag.rollback_dag import rollback_dag
from retraining.dag.tasks.monitor import MonitorTasks
from retraining.inside import program
from retraining.inside.artifact_process import ArtifactError
from retraining.inside.watching import smoke as smoke_program
from retraining.page import trying
from retraining.page.known_models import KnownModel
from retraining.page.trying import NoAnswerError
from retraining.serving import batch, deployment, smoke_job
from retraining.serving.verification import VerificationError, verify_answers
from retraining.settings.machines.deployment import Deployment
from retraining.settings.model_config import ConfigError, load_model_config
from survey import __main__ as survey_command

IMAGE = "sagemaker-scikit-learn:1.9-0-cpu-py3"
GPU_IMAGE = "pytorch-inference:2.6.0-gpu-py312"
SERVERLESS = {"mode": "serverless", "endpoint": "abalone", "image": IMAGE}
INSTANCE = {"endpoint": "abalone", "image": IMAGE}
"""Requests may be about people: none is kept unless the file says so."""
NONE = Deployment(mode="none", image=IMAGE, keep=1)
RETRAINING_BY_HAND = Run("manual__0", triggering_user_name="night shift")
PERSON = Run("manual__back", dag_id="stage_rollback", triggering_user_name="night shift")


@pytest.fixture
def stage(account, access, config, bucket) -> Stage:
    return Stage(account, access, config, bucket, NONE)


def tried(stage: Stage, key: str, **candidate):
    """Train, register and try a model as the tasks of the retraining DAG do; return the arguments of the verification."""
    champion = stage.champion()
    plan, trained = stage.plan(key, champion), stage.candidate(key, **candidate)
    package = stage.register(key, trained, champion)
    status, deployed = stage.bring(stage.steps.smoke_request(plan, trained, RETRAINING), "smoke", "processing")
    return status, {"plan": plan, "trained": trained, "package": package, "deployed": deployed, "dag_run": RETRAINING}


def promote(stage: Stage, key: str, factor: float) -> dict:
    status, arguments = tried(stage, key, factor=factor)
    assert status.outcome == "succeeded", status
    return stage.steps.verify_smoke(**arguments)


def scores_with(stage: Stage) -> str:
    scorer = batch.scorer(stage.account.sagemaker, stage.name, stage.config.endpoint)
    assert scorer is not None
    return scorer.version


@pytest.mark.local_aws
def test_a_model_is_tried_by_a_job_approved_and_taken_back_and_no_endpoint_is_made(stage):
    assert stage.steps.settle_endpoint(RETRAINING) is None
    verified = promote(stage, "v1", factor=2)
    assert (verified["endpoint"], verified["config"], verified["smoke"]["answer"]) == (None, None, 6.0)
    assert verified["job"]["name"].startswith(f"dev-{stage.name}-smoke-")
    assert scores_with(stage) == "v1"

    assert promote(stage, "v2", factor=5)["smoke"]["answer"] == 15.0
    assert stage.statuses() == {1: "Approved", 2: "Approved"}
    assert scores_with(stage) == "v2"
    assert promote(stage, "v2", factor=5)["smoke"]["answer"] == 15.0, "a cleared run changes nothing"

    steps = stage.rollback
    chosen = steps.choose_package({"why": "it drifts", "who": None}, PERSON)
    with pytest.raises(Exception, match=f"the champion of {stage.name} waits for its turn"):
        stage.steps.hold_endpoint(RETRAINING, "meanwhile")
    status, deployed = stage.bring(steps.smoke_request(chosen, PERSON), "rollback", "processing")
    assert status.outcome == "succeeded", status
    record = steps.record_rollback(chosen, steps.verify_smoke(chosen, deployed, PERSON), PERSON)
    steps.release_endpoint(PERSON)
    assert record["previous_config"] is None
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}
    assert scores_with(stage) == "v1"
    [letter] = [letter for letter in stage.mail() if "rolled back" in letter["Subject"]]
    assert "Package 1 is the champion, which scores the next files, again: it drifts" in letter["Message"]
    assert "ndpoint" not in letter["Message"]

    sagemaker = stage.account.sagemaker
    assert not [item for item in sagemaker.list_models()["Models"] if stage.name in item["ModelName"]]
    configs = sagemaker.list_endpoint_configs()["EndpointConfigs"]
    assert not [item for item in configs if stage.name in item["EndpointConfigName"]]


@pytest.mark.local_aws
def test_a_model_that_answers_otherwise_or_not_at_all_is_rejected_and_the_champion_stays(stage):
    promote(stage, "v1", factor=2)
    status, arguments = tried(stage, "v2", factor=3)
    smoke = {"content_type": "text/csv", "body": "3", "prediction": 6.0}
    stage.put("runs/v2/evaluation/smoke.json", smoke)
    with pytest.raises(
        AirflowFailException, match=r"model package 2 answers 9 where the evaluation predicted 6 .*rejected"
    ):
        stage.steps.verify_smoke(**arguments)
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}
    assert any("failed verification" in json.dumps(stage.get(key)) for key in stage.keys("dataset/trained/"))

    status, arguments = tried(stage, "v3", inference=BROKEN)
    assert status.outcome == "failed"
    stage.steps.deployment_failed(status.reason, {"dag_run": RETRAINING}, arguments["plan"], arguments["package"])
    assert stage.statuses() == {1: "Approved", 2: "Rejected", 3: "Rejected"}
    assert scores_with(stage) == "v1"


@pytest.mark.local_aws
def test_nothing_is_approved_over_a_champion_that_the_run_did_not_compare_with(stage):
    _, arguments = tried(stage, "v1", factor=2)
    promote(stage, "v2", factor=5)
    with pytest.raises(AirflowFailException, match="Start a new run to compare with it"):
        stage.steps.verify_smoke(**arguments)
    assert stage.statuses() == {1: "PendingManualApproval", 2: "Approved"}


@pytest.mark.local_aws
def test_a_run_that_began_with_an_endpoint_does_not_end_without_one(stage):
    trained = stage.candidate("v1")
    began = stage.config.model_copy(update={"deployment": Deployment(endpoint="e", image=IMAGE)})
    plan = stage.plan("v1") | {"config": began.model_dump(mode="json", exclude={"aws"})}
    with pytest.raises(AirflowFailException, match="was instance when this run began and is none now: start a new run"):
        stage.steps.smoke_request(plan, trained, RETRAINING)


@pytest.fixture
def less(account, access, config, bucket) -> Iterator[Stage]:
    """A model with a serverless endpoint."""
    with Stage(account, access, config, bucket) as stage:
        deployment = Deployment(mode="serverless", endpoint=stage.name, image=IMAGE, keep=1)
        stage.use(stage.config.model_copy(update={"deployment": deployment}))
        yield stage


@pytest.mark.local_aws
def test_a_serverless_endpoint_is_deployed_verified_updated_and_goes_back(less):
    less.promote("v1", factor=2)
    assert "CurrentServerlessConfig" in less.serving()["ProductionVariants"][0]
    assert less.promote("v2", factor=5)["smoke"]["answer"] == 15.0
    assert less.ask() == 15.0
    assert less.statuses() == {1: "Approved", 2: "Approved"}

    steps = less.rollback
    chosen = steps.choose_package({"why": "it drifts", "who": None}, PERSON)
    status, deployed = less.bring(steps.deploy_request(chosen, PERSON), "rollback")
    assert status.outcome == "succeeded", status
    asked = {"rollback": chosen, "deployed": deployed}
    steps.record_rollback(chosen, less.question(steps.verify_endpoint, steps.taken_back, PERSON, **asked), PERSON)
    steps.release_endpoint(PERSON)
    assert less.ask() == 6.0
    assert less.statuses() == {1: "Approved", 2: "Rejected"}

    champion = less.champion()
    plan, trained = less.plan("v3", champion), less.candidate("v3", 7)
    package = less.register("v3", trained, champion)
    less.put("runs/v3/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 1.0})
    _, deployed = less.bring(less.steps.deploy_request(plan, trained, RETRAINING))
    with pytest.raises(AirflowFailException, match=r"answers 21 where the evaluation predicted 1 .* again"):
        less.verify(plan, package, deployed)
    assert less.ask() == 6.0, "what answers wrongly goes back"


@pytest.mark.local_aws
def test_an_endpoint_is_not_converted_and_the_message_says_what_to_do(less):
    serverless = less.config
    less.use(serverless.model_copy(update={"deployment": Deployment(endpoint=less.name, image=IMAGE)}))
    less.promote("v1", factor=2)
    less.use(serverless)
    trained = less.candidate("v2", 5)
    words = (
        f"endpoint {less.endpoint} has instances, and deployment.mode of {less.name} is serverless: .*"
        f"another name, or delete it: aws sagemaker delete-endpoint --endpoint-name {less.endpoint}"
    )
    for change in (
        lambda: less.steps.claim_new_data({}),
        lambda: less.steps.deploy_request(less.plan("v2", less.champion()), trained, RETRAINING),
        lambda: less.rollback.choose_package({"why": "back", "package": "1"}, RETRAINING_BY_HAND),
    ):
        with pytest.raises(AirflowFailException, match=words):
            change()
    assert less.ask() == 6.0


def answered(folder: Path, config, inference: str, *bodies: str) -> list[dict]:
    """Run the program of the job on an artifact."""
    from local_account import archive

    inputs = folder / "input"
    for name in ("job", "model"):
        (inputs / name).mkdir(parents=True)
    (inputs / "model" / "model.tar.gz").write_bytes(archive({"code/inference.py": inference}))
    first, *others = [{"body": body, "prediction": 0.0} for body in bodies]
    document = smoke_job.job_document(config, {"content_type": "text/csv", **first, "rows": others})
    assert "prediction" not in json.dumps(document), "the job does not know what it should answer"
    (inputs / "job" / "job.json").write_text(json.dumps(document))
    assert program.main(folder, ["--inputs", str(inputs), "--output", str(folder / "output")], {}) == 0
    return json.loads((folder / "output" / smoke_job.ANSWERS_FILE).read_text())["answers"]


def test_the_job_notes_answers_and_refusals_and_fails_on_an_artifact_that_cannot_be_loaded(tmp_path, config):
    assert smoke_program.ANSWERS_FILE == smoke_job.ANSWERS_FILE
    answers = answered(tmp_path / "good", config, MULTIPLIES.format(factor=2), "3", "long", "4")
    assert (answers[0], answers[2]) == ({"predictions": [6.0]}, {"predictions": [8.0]})
    assert "could not convert" in answers[1]["error"]
    with pytest.raises(ArtifactError, match="ended with exit code"):
        answered(tmp_path / "broken", config, BROKEN, "3")


SMOKE = {
    "content_type": "text/csv",
    "body": "1",
    "prediction": 2.0,
    "why": "first test row",
    "rows": [{"body": "5", "prediction": [0.25, 0.75], "why": "largest answer"}],
}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([{"predictions": [2.0]}], "gave 1 answers to 2 smoke requests"),
        ([{"error": "no"}, {}], "does not answer the request '1' .first test row.: no"),
        ([{"predictions": [2.1]}, {}], "answers 2.1 where the evaluation predicted 2 for the request '1'"),
        ([{"predictions": [2.0]}, {"probabilities": [[0.5, 0.5]]}], "answers 0.5, 0.5 .* 0.25, 0.75 .*largest answer"),
        ([{"classes": []}, {}], "answers '{\"classes\": ...', which does not have the form"),
    ],
)
def test_a_wrong_answer_of_the_job_is_told_with_its_request(answers, words):
    with pytest.raises(VerificationError, match=words):
        verify_answers("model package 4", answers, SMOKE, 1e-6)


def test_right_answers_of_the_job_are_returned():
    answers = [{"predictions": [2.0 + 1e-9]}, {"probabilities": [[0.25, 0.75]], "predictions": ["b"]}]
    assert verify_answers("model package 4", answers, SMOKE, 1e-6) == [2.0 + 1e-9, 0.25]


def model_folder(tmp_path: Path, deployment: dict, **more) -> Path:
    folder = tmp_path / "abalone"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    document = yaml.safe_load((FOLDER / "model.yaml").read_text()) | {"deployment": deployment} | more
    (folder / "model.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


def test_the_dags_keep_their_task_ids_and_prove_the_model_by_a_job(tmp_path):
    folder = model_folder(tmp_path, {"mode": "none", "image": IMAGE})
    for made in (retraining_dag, rollback_dag):
        without, served = made(folder), made(FOLDER)
        assert set(without.task_ids) == set(served.task_ids)
        for name in without.task_ids:
            assert without.get_task(name).upstream_task_ids == served.get_task(name).upstream_task_ids
    assert retraining_dag(folder).get_task("deploy_model").kind == "processing"
    assert rollback_dag(folder).get_task("return_endpoint").kind == "processing"
    assert rollback_dag(folder).description == "Return abalone to an earlier approved model"


def test_what_a_run_began_with_is_read_again(tmp_path):
    config = load_model_config(model_folder(tmp_path, {"mode": "none", "image": IMAGE}) / "model.yaml")
    plan = json.loads(json.dumps({"config": config.model_dump(mode="json", exclude={"aws"})}))
    assert MonitorTasks(config, tmp_path).planned(plan) == config
    assert config.endpoint is None


@pytest.mark.parametrize(
    ("deployment", "more", "place", "words"),
    [
        ({"image": IMAGE}, {}, "deployment.endpoint", "this key is missing"),
        ({"mode": "none", "image": IMAGE, "endpoint": "abalone"}, {}, "deployment.endpoint", "leave the key out"),
        ({"mode": "none", "image": IMAGE, "instance_count": 1}, {}, "deployment.instance_count", "has no endpoint"),
        ({"mode": "none", "image": IMAGE, "canary": {}}, {}, "deployment.canary", "has no endpoint"),
        ({"mode": "non", "image": IMAGE}, {}, "deployment.mode", "did you mean none?"),
        ({"mode": "none", "image": IMAGE, "serverless": {}}, {}, "deployment.serverless", "has no endpoint"),
        (SERVERLESS | {"instance_type": "ml.t2.medium"}, {}, "deployment.instance_type", "has no instances: leave"),
        (SERVERLESS | {"data_capture_percent": 0}, {}, "deployment.data_capture_percent", "AWS captures no request"),
        (SERVERLESS | {"canary": {}}, {}, "deployment.canary", "a canary is a share of instances"),
        (SERVERLESS, {"monitor": {"cron": "0 * * * *"}}, "monitor", "nothing to watch: leave the key out"),
        (
            INSTANCE,
            {"monitor": {"cron": "0 * * * *"}},
            "monitor",
            "nothing to watch: give deployment.data_capture_percent",
        ),
        (SERVERLESS | {"image": GPU_IMAGE}, {}, "deployment.image", "a serverless endpoint has no GPU"),
        (SERVERLESS | {"serverless": {"memory_mb": 8192}}, {}, "deployment.serverless.memory_mb", "5120, 6144"),
        (SERVERLESS | {"serverless": {"memory_mb": 1500}}, {}, "deployment.serverless.memory_mb", "there are 1024"),
        (SERVERLESS | {"serverless": {"max_concurrency": 201}}, {}, "deployment.serverless.max_concurrency", "200"),
        (
            SERVERLESS | {"serverless": {"max_concurrency": 2, "provisioned_concurrency": 3}},
            {},
            "deployment.serverless",
            "AWS takes at most max_concurrency, 2",
        ),
        ({"endpoint": "a", "image": IMAGE, "serverless": {}}, {}, "deployment.serverless", "has machines of its own"),
        ({"mode": "none", "image": IMAGE}, {"monitor": {"cron": "0 * * * *"}}, "monitor", "nothing to watch"),
    ],
)
def test_a_key_without_a_use_is_refused_with_its_line(tmp_path, deployment, more, place, words):
    path = model_folder(tmp_path, deployment, **more) / "model.yaml"
    with pytest.raises(ConfigError) as caught:
        load_model_config(path)
    [told] = [line for line in str(caught.value).splitlines() if f" {place}: " in line]
    assert words in told
    key = place.split(".")[-1]
    if key in deployment or "serverless" in deployment:
        assert key in path.read_text().splitlines()[int(told.split(":")[1]) - 1]


def test_a_monitor_of_a_model_without_an_endpoint_has_nothing_to_watch(config):
    steps = MonitorTasks(config.model_copy(update={"deployment": NONE}), FOLDER)
    with pytest.raises(AirflowSkipException, match="no request of abalone is captured: there is nothing to watch"):
        steps.find_requests(RETRAINING)


ROW = {
    "sex": "M",
    "length": 0.5,
    "diameter": 0.4,
    "height": 0.1,
    "whole_weight": 0.6,
    "shucked_weight": 0.2,
    "viscera_weight": 0.1,
    "shell_weight": 0.15,
}


def test_the_page_and_the_survey_say_where_a_file_belongs_in_place_of_a_request(config, platform, monkeypatch, capsys):
    files_only = config.model_copy(update={"deployment": NONE})
    with pytest.raises(NoAnswerError, match="this model has no endpoint: upload a file to abalone/batch/in/"):
        trying.predict(KnownModel(files_only, platform), [ROW])
    monkeypatch.setattr(survey_command, "load_model_config", lambda _: files_only)
    assert survey_command.main(["--predict", "--account", "environment"]) == 2
    assert "has no endpoint to ask: leave --predict out, or upload to abalone/batch/in/" in capsys.readouterr().err


def test_the_status_says_which_model_scores_files():
    since = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    scoring = Service(None, "none", since, 2, "3", 2.19634)
    assert str(scoring) == (
        "no endpoint, files are scored: model version 2 (dataset version 3, RMSE 2.1963), since 2026-03-04 05:06 UTC"
    )
    assert str(Service(None, "none")) == "no model yet: the first run that judges one approves it; there is no endpoint"


def test_a_model_serves_without_a_network_only_where_its_container_needs_none():
    own = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/ours:7"
    for image in (IMAGE, "sagemaker-xgboost:3.2-0", f"683313688378.dkr.ecr.us-east-1.amazonaws.com/{IMAGE}"):
        with pytest.raises(ValidationError, match="installs the serving code with pip when it starts"):
            Deployment(endpoint="a", image=image, network_isolation=True)
        assert not Deployment(endpoint="a", image=image).isolated
    with pytest.raises(ValidationError, match="AWS isolates no serverless endpoint"):
        Deployment(**{**SERVERLESS, "image": own, "network_isolation": True})
    asked = []
    for isolated in (True, False):
        config = Deployment(endpoint="a", image=own, network_isolation=isolated)
        recorder = SimpleNamespace(create_model=lambda **request: asked.append(request))
        deployment.ensure_model(recorder, "m", {"Image": own, "ModelDataUrl": "s3://b/m"}, "role", config.isolated)
    assert [request.get("EnableNetworkIsolation", False) for request in asked] == [True, False]
    assert asked[0]["ModelName"] != asked[1]["ModelName"], "the one is not taken for the other"
