"""The verbs that bring a run about and follow it to its end: ``make retrain`` uploads files, ``make run`` starts a DAG by hand."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local_stack import layout, processes
from local_stack.airflow_api import AirflowApi
from local_stack.progress import AwaitsAnswerError, RunFailedError, ended, follow, seconds_of, unless_asked
from local_stack.verbs import calls, dag_state, ending, model_check, places
from retraining.settings.environment import platform_parameter

RUN_LIMIT_SECONDS = 600
"""How long a run of a demo may take."""
EVENT_SECONDS = 120
FIRST_SCHEDULE_SECONDS = 20
UNDER_WAY = ("running", "queued")
"""The states of runs that have not ended."""
Say = Callable[[str], None]
MEANWHILE = "The run goes no further before the answer; make status shows what serves meanwhile."


def retrain(session: Any, api: AirflowApi, files: Sequence[Path], model: str, say: Say) -> None:
    """Upload files as new data of a model, follow the run that their event starts, and say what it came to.

    Raises:
        DagError: the model's DAG is paused or cannot be read; nothing was uploaded.
        RunFailedError: no run began, or it failed.

    """
    dag = calls.dag_of(model)
    dag_state.runnable(api, dag, sources(model, dag))
    wait_for_first_schedule(api, say, dag)
    bucket = data_bucket(session, model)
    bodies = {path.name: path.read_bytes() for path in files}
    try:
        followed = upload_and_follow(session.client("s3"), api, bucket, bodies, say, model)
    except AwaitsAnswerError as waits:
        say(f"{waits}\n{MEANWHILE}")
        return
    tell(session, api, dag, followed["run_id"], model, say)


def run(session: Any, api: AirflowApi, dag: str, params: Mapping[str, Any], say: Say) -> None:
    """Start a DAG by hand, follow its run, and say what it came to.

    Raises:
        DagError: the DAG is paused, or has no such parameter; nothing was started.
        RunFailedError: the run failed.

    """
    model = calls.model_of(dag)
    dag_state.runnable(api, dag, sources(model, dag))
    if wrong := calls.unknown_params(dag, list(params), list(dag_state.params(api, dag))):
        raise calls.CallError(wrong)
    for busy in api.runs(dag):
        if busy["state"] == "running":
            try:
                unless_asked(dag, busy["dag_run_id"], api.tasks(dag, busy["dag_run_id"]))
            except AwaitsAnswerError as waits:
                raise _answer_first(dag, waits) from None
    run_id = api.trigger(dag, dict(params))["dag_run_id"]
    say(f"started run {run_id} of {dag}")
    try:
        follow(api, dag, run_id)
    except AwaitsAnswerError as waits:
        say(f"{waits}\n{MEANWHILE}")
        return
    if model and dag == f"{model.replace('-', '_')}_batch":
        from local_stack.verbs import scoring

        for line in scoring.lines(api, dag, run_id):
            say(line)
    elif model:
        tell(session, api, dag, run_id, model, say)
    else:
        say(f"run {run_id} succeeded")


def _answer_first(dag: str, waits: AwaitsAnswerError) -> RunFailedError:
    return RunFailedError(f"{waits}\nAnswer it first: until then {dag} starts no other run, and nothing was sent")


def tell(session: Any, api: AirflowApi, dag: str, run_id: str, model: str, say: Say) -> None:
    """Say what a run came to: verdict, rows, what serves, report, next step."""
    endpoint = model_check.endpoint_of(model)
    for line in ending.of_run(session, api, dag, run_id, model, endpoint, data_bucket(session, model)).lines():
        say(line)


def sources(model: str | None, dag: str) -> list[Path]:
    """Return the files and folders that a DAG is made of."""
    folder = [layout.ROOT / "dags" / "models" / model] if model else []
    return [layout.ROOT / "dags" / f"{dag}.py", *folder]


def data_bucket(session: Any, model: str) -> str:
    """Return the model's data bucket from the platform parameter."""
    value = session.client("ssm").get_parameter(Name=platform_parameter(model))["Parameter"]["Value"]
    return str(json.loads(value)["bucket"])


def upload_and_follow(
    s3: Any,
    api: AirflowApi,
    bucket: str,
    files: Mapping[str, bytes],
    say: Say,
    model: str,
    seconds: float = math.inf,
) -> dict[str, Any]:
    """Upload files by name into a model's landing zone, wait for the run that the event starts, and follow that run.

    Raises:
        RunFailedError: no run began, or it failed.

    """
    dag_id = calls.dag_of(model)
    known = {run["dag_run_id"] for run in api.runs(dag_id)}
    wait_until_idle(api, say, dag_id)
    uploaded_at = datetime.now(UTC)
    for name, body in files.items():
        s3.put_object(Bucket=bucket, Key=f"{model}/new/{name}", Body=body)
        say(f"uploaded s3://{bucket}/{model}/new/{name}")
    run = _run_of_event(api, known, dag_id)
    created = (datetime.fromisoformat(run["queued_at"]) - uploaded_at).total_seconds()
    say(f"{created:.1f} s later the event has started run {run['dag_run_id']}")
    done = follow(api, dag_id, run["dag_run_id"], seconds)
    finished = datetime.fromisoformat(done["end_date"])
    return {
        "run_id": run["dag_run_id"],
        "state": done["state"],
        "seconds": seconds_of(done),
        "event_to_run_seconds": round(created, 2),
        "upload_to_end_seconds": round((finished - uploaded_at).total_seconds(), 1),
        "tasks": task_seconds(api, run["dag_run_id"], dag_id),
    }


def task_seconds(api: AirflowApi, run_id: str, dag_id: str) -> dict[str, float]:
    """Return how long each task of a run took."""
    return {
        task["task_id"]: round(seconds_of(task) or 0.0, 1)
        for task in api.tasks(dag_id, run_id)
        if task["state"] == "success"
    }


def wait_until_idle(api: AirflowApi, say: Say, dag_id: str) -> None:
    """Wait for the end of the runs that are under way, so that the next one is the one that the caller starts."""
    while busy := [run for run in api.runs(dag_id) if run["state"] in UNDER_WAY]:
        run_id = busy[-1]["dag_run_id"]
        why = "the daily schedule started" if run_id.startswith("scheduled__") else "under way is"
        say(f"{why} run {run_id}; a model has one run at a time, waiting for its end")
        try:
            ended(api, dag_id, run_id)
        except AwaitsAnswerError as waits:
            raise _answer_first(dag_id, waits) from None


def wait_for_first_schedule(api: AirflowApi, say: Say, dag_id: str) -> None:
    """Let the run end that the daily schedule starts as soon as a new Airflow sees the DAG."""
    wait_for_schedule(api, dag_id)
    wait_until_idle(api, say, dag_id)


def wait_for_schedule(api: AirflowApi, dag_id: str, seconds: float = FIRST_SCHEDULE_SECONDS) -> None:
    """Wait until a DAG has a run: a new Airflow has none until the daily schedule has started the first."""
    deadline = time.monotonic() + seconds
    while not api.runs(dag_id) and time.monotonic() < deadline:
        time.sleep(0.5)


def _run_of_event(api: AirflowApi, known: set[str], dag_id: str, seconds: float = EVENT_SECONDS) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        fresh = [run for run in api.runs(dag_id) if run["dag_run_id"] not in known]
        if fresh:
            return fresh[-1]
        time.sleep(0.2)
    raise RunFailedError(
        f"no run began within {seconds:.0f} s of the upload; see {places.shown(processes.log_file('triggerer'))}. The file is not lost: "
        f"make run DAG={dag_id}"
    )
