import pytest

from local_stack import layout
from local_stack.verbs import calls, logs, overview, report
from local_stack.verbs.model_check import ModelFolder
from local_stack.verbs.service import Service

GOOD, BROKEN = (
    ModelFolder("abalone", (), None),
    ModelFolder("cars", ("dags/models/cars/model.yaml:7: target: x",), None),
)


def test_the_status_says_per_model_what_serves_what_is_broken_and_what_is_paused():
    shown = overview.model_lines(
        [GOOD, BROKEN],
        {"abalone": Service("abalone", "InService", None, 2, "3", 2.5, "r/report.html", gathering="3 rows came")},
        {"cars_retraining": "no", "other": "ValueError: x"},
        ["abalone_survey"],
        [("abalone_retraining", "run manual__1 waits for a person's yes or no: http://there")],
    )
    assert shown == [
        "abalone        endpoint abalone: model version 2 (dataset version 3, RMSE 2.5000)",
        "               report r/report.html",
        "               3 rows came",
        "               DAG abalone_survey is paused: no run of it begins",
        "               run manual__1 waits for a person's yes or no: http://there",
        "cars           cannot be used:",
        "               dags/models/cars/model.yaml:7: target: x",
        "Airflow cannot import dags/other.py: ValueError: x",
    ]


class Reports:
    """S3 with the reports of some runs, the last the newest."""

    exceptions = type("Exceptions", (), {"NoSuchKey": KeyError})

    def __init__(self, *runs):
        self.runs = runs

    def get_paginator(self, _):
        return self

    def paginate(self, Bucket, Prefix):
        keys = [f"{Prefix}{run}/{name}" for run in self.runs for name in ("report.html", "summary.json")]
        return [{"Contents": [{"Key": key, "LastModified": number} for number, key in enumerate(keys)]}]

    def get_object(self, Bucket, Key):
        raise KeyError(Key)


def test_the_newest_report_is_shown_and_the_others_are_named():
    shown = report.lines(Reports("v1-a", "v2-b"), "bucket", "abalone")
    assert shown == ["s3://bucket/abalone/runs/v2-b/report.html", "other runs: v1-a"]
    assert report.lines(Reports("v1-a", "v2-b"), "bucket", "abalone", "v1-a")[0].endswith("v1-a/report.html")


@pytest.mark.parametrize(
    ("reports", "run", "words"),
    [(Reports(), None, "has no report yet"), (Reports("v1-a"), "v9", "has no report of run 'v9'; there are v1-a")],
)
def test_a_report_that_is_not_there_is_answered_with_those_that_are(reports, run, words):
    with pytest.raises(calls.CallError, match=words):
        report.lines(reports, "bucket", "abalone", run)


TRAINING = ("training-job/abalone-train-1/log.txt", "training-job/abalone-train-2/log.txt")


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "AWS_DATA", tmp_path)
    for place in (
        "training-job/abalone-train-1/log.txt",
        "training-job/abalone-train-2/log.txt",
        "glue/merge/jr_1/error.txt",
        "glue/merge/jr_1/output.txt",
    ):
        path = tmp_path / "jobs" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(place)
    return tmp_path


def test_the_log_of_a_job_is_found_by_a_part_of_its_name(jobs):
    assert [path.read_text() for path in logs.logs_of("train-2")] == ["training-job/abalone-train-2/log.txt"]
    assert {path.name for path in logs.logs_of("jr_1")} == {"error.txt", "output.txt"}
    assert logs.logs_of(None)


@pytest.mark.parametrize(
    ("job", "words"), [("train", "several jobs fit 'train': abalone-train-1"), ("zzz", "there is no job 'zzz'")]
)
def test_a_job_that_is_not_one_is_answered_with_those_that_are(jobs, job, words):
    with pytest.raises(calls.CallError, match=words):
        logs.logs_of(job)


def test_without_any_job_the_verb_that_makes_some_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "AWS_DATA", tmp_path)
    with pytest.raises(calls.CallError, match="make retrain"):
        logs.logs_of(None)
