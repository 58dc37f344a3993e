import json
from datetime import UTC, datetime, timedelta

import pytest

from local_stack import __main__ as command
from local_stack import demo, drift_demo, layout
from local_stack.progress import NothingToTrainError, RunFailedError


def version(key):
    return {"files": [{"key": key}]}


def test_the_demo_plays_on_an_empty_data_set_and_on_its_own():
    demo.check_own_data(None)
    demo.check_own_data(version("abalone/raw/abalone.csv"))


def test_the_demo_says_what_it_found_and_how_to_start_over_before_it_starts_anything(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layout, "AWS_DATA", tmp_path)
    monkeypatch.setattr("local_stack.stack.up", lambda *_: pytest.fail("the stack was started"))
    log = tmp_path / "s3" / "000000000000" / "retraining-dev-abalone-000000000000-us-east-1" / demo.FIRST_VERSION
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps(version("abalone/new/large.csv")))
    assert command.main(["demo"]) == 2
    said = capsys.readouterr().err
    assert "holds other data (abalone/new/large.csv)" in said
    assert "'make reset MODEL=abalone'" in said


@pytest.mark.parametrize("scheduled", [True, False])
def test_the_first_run_may_be_the_daily_schedule_s(monkeypatch, scheduled):
    runs = [{"dag_run_id": "scheduled__yesterday", "state": "success"}]

    class Api:
        def runs(self, dag):
            return list(runs)

        def trigger(self, dag, params):
            runs.extend([{"dag_run_id": "scheduled__today", "state": "success"}] if scheduled else [])
            runs.append({"dag_run_id": "manual", "state": "success"})
            return runs[-1]

    def summary(api, run_id):
        if run_id == "scheduled__today":
            return {"approved": True}
        raise NothingToTrainError(f"run {run_id} ended without training")

    monkeypatch.setattr(demo, "follow", lambda api, dag, run_id, seconds: {"dag_run_id": run_id})
    monkeypatch.setattr(demo, "run_summary", summary)
    said = []
    if scheduled:
        assert demo.first_run(Api(), said.append, {"scheduled__yesterday"}) == (
            {"dag_run_id": "scheduled__today", "state": "success"},
            {"approved": True},
        )
        assert said == ["run scheduled__today was first and took the file"]
    else:
        with pytest.raises(NothingToTrainError, match="run manual"):
            demo.first_run(Api(), said.append, {"scheduled__yesterday"})


class Airflow:
    """An Airflow whose daily schedule has started a run, which takes what `in_zone` says has landed when it began."""

    def __init__(self, monkeypatch, state, in_zone):
        self.known = [{"dag_run_id": "scheduled__today", "state": state}]
        self.taken_by = "scheduled__today" if in_zone else "manual"
        self.landed, self.documents, self.said = in_zone, {}, []
        monkeypatch.setattr(demo, "follow", lambda api, dag, run_id, seconds: self.end(run_id))
        monkeypatch.setattr(demo, "wait_until_idle", lambda *_: self.end("scheduled__today"))
        monkeypatch.setattr(demo, "run_summary", self.summary)
        monkeypatch.setattr(demo, "has_original", lambda *_: self.landed)
        monkeypatch.setattr(demo.service, "document", lambda _, uri: self.documents.get(uri.rsplit("/", 1)[-1]))
        monkeypatch.setattr(demo, "provide_original", lambda say: say("uploaded"))
        monkeypatch.setattr(demo, "task_seconds", lambda *_: {})
        monkeypatch.setattr(demo.time, "sleep", lambda _: None)

    def runs(self, dag):
        return list(self.known)

    def trigger(self, dag, params):
        self.known.append({"dag_run_id": "manual", "state": "running"})
        return self.known[-1]

    def end(self, run_id):
        (run,) = [run for run in self.known if run["dag_run_id"] == run_id]
        run.update(state="success", start_date="2026-03-01T10:00:00Z", end_date="2026-03-01T10:00:09Z")
        return run

    def summary(self, api, run_id):
        if run_id != self.taken_by:
            raise NothingToTrainError(f"run {run_id} ended without training")
        return {"run_key": run_id}

    def load(self):
        return demo.load_original(None, self, "bucket", self.said.append)["run_key"]


def test_data_that_landed_before_airflow_are_taken_by_the_run_of_the_daily_schedule(monkeypatch):
    airflow = Airflow(monkeypatch, "running", in_zone=True)
    assert airflow.load() == "scheduled__today"
    assert len(airflow.known) == 1
    assert "uploaded" not in airflow.said


