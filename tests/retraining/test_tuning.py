"""The search for hyperparameters: what model.yaml may ask for, the request, and which model goes on."""

import io
import json
import math
import random
import statistics
import tarfile
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from test_job_requests import MANIFESTS, validate

from local_aws.shared.requests.members import check_members
from retraining.aws.naming import job_name
from retraining.dag.retraining_dag import retraining_dag
from retraining.dag.task_results import Result
from retraining.dag.tasks.model import ModelTasks
from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.jobs import requests as job_requests
from retraining.jobs.code_bundle import document_uri, training_document
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.tuning.request import trial_document, tuning_request
from retraining.judging import paired_losses
from retraining.judging.candidates import JudgementError, choose
from retraining.judging.paired_losses import Losses, paired, read_losses
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ConfigError, ModelConfig, load_model_config
from retraining.settings.training.step import Training

RANGES = {
    "learning_rate": {"min": 0.01, "max": 1, "scale": "log"},
    "max_leaf_nodes": {"min": 4, "max": 64},
    "max_features": {"values": [0.5, 1.0]},
}
BOOSTING = {"name": "hgb", "trainer": "hist_gradient_boosting", "hyperparameters": {"seed": 7}}
OWN = {"name": "own", "hyperparameters": {"algorithm": "linear"}}


def written(config, **changes):
    """Return the abalone model's settings with a boosting that is searched; ``changes`` are keys of tuning, of others by their path."""
    values = config.model_dump(mode="json")
    tuning = {"trials": 8, "ranges": RANGES} | changes.pop("tuning", {})
    values["training"] |= {"candidates": [BOOSTING], "tuning": tuning} | changes.pop("training", {})
    return values | changes


def searching(config, **changes) -> ModelConfig:
    return ModelConfig.model_validate(written(config, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tuning": {"trials": 0}}, "greater than or equal to 1"),
        ({"tuning": {"trials": 10_001}}, "trials is 10001; with strategy random SageMaker runs at most 10000"),
        ({"tuning": {"trials": 751, "strategy": "bayesian"}}, "with strategy bayesian SageMaker runs at most 750"),
        ({"tuning": {"strategy": "grid"}}, "strategy"),
        ({"tuning": {"parallel": 9}}, "parallel is 9, and can be neither more than trials, 8, nor than 100"),
        ({"tuning": {"ranges": {}}}, "at least 1"),
        ({"tuning": {"ranges": {f"x{n}": {"min": 0, "max": 1} for n in range(31)}}}, "searches at most 30"),
        ({"tuning": {"ranges": {"seed": {"min": 0, "max": 9}}}}, "the luckiest seed is not a better model"),
        ({"tuning": {"ranges": {"sm_x": {"min": 0, "max": 9}}}}, "not a model's to set"),
        ({"tuning": {"ranges": {"depth": {"min": 1, "max": 9}}}}, "has no hyperparameter 'depth'"),
        ({"tuning": {"ranges": {"max_leaf_nodes": {"min": 2.5, "max": 9}}}}, "is 2.5, which is not a whole number"),
        ({"tuning": {"ranges": {"max_leaf_nodes": {"min": 0, "max": 9}}}}, "must be 1 or more"),
        ({"tuning": {"ranges": {"max_features": {"min": 0.5}}}}, "needs min and max, or values"),
        ({"tuning": {"ranges": {"max_features": {"min": 0.5, "max": 0.5}}}}, "min 0.5 must be less than max 0.5"),
        ({"tuning": {"ranges": {"max_features": {"min": 0.5, "max": math.inf}}}}, "must be less than"),
        ({"tuning": {"ranges": {"max_features": {"values": [0.5], "min": 0}}}}, "values stand alone"),
        ({"tuning": {"ranges": {"max_features": {"values": [0.5]}}}}, "1 values; SageMaker searches among 2 to 30"),
        ({"tuning": {"ranges": {"max_features": {"values": [0.5, 0.5]}}}}, "a value stands twice"),
        ({"tuning": {"ranges": {"l2_regularization": {"min": 0, "max": 1, "scale": "log"}}}}, "greater than 0"),
        ({"tuning": {"ranges": {"max_features": {"min": 0.5, "max": 1, "scale": "reverse_log"}}}}, "without, 1"),
        ({"tuning": {"candidate": "other"}}, "candidate 'other' is none of hgb"),
        ({"training": {"candidates": [BOOSTING, OWN]}}, "say with candidate whose hyperparameters are searched"),
        (
            {"training": {"candidates": [BOOSTING, {"name": "hgb-tuned"}]}, "tuning": {"candidate": "hgb"}},
            "'hgb-tuned' has the name of the search",
        ),
        (
            {"training": {"candidates": [OWN]}, "tuning": {"ranges": {"params.a": {"values": ["$(x)", "b"]}}}},
            "handed through shells",
        ),
        ({"training": {"script": "own.py", "candidates": [OWN]}}, "script own.py trains in place of the library"),
        ({"training": {"metrics": {"m": "(x)"}, "selection_metric": "m"}}, "selection_metric 'm' must be one of"),
        (
            {"training": {"metrics": {"validation:log_loss": "(x)"}, "selection_metric": "validation:log_loss"}},
            "does not order models of a regression by their loss: use validation:loss or validation:rmse",
        ),
        (
            {"training": {"metrics": {f"m{n}": "(x)" for n in range(20)} | {"validation:rmse": "(x)"}}},
            "21 metrics; a tuning job has at most 20",
        ),
        ({"training": {"overrides": {"ExperimentConfig": {"TrialName": "t"}}}}, "a tuning job has no ExperimentConfig"),
        ({"name": "a-name-of-sixteen"}, "can have at most 18: shorten the model's name"),
        ({"steps": {"training": "sdk"}}, "training.tuning is not read by a training in the form sdk"),
    ],
)
def test_what_sagemaker_or_the_comparison_would_refuse_is_refused_when_the_file_is_read(config, changes, words):
    searching(config)
    with pytest.raises(ValueError, match=words.replace("$", r"\$").replace("(", r"\(").replace(")", r"\)")):
        searching(config, **changes)


