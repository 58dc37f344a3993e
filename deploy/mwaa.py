"""The MWAA environment after CloudFormation: it runs the deployed files, imports the DAGs, and a dry run succeeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

Say = Callable[[str], None]
PARSE_SECONDS = 900  # MWAA copies dags/ every 30 s, and new files wait for the next listing of the bundle
RUN_SECONDS = 7200
QUEUED_SECONDS = 600
JUDGED_BY = "analyze_results"  # the task that a run reaches only with a trained and evaluated candidate


class VerificationError(RuntimeError):
    """The environment does not run what was deployed; the message lists what is wrong."""


class UnreachableError(VerificationError):
    """Airflow's web server cannot be asked from here."""


@dataclass(frozen=True)
class Expected:
    """What the environment has to run: Airflow version, S3 object versions, and the DAG files by relative path."""

    airflow_version: str
    plugins_version: str
    requirements_version: str
    dag_files: tuple[str, ...]
    startup_version: str | None = None


def wait_available(mwaa: Any, name: str, say: Say, seconds: float = 3600, poll: float = 30) -> dict[str, Any]:
    """Wait until an environment is not changing; return its description.

    Raises:
        VerificationError: it ended in another state than AVAILABLE, or is still changing.

    """
    started, last = time.monotonic(), ""
    while True:
        environment: dict[str, Any] = mwaa.get_environment(Name=name)["Environment"]
        status = environment["Status"]
        if status == "AVAILABLE":
            return environment
        waited = time.monotonic() - started
        if status in ("CREATE_FAILED", "UPDATE_FAILED", "UNAVAILABLE", "DELETED", "DELETING"):
            raise VerificationError(
                f"environment {name} is {status}: {_update_error(environment) or 'see its CloudWatch logs'}"
            )
        if waited > seconds:
            raise VerificationError(
                f"environment {name} is still {status} after {waited / 60:.0f} min; repeat this command later"
            )
        if status != last:
            say(f"environment {name}: {status}")
            last = status
        time.sleep(poll)


def check_files(environment: Mapping[str, Any], expected: Expected) -> list[str]:
    """Return what of an environment's versions is not as deployed, in words."""
    wanted = {
        "AirflowVersion": expected.airflow_version,
        "PluginsS3ObjectVersion": expected.plugins_version,
        "RequirementsS3ObjectVersion": expected.requirements_version,
        "StartupScriptS3ObjectVersion": expected.startup_version,
    }
    wrong = [
        f"{key} is {environment.get(key)}, not {value}"
        for key, value in wanted.items()
        if environment.get(key) != value
    ]
    if environment.get("LastUpdate", {}).get("Status") == "FAILED":
        wrong.append(f"the last update failed: {_update_error(environment)}")
    return wrong


