import json

import pytest

from local_stack import __main__ as command
from local_stack import demo, drift_demo, layout
from local_stack.progress import NothingToTrainError


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
    runs = [{"dag_run_id": "scheduled__yesterday"}]

    class Api:
        def runs(self, dag):
            return list(runs)

        def trigger(self, dag, params):
            runs.extend([{"dag_run_id": "scheduled__today"}] if scheduled else [])
            runs.append({"dag_run_id": "manual"})
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
            {"dag_run_id": "scheduled__today"},
            {"approved": True},
        )
        assert said == ["run scheduled__today was first and took the file"]
    else:
        with pytest.raises(NothingToTrainError, match="run manual"):
            demo.first_run(Api(), said.append, {"scheduled__yesterday"})


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
