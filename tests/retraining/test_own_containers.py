"""A candidate with a container of one's own: what model.yaml may say of it, and the requests that train, ask and serve it."""

from datetime import UTC, datetime

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from serving_stage import FOLDER, RETRAINING, ROLE, Stage
from test_job_requests import MANIFESTS, validate

from retraining.aws.documents import split_uri
from retraining.dag.retraining_dag import retraining_dag
from retraining.dag.tasks import model as model_tasks
from retraining.dag.tasks.batch import BatchTasks
from retraining.dag.tasks.monitor import MonitorTasks
from retraining.dag.tasks.retraining import _scored_where
from retraining.inside.elsewhere.written import ANSWERS
from retraining.jobs import code_bundle
from retraining.jobs import requests as job_requests
from retraining.jobs.job import Submitted
from retraining.jobs.kinds import JOB_KINDS, PROCESSING, TRANSFORM
from retraining.jobs.plan import Champion
from retraining.serving import batch
from retraining.serving import champion as champions
from retraining.serving.deployment import SCORED, ensure_model, prune
from retraining.settings.model_config import ConfigError, load_model_config
from retraining.settings.training.candidate import Candidate

URI = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/oyster-r:1"
SETTINGS = {"formula": "rings ~ length", "trees": 50, "deep": {"a": [1]}}
ARTIFACT = "s3://data-bucket/abalone/models/x/output/model.tar.gz"
SHIPPED = "    - {name: svr-hgb, hyper"
TRAINING = "  selection_metric:"
DATASET = {"manifests": {"test": "s3://b/test.manifest"}}


def written(folder, config_text: str):
    (folder / "model.yaml").write_text(config_text)
    return folder / "model.yaml"


@pytest.fixture
def text():
    return (FOLDER / "model.yaml").read_text()


@pytest.fixture
def with_r(tmp_path, text):
    """Write model.yaml with a candidate beside the shipped one, and changes; return its path."""

    def made(candidate: str | None = None, *changes: tuple[str, str]):
        candidate = candidate or f"{{name: r, container: {URI}}}"
        changed = text.replace(SHIPPED, f"    - {candidate}\n{SHIPPED}", 1)
        for old, new in changes:
            assert old in changed, old
            changed = changed.replace(old, new, 1)
        return written(tmp_path, changed)

    return made


@pytest.fixture
def own() -> Candidate:
    return Candidate(name="linear-r", container=URI, hyperparameters=SETTINGS)


@pytest.fixture
def mixed(config, own):
    training = config.training.model_copy(update={"candidates": (*config.training.candidates, own)})
    return config.model_copy(update={"training": training})


@pytest.mark.parametrize(
    ("candidate", "changes", "words"),
    [
        ("{name: r, container: oyster-r}", (), "container 'oyster-r' is not in a registry of ECR"),
        (f"{{name: r, container: {URI}, trainer: linear}}", (), "leave trainer out"),
        (f"{{name: r, container: {URI}, image: {URI}}}", (), "leave image out"),
        (
            None,
            ((TRAINING, f"  format: parquet\n{TRAINING}"),),
            "a transform job sends it the test rows as lines of CSV",
        ),
        (None, ((TRAINING, f"  format: csv\n{TRAINING}"),), "training.format is csv, but"),
        (None, ((TRAINING, f"  script: train.py\n{TRAINING}"),), "training.script train.py trains in place"),
        (None, (("evaluation:\n", "evaluation:\n  script: own.py\n"),), "evaluation.script own.py cannot score it"),
        (None, (("\ngate:", "\nsteps: {evaluation: sdk}\ngate:"),), "steps.evaluation cannot be sdk"),
        (
            None,
            ((TRAINING, f"  tuning: {{candidate: r, trials: 2, ranges: {{x: {{min: 1, max: 2}}}}}}\n{TRAINING}"),),
            "let training.tuning search another candidate",
        ),
    ],
)
def test_what_a_container_cannot_do_is_refused_with_the_key(with_r, candidate, changes, words):
    with pytest.raises(ConfigError, match="container") as refused:
        load_model_config(with_r(candidate, *changes))
    assert words in str(refused.value)


