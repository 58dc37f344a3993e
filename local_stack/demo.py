"""The story: load the original data, deploy a first model, let a new survey arrive, and see what the retraining run makes of it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy import data_platform
from local_stack import layout, stack
from local_stack.airflow_api import AirflowApi
from local_stack.progress import NothingToTrainError, RunFailedError, follow, seconds_of, skip_reason
from local_stack.surveys import split_surveys
from local_stack.verbs import model_check, places, service
from local_stack.verbs.calls import CallError
from local_stack.verbs.runs import (
    RUN_LIMIT_SECONDS,
    UNDER_WAY,
    data_bucket,
    task_seconds,
    upload_and_follow,
    wait_for_schedule,
    wait_until_idle,
)
from retraining.settings.environment import environment, in_environment

MODEL = "abalone"
DAG_ID = f"{MODEL}_retraining"
STEP_TASKS = {"training": "training", "evaluation": "evaluate_model"}
SAMPLE = "F,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21"
SAMPLE_RINGS = 9
AGE_OFFSET = 1.5  # age in years = rings + 1.5
READ_ANEW = timedelta(minutes=2)
"""Within which a running Airflow has read a DAG file again, also on a busy machine."""
ORIGINAL = f"{MODEL}/raw/abalone.csv"
FIRST_VERSION = f"{MODEL}/dataset/log/000001.json"
START_OVER = f"The demo needs an empty data set: 'make reset MODEL={MODEL}' deletes this model's local data, then 'make demo' again"
Say = Callable[[str], None]


class OtherDataError(CallError):
    """The data set is not the demo's own; the message says what it holds and how to start over."""


def play(say: Say) -> dict[str, Any]:
    """Play the demo on the running stack and return its summary, which is also written to ``.local/demo.json``.

    Raises:
        OtherDataError: the data set holds other data than the demo's.
        RunFailedError: a run failed.

    """
    started = time.monotonic()
    session, api = stack.aws_session(), AirflowApi()
    forms = _forms(api)
    bucket, s3 = data_bucket(session, MODEL), session.client("s3")
    check_own_data(service.document(s3, f"s3://{bucket}/{FIRST_VERSION}"))
    _, surveys = split_surveys(layout.ROOT / "data" / "abalone.csv")
    first = load_original(s3, api, bucket, say)
    number, survey = next_survey(s3, bucket, surveys)
    say(f"\nsurvey {number} arrives: {survey.count(chr(10))} new measurements")
    retrain = upload_and_follow(s3, api, bucket, {f"abalone.{stamp()}": survey.encode()}, say, MODEL, RUN_LIMIT_SECONDS)
    try:
        judged = run_summary(api, retrain["run_id"])
    except NothingToTrainError as nothing:
        raise OtherDataError(f"{nothing}: its animals came with other files before. {START_OVER}") from nothing
    summary = {
        "first_run": first,
        "retrain_run": {
            **judged,
            "seconds": retrain["seconds"],
            "state": retrain["state"],
            "tasks": retrain["tasks"],
        },
        "forms": forms,
        "event_to_run_seconds": retrain["event_to_run_seconds"],
        "upload_to_service_seconds": retrain["upload_to_end_seconds"],
        "sample_prediction": sample_prediction(session) if model_check.endpoint_of(MODEL) else None,
        "setup_seconds": _setup_seconds(),
        "demo_seconds": round(time.monotonic() - started, 1),
        "airflow_ui": layout.AIRFLOW_URL,
    }
    layout.DEMO_JSON.write_text(json.dumps(summary, indent=1))
    report = f"{MODEL}/runs/{judged['run_key']}/report.html"
    layout.REPORT.write_bytes(s3.get_object(Bucket=bucket, Key=report)["Body"].read())
    return summary


def check_own_data(first_version: Mapping[str, Any] | None) -> None:
    """See that the data set is empty or began with the demo's own data; the story needs one of the two.

    Args:
        first_version: the record of dataset version 1, None for an empty data set.

    Raises:
        OtherDataError: it began with other files.

    """
    keys = [file["key"] for file in (first_version or {}).get("files", [])]
    if other := [key for key in keys if key != ORIGINAL]:
        raise OtherDataError(f"the data set of {MODEL} holds other data ({other[0]}), not the demo's. {START_OVER}")


