"""Turns a model folder into the DAG that scores files with its champion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, chain

from retraining.dag.operators import AwsJobOperator
from retraining.dag.task_results import Result, with_results
from retraining.dag.tasks.batch import BatchTasks
from retraining.settings.model_config import load_model_config

PLAN = Result("claim_files")


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
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=1, seconds=2 * limit),
        tags=["batch", config.name],
        params={
            "again": Param(
                False,
                type="boolean",
                title="Score again",
                description="Also files that an earlier model has scored; what this model scored already stays.",
            ),
        },
        default_args={
            "owner": config.owner,
            "retries": 2,
            "retry_delay": timedelta(seconds=15),
            "execution_timeout": timedelta(minutes=30),
            "on_failure_callback": steps.note_failure,
        },
        on_failure_callback=steps.notify_failure,
    ) as dag:
        claim_files = PythonOperator(task_id="claim_files", python_callable=steps.claim_files)
        score_files = AwsJobOperator(
            task_id="score_files",
            kind="processing",
            model=config.name,
            step="batch",
            access=config.aws,
            python_callable=with_results(steps.score_request, plan=PLAN),
            max_wait=timedelta(seconds=limit),
            poll_seconds=steps.poll_seconds,
        )
        publish_scores = PythonOperator(
            task_id="publish_scores", python_callable=with_results(steps.publish_scores, plan=PLAN)
        )
        stop_leftovers = PythonOperator(task_id="stop_leftovers", python_callable=steps.stop_leftovers).as_teardown()
        chain(claim_files, score_files, publish_scores, stop_leftovers)
    return dag