def test_a_container_needs_an_endpoint(with_r):
    path = with_r()
    values = yaml.safe_load(path.read_text())
    values["deployment"] = {"mode": "none", "image": "sagemaker-scikit-learn:1.9-0-cpu-py3"}
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if key not in ("monitor", "api")}))
    with pytest.raises(ConfigError, match=r"deployment.mode none scores files with the library's code"):
        load_model_config(path)


def test_it_is_trained_by_its_image_with_its_hyperparameters_and_no_program(mixed, platform, plan, own):
    request = job_requests.training_request(mixed, platform, plan, own, MANIFESTS)
    validate("sagemaker", "CreateTrainingJob", request | {"TrainingJobName": "x"})
    assert request["AlgorithmSpecification"]["TrainingImage"] == URI
    assert "ContainerEntrypoint" not in request["AlgorithmSpecification"]
    assert request["HyperParameters"] == {"formula": "rings ~ length", "trees": "50", "deep": '{"a": [1]}'}
    assert [channel["ChannelName"] for channel in request["InputDataConfig"]] == ["train", "validation", "job"]
    other = job_requests.training_request(mixed, platform, plan, mixed.training.candidates[0], MANIFESTS)
    assert set(other["HyperParameters"]) == {"sagemaker_program", "sagemaker_submit_directory", "sagemaker_region"}


def test_a_folder_of_containers_needs_no_python(tmp_path, mixed, own):
    alone = mixed.model_copy(update={"training": mixed.training.model_copy(update={"candidates": (own,)})})
    assert "job.py" in code_bundle.code_files(tmp_path, alone)
    with pytest.raises(FileNotFoundError, match=r"no train.py"):
        code_bundle.code_files(tmp_path, mixed)


def test_it_serves_by_its_image_alone(mixed, platform):
    assert job_requests.serving_container(mixed, platform, ARTIFACT, "linear-r") == {
        "Image": URI,
        "ModelDataUrl": ARTIFACT,
    }
    library = job_requests.serving_container(mixed, platform, ARTIFACT, "svr-hgb")
    assert library == job_requests.serving_container(mixed, platform, ARTIFACT)
    assert not job_requests.serves_by_itself(library)
    assert job_requests.serves_by_itself({"Image": URI, "ModelDataUrl": ARTIFACT})


def test_the_rows_reach_it_without_their_target(mixed):
    request = job_requests.transform_request(mixed, "a-model", MANIFESTS["test"], "s3://data-bucket/answers/")
    validate("sagemaker", "CreateTransformJob", request | {"TransformJobName": "x"})
    assert request == {
        "ModelName": "a-model",
        "BatchStrategy": "MultiRecord",
        "MaxPayloadInMB": 6,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": MANIFESTS["test"]}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "DataProcessing": {"InputFilter": "$[1:]"},
        "TransformOutput": {"S3OutputPath": "s3://data-bucket/answers", "Accept": "application/json"},
        "TransformResources": {"InstanceType": mixed.evaluation.instance_type, "InstanceCount": 1},
    }


def test_a_champion_from_a_container_is_asked_apart_whatever_its_image(config, platform):
    image = job_requests.serving_container(config, platform, ARTIFACT)["Image"]
    beside = Champion(package_arn="", model_data=ARTIFACT, image=image)
    assert not job_requests.scored_apart(config, platform, beside)
    assert job_requests.scored_apart(config, platform, beside.model_copy(update={"own": True}))


@pytest.mark.parametrize(("environment", "own_one"), [({"SAGEMAKER_PROGRAM": "inference.py"}, False), ({}, True)])
def test_what_serves_says_whether_it_is_a_container_of_ones_own(environment, own_one):
    now = champions.Served(
        "e", "InService", "c", "m", {"Image": URI, "ModelDataUrl": ARTIFACT, "Environment": environment}
    )
    package = champions.Package(
        arn="a/1", version=1, status="Approved", container=now.container, metadata={}, reason=""
    )
    assert champions._champion(package).own is own_one
    assert champions._champion(package, now).own is own_one