def check_before_start() -> None:
    """Do the same from the local account's files, before anything is started.

    Raises:
        OtherDataError: the data set began with other files.

    """
    bucket = data_platform.bucket_name(environment(), MODEL, places.ACCOUNT, layout.REGION)
    path = places.object_path(f"s3://{bucket}/{FIRST_VERSION}")
    check_own_data(json.loads(path.read_text()) if path.is_file() else None)


def _forms(api: AirflowApi) -> dict[str, str]:
    """Return the operators of training and evaluation.

    A new Airflow knows the DAG of the one before until it has read its file.

    Raises:
        RunFailedError: SageMaker SDK steps are asked for, but the running Airflow was started without them.

    """
    wanted = [STEP_TASKS[step] for step in os.environ.get("RETRAINING_SDK_STEPS", "").split(",") if step in STEP_TASKS]
    asked = datetime.now(UTC)
    while True:
        read = datetime.fromisoformat(api.get(f"dags/{DAG_ID}")["last_parsed_time"])
        operators = {task: str(api.get(f"dags/{DAG_ID}/tasks/{task}")["operator_name"]) for task in STEP_TASKS.values()}
        if all("Sdk" in operators[task] for task in wanted):
            return operators
        if read > asked or datetime.now(UTC) > asked + READ_ANEW:
            raise RunFailedError(
                "the Airflow that runs was started without SageMaker SDK steps: 'make down', then again"
            )
        time.sleep(1)


def provide_original(say: Say) -> None:
    """Upload the original data set unless it is there; the first run of the DAG takes it."""
    session = stack.aws_session()
    bucket, s3 = data_bucket(session, MODEL), session.client("s3")
    if has_original(s3, bucket):
        say(f"s3://{bucket}/{ORIGINAL} is there already")
        return
    original, _ = split_surveys(layout.ROOT / "data" / "abalone.csv")
    s3.put_object(Bucket=bucket, Key=ORIGINAL, Body=original.encode())
    say(f"uploaded s3://{bucket}/{ORIGINAL}: {original.count(chr(10)) - 1} measurements")


def has_original(s3: Any, bucket: str) -> bool:
    """Return whether the original data set has landed."""
    return bool(s3.list_objects_v2(Bucket=bucket, Prefix=ORIGINAL).get("Contents"))


def load_original(s3: Any, api: AirflowApi, bucket: str, say: Say) -> dict[str, Any]:
    """Upload the original data set and follow the first run, unless a first version is there already.

    Data that landed before Airflow started are the daily schedule's, which starts a run as soon as a new Airflow sees the DAG.
    """
    wait_for_schedule(api, DAG_ID)
    landed = has_original(s3, bucket)
    version = service.document(s3, f"s3://{bucket}/{FIRST_VERSION}")
    # The run that makes the first version tells its summary at its end.
    first = version and service.document(s3, f"s3://{bucket}/{MODEL}/runs/{version['run_key']}/summary.json")
    if first or not landed:
        wait_until_idle(api, say, DAG_ID)  # a run that began without the data would not take them
    if first:
        say("the original data is loaded already")
        return {**first, "state": "success", "seconds": None, "note": "done before this demo"}
    say("\nloading the original data set")
    known = {run["dag_run_id"] for run in api.runs(DAG_ID) if run["state"] not in UNDER_WAY}
    if not landed:
        provide_original(say)
        time.sleep(1.2)  # local_aws lets a file settle for one second
    done, summary = first_run(api, say, known)
    return {
        **summary,
        "state": done["state"],
        "seconds": seconds_of(done),
        "tasks": task_seconds(api, done["dag_run_id"], DAG_ID),
    }


