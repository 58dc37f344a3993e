"""The verb ``make score``: uploads files to be scored, starts the batch DAG, follows it, and says where the answers lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from local_stack.airflow_api import AirflowApi
from local_stack.progress import follow, skip_reason
from local_stack.verbs import calls, dag_state, ending, places, runs

Say = Callable[[str], None]


def score(session: Any, api: AirflowApi, files: Sequence[Path], model: str, say: Say) -> None:
    """Upload files below ``batch/in/`` of a model, score what waits there, and say what came of it.

    Raises:
        DagError: the model's DAG is paused or cannot be read; nothing was uploaded.
        RunFailedError: the run failed.

    """
    dag = calls.batch_dag_of(model)
    dag_state.runnable(api, dag, runs.sources(model, dag))
    bucket, s3 = runs.data_bucket(session, model), session.client("s3")
    for path in files:
        key = f"{model}/batch/in/{path.name}"
        s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
        say(f"uploaded s3://{bucket}/{key}")
    runs.wait_until_idle(api, say, dag)
    run_id = api.trigger(dag, {})["dag_run_id"]
    follow(api, dag, run_id)
    for line in lines(api, dag, run_id):
        say(line)


def lines(api: AirflowApi, dag: str, run_id: str) -> list[str]:
    """Return what a run of a batch DAG came to."""
    summary = ending.result(api, dag, run_id, "publish_scores")
    return described(summary) if summary else [f"nothing to score: {skip_reason(api, dag, run_id)}"]


def described(summary: Mapping[str, Any]) -> list[str]:
    """Return the lines for the result of ``publish_scores``."""
    rejected = f", {summary['rejected']:,} set aside (rejected.csv says why)" if summary["rejected"] else ""
    refused = f", {summary['refused']} refused (refused.json says why)" if summary["refused"] else ""
    answers = [f"  answers {places.shown_object(folder + 'scored.csv')}" for folder in summary["folders"]]
    return [
        f"scored with model {summary['model']}: {summary['rows']:,} rows of {summary['files']} file(s){rejected}{refused}",
        *answers,
    ]
