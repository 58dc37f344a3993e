"""The story: load the original data, deploy a first model, let a new survey arrive, and see what the retraining run makes of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local_stack import layout, stack
from local_stack.airflow_api import AirflowApi
from local_stack.progress import NothingToTrainError, RunFailedError, ended, follow, seconds_of, skip_reason
from local_stack.surveys import split_surveys

MODEL = "abalone"
DAG_ID = f"{MODEL}_retraining"
RUN_LIMIT_SECONDS = 600
STEP_TASKS = {"training": "training", "evaluation": "evaluate_model"}
SAMPLE = "F,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21"
SAMPLE_RINGS = 9
REPORT = layout.LOCAL / "report.html"
AGE_OFFSET = 1.5  # age in years = rings + 1.5
Say = Callable[[str], None]


def play(say: Say) -> dict[str, Any]:
    """Play the demo on the running stack and return its summary, which is also written to ``.local/demo.json``.

    Raises:
        RunFailedError: a run failed.

    """
    started = time.monotonic()
    session, api = stack.aws_session(), AirflowApi()
    forms = _forms(api)
    bucket, s3 = data_bucket(session), session.client("s3")
    _, surveys = split_surveys(layout.ROOT / "data" / "abalone.csv")
    first = load_original(s3, api, bucket, say)
    number, survey = next_survey(s3, bucket, surveys)
    say(f"\nsurvey {number} arrives: {survey.count(chr(10))} new measurements")
    retrain = upload_and_follow(s3, api, bucket, survey.encode(), f"abalone.{_stamp()}", say)
    summary = {
        "first_run": first,
        "retrain_run": {
            **retrain["summary"],
            "seconds": retrain["seconds"],
            "state": retrain["state"],
            "tasks": retrain["tasks"],
        },
        "forms": forms,
        "event_to_run_seconds": retrain["event_to_run_seconds"],
        "upload_to_service_seconds": retrain["upload_to_end_seconds"],
        "sample_prediction": sample_prediction(session),
        "setup_seconds": _setup_seconds(),
        "demo_seconds": round(time.monotonic() - started, 1),
        "airflow_ui": layout.AIRFLOW_URL,
    }
    layout.DEMO_JSON.write_text(json.dumps(summary, indent=1))
    report = f"{MODEL}/runs/{retrain['summary']['run_key']}/report.html"
    REPORT.write_bytes(s3.get_object(Bucket=bucket, Key=report)["Body"].read())
    return summary


def _forms(api: AirflowApi) -> dict[str, str]:
    """Return the operators of training and evaluation.

    Raises:
        RunFailedError: SageMaker SDK steps are asked for, but the running Airflow was started without them.

    """
    operators = {task: str(api.get(f"dags/{DAG_ID}/tasks/{task}")["operator_name"]) for task in STEP_TASKS.values()}
    wanted = [STEP_TASKS[step] for step in os.environ.get("RETRAINING_SDK_STEPS", "").split(",") if step in STEP_TASKS]
    if any("Sdk" not in operators[task] for task in wanted):
        raise RunFailedError("the Airflow that runs was started without SageMaker SDK steps: 'make down', then again")
    return operators


def provide_original(say: Say) -> None:
    """Upload the original data set unless it is there; the first run of the DAG takes it."""
    session = stack.aws_session()
    bucket, s3 = data_bucket(session), session.client("s3")
    key = f"{MODEL}/raw/abalone.csv"
    if s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents"):
        say(f"s3://{bucket}/{key} is there already")
        return
    original, _ = split_surveys(layout.ROOT / "data" / "abalone.csv")
    s3.put_object(Bucket=bucket, Key=key, Body=original.encode())
    say(f"uploaded s3://{bucket}/{key}: {original.count(chr(10)) - 1} measurements")


def load_original(s3: Any, api: AirflowApi, bucket: str, say: Say) -> dict[str, Any]:
    """Upload the original data set and follow the first run, unless a first version is there already."""
    wait_for_first_schedule(api, say)
    log = f"{MODEL}/dataset/log/000001.json"
    if s3.list_objects_v2(Bucket=bucket, Prefix=log).get("Contents"):
        version = json.loads(s3.get_object(Bucket=bucket, Key=log)["Body"].read())
        say("the original data is loaded already")
        key = f"{MODEL}/runs/{version['run_key']}/summary.json"
        first = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return {**first, "state": "success", "seconds": None, "note": "done before this demo"}
    say("\nloading the original data set")
    provide_original(say)
    time.sleep(1.2)  # local_aws lets a file settle for one second
    run = api.trigger(DAG_ID, {})
    done = follow(api, DAG_ID, run["dag_run_id"], RUN_LIMIT_SECONDS)
    summary = run_summary(api, run["dag_run_id"])
    return {
        **summary,
        "state": done["state"],
        "seconds": seconds_of(done),
        "tasks": task_seconds(api, run["dag_run_id"]),
    }


def next_survey(s3: Any, bucket: str, surveys: list[str]) -> tuple[int, str]:
    """Return the first survey that has not been uploaded.

    Raises:
        RunFailedError: all have been.

    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{MODEL}/new/")
    sizes = {item["Size"] for page in pages for item in page.get("Contents", [])}
    for number, survey in enumerate(surveys, start=1):
        if len(survey.encode()) not in sizes:
            return number, survey
    raise RunFailedError(
        "all surveys of the demo have arrived already: start over with 'make reset demo', or send a file with 'make retrain FILE=...'"
    )


