"""The survey DAG on a real Airflow scheduler: its file lands as synthetic and wakes the retraining DAG. Runs after the other suites."""

import json
import time

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(900)]


def test_a_survey_lands_as_synthetic_data_and_wakes_the_retraining(session, api, run_dag):
    platform = json.loads(
        session.client("ssm").get_parameter(Name="/retraining/abalone/platform")["Parameter"]["Value"]
    )
    known = {run["dag_run_id"] for run in api.runs("abalone_retraining")}
    run = run_dag("abalone_survey", {"method": "copula", "rows": 60, "seed": 1})
    assert run["state"] == "success", run
    listed = session.client("s3").list_objects_v2(Bucket=platform["bucket"], Prefix="abalone/new/synthetic/")
    [item] = listed["Contents"]
    body = session.client("s3").get_object(Bucket=platform["bucket"], Key=item["Key"])["Body"].read().decode()
    assert len(body.splitlines()) == 60
    deadline = time.monotonic() + 60
    while not [run for run in api.runs("abalone_retraining") if run["dag_run_id"] not in known]:
        assert time.monotonic() < deadline, "the survey's file started no retraining run"
        time.sleep(0.5)
