"""A DAG in Airflow's database, as it stands when people look: its runs, and what they have asked of people."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

BUNDLE = "dags-folder"
FIRST = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
NEXT = datetime(2026, 1, 4, 5, tzinfo=UTC)
RUNS = {"over": "success", "goes-on": "running", "waits": "queued"}
TASKS = ("await_approval", "await_word", "was_answered")


def fill_dag(
    dag_id: str,
    runs: Mapping[str, str] = RUNS,
    asking: Iterable[str] = ("goes-on",),
    paused: bool = True,
    next_run: datetime | None = NEXT,
) -> None:
    """Write a DAG, runs by name and state, and questions of some of them: two of each are open, one was answered."""
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.models.hitl import HITLDetail
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    with DAG(dag_id, schedule=None) as written:
        for task in TASKS:
            EmptyOperator(task_id=task)
    dag = LazyDeserializedDAG.from_dag(written)
    with create_session() as session:
        session.add(DagBundleModel(name=BUNDLE))
        session.flush()
        SerializedDAG.bulk_write_to_db(BUNDLE, None, [dag], session=session)
        SerializedDagModel.write_dag(dag, BUNDLE, session=session)
        known = session.get(DagModel, dag_id)
        known.is_paused, known.next_dagrun, known.next_dagrun_create_after = paused, FIRST, next_run
        for at, (name, state) in enumerate(runs.items()):
            moment = FIRST + timedelta(minutes=at)
            begun = None if state == "queued" else moment
            of_run = {"run_type": DagRunType.MANUAL, "state": DagRunState(state), "run_after": moment}
            session.add(DagRun(dag_id=dag_id, run_id=name, start_date=begun, **of_run))
        session.flush()
        serialized = SerializedDagModel.get(dag_id, session=session)
        for run, task in product(asking, TASKS):
            instance = TaskInstance(serialized.dag.get_task(task), serialized.dag_version_id, run, "deferred")
            session.add(instance)
            session.flush()
            answered = {"responded_at": NEXT, "chosen_options": ["Approve"]} if task == "was_answered" else {}
            words = {"subject": f"{task}: <b>v3</b>?", "body": None if task == "await_word" else "It is better."}
            session.add(HITLDetail(ti_id=instance.id, options=["Approve", "Reject"], **words, **answered))


def remove_dag(dag_id: str) -> None:
    """Take it out of the database again."""
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    tables: tuple[Any, ...] = (TaskInstance, DagRun, DagVersion, DagModel)
    with create_session() as session:
        for table in tables:
            session.execute(delete(table).where(table.dag_id == dag_id))
        session.execute(delete(DagBundleModel))