def upload_and_follow(
    s3: Any, api: AirflowApi, bucket: str, body: bytes, name: str, say: Say, model: str = MODEL
) -> dict[str, Any]:
    """Upload a file into a model's landing zone, wait for the run that its event starts, and follow that run."""
    dag_id = retraining_dag_id(model)
    known = {run["dag_run_id"] for run in api.runs(dag_id)}
    _wait_until_idle(api, say, dag_id)
    key = f"{model}/new/{name}"
    uploaded_at = datetime.now(UTC)
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    say(f"uploaded s3://{bucket}/{key}")
    run = _run_of_event(api, known, dag_id)
    created = (datetime.fromisoformat(run["queued_at"]) - uploaded_at).total_seconds()
    say(f"{created:.1f} s later the event has started run {run['dag_run_id']}")
    done = follow(api, dag_id, run["dag_run_id"], RUN_LIMIT_SECONDS)
    finished = datetime.fromisoformat(done["end_date"])
    return {
        "summary": run_summary(api, run["dag_run_id"], dag_id),
        "state": done["state"],
        "seconds": seconds_of(done),
        "event_to_run_seconds": round(created, 2),
        "upload_to_end_seconds": round((finished - uploaded_at).total_seconds(), 1),
        "tasks": task_seconds(api, run["dag_run_id"], dag_id),
    }


def run_summary(api: AirflowApi, run_id: str, dag_id: str = DAG_ID) -> dict[str, Any]:
    """Return what the run's own report says, taken from its last task.

    Raises:
        NothingToTrainError: the run published none, because it had nothing to do.

    """
    try:
        entry = api.get(
            f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/publish_report/xcomEntries/return_value", deserialize=True
        )
    except RuntimeError as error:
        raise NothingToTrainError(f"run {run_id} ended without training: {skip_reason(api, dag_id, run_id)}") from error
    value = entry["value"]
    return json.loads(value) if isinstance(value, str) else value


def task_seconds(api: AirflowApi, run_id: str, dag_id: str = DAG_ID) -> dict[str, float]:
    """Return how long each task of a run took."""
    return {
        task["task_id"]: round(seconds_of(task) or 0.0, 1)
        for task in api.tasks(dag_id, run_id)
        if task["state"] == "success"
    }