def test_a_first_version_whose_run_goes_on_is_followed_to_its_end(monkeypatch):
    airflow = Airflow(monkeypatch, "running", in_zone=True)
    airflow.documents = {"000001.json": {"run_key": "scheduled__today"}}
    assert airflow.load() == "scheduled__today"
    assert airflow.known[0]["state"] == "success"


def test_what_is_loaded_already_is_told_with_what_its_run_said(monkeypatch):
    airflow = Airflow(monkeypatch, "running", in_zone=True)
    airflow.documents = {"000001.json": {"run_key": "first"}, "summary.json": {"run_key": "first"}}
    assert airflow.load() == "first"
    assert airflow.said == ["the original data is loaded already"]
    assert airflow.known[0]["state"] == "success"


def test_a_scheduled_run_that_takes_nothing_is_followed_by_one_that_does(monkeypatch):
    airflow = Airflow(monkeypatch, "running", in_zone=True)
    airflow.taken_by = "manual"
    assert airflow.load() == "manual"


def test_data_that_land_while_airflow_runs_are_taken_by_a_run_that_began_after_them(monkeypatch):
    airflow = Airflow(monkeypatch, "running", in_zone=False)
    assert airflow.load() == "manual"
    assert airflow.said[-1] == "uploaded"


def test_data_that_no_run_has_taken_yet_are_taken_by_a_new_one(monkeypatch):
    airflow = Airflow(monkeypatch, "success", in_zone=True)
    airflow.taken_by = "manual"
    assert airflow.load() == "manual"


def test_the_endpoint_is_asked_about_rows_that_keep_the_contract_and_without_the_rings():
    header = "sex,length,diameter,height,whole_weight,shucked_weight,viscera_weight,shell_weight,rings"
    good, bad = "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15", "M,0.455,0.365,0.095,0.1,0.2245,0.101,0.15,15"
    bodies = drift_demo.questions(header, [bad] + [good] * (drift_demo.ROWS_OF_A_REQUEST + 1))
    assert [body.splitlines() for body in bodies] == [[good[:-3]] * drift_demo.ROWS_OF_A_REQUEST, [good[:-3]]]


@pytest.mark.parametrize(
    ("closed", "why", "words"),
    [
        (None, None, "incident 1 stays open: no model has taken over"),
        ("2026-03-01T10:00:00+00:00", "model v3 serves", "incident 1 closed: model v3 serves"),
    ],
)
def test_the_third_act_says_what_became_of_the_incident(closed, why, words):
    look = {"rows": 400, "model": "v2", "level": 0.1, "open": False, "changes": [], "page": "s3://bucket/abalone/page"}
    incident = {"number": 1, "model_version": "v2", "closed_at": closed, "why_closed": why}
    incident["changes"] = [{"sentence": "length is smaller"}]
    run = {"decision": "approved", "reason": "Promoted."}
    said = drift_demo.describe(
        {"control": look, "drifted": look, "after": look, "retrain_run": run, "incident": incident}
    )
    assert words in said
    assert "incident 1 of model v2: length is smaller" in said


class ReadingApi:
    """Airflow that knows the DAG of an earlier one, and reads its file anew between two looks."""

    def __init__(self, operator: str, looks: int = 2) -> None:
        self.operator, self.looks, self.known = operator, looks, "AwsJobOperator"
        self.read = datetime.now(UTC) - timedelta(hours=1)

    def get(self, path):
        if "/tasks/" in path:
            return {"operator_name": self.known}
        self.looks -= 1
        if not self.looks:
            self.known, self.read = self.operator, datetime.now(UTC)
        return {"last_parsed_time": self.read.isoformat().replace("+00:00", "Z")}


def test_a_new_airflow_is_given_the_time_to_read_the_file_of_a_dag_that_an_earlier_one_knew(monkeypatch):
    monkeypatch.setenv("RETRAINING_SDK_STEPS", "training,evaluation")
    assert set(demo._forms(ReadingApi("SdkJobOperator")).values()) == {"SdkJobOperator"}
    with pytest.raises(RunFailedError, match="was started without SageMaker SDK steps"):
        demo._forms(ReadingApi("AwsJobOperator"))
    monkeypatch.setattr(demo, "READ_ANEW", timedelta(0))  # its DAG processor does not come to it
    with pytest.raises(RunFailedError, match="was started without SageMaker SDK steps"):
        demo._forms(ReadingApi("AwsJobOperator", looks=0))


def test_without_steps_for_the_sdk_the_forms_are_told_at_once(monkeypatch):
    monkeypatch.delenv("RETRAINING_SDK_STEPS", raising=False)
    api = ReadingApi("AwsJobOperator", looks=0)
    assert set(demo._forms(api)) == {"training", "evaluate_model"}
    assert api.looks == -1