def test_a_mistake_is_told_with_the_line_of_the_search(tmp_path, config):
    settings = config.model_dump(mode="json", exclude={"training", "aws"})
    lines = [f"{name}: {json.dumps(value)}" for name, value in settings.items()]
    lines += ["training:", "  image: sagemaker-scikit-learn:1.9-0-cpu-py3", f"  candidates: [{json.dumps(BOOSTING)}]"]
    lines += ["  tuning:", "    trials: 4", "    ranges:", "      depth: {min: 1, max: 4}"]
    (tmp_path / "model.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError) as caught:
        load_model_config(tmp_path / "model.yaml")
    told = f":{lines.index('  tuning:') + 1}: training.tuning: trainer hist_gradient_boosting has no hyperparameter 'depth'"
    assert told in str(caught.value)


@pytest.fixture
def searched(config, plan):
    return searching(config), plan.model_copy(update={"candidates": ("hgb",), "searched": tuple(RANGES)})


def test_the_request_is_the_candidates_training_with_ranges(searched, platform):
    config, plan = searched
    candidate = config.training.candidates[0]
    request = tuning_request(config, platform, plan, candidate, MANIFESTS)
    training = job_requests.training_request(config, platform, plan, candidate, MANIFESTS)
    job = document_uri(platform.bucket, plan, trial_document(config, plan, candidate))
    training["InputDataConfig"][-1]["DataSource"]["S3DataSource"]["S3Uri"] = job
    static = training.pop("HyperParameters")
    assert request == {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 8, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    {"Name": "learning_rate", "MinValue": "0.01", "MaxValue": "1.0", "ScalingType": "Logarithmic"}
                ],
                "CategoricalParameterRanges": [{"Name": "max_features", "Values": ["0.5", "1.0"]}],
                "IntegerParameterRanges": [
                    {"Name": "max_leaf_nodes", "MinValue": "4", "MaxValue": "64", "ScalingType": "Linear"}
                ],
            },
            "TrainingJobEarlyStoppingType": "Off",
            "RandomSeed": 7,
        },
        "TrainingJobDefinition": {**training, "StaticHyperParameters": static},
    }
    name = job_name("abalone", "tune", "0123456789abcdef", 10, JOB_KINDS["tuning"].longest_name)
    assert len(name) <= 32
    whole = {"HyperParameterTuningJobName": name, **request}
    validate("sagemaker", "CreateHyperParameterTuningJob", whole)
    check_members("sagemaker", "CreateHyperParameterTuningJob", whole)


