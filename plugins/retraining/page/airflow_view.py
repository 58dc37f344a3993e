"""What Airflow knows of a model's DAG: whether it is paused, its next run, the runs under way and what they ask of people.

Asked of Airflow's own API, inside its process and with the rights of a person, once for all people of the same rights who look at a
moment: each of those requests costs Airflow's server ten to twenty milliseconds, and every view that follows something sends three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, urljoin

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, HTTPException, Request

from retraining.page.concurrency.shared import once
from retraining.page.concurrency.threads import looking
from retraining.page.rights import Seeing, dag_id_of, may

HOST = "retraining.airflow"
"""Where a request's scope holds the application that the page is mounted in."""
CREDENTIALS = ("cookie", "authorization")
UNDER_WAY = ["running", "queued"]
RUNS = 20
"""The newest ones are shown."""


@dataclass(frozen=True)
class Onlooker:
    """A person who may see a DAG, and how to ask Airflow in their name."""

    model: str
    may_see_runs: bool
    may_see_questions: bool
    unchanged: float
    airflow: Any
    """An ASGI application."""
    root: str
    """Its URL."""
    credentials: Mapping[str, str]


async def onlooker(visitor: Seeing, request: Request, user: GetUserDep) -> Onlooker:
    """Return who looks at a model's DAG."""
    dag_id, model = dag_id_of(visitor.model.name), visitor.model.name
    runs = await looking(may, "GET", DagAccessEntity.RUN, dag_id, request, user)
    questions = await looking(may, "GET", DagAccessEntity.HITL_DETAIL, dag_id, request, user)
    credentials = {name: request.headers[name] for name in CREDENTIALS if name in request.headers}
    root = urljoin(str(request.base_url), "../")
    return Onlooker(model, runs, questions, visitor.unchanged, request.scope.get(HOST), root, credentials)


Onlooking = Annotated[Onlooker, Depends(onlooker)]


async def dag_of(person: Onlooker) -> dict[str, Any]:
    """Return the state of the model's DAG, in the words of Airflow's API.

    Returns:
        ``is_paused`` and ``next_dagrun_run_after``, None where Airflow does not know the DAG. ``runs``: the newest that run or are queued.
        ``questions``: what they ask of people and nobody has answered. Both are empty for who may not see them.

    """
    key = (person.model, dag_of, person.may_see_runs, person.may_see_questions)
    found: dict[str, Any] = await once(key, lambda: _asked(person), unchanged=person.unchanged)
    return found


async def _asked(person: Onlooker) -> dict[str, Any]:
    import httpx

    transport = httpx.ASGITransport(app=person.airflow)
    dag = f"api/v2/dags/{quote(dag_id_of(person.model))}"
    async with httpx.AsyncClient(
        transport=transport, base_url=person.root, headers=person.credentials, trust_env=False
    ) as airflow:
        about = await _get(airflow, dag)
        runs: dict[str, Any] = {}
        questions: dict[str, Any] = {}
        if person.may_see_runs:
            runs = await _get(airflow, f"{dag}/dagRuns", state=UNDER_WAY, order_by="-run_after", limit=RUNS)
        if person.may_see_questions and runs.get("dag_runs"):  # only a run that goes on can ask
            questions = await _get(airflow, f"{dag}/dagRuns/~/hitlDetails", response_received=False)
    return {
        **{name: about.get(name) for name in ("is_paused", "next_dagrun_run_after")},
        "runs": [
            {name: run[name] for name in ("dag_run_id", "state", "start_date")} for run in runs.get("dag_runs", [])
        ],
        "questions": questions.get("hitl_details", []),
    }


async def _get(airflow: Any, path: str, **query: Any) -> dict[str, Any]:
    """Return an answer of Airflow; nothing when it knows no such DAG.

    Raises:
        HTTPException: with Airflow's status, when it gives none.

    """
    answer = await airflow.get(path, params=query)
    if answer.status_code == 404:
        return {}
    if answer.status_code != 200:
        raise HTTPException(answer.status_code, f"Airflow answers with status {answer.status_code}.")
    return dict(answer.json())