@pytest.mark.parametrize(
    ("request_", "kind"), [({"TransformInput": {}}, TRANSFORM), ({"ProcessingInputs": []}, PROCESSING)]
)
def test_the_request_says_which_job_scores_and_the_handle_remembers(monkeypatch, request_, kind):
    asked = []
    for one in (TRANSFORM, PROCESSING):

        def submit(self, access, model, step, request, asker=None):
            asked.append((self.noun, model, step))
            return Submitted({"name": "n"}, adopted=True)

        monkeypatch.setattr(type(one), "submit", submit)
    found = JOB_KINDS["scoring"].submit(None, "m", "champion", request_)
    assert asked == [(kind.noun, "m", "champion")]
    assert found.adopted
    assert JOB_KINDS["scoring"].title(found.handle) == kind.title({"name": "n"})
    assert JOB_KINDS["scoring"].console_url("r", found.handle) == kind.console_url("r", {"name": "n"})


def test_the_dag_asks_challengers_only_where_there_are_containers(with_r, text, tmp_path_factory):
    tuning = "  tuning: {candidate: svr-hgb, trials: 2, ranges: {params.svr_C: {min: 1, max: 2}}}\n"
    dag = retraining_dag(with_r(None, (TRAINING, f"{tuning}{TRAINING}")).parent)
    assert dag.get_task("score_champion").upstream_task_ids == {"check_data_quality"}
    assert dag.get_task("score_challenger").upstream_task_ids == {"after_training"}
    assert dag.get_task("evaluate_model").upstream_task_ids == {"score_champion", "score_challenger"}
    without = written(tmp_path_factory.mktemp("without"), text)
    assert "score_challenger" not in retraining_dag(without.parent).task_ids


@pytest.mark.parametrize(
    ("scored", "words"),
    [
        ({"name": "j"}, f"by its own container, {URI}"),
        ({"warning": "it is ill"}, f"nowhere: its container {URI} did not answer: it is ill"),
    ],
)
def test_the_report_says_that_a_container_was_asked(plan, scored, words):
    champion = Champion(package_arn="", model_data=ARTIFACT, image=URI, own=True)
    assert _scored_where(plan.model_copy(update={"champion": champion}), scored) == words


def test_library_and_evaluation_mean_the_same_file():
    assert model_tasks.CHAMPION_ANSWERS == ANSWERS


@pytest.fixture
def stage(account, access, config, bucket):
    with Stage(account, access, config, bucket) as stage:
        own = stage.config.training.candidates[0].model_copy(
            update={"name": "one", "hyperparameters": {}, "container": URI}
        )
        training = stage.config.training.model_copy(update={"candidates": (own,)})
        stage.use(stage.config.model_copy(update={"training": training}))
        yield stage


def champion_by_itself(stage, columns=None) -> Champion:
    """Return a champion with a container of its own, whose run is on record with the contract of these columns."""
    [trained] = stage.candidate("v1")
    contract = stage.config.contract.model_dump(mode="json")
    if columns:
        contract |= {"rules": [], "identity": []}
        contract["columns"] = [column for column in contract["columns"] if column["name"] in columns]
    stage.put("runs/v1-made/plan.json", {"config": {"contract": contract}})
    return Champion(package_arn="a/1", model_data=trained["model_data"], image=URI, own=True, run_key="v1-made")


def inputs_of(request) -> dict:
    return {item["InputName"]: item["S3Input"]["S3Uri"] for item in request["ProcessingInputs"]}


def test_both_containers_are_asked_in_the_role_of_evaluations_and_the_evaluation_reads_their_answers(stage):
    champion, trained = champion_by_itself(stage), stage.candidate("v2")
    plan = stage.plan("v2", champion)
    root = f"s3://{stage.bucket}/{stage.name}/runs/v2/"
    asked = stage.steps.challenger_request(plan, DATASET, trained)
    scored = stage.steps.champion_request(plan, DATASET)
    places = [request["TransformOutput"]["S3OutputPath"] for request in (asked, scored)]
    assert places == [f"{root}challenger", f"{root}champion"]
    models = [stage.account.sagemaker.describe_model(ModelName=request["ModelName"]) for request in (asked, scored)]
    assert [model["PrimaryContainer"]["ModelDataUrl"] for model in models] == [
        trained[0]["model_data"],
        champion.model_data,
    ]
    assert {model["ExecutionRoleArn"] for model in models} == {stage.steps.platform.evaluate_role_arn}
    assert {model["PrimaryContainer"]["Image"] for model in models} == {URI}
    inputs = inputs_of(stage.steps.evaluation_request(plan, DATASET, trained, {"name": "s"}, {"name": "a"}))
    assert (inputs["challenger"], inputs["champion"]) == (f"{root}challenger/", f"{root}champion/")