@pytest.mark.parametrize(("direction", "objective"), [("max", "Maximize"), ("min", "Minimize")])
def test_the_search_goes_where_the_metric_is_better(searched, platform, direction, objective):
    config, plan = searched
    metric = config.training.selection_metric
    config = config.model_copy(update={"training": config.training.model_copy(update={"direction": direction})})
    request = tuning_request(config, platform, plan, config.training.candidates[0], MANIFESTS)
    objectives = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    assert objectives == {"Type": objective, "MetricName": metric}


def test_overrides_reach_the_trials_and_tags_the_search(config, plan, platform):
    overrides = {
        "Tags": [{"Key": "team", "Value": "one"}],
        "VpcConfig": {"Subnets": ["s-1"], "SecurityGroupIds": ["g-1"]},
        "StoppingCondition": {"MaxWaitTimeInSeconds": 7200},
    }
    changed = searching(config, training={"overrides": overrides})
    plan = plan.model_copy(update={"searched": ("max_features",)})
    request = tuning_request(changed, platform, plan, changed.training.candidates[0], MANIFESTS)
    validate("sagemaker", "CreateHyperParameterTuningJob", {"HyperParameterTuningJobName": "x", **request})
    assert request["Tags"] == overrides["Tags"]
    assert request["TrainingJobDefinition"]["VpcConfig"] == overrides["VpcConfig"]
    assert request["TrainingJobDefinition"]["StoppingCondition"]["MaxWaitTimeInSeconds"] == 7200
    assert list(request["HyperParameterTuningJobConfig"]["ParameterRanges"]) == ["CategoricalParameterRanges"]


def test_a_number_is_whole_as_it_is_written_or_as_its_trainer_has_it(config, plan, platform):
    own = searching(
        config,
        training={"candidates": [OWN]},
        tuning={"ranges": {"params.depth": {"min": 1, "max": 4}, "rate": {"min": 0.0, "max": 1}}},
    )
    plan = plan.model_copy(update={"searched": ("params.depth", "rate")})
    document = trial_document(own, plan, own.training.candidates[0])
    assert document["tuned"] == {"params.depth": "integer", "rate": "continuous"}
    assert "tuned" not in training_document(own, plan, own.training.candidates[0])
    whole = searching(config, tuning={"ranges": {"l2_regularization": {"min": 0, "max": 4}}})
    plan = plan.model_copy(update={"searched": ("l2_regularization",)})
    assert trial_document(whole, plan, whole.training.candidates[0])["tuned"] == {"l2_regularization": "continuous"}


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({}, ["learning_rate", "max_leaf_nodes", "max_features"]),
        ({"candidate": "hgb", "hyperparameters": {"max_features": 0.7}}, ["learning_rate", "max_leaf_nodes"]),
        ({"hyperparameters": dict.fromkeys(RANGES, 1)}, []),
        ({"candidate": "own"}, []),
    ],
)
def test_what_a_run_is_given_is_not_searched(config, tmp_path, params, names):
    both = searching(config, training={"candidates": [BOOSTING, OWN]}, tuning={"candidate": "hgb"})
    assert RetrainingTasks(both, tmp_path)._searched(params) == names
    assert RetrainingTasks(config, tmp_path)._searched(params) == []


def test_the_dag_has_the_task_only_with_a_search(config, tmp_path):
    def dag_of(values):
        values = {key: value for key, value in values.items() if key not in ("aws", "present")}
        (tmp_path / "model.yaml").write_text(json.dumps(values))
        return retraining_dag(tmp_path)

    with_search = dag_of(written(config, tuning={"trials": 5, "parallel": 2}))
    assert with_search.get_task("after_training").upstream_task_ids == {"training", "tuning"}
    assert with_search.get_task("tuning").upstream_task_ids == {"check_data_quality"}
    limit = config.training.max_runtime_seconds
    assert with_search.get_task("tuning").max_wait.total_seconds() == 3 * limit + 900
    without = dag_of(config.model_dump(mode="json"))
    assert "tuning" not in without.task_dict
    assert with_search.dagrun_timeout - without.dagrun_timeout == with_search.get_task("tuning").max_wait


def test_the_result_of_the_search_ends_the_list_of_trainings():
    asked = []

    def xcom_pull(task_ids, key):
        asked.append(task_ids)
        return [{"name": "a"}, None, {"name": "search"}]

    found = Result("training", mapped=True, beside="tuning").pull(SimpleNamespace(xcom_pull=xcom_pull))
    assert (found, asked) == ([{"name": "a"}, {"name": "search"}], [["training", "tuning"]])