def first_run(api: AirflowApi, say: Say, known: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Follow the run that is under way, or start one; return the run that took what had landed, with its summary.

    At its hour the daily schedule may come between the two.

    Args:
        api: Airflow's.
        say: tells what happens.
        known: runs that ended before anything landed.

    Raises:
        NothingToTrainError: no run took anything.
        RunFailedError: the run failed.

    """
    tried = set(known)
    for run in api.runs(DAG_ID):
        if run["state"] in UNDER_WAY:
            tried.add(run["dag_run_id"])
            say(f"run {run['dag_run_id']} takes it")
            done = follow(api, DAG_ID, run["dag_run_id"], RUN_LIMIT_SECONDS)
            with contextlib.suppress(NothingToTrainError):
                return done, run_summary(api, done["dag_run_id"])
    done = follow(api, DAG_ID, api.trigger(DAG_ID, {})["dag_run_id"], RUN_LIMIT_SECONDS)
    try:
        return done, run_summary(api, done["dag_run_id"])
    except NothingToTrainError:
        others = [run for run in api.runs(DAG_ID) if run["dag_run_id"] not in {*tried, done["dag_run_id"]}]
        if not others:
            raise
        say(f"run {others[-1]['dag_run_id']} was first and took the file")
        return others[-1], run_summary(api, others[-1]["dag_run_id"])


def next_survey(s3: Any, bucket: str, surveys: list[str]) -> tuple[int, str]:
    """Return the first survey that has not been uploaded.

    Raises:
        OtherDataError: all have been.

    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{MODEL}/new/")
    sizes = {item["Size"] for page in pages for item in page.get("Contents", [])}
    for number, survey in enumerate(surveys, start=1):
        if len(survey.encode()) not in sizes:
            return number, survey
    raise OtherDataError(f"all surveys of the demo have arrived already. {START_OVER}")


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


def sample_prediction(session: Any) -> dict[str, Any]:
    """Ask the endpoint about an animal of the original data."""
    answer = session.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=in_environment(MODEL), ContentType="text/csv", Accept="application/json", Body=SAMPLE.encode()
    )
    rings = json.loads(answer["Body"].read())["predictions"][0]
    return {
        "features": SAMPLE,
        "rings": round(rings, 2),
        "age_years": round(rings + AGE_OFFSET, 2),
        "counted_rings": SAMPLE_RINGS,
    }


def describe(summary: dict[str, Any]) -> str:
    """Return the summary as a person reads it."""
    lines = []
    for title, key in (("First run", "first_run"), ("Retraining", "retrain_run")):
        run = summary[key]
        champion = "none" if run["score_champion"] is None else f"{run['score_champion']:.3f}"
        seconds = "done earlier" if run.get("seconds") is None else f"{run['seconds']:.0f} s"
        rows = ", ".join(f"{run[f'rows_{kind}']} {kind}" for kind in ("new", "accepted", "duplicate", "quarantined"))
        lines += [
            f"{title} ({seconds})",
            f"  rows       {rows}",
            f"  test RMSE  challenger {run['score_challenger']:.3f}, champion {champion}",
            f"  decision   {run['decision']}: {run['reason']}",
            f"  model      {run['model_package'] or 'not registered'}",
            f"  endpoint   {run['endpoint'] or ('none: files are scored' if run['promoted'] else 'unchanged')}",
        ]
    if sample := summary["sample_prediction"]:  # without an endpoint there is none
        lines += [
            "Sample prediction",
            f"  {sample['features']} has {sample['rings']:.1f} rings (counted: {sample['counted_rings']}),"
            f" an age of {sample['age_years']:.1f} years",
        ]
    lines += [
        f"Event to run {summary['event_to_run_seconds']:.1f} s, upload to end of run {summary['upload_to_service_seconds']:.0f} s. "
        f"Numbers: {places.shown(layout.DEMO_JSON)}, report with plots: {places.shown(layout.REPORT)}",
    ]
    return "\n".join(lines)


def _setup_seconds() -> float | None:
    try:
        return float(json.loads((layout.LOCAL / "setup.json").read_text())["seconds"])
    except OSError:
        return None


def stamp() -> str:
    """Return the end of the name of a survey that arrives now."""
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S")
