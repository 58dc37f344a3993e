"""An experiment's places and names follow from content, and are none of production's."""

import pytest
from production import MODEL
from pydantic import TypeAdapter, ValidationError

from experiment.plan import (
    ExperimentContext,
    NoDataError,
    data_at,
    experiment_context,
    job_owner,
    make_plan,
    manifest_uris,
)
from retraining.aws.naming import job_name
from retraining.dataset.records import Output, Version
from retraining.dataset.state import LogState
from retraining.jobs.plan import Champion
from retraining.sdk.context import training_context
from retraining.settings.model_config import Name, load_model_config
from retraining.settings.platform import Platform

CONFIG = load_model_config(MODEL / "model.yaml")
CHAMPION = Champion(package_arn="arn:7", model_data="s3://b/abalone/models/a/output/model.tar.gz")
PLATFORM = Platform(
    account="1", region="us-east-1", bucket="b", queue_url="q", glue_database="d", glue_crawler="c", glue_job="g",
    analyze_function="f", topic_arn="t",
    train_role_arn="r", evaluate_role_arn="r", serve_role_arn="r",
    survey_role_arn="r", experiment_role_arn="r",
)  # fmt: skip


def version(number, splits=("train", "validation", "test")):
    def output(split):
        return Output(key=f"abalone/dataset/training/batch={number}/split={split}/a.csv", size=1)

    return Version(
        version=number,
        batch=f"{number:016x}",
        created_at="",
        files=(),
        rows={},
        rows_by_split=dict.fromkeys(splits, 10),
        training={split: (output(split),) for split in splits},
    )


STATE = LogState((version(1), version(2)))


def plan(config=CONFIG, state=STATE, code="c", champion=CHAMPION):
    return make_plan(config, state, code, list(config.training.candidates), champion)


def test_all_places_are_below_experiments():
    made = plan()
    assert made.run_prefix == f"abalone/experiments/{made.run_key}/"
    assert made.run_key.startswith("v2-")
    uris = manifest_uris(data_at(STATE, None, "abalone", "b", "csv_without_header")[1], made, "b")
    context = experiment_context(training_context(CONFIG, PLATFORM, made, CONFIG.training.candidates[0], uris))
    places = [context.output_path, *context.manifests.values(), f"s3://b/{context.code_prefix}"]
    assert all(place.startswith("s3://b/abalone/experiments/") for place in places)
    assert isinstance(context.model_copy(update={"source_dir": "x"}), ExperimentContext)


def test_the_key_follows_from_what_is_trained_and_compared_not_from_the_gate():
    lenient = CONFIG.model_copy(update={"gate": CONFIG.gate.model_copy(update={"required_odds": 9.0})})
    longer = CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update={"max_runtime_seconds": 9})})
    assert plan().run_key == plan(lenient).run_key
    keys = [plan(), plan(longer), plan(code="other"), plan(champion=None), plan(state=STATE.at(1))]
    assert len({item.run_key for item in keys}) == len(keys)


def test_no_model_can_have_the_name_that_an_experiments_jobs_carry():
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(job_owner("abalone"))
    assert job_name(job_owner("a" * 24), "evaluate", "0" * 16, 30)  # the longest fits


def test_a_version_is_pinned_or_the_newest():
    assert data_at(STATE, None, "abalone", "b", "csv_without_header")[1].version == 2
    state, data = data_at(STATE, 1, "abalone", "b", "csv_without_header")
    assert (state.latest, data.version, data.rows_by_split["train"]) == (1, 1, 10)
    assert data.manifests["train"] == [{"prefix": "s3://b/abalone/dataset/training/"}, "batch=1/split=train/a.csv"]
    with pytest.raises(LookupError, match="dataset version 3 does not exist: the log has versions 1 to 2"):
        data_at(STATE, 3, "abalone", "b", "csv_without_header")
    with pytest.raises(NoDataError, match="has no dataset version yet"):
        data_at(LogState(), None, "abalone", "b", "csv_without_header")
    with pytest.raises(NoDataError, match="dataset version 1 of abalone has no test rows"):
        data_at(LogState((version(1, ("train", "validation")),)), None, "abalone", "b", "csv_without_header")