def rest(mwaa: Any, name: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
    """Call Airflow's REST API through MWAA; GET, or POST when there is a body.

    Raises:
        UnreachableError: MWAA could not reach the web server, or Airflow refused the call.

    """
    request: dict[str, Any] = {"Name": name, "Path": path, "Method": "GET" if body is None else "POST"}
    if query:
        request["QueryParameters"] = dict(query)
    if body is not None:
        request["Body"] = body
    try:
        answer = mwaa.invoke_rest_api(**request)
    except ClientError as error:
        reason = error.response.get("RestApiResponse") or error.response["Error"]["Message"]
        raise UnreachableError(
            f"{request['Method']} {path} of environment {name} failed: {reason}. A private web server answers only from its "
            "network, and the caller needs airflow:InvokeRestApi"
        ) from error
    return answer["RestApiResponse"]


def check_dags(mwaa: Any, name: str, dag_files: Iterable[str]) -> list[str]:
    """Return what keeps the DAG files from running: import errors of DAGs and plugins, paused DAGs, files without a DAG."""
    problems = [
        f"{item.get('filename')}: {str(item.get('stack_trace', '')).strip().splitlines()[-1:]}"
        for item in rest(mwaa, name, "/importErrors", {"limit": 100})["import_errors"]
    ]
    problems += [
        f"plugin {item.get('source')}: {item.get('error')}"
        for item in rest(mwaa, name, "/plugins/importErrors")["import_errors"]
    ]
    dags = rest(mwaa, name, "/dags", {"limit": 100})["dags"]
    wanted = set(dag_files)
    problems += [
        f"{item.get('dag_id')} is paused: no run and no watcher of it starts; unpause it in Airflow's page"
        for item in dags
        if item.get("is_paused") and item.get("relative_fileloc") in wanted
    ]
    seen = {item.get("relative_fileloc") for item in dags}
    return problems + [f"{file} has no DAG yet" for file in sorted(wanted - seen)]


def verify(
    mwaa: Any, name: str, expected: Expected, say: Say, seconds: float = PARSE_SECONDS, poll: float = 20
) -> None:
    """Prove that an environment runs the deployed files and imports every DAG.

    Raises:
        VerificationError: it does not; everything that is wrong is listed.

    """
    environment = wait_available(mwaa, name, say, poll=poll)
    if wrong := check_files(environment, expected):
        raise VerificationError(f"environment {name} does not run what was deployed:\n  " + "\n  ".join(wrong))
    try:
        running = rest(mwaa, name, "/version")["version"]
    except UnreachableError as error:
        if environment.get("WebserverAccessMode") != "PRIVATE_ONLY":
            raise
        say(f"DAG imports were not verified, the web server is private: {error}")
        return
    say(f"environment {name} runs Airflow {running} with these plugins and requirements")
    started = time.monotonic()
    while problems := check_dags(mwaa, name, expected.dag_files):
        if time.monotonic() - started > seconds:
            raise VerificationError(f"environment {name} does not run all DAGs:\n  " + "\n  ".join(problems))
        say(f"waiting for {len(problems)} DAG file(s) to be imported: {problems[0]}")
        time.sleep(poll)
    say(f"all {len(expected.dag_files)} DAG files are imported without errors")


def dry_run(mwaa: Any, name: str, dag_id: str, say: Say, seconds: float = RUN_SECONDS, poll: float = 30) -> str:
    """Run a retraining DAG with ``dry_run``: it merges, trains and judges, but registers and deploys nothing. Return the run's state.

    Raises:
        VerificationError: the DAG is paused, the run is not started, failed, took too long, or trained nothing.

    """
    if rest(mwaa, name, f"/dags/{dag_id}")["is_paused"]:
        raise VerificationError(f"{dag_id} is paused, so a run of it would wait for ever; unpause it and try again")
    conf = {"dry_run": True, "force_retrain": True}
    run = rest(mwaa, name, f"/dags/{dag_id}/dagRuns", body={"logical_date": None, "conf": conf})
    run_id, started = run["dag_run_id"], time.monotonic()
    say(f"dry run {run_id} of {dag_id} started")
    while True:
        state = str(rest(mwaa, name, f"/dags/{dag_id}/dagRuns/{run_id}")["state"])
        waited = time.monotonic() - started
        if state == "success":
            break
        if state == "queued" and waited > QUEUED_SECONDS:
            raise VerificationError(
                f"dry run {run_id} of {dag_id} was queued for {waited:.0f} s and not started: another run of the DAG goes on, "
                "or the scheduler does not; see Airflow's page"
            )
        if state == "failed" or waited > seconds:
            raise VerificationError(f"dry run {run_id} of {dag_id} is {state} after {waited:.0f} s; see its task logs")
        time.sleep(poll)
    task = rest(mwaa, name, f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{JUDGED_BY}")
    if task["state"] != "success":
        raise VerificationError(
            f"dry run {run_id} of {dag_id} trained nothing: {JUDGED_BY} is {task['state']}; upload a file below new/ first"
        )
    return state


def _update_error(environment: Mapping[str, Any]) -> str:
    error = environment.get("LastUpdate", {}).get("Error", {})
    return f"{error.get('ErrorCode', '')} {error.get('ErrorMessage', '')}".strip()
