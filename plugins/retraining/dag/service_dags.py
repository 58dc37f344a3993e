"""Turns a model folder into the DAGs of a model in service: one scores files with it, one watches what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, chain

from retraining.dag.operators import AwsJobOperator
from retraining.dag.task_results import Result, with_results
from retraining.dag.tasks.batch import BatchTasks
from retraining.dag.tasks.monitor import MonitorTasks
from retraining.settings.model_config import ModelConfig, load_model_config

CLAIMED = Result("claim_files")
FOUND, JUDGED = Result("find_requests"), Result("judge_requests")


def batch_dag(folder: Path, doc_md: str | None = None) -> DAG:
    """Build the DAG ``NAME_batch`` of a model folder.

    Args:
        folder: holds model.yaml and the code that runs inside the jobs.
        doc_md: what the Airflow UI shows about the DAG.

    Raises:
        ConfigError: model.yaml is wrong.

    """
    config = load_model_config(folder / "model.yaml")
    steps = BatchTasks(config, folder)
    limit = config.batch.max_runtime_seconds + 900
    with DAG(
        dag_id=f"{config.name.replace('-', '_')}_batch",
        description=f"Scores files with the champion of {config.name}",
        doc_md=doc_md,
        schedule=config.batch.cron,
        tags=["batch", config.name],
        **_common(config, steps, limit),
        params={
            "again": Param(
                False,
                type="boolean",
                title="Score again",
                description="Also files that an earlier model has scored; what this model scored already stays.",
            ),
        },
    ) as dag:
        claim_files = PythonOperator(task_id="claim_files", python_callable=steps.claim_files)
        score_files = _job(
            "score_files", "batch", config, steps, with_results(steps.score_request, plan=CLAIMED), limit
        )
        publish_scores = PythonOperator(
            task_id="publish_scores", python_callable=with_results(steps.publish_scores, plan=CLAIMED)
        )
        stop_leftovers = PythonOperator(task_id="stop_leftovers", python_callable=steps.stop_leftovers).as_teardown()
        chain(claim_files, score_files, publish_scores, stop_leftovers)
    return dag


def monitor_dag(folder: Path, doc_md: str | None = None) -> DAG:
    """Build the DAG ``NAME_monitor`` of a model folder.

    Args:
        folder: holds model.yaml and the code that runs inside the jobs.
        doc_md: what the Airflow UI shows about the DAG.

    Raises:
        ConfigError: model.yaml is wrong.

    """
    config = load_model_config(folder / "model.yaml")
    steps = MonitorTasks(config, folder)
    limit = config.monitor.max_runtime_seconds + 900
    name = config.name.replace("-", "_")
    with DAG(
        dag_id=f"{name}_monitor",
        description=f"Watches the requests that {config.name} answers",
        doc_md=doc_md,
        schedule=config.monitor.cron,
        tags=["monitor", config.name],
        **_common(config, steps, limit),
    ) as dag:
        find_requests = PythonOperator(task_id="find_requests", python_callable=steps.find_requests)
        read_requests = _job(
            "read_requests", "monitor", config, steps, with_results(steps.read_request, plan=FOUND), limit
        )
        judge_requests = PythonOperator(
            task_id="judge_requests", python_callable=with_results(steps.judge_requests, plan=FOUND)
        )
        wake_retraining = PythonOperator(
            task_id="wake_retraining", python_callable=with_results(steps.wake_retraining, judged=JUDGED)
        )
        stop_leftovers = PythonOperator(task_id="stop_leftovers", python_callable=steps.stop_leftovers).as_teardown()
        chain(find_requests, read_requests, judge_requests, wake_retraining, stop_leftovers)
    return dag


def _job(
    task_id: str,
    step: str,
    config: ModelConfig,
    steps: BatchTasks | MonitorTasks,
    request: Callable[..., dict[str, Any]],
    limit: int,
) -> AwsJobOperator:
    """Return the task of the one processing job that each of the DAGs has."""
    return AwsJobOperator(
        task_id=task_id,
        kind="processing",
        model=config.name,
        step=step,
        access=config.aws,
        python_callable=request,
        max_wait=timedelta(seconds=limit),
        poll_seconds=steps.poll_seconds,
    )


def _common(config: ModelConfig, steps: BatchTasks | MonitorTasks, limit: int) -> dict[str, Any]:
    """Return what both DAGs share; ``limit`` is how long their job may take, in seconds."""
    return {
        "start_date": datetime(2026, 1, 1, tzinfo=UTC),
        "catchup": False,
        "is_paused_upon_creation": False,
        "max_active_runs": 1,
        "dagrun_timeout": timedelta(hours=1, seconds=2 * limit),
        "default_args": {
            "owner": config.owner,
            "retries": 2,
            "retry_delay": timedelta(seconds=15),
            "execution_timeout": timedelta(minutes=30),
            "on_failure_callback": steps.note_failure,
        },
        "on_failure_callback": steps.notify_failure,
    }
