"""Turns a model folder into its rollback DAG; parsing reads ``model.yaml`` and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, chain

from retraining.dag.operators import AwsJobOperator
from retraining.dag.pausing import WaitingOperator
from retraining.dag.task_results import Result, with_results
from retraining.dag.tasks.rollback import RollbackTasks
from retraining.dag.verify_operator import VerifyOperator
from retraining.settings.model_config import load_model_config

SHORT = timedelta(minutes=10)
LONGEST_TURN = timedelta(hours=1)
"""How long a task waits for others to end their change of the endpoint, beyond the time that a change may take."""
ROLLBACK = Result("choose_package")


def rollback_dag(folder: Path, doc_md: str | None = None) -> DAG:
    """Build the DAG ``NAME_rollback`` of a model folder; it runs by hand only.

    Args:
        folder: holds model.yaml.
        doc_md: what the Airflow UI shows about the DAG, usually the DAG file's docstring.

    Raises:
        ConfigError: model.yaml is wrong.

    """
    config = load_model_config(folder / "model.yaml")
    steps = RollbackTasks(config, folder)
    what = f"the endpoint of {config.name}" if config.endpoint else config.name
    kind, request, verify = "endpoint", steps.deploy_request, steps.verify_endpoint
    if config.endpoint is None:
        kind, request, verify = "processing", steps.smoke_request, steps.verify_smoke
    longest = timedelta(seconds=config.deployment.max_wait_seconds)
    with DAG(
        dag_id=f"{config.name.replace('-', '_')}_rollback",
        description=f"Return {what} to an earlier approved model",
        doc_md=doc_md,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=False,  # a paused DAG starts no run, and its watcher hears of no file
        max_active_runs=1,
        dagrun_timeout=4 * longest + 3 * LONGEST_TURN,
        tags=["rollback", config.name],
        params={
            "package": Param(
                None,
                type=["null", "string"],
                title="Package",
                description="Version number or ARN of the model package to return to; empty: the approved one before the newest.",
            ),
            "why": Param(
                type="string",
                minLength=3,
                title="Why",
                description="Goes into the record, the registry and the message.",
            ),
            "who": Param(
                None,
                type=["null", "string"],
                title="Who",
                description="Only counts when Airflow does not know who started the run.",
            ),
        },
        default_args={
            "owner": config.owner,
            "retries": 4,
            "retry_delay": timedelta(seconds=15),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=5),
            "execution_timeout": SHORT,
            "on_failure_callback": steps.note_failure,
        },
        on_failure_callback=steps.notify_failure,
    ) as dag:
        choose_package = WaitingOperator(
            task_id="choose_package", python_callable=steps.choose_package, patience=longest + LONGEST_TURN
        )
        return_endpoint = AwsJobOperator(
            task_id="return_endpoint",
            kind=kind,
            model=config.name,
            step="rollback",
            access=config.aws,
            python_callable=with_results(request, rollback=ROLLBACK),
            max_wait=longest,
            poll_seconds=steps.poll_seconds,
            patience=longest,
            longest_pause=60.0,
        )
        verify_endpoint = VerifyOperator(
            task_id="verify_endpoint",
            model=config.name,
            access=config.aws,
            python_callable=with_results(verify, rollback=ROLLBACK, deployed=Result("return_endpoint")),
            taken_back=steps.taken_back,
            max_wait=longest,
            patience=LONGEST_TURN,
            poll_seconds=steps.poll_seconds,
        )
        record_rollback = PythonOperator(
            task_id="record_rollback",
            python_callable=with_results(steps.record_rollback, rollback=ROLLBACK, verified=Result("verify_endpoint")),
        )
        release_endpoint = PythonOperator(
            task_id="release_endpoint", python_callable=steps.release_endpoint
        ).as_teardown()
        chain(choose_package, return_endpoint, verify_endpoint, record_rollback, release_endpoint)
    return dag
