"""The survey DAG on a real Airflow scheduler: what it lands wakes the retraining DAG, whose contract and gate judge it. Runs last."""

import json

import pytest
from conftest import until

from local_stack.progress import reason_of
from retraining.aws.naming import digest
from retraining.serving.watch_records import incidents

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(3600)]
DAG_ID = "abalone_retraining"
ENDED = ("success", "failed")


@pytest.fixture
def document(session, bucket):
    """Read a JSON document of the data bucket by its key."""

    def read(key):
        return json.loads(session.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

    return read


@pytest.fixture
def survey(api, run_dag, document):
    """Land a survey with some options; return its key and, once it has ended, the retraining run that took the file."""

    def play(**options):
        until(lambda: all(run["state"] in ENDED for run in api.runs(DAG_ID)), "earlier runs end")
        known = {run["dag_run_id"] for run in api.runs(DAG_ID)}
        made = run_dag("abalone_survey", {"method": "copula", **options})
        assert made["state"] == "success", made
        landed = xcom(api, "abalone_survey", made["dag_run_id"], "upload_survey")["file"]
        key = landed.split("/", 3)[3]

        def taker():
            for run in api.runs(DAG_ID):
                if run["dag_run_id"] not in known and run["state"] in ENDED:
                    plan = xcom(api, DAG_ID, run["dag_run_id"], "claim_new_data")
                    if plan and key in {file["key"] for file in merged(plan)["files"]}:
                        return run, plan
            return None

        def merged(plan):
            return document(f"abalone/batches/{plan['batch']}/etl_report.json") if plan["batch"] else {"files": []}

        run, plan = until(taker, f"a retraining run takes {key}")
        tasks = {task["task_id"]: task for task in api.tasks(DAG_ID, run["dag_run_id"])}
        return key, run, merged(plan), tasks

    return play


def xcom(api, dag_id, run_id, task_id):
    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    try:
        value = api.get(path, deserialize=True)["value"]
    except RuntimeError:  # the task was skipped or did not get there
        return None
    return json.loads(value) if isinstance(value, str) else value


def serving(session):
    return session.client("sagemaker").describe_endpoint(EndpointName="dev-abalone")["EndpointConfigName"]


def versions(stack):
    done = stack.dataset("versions", "abalone")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_survey_of_mostly_broken_rows_is_refused_as_a_whole(stack, session, api, survey, document):
    config, log = serving(session), versions(stack)
    key, run, report, tasks = survey(rows=60, dirt=0.4, seed=2)
    assert key.startswith("abalone/new/synthetic/")
    assert (run["state"], report["files"][0]["outcome"]) == ("failed", "refused")
    assert report["files"][0]["rows"] == report["rows_quarantined"] == 60
    assert tasks["check_data_quality"]["state"] == "failed"
    assert "refused, nothing was merged" in reason_of(api, DAG_ID, run["dag_run_id"], tasks["check_data_quality"])
    assert tasks["training"]["state"] == "upstream_failed"
    told = f"abalone/outcomes/{digest({'dag': DAG_ID, 'run': run['dag_run_id']})}.json"
    until(lambda: document(told)["told"], "the topic is told")
    assert document(told)["word"] == "data refused"
    refused = stack.dataset("refused", "abalone")
    assert key in refused.stdout
    [file] = document(f"abalone/dataset/judged/{report['batch']}.json")["files"]
    assert (file["key"], file["outcome"]) == (key, "refused")
    assert (serving(session), versions(stack)) == (config, log)


def test_a_survey_of_another_relation_is_merged_and_its_model_rejected(stack, session, api, survey):
    """A few rows of it are dirty: they go into quarantine, within the budget, and the rest is merged as synthetic training data."""
    config, log = serving(session), versions(stack)
    _, run, report, tasks = survey(rows=1500, drift=["rings+8"], dirt=0.02, seed=3)
    assert run["state"] == "success"
    assert (report["files"][0]["outcome"], report["rows_quarantined"]) == ("merged", 30)
    assert report["rows_accepted"] > 1400
    assert report["rows_by_split"] == {"train": report["rows_accepted"], "validation": 0, "test": 0}
    assert tasks["rejected"]["state"] == "success"
    assert tasks["deploy_model"]["state"] == "skipped"
    summary = xcom(api, DAG_ID, run["dag_run_id"], "publish_report")
    assert summary["decision"] == "rejected"
    assert summary["score_challenger"] > summary["score_champion"]
    assert serving(session) == config
    assert versions(stack) != log  # the data stay
    assert stack.dataset("verify", "abalone").returncode == 0


def test_labels_tell_that_the_model_in_service_errs(stack, session, bucket, run_dag):
    """The rows look as those that the model was trained on; only what is true of them has changed."""
    asked = stack.survey("--rows", "400", "--method", "copula", "--predict", "--labels", "--drift", "rings+3")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert run_dag("abalone_monitor", {})["state"] == "success"
    [incident] = incidents(session.client("s3"), bucket, "abalone", 1)
    changes = {change["column"]: change["direction"] for change in incident["changes"]}
    assert changes["(error)"] == -1, changes  # prediction minus truth
    assert incident["closed_at"] is None