def test_a_model_of_the_library_is_asked_in_no_job_of_its_own(stage, config):
    stage.use(stage.config.model_copy(update={"training": config.training}))
    assert stage.steps.challenger_request(stage.plan("v2"), DATASET, stage.candidate("v2")) is None


@pytest.mark.parametrize(
    ("columns", "run_key", "words"),
    [
        (
            ("sex", "length", "rings"),
            "v1-made",
            "it was trained with rings, sex, length; there are rings, sex, length, diameter",
        ),
        (None, "v1-gone", "nothing says which columns it was trained with"),
    ],
)
def test_a_champion_of_other_columns_is_not_asked_and_the_evaluation_is_told_why(stage, columns, run_key, words):
    champion = champion_by_itself(stage, columns).model_copy(update={"run_key": run_key})
    plan = stage.plan("v2", champion)
    with pytest.raises(AirflowFailException, match=words) as refused:
        stage.steps.champion_request(plan, DATASET)
    warning = {"warning": str(refused.value)}  # what the task makes of it
    inputs = inputs_of(stage.steps.evaluation_request(plan, DATASET, stage.candidate("v2"), warning))
    prefix = split_uri(inputs["champion"])[1].removeprefix(f"{stage.name}/")
    assert stage.get(f"{prefix}{ANSWERS}") == {"failed": str(refused.value)}


def test_a_champion_that_takes_lines_is_not_sent_parquet(stage):
    champion = champion_by_itself(stage)
    training = stage.config.training.model_copy(update={"format": "parquet"})
    stage.use(stage.config.model_copy(update={"training": training}))
    with pytest.raises(AirflowFailException, match="format is parquet now"):
        stage.steps.champion_request(stage.plan("v2", champion), DATASET)


def test_models_that_were_only_asked_are_cleared_away(stage):
    sagemaker, names = stage.account.sagemaker, []
    for number in range(3):
        container = {"Image": URI, "ModelDataUrl": stage.candidate(f"v{number}")[0]["model_data"]}
        names.append(ensure_model(sagemaker, stage.name, container, ROLE, step=SCORED))
        assert ensure_model(sagemaker, stage.name, container, ROLE, step=SCORED) == names[-1]
    assert prune(sagemaker, stage.name, 1, None) == names[:1]
    assert [
        model["ModelName"]
        for model in sagemaker.list_models(NameContains=SCORED)["Models"]
        if stage.name in model["ModelName"]
    ] == [
        names[2],
        names[1],
    ]


def test_files_and_the_monitor_are_told_that_there_is_no_code(stage, monkeypatch):
    champion = champion_by_itself(stage)
    scorer = batch.Scorer(version="v1", package_arn="a/1", model_data=champion.model_data, image=URI, own=True)
    monkeypatch.setattr(batch, "scorer", lambda *_: scorer)
    stage.put("batch/in/a.csv", "x")
    with pytest.raises(AirflowFailException, match=r"has no code that reads files: 1 file\(s\) wait"):
        BatchTasks(stage.config, FOLDER).claim_files({})
    stage.use(
        stage.config.model_copy(
            update={"deployment": stage.config.deployment.model_copy(update={"data_capture_percent": 100})}
        )
    )
    monitor = MonitorTasks(stage.config, FOLDER)
    monkeypatch.setattr(monitor, "_endpoint_changed_at", lambda: datetime.now(UTC))
    with pytest.raises(AirflowSkipException, match="left no profile of its training rows"):
        monitor.find_requests(RETRAINING)