def rows(*losses: float) -> Losses:
    return Losses(tuple((1, loss) for loss in losses))


def test_the_difference_and_its_standard_error_are_those_of_the_rows_also_when_rows_are_told_in_blocks():
    dice = random.Random(1)
    one = [dice.gauss(1, 1) for _ in range(600)]
    other = [loss + dice.gauss(0.1, 0.5) for loss in one]
    differences = [mine - theirs for mine, theirs in zip(one, other, strict=True)]
    found = paired(rows(*one), rows(*other))
    assert found.difference == pytest.approx(statistics.mean(differences))
    assert found.standard_error == pytest.approx(statistics.stdev(differences) / math.sqrt(600))
    assert (found.rows, found.clearly_less) == (600, found.difference < -found.standard_error)

    def blocks(losses):
        parts = [losses[at : at + 3] for at in range(0, 600, 3)]
        return Losses(tuple((len(part), math.fsum(part)) for part in parts))

    coarse = paired(blocks(one), blocks(other))
    assert coarse.difference == pytest.approx(found.difference)
    assert coarse.standard_error == pytest.approx(found.standard_error, rel=0.15)


def test_models_of_other_rows_are_not_compared():
    with pytest.raises(ValueError, match="not measured on the same validation rows"):
        paired(rows(1, 2), rows(1, 2, 3))
    with pytest.raises(ValueError, match="too few"):
        paired(rows(1), rows(2))


def training(**changes) -> Training:
    tuning = {"trials": 4, "candidate": "a", "ranges": {"x": {"min": 0.0, "max": 1.0}}}
    names = changes.pop("names", ["a", "b"])
    return Training(
        image="sagemaker-scikit-learn:1.9-0-cpu-py3",
        candidates=[{"name": name} for name in names],
        metrics={"validation:loss": "(x)"},
        tuning=tuning,
        **changes,
    )


def result(name: str, value: float) -> dict:
    return {
        "candidate": name,
        "name": f"job-{name}",
        "model_data": f"s3://m/{name}",
        "metrics": {"validation:loss": value},
    }


def search_result(value: float) -> dict:
    best = {"name": "trial-2", "model_data": "s3://m/trial-2", "metrics": {"validation:loss": value}, "value": value}
    trials = [{"name": "trial-2", "value": value, "hyperparameters": {"x": "0.5"}}]
    counts = {"completed": 3, "failed": 1, "stopped": 0}
    return {"name": "search", "candidate": "a-tuned", "best": best, "trials": trials, "counts": counts}


PLANNED = ["a", "b", "a-tuned"]


def chosen_with(trial: list[float], declared: list[float]):
    losses = {"s3://m/trial-2": rows(*trial), "s3://m/b": rows(*declared)}
    trained = [result("a", 5.0), result("b", statistics.mean(declared)), search_result(statistics.mean(trial))]
    return choose(PLANNED, trained, training(), losses.__getitem__)


def test_the_best_trial_goes_on_when_it_loses_less_by_more_than_one_standard_error():
    choice = chosen_with([1.0, 2.0, 3.0, 4.0], [1.5, 2.4, 3.5, 4.6])
    assert (choice.best["name"], choice.best["candidate"]) == ("trial-2", "a-tuned")
    assert (choice.search["chosen"], choice.search["against"]) == (True, "b")
    assert choice.search["difference"] == pytest.approx(-0.5)
    assert "by more than one standard error on the same 4 validation rows" in choice.search["why"]
    assert [(row["name"], row["chosen"]) for row in choice.as_rows()] == [("a-tuned", True), ("a", False), ("b", False)]


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ([1.0, 2.0, 3.0, 5.9], "loses less than b on the same 4 validation rows, but not by more than one"),
        ([1.5, 2.0, 4.0, 4.5], "does not lose less than b on the same 4 validation rows: b stays"),
    ],
)
def test_the_declared_candidate_stays_when_the_gain_may_be_luck(trial, words):
    choice = chosen_with(trial, [1.5, 2.0, 4.0, 4.5])
    assert choice.best["candidate"] == "b" and not choice.search["chosen"]
    assert words in choice.search["why"]


