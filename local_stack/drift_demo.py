"""The third act of the demo: what the model is asked changes, the monitor opens an incident, labels come, and the retraining closes it.

All rows are real ones of the Abalone data. First the endpoint is asked about animals that it was trained on, and the monitor has to keep
silent. Then about those of the next survey, which holds small animals only, before their rings are counted. The survey arrives with its
rings, a model is trained on them, and closes the incident when it takes over.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from local_stack import asking, demo, layout, stack
from local_stack.airflow_api import AirflowApi
from local_stack.progress import RunFailedError, follow
from local_stack.surveys import split_surveys
from local_stack.verbs import dag_state, ending, places, runs
from retraining.contract.layout import inspect
from retraining.contract.reader import read
from retraining.contract.rules import Contract
from retraining.serving import watch_records
from retraining.settings.environment import in_environment
from retraining.settings.model_config import load_model_config

DAG_ID = f"{demo.MODEL}_monitor"
KNOWN_ROWS = 400
ROWS_OF_A_REQUEST = 40
Say = Callable[[str], None]


def play(say: Say) -> dict[str, Any]:
    """Play the act on a stack on which the demo was played.

    Returns:
        ``control``, ``drifted`` and ``after``: what the monitor said after each kind of requests; ``retrain_run``: what the labels brought;
        ``incident``: the record of the incident at the end.

    Raises:
        OtherDataError: no survey is left to ask about.
        RunFailedError: a run failed, or the monitor was wrong.

    """
    session, api = stack.aws_session(), AirflowApi()
    bucket, s3 = runs.data_bucket(session, demo.MODEL), session.client("s3")
    dag_state.runnable(api, DAG_ID, runs.sources(demo.MODEL, DAG_ID))
    header, known, survey, number = _rows(s3, bucket)
    earlier = watch_records.open_incident(s3, bucket, demo.MODEL)
    say("\nthe endpoint is asked about animals such as it was trained on")
    control = _asked_and_watched(session, api, questions(header, known), say)
    if control["open"] and not earlier:
        raise RunFailedError(f"the monitor opened an incident although nothing had changed: {ending.watched(control)}")
    asked = survey.splitlines()
    say("\nthe fleet fishes elsewhere: the endpoint is asked about small animals")
    drifted = _asked_and_watched(session, api, questions(header, asked), say)
    if not drifted["open"]:
        raise RunFailedError(
            f"the monitor did not see that only small animals are asked about: {ending.watched(drifted)}"
        )
    say(f"\ntheir rings are counted: survey {number} arrives")
    retrain = runs.upload_and_follow(
        s3, api, bucket, {f"abalone.{demo.stamp()}": survey.encode()}, say, demo.MODEL, runs.RUN_LIMIT_SECONDS
    )
    judged = demo.run_summary(api, retrain["run_id"])
    say("\nthe endpoint is asked about animals of all sizes again")
    after = _asked_and_watched(session, api, questions(header, known), say)
    return {
        "control": control,
        "drifted": drifted,
        "retrain_run": {**judged, "seconds": retrain["seconds"], "state": retrain["state"]},
        "after": after,
        "incident": watch_records.incidents(s3, bucket, demo.MODEL, 1)[-1],
    }


def describe(act: dict[str, Any]) -> str:
    """Return the act as a person reads it."""
    incident, run = act["incident"], act["retrain_run"]
    told = "; ".join(change["sentence"] for change in incident["changes"][:2])
    closed = (
        f"closed: {incident['why_closed']}"
        if incident["closed_at"]
        else "stays open: no model has taken over, and the evidence has not faded"
    )
    return "\n".join(
        [
            "What the monitor saw",
            f"  as trained {ending.watched(act['control'])}",
            f"  drifted    incident {incident['number']} of model {incident['model_version']}: {told}",
            f"  labels     {run['decision']}: {run['reason']}",
            f"  after      incident {incident['number']} {closed}",
            f"  page       {places.shown_object(act['drifted']['page'])}",
        ]
    )


def _rows(s3: Any, bucket: str) -> tuple[str, list[str], str, int]:
    """Return the header, rows that the model knows, the next survey and its number."""
    original, surveys = split_surveys(layout.ROOT / "data" / "abalone.csv")
    number, survey = demo.next_survey(s3, bucket, surveys)
    header, *rows = (original + "".join(surveys[: number - 1])).splitlines()
    return header, rows[:: max(1, len(rows) // KNOWN_ROWS)], survey, number


def questions(header: str, rows: Sequence[str]) -> list[str]:
    """Return CSV bodies of the rows that keep the contract, without the rings."""
    config = load_model_config(layout.ROOT / "dags" / "models" / demo.MODEL / "model.yaml")
    contract, split = Contract.of(config.contract.model_dump()), config.split.model_dump()
    text = "\n".join([header, *rows]).encode()
    layout_of = inspect(lambda: io.BytesIO(text), "rows.csv", contract)
    lines_of = read(lambda: io.BytesIO(text), "rows.csv", contract, layout_of, split)
    good = [line.number for line in lines_of if not line.reasons]
    lines = [rows[number - 2].rpartition(",")[0] for number in good]  # the rings are the last column
    return ["\n".join(lines[first : first + ROWS_OF_A_REQUEST]) for first in range(0, len(lines), ROWS_OF_A_REQUEST)]


def _asked_and_watched(session: Any, api: AirflowApi, bodies: Sequence[str], say: Say) -> dict[str, Any]:
    """Ask the endpoint, wait until it has captured what it was asked, let the monitor look, and return what it came to."""
    config, began = load_model_config(layout.ROOT / "dags" / "models" / demo.MODEL / "model.yaml"), datetime.now(UTC)
    ids = [f"demo-{began:%Y%m%d%H%M%S}-{number}" for number in range(1, len(bodies) + 1)]
    answered = asking.ask(session.client("sagemaker-runtime"), in_environment(demo.MODEL), bodies, ids)
    bucket = runs.data_bucket(session, demo.MODEL)
    if late := asking.not_captured(session.client("s3"), bucket, config, answered, began):
        raise RunFailedError(f"{len(late)} of {len(ids)} requests were not captured: .local/logs says more")
    started = time.monotonic()
    run_id = api.trigger(DAG_ID, {})["dag_run_id"]
    follow(api, DAG_ID, run_id, runs.RUN_LIMIT_SECONDS)
    judged = ending.result(api, DAG_ID, run_id, "judge_requests")
    if judged is None:
        raise RunFailedError(f"run {run_id} of {DAG_ID} judged no requests: make logs says more")
    say(ending.watched(judged))
    return {**judged, "seconds": round(time.monotonic() - started, 1)}
