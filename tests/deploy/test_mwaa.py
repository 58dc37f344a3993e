"""Calls to MWAA, checked against botocore's model of the service; there is no MWAA to run them against."""

from dataclasses import replace

import boto3
import pytest
from botocore.stub import Stubber

from deploy import mwaa

EXPECTED = mwaa.Expected("3.3.1", "pv", "rv", ("abalone_retraining.py", "abalone_survey.py"))
RUNNING = {
    "Name": "retraining-prod",
    "Status": "AVAILABLE",
    "AirflowVersion": "3.3.1",
    "PluginsS3ObjectVersion": "pv",
    "RequirementsS3ObjectVersion": "rv",
}
DAGS = {"dags": [{"relative_fileloc": name} for name in EXPECTED.dag_files]}
NONE = {"import_errors": [], "total_entries": 0}


@pytest.fixture
def lines():
    return []


@pytest.fixture
def client():
    return boto3.client("mwaa", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def service(client):
    with Stubber(client) as service:
        yield service
        service.assert_no_pending_responses()


def described(service, **changes):
    service.add_response("get_environment", {"Environment": RUNNING | changes}, {"Name": "retraining-prod"})


def answered(service, path, answer, body=None, query=None):
    request = {"Name": "retraining-prod", "Path": path, "Method": "GET" if body is None else "POST"}
    request |= {"Body": body} if body is not None else {}
    request |= {"QueryParameters": query} if query else {}
    service.add_response("invoke_rest_api", {"RestApiStatusCode": 200, "RestApiResponse": answer}, request)


def imports(service, errors=NONE, plugins=NONE, dags=DAGS):
    answered(service, "/importErrors", errors, query={"limit": 100})
    answered(service, "/plugins/importErrors", plugins)
    answered(service, "/dags", dags, query={"limit": 100})


def test_an_environment_with_another_startup_script_does_not_run_what_was_deployed():
    expected = replace(EXPECTED, startup_version="sv")
    assert mwaa.check_files(RUNNING, expected) == ["StartupScriptS3ObjectVersion is None, not sv"]
    assert mwaa.check_files(RUNNING | {"StartupScriptS3ObjectVersion": "sv"}, expected) == []


def test_an_environment_that_runs_everything_is_verified(client, service, lines):
    described(service, Status="UPDATING")
    described(service)
    answered(service, "/version", {"version": "3.3.1"})
    imports(service, dags={"dags": []})
    imports(service)
    mwaa.verify(client, "retraining-prod", EXPECTED, lines.append, poll=0)
    assert "UPDATING" in lines[0]
    assert lines[-1] == "all 2 DAG files are imported without errors"


def test_an_environment_with_old_plugins_is_not_verified(client, service, lines):
    described(service, PluginsS3ObjectVersion="old", LastUpdate={"Status": "FAILED", "Error": {"ErrorCode": "E"}})
    with pytest.raises(mwaa.VerificationError, match=r"PluginsS3ObjectVersion is old, not pv\n.*last update failed: E"):
        mwaa.verify(client, "retraining-prod", EXPECTED, lines.append, poll=0)


def test_import_errors_name_file_and_reason(client, service, lines):
    described(service)
    answered(service, "/version", {"version": "3.3.1"})
    error = {"filename": "abalone_survey.py", "stack_trace": "Traceback\nImportError: no x"}
    imports(service, errors={"import_errors": [error]}, plugins={"import_errors": [{"source": "p.py", "error": "bad"}]})
    with pytest.raises(mwaa.VerificationError, match=r"abalone_survey.py: .*ImportError: no x.*\n.*plugin p.py: bad"):
        mwaa.verify(client, "retraining-prod", EXPECTED, lines.append, seconds=-1, poll=0)


def test_a_private_web_server_is_said_to_be_unverified(client, service, lines):
    described(service, WebserverAccessMode="PRIVATE_ONLY")
    service.add_client_error("invoke_rest_api", "RestApiServerException", "no answer")
    mwaa.verify(client, "retraining-prod", EXPECTED, lines.append, poll=0)
    assert "DAG imports were not verified, the web server is private" in lines[-1]


def test_a_public_web_server_that_does_not_answer_is_an_error(client, service, lines):
    described(service, WebserverAccessMode="PUBLIC_ONLY")
    service.add_client_error("invoke_rest_api", "AccessDeniedException", "not allowed")
    with pytest.raises(mwaa.UnreachableError, match=r"not allowed.*airflow:InvokeRestApi"):
        mwaa.verify(client, "retraining-prod", EXPECTED, lines.append, poll=0)


@pytest.mark.parametrize("status", ["CREATE_FAILED", "UPDATE_FAILED", "UNAVAILABLE", "DELETED"])
def test_an_environment_that_failed_is_not_waited_for(client, service, lines, status):
    described(service, Status=status)
    with pytest.raises(mwaa.VerificationError, match=status):
        mwaa.wait_available(client, "retraining-prod", lines.append, poll=0)


DAG = "/dags/abalone_retraining"


def started(service):
    """A dry run trains with or without new data, so that it proves something."""
    answered(service, DAG, {"is_paused": False})
    body = {"logical_date": None, "conf": {"dry_run": True, "force_retrain": True}}
    answered(service, f"{DAG}/dagRuns", {"dag_run_id": "r1"}, body=body)


def test_a_paused_dag_is_named(client, service, lines):
    described(service)
    answered(service, "/version", {"version": "3.3.1"})
    paused = {"dag_id": "abalone_survey", "relative_fileloc": "abalone_survey.py", "is_paused": True}
    others = {"dag_id": "someone_elses", "relative_fileloc": "else.py", "is_paused": True}
    imports(service, dags={"dags": [DAGS["dags"][0], paused, others]})
    with pytest.raises(mwaa.VerificationError, match="abalone_survey is paused: no run") as caught:
        mwaa.verify(client, "retraining-prod", EXPECTED, lines.append, seconds=-1, poll=0)
    assert "someone_elses" not in str(caught.value)


def test_a_dry_run_of_a_paused_dag_is_refused_at_once(client, service, lines):
    answered(service, DAG, {"is_paused": True})
    with pytest.raises(mwaa.VerificationError, match="is paused"):
        mwaa.dry_run(client, "retraining-prod", "abalone_retraining", lines.append, poll=0)


def test_a_dry_run_that_nobody_starts_ends_after_minutes_and_says_why(client, service, lines, monkeypatch):
    monkeypatch.setattr(mwaa, "QUEUED_SECONDS", -1)
    started(service)
    answered(service, f"{DAG}/dagRuns/r1", {"state": "queued"})
    with pytest.raises(mwaa.VerificationError, match="was queued for 0 s and not started"):
        mwaa.dry_run(client, "retraining-prod", "abalone_retraining", lines.append, poll=0)


def test_a_dry_run_without_data_proves_nothing_and_says_so(client, service, lines):
    started(service)
    answered(service, f"{DAG}/dagRuns/r1", {"state": "success"})
    answered(service, f"{DAG}/dagRuns/r1/taskInstances/analyze_results", {"state": "skipped"})
    with pytest.raises(mwaa.VerificationError, match=r"trained nothing: .* upload a file below new/"):
        mwaa.dry_run(client, "retraining-prod", "abalone_retraining", lines.append, poll=0)


def test_a_dry_run_is_started_and_watched(client, service, lines):
    started(service)
    answered(service, f"{DAG}/dagRuns/r1", {"state": "running"})
    answered(service, f"{DAG}/dagRuns/r1", {"state": "success"})
    answered(service, f"{DAG}/dagRuns/r1/taskInstances/analyze_results", {"state": "success"})
    assert mwaa.dry_run(client, "retraining-prod", "abalone_retraining", lines.append, poll=0) == "success"


def test_a_failed_dry_run_fails_the_verification(client, service, lines):
    started(service)
    answered(service, f"{DAG}/dagRuns/r1", {"state": "failed"})
    with pytest.raises(mwaa.VerificationError, match="r1 of abalone_retraining is failed"):
        mwaa.dry_run(client, "retraining-prod", "abalone_retraining", lines.append, poll=0)


def test_the_paths_are_those_of_airflows_api():
    from airflow.api_fastapi.core_api.routes.public import public_router

    paths = {route.path.removeprefix("/api/v2") for route in public_router.routes if hasattr(route, "path")}
    assert paths, "no routes"
    used = {"/importErrors", "/plugins/importErrors", "/dags", "/dags/{dag_id}", "/version", "/dags/{dag_id}/dagRuns"}
    used |= {f"/dags/{{dag_id}}/dagRuns/{{dag_run_id}}{rest}" for rest in ("", "/taskInstances/{task_id}")}
    assert used <= paths