def test_a_trial_that_cannot_be_compared_changes_nothing_and_says_why():
    def losses(artifact):
        raise ValueError(f"{artifact} has none")

    choice = choose(PLANNED, [result("a", 2.0), result("b", 3.0), search_result(1.0)], training(), losses)
    assert choice.best["candidate"] == "a"
    assert choice.search["why"] == "it cannot be compared with a, which stays: s3://m/trial-2 has none"


def test_a_search_and_a_candidate_that_fail_veto_nobody():
    failed = choose(PLANNED, [result("a", 2.0), result("b", 3.0)], training(), rows)
    assert (failed.best["candidate"], failed.search) == ("a", None)
    assert failed.left_out == {"a-tuned": "its tuning job failed"}
    alone = choose(PLANNED, [search_result(1.0)], training(), rows)
    assert alone.best["name"] == "trial-2" and alone.search["chosen"]
    assert alone.left_out == {"a": "its training job failed", "b": "its training job failed"}
    with pytest.raises(JudgementError, match="a-tuned: its tuning job failed"):
        choose(PLANNED, [], training(), rows)
    assert choose(["a", "b"], [result("a", 2.0), result("b", 1.0)], training()).search is None


def archive(content: dict | None, name: str = "./validation_losses.json") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for at, body in (("./other", b"x"), (name, json.dumps(content).encode())):
            member = tarfile.TarInfo(at)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def s3_with(monkeypatch, body: bytes | None) -> list[str]:
    asked = []

    def get_object(Bucket, Key):
        asked.append(f"{Bucket}/{Key}")
        if body is None:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "no such key"}}, "GetObject")
        return {"Body": io.BytesIO(body)}

    monkeypatch.setattr(paired_losses, "client", lambda *_: SimpleNamespace(get_object=get_object))
    return asked


def test_losses_lie_beside_the_artifact(monkeypatch):
    asked = s3_with(monkeypatch, archive({"rows": 3, "blocks": [[1, 0.5], [2, 3.0]]}))
    assert read_losses(AwsAccess(), "s3://b/m/models/j/output/model.tar.gz").blocks == ((1, 0.5), (2, 3.0))
    assert asked == ["b/m/models/j/output/output.tar.gz"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "cannot be read: .*no such key"),
        (b"no archive", "cannot be read"),
        (archive({}, "plot.json"), "holds no validation_losses.json"),
        (archive({"blocks": 3}), "is not what a training writes"),
        (archive({"blocks": [[1, "x"]]}), "is not what a training writes"),
        (archive({"blocks": [[0, 1.0]]}), "has a block without rows"),
        (archive({"blocks": [[1, math.nan]]}), "without a finite loss"),
    ],
)
def test_what_is_no_losses_is_said(monkeypatch, body, words):
    s3_with(monkeypatch, body)
    with pytest.raises(ValueError, match=words):
        read_losses(AwsAccess(), "s3://b/m/models/j/output/model.tar.gz")


def test_the_task_tells_the_job_and_names_the_best_trial(searched, platform):
    config, plan = searched
    told = []
    body = SimpleNamespace(
        planned=lambda plan: config,
        platform=platform,
        access=None,
        _tell_job=lambda run, document: told.append(document),
        pinned=lambda whose, uri: f"digest of {uri}",
    )
    body._candidate = lambda *arguments: ModelTasks._candidate(body, *arguments)
    body._pinned_result = lambda result: ModelTasks._pinned_result(body, result)
    dumped = plan.model_dump(mode="json")
    known = {
        "plan": dumped,
        "dataset": {"manifests": MANIFESTS},
        "params": {"hyperparameters": {"min_samples_leaf": 5}},
    }
    request = ModelTasks.tuning_request(body, **known)
    assert request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 8
    assert told[0]["hyperparameters"]["min_samples_leaf"] == 5 and list(told[0]["tuned"]) == sorted(RANGES)
    assert ModelTasks.tuning_request(body, **known | {"plan": dumped | {"searched": []}}) is None
    metrics = {"validation:rmse": 2.0}
    best = {"name": "t", "model_data": "s3://b/m.tar.gz", "metrics": metrics}
    found = ModelTasks.tuned(body, dumped, {"name": "s", "best": best, "trials": []})
    assert (found["candidate"], found["best"]["metrics"]) == ("hgb-tuned", metrics)
    assert found["best"]["artifact_sha256"] == "digest of s3://b/m.tar.gz"
