"""Who asks, from a task's context: the Airflow environment, the DAG, its run, whether a person wants a repetition; where one answers."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from retraining.jobs.job import Asker

PAGE = "retraining"
"""Where plugins/retraining_page.py mounts the page."""

log = logging.getLogger(__name__)


def asker_of(context: Mapping[str, Any]) -> Asker | None:
    """Return who asks; None outside a run.

    A person asks for the repetition of work that failed by clearing a task of the run, or by starting it with ``force_retrain``.
    """
    run = context.get("dag_run")
    if run is None:
        return None
    cleared = bool(getattr(run, "clear_number", None))
    forced = bool((context.get("params") or {}).get("force_retrain"))
    return Asker(airflow=environment_name(), dag=run.dag_id, run=run.run_id, repeat=cleared or forced)


def environment_name() -> str:
    """Return what tells this Airflow from others: on MWAA its name, elsewhere the address of its UI."""
    from airflow.configuration import conf

    return os.environ.get("AIRFLOW_ENV_NAME") or conf.get("api", "base_url", fallback="") or "airflow"


def run_is_over(dag_id: str, run_id: str) -> bool:
    """Tell whether a run of a DAG has ended, or is not known any more; when Airflow does not say, it may be under way."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    try:
        return RuntimeTaskInstance.get_dagrun_state(dag_id, run_id) in ("success", "failed")
    except Exception as error:
        log.info("Airflow does not say whether run %s of %s has ended: %s", run_id, dag_id, error)
        return False


def answer_url(dag_id: str, run_id: str, task_id: str) -> str:
    """Return the page of the Airflow UI on which a person answers a waiting task."""
    from airflow.configuration import conf

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}/dags/{dag_id}/runs/{quote(run_id)}/tasks/{task_id}/required_actions"


def page_url(model: str, run_key: str) -> str:
    """Return the address of a run on the page of the Airflow UI."""
    from airflow.configuration import conf

    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}/{PAGE}/#/{model}/history/{run_key}"
