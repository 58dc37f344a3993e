"""What Airflow knows of a model's DAG: whether it is paused, its next run, the runs under way and what they ask of people.

Read from Airflow's database as its own API reads it, once for all people who look at a moment. Three requests to that API, in its own
process, would take ten times as much of the server's processor. A test compares every word with what the API answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, Request

from retraining.page.concurrency.shared import shared
from retraining.page.concurrency.threads import looking
from retraining.page.known_models import KnownModel
from retraining.page.rights import Seeing, Visitor, dag_id_of, may

UNDER_WAY = ("running", "queued")
RUNS, QUESTIONS = 20, 50
"""The newest runs are shown, and the first questions."""


@dataclass(frozen=True)
class Onlooker:
    """A person who may see a DAG, and what of it."""

    visitor: Visitor
    may_see_runs: bool
    may_see_questions: bool


async def onlooker(visitor: Seeing, request: Request, user: GetUserDep) -> Onlooker:
    """Return who looks at a model's DAG."""
    return await looking(_onlooker, visitor, request, user)


def _onlooker(visitor: Visitor, request: Request, user: Any) -> Onlooker:
    runs, questions = (
        may("GET", entity, dag_id_of(visitor.model.name), request, user)
        for entity in (DagAccessEntity.RUN, DagAccessEntity.HITL_DETAIL)
    )
    return Onlooker(visitor, runs, questions)


Onlooking = Annotated[Onlooker, Depends(onlooker)]


async def dag_of(person: Onlooker) -> dict[str, Any]:
    """Return the state of the model's DAG, in the words of Airflow's API.

    Returns:
        ``is_paused`` and ``next_dagrun_run_after``, None where Airflow does not know the DAG. ``runs``: the newest that run or are queued.
        ``questions``: what they ask of people and nobody has answered. Both are empty for who may not see them.

    """
    found = await shared(dag, person.visitor)
    runs = found["runs"] if person.may_see_runs else []
    questions = found["questions"] if runs and person.may_see_questions else []  # only a run that goes on can ask
    return {**found, "runs": runs, "questions": questions}


def dag(model: KnownModel) -> dict[str, Any]:
    """Return what `dag_of` does, for whom may see everything."""
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from pydantic_core import to_jsonable_python
    from sqlalchemy import select

    dag_id = dag_id_of(model.name)
    known = select(DagModel.is_paused, DagModel.next_dagrun_create_after).where(DagModel.dag_id == dag_id)
    runs = (
        select(DagRun.run_id.label("dag_run_id"), DagRun.state, DagRun.start_date)
        .where(DagRun.dag_id == dag_id, DagRun.state.in_(UNDER_WAY))
        .order_by(DagRun.run_after.desc(), DagRun.id.desc())
        .limit(RUNS)
    )
    questions = (
        select(HITLDetail.subject, HITLDetail.body, HITLDetail.options, HITLDetail.created_at)
        .add_columns(TaskInstance.run_id, TaskInstance.task_id)
        .join(TaskInstance, HITLDetail.ti_id == TaskInstance.id)
        .where(TaskInstance.dag_id == dag_id, HITLDetail.responded_at.is_(None))
        .order_by(HITLDetail.ti_id)
        .limit(QUESTIONS)
    )
    with create_session(scoped=False) as session:
        is_paused, next_run = session.execute(known).one_or_none() or (None, None)
        under_way = session.execute(runs).mappings().all()
        asked = session.execute(questions).all() if under_way else []
    found: dict[str, Any] = to_jsonable_python(
        {
            "is_paused": is_paused,
            "next_dagrun_run_after": next_run,
            "runs": [dict(run) for run in under_way],
            "questions": [_question(*row) for row in asked],
        }
    )
    return found


def _question(subject: str, body: str | None, options: Any, created_at: Any, run: str, task: str) -> dict[str, Any]:
    instance = {"dag_run_id": run, "task_id": task}
    return {
        "subject": subject, "body": body, "options": options, "created_at": created_at, "task_instance": instance
    }  # fmt: skip