def sample_prediction(session: Any) -> dict[str, Any]:
    """Ask the endpoint about an animal of the original data."""
    answer = session.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=MODEL, ContentType="text/csv", Accept="application/json", Body=SAMPLE.encode()
    )
    rings = json.loads(answer["Body"].read())["predictions"][0]
    return {
        "features": SAMPLE,
        "rings": round(rings, 2),
        "age_years": round(rings + AGE_OFFSET, 2),
        "counted_rings": SAMPLE_RINGS,
    }


def retraining_dag_id(model: str) -> str:
    """Return the id that the DAG factory gives to a model's retraining DAG."""
    return f"{model.replace('-', '_')}_retraining"


def data_bucket(session: Any, model: str = MODEL) -> str:
    """Return the model's data bucket from the platform parameter."""
    value = session.client("ssm").get_parameter(Name=f"/retraining/{model}/platform")["Parameter"]["Value"]
    return str(json.loads(value)["bucket"])


def describe(summary: dict[str, Any]) -> str:
    """Return the summary as a person reads it."""
    lines = []
    for title, key in (("First run", "first_run"), ("Retraining", "retrain_run")):
        run = summary[key]
        champion = "none" if run["rmse_champion"] is None else f"{run['rmse_champion']:.3f}"
        seconds = "done earlier" if run.get("seconds") is None else f"{run['seconds']:.0f} s"
        rows = ", ".join(f"{run[f'rows_{kind}']} {kind}" for kind in ("new", "accepted", "duplicate", "quarantined"))
        lines += [
            f"{title} ({seconds})",
            f"  rows       {rows}",
            f"  test RMSE  challenger {run['rmse_challenger']:.3f}, champion {champion}",
            f"  decision   {run['decision']}: {run['reason']}",
            f"  model      {run['model_package'] or 'not registered'}",
            f"  endpoint   {run['endpoint'] or 'unchanged'}",
        ]
    sample = summary["sample_prediction"]
    lines += [
        "Sample prediction",
        f"  {sample['features']} has {sample['rings']:.1f} rings (counted: {sample['counted_rings']}),"
        f" an age of {sample['age_years']:.1f} years",
        f"Event to run {summary['event_to_run_seconds']:.1f} s, upload to end of run {summary['upload_to_service_seconds']:.0f} s. "
        f"Numbers: {_shown(layout.DEMO_JSON)}, report with plots: {_shown(REPORT)}",
    ]
    return "\n".join(lines)


def _shown(path: Path) -> str:
    return str(path.relative_to(layout.ROOT)) if path.is_relative_to(layout.ROOT) else str(path)


def _wait_until_idle(api: AirflowApi, say: Say, dag_id: str = DAG_ID) -> None:
    """Follow the runs that are under way, so that the next one is the one that the demo starts."""
    while busy := [run for run in api.runs(dag_id) if run["state"] in ("running", "queued")]:
        run_id = busy[-1]["dag_run_id"]
        say(f"run {run_id} is under way, waiting for its end")
        ended(api, dag_id, run_id, RUN_LIMIT_SECONDS)


def wait_for_first_schedule(api: AirflowApi, say: Say, dag_id: str = DAG_ID, seconds: float = 20) -> None:
    """Let the run end that the cron net starts as soon as a new Airflow sees the DAG."""
    deadline = time.monotonic() + seconds
    while not api.runs(dag_id) and time.monotonic() < deadline:
        time.sleep(0.5)
    _wait_until_idle(api, say, dag_id)


def _run_of_event(api: AirflowApi, known: set[str], dag_id: str, seconds: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        fresh = [run for run in api.runs(dag_id) if run["dag_run_id"] not in known]
        if fresh:
            return fresh[-1]
        time.sleep(0.2)
    raise RunFailedError(f"no run began within {seconds:.0f} s of the upload; see .local/logs/triggerer.log")


def _setup_seconds() -> float | None:
    try:
        return float(json.loads((layout.LOCAL / "setup.json").read_text())["seconds"])
    except OSError:
        return None


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S")
