"""What the page tells of a DAG is, word for word, what Airflow's own API answers, and for each person what they may see."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from asked_dag import RUNS, fill_dag, remove_dag
from page_site import Site
from starlette.routing import Mount

from retraining.page import airflow_view
from retraining.page.airflow_view import DagAccessEntity
from retraining.page.concurrency import shared

DAG_ID, PATH = "abalone_retraining", "/models/abalone/dag"
UNKNOWN = {"is_paused": None, "next_dagrun_run_after": None, "runs": [], "questions": []}
OPEN = ["await_approval", "await_word"]
MANY = {f"run-{number}": ("running", "queued", "success")[number % 3] for number in range(45)}
DAGS: dict[str, dict[str, Any]] = {
    "paused, runs and asks": {},
    "not paused, without a next run": {"paused": False, "next_run": None},
    "nothing asked": {"asking": ()},
    "no run": {"runs": {}, "asking": ()},
    "no run goes on, and one has asked": {"runs": {"over": "failed"}, "asking": ["over"]},
    "more runs and questions than are shown": {"runs": MANY, "asking": [*MANY][:30]},
}


@pytest.fixture(scope="module")
def airflow(site: Site) -> Site:
    """The page within a real API server."""
    from airflow.api_fastapi.app import create_app

    app = create_app("core")
    app.router.routes.insert(0, Mount("/retraining", app=site.app.routes[-1].app))
    return replace(site, app=app)


@pytest.fixture
def dag() -> Iterator[Callable[..., None]]:
    """Writes the DAG into Airflow's database."""
    yield lambda **stands: fill_dag(DAG_ID, **stands)
    remove_dag(DAG_ID)


@pytest.fixture
def asks(dag: Callable[..., None]) -> None:
    """The DAG has two runs under way, one of which asks."""
    dag()


def of_airflow(airflow: Site) -> dict[str, Any]:
    """Return what Airflow's API answers, as far as the page tells it."""
    about = airflow.airflow(f"dags/{DAG_ID}").json()
    under_way = {"state": ["running", "queued"], "order_by": "-run_after", "limit": airflow_view.RUNS}
    runs = airflow.airflow(f"dags/{DAG_ID}/dagRuns", **under_way).json()["dag_runs"]
    asked = airflow.airflow(f"dags/{DAG_ID}/dagRuns/~/hitlDetails", response_received=False).json()["hitl_details"]
    questions = [
        {
            **{name: question[name] for name in ("subject", "body", "options", "created_at")},
            "task_instance": {name: question["task_instance"][name] for name in ("dag_run_id", "task_id")},
        }
        for question in asked
    ]
    return {
        **{name: about[name] for name in ("is_paused", "next_dagrun_run_after")},
        "runs": [{name: run[name] for name in ("dag_run_id", "state", "start_date")} for run in runs],
        "questions": questions if runs else [],
    }


@pytest.mark.parametrize("stands", DAGS)
def test_every_word_is_what_airflows_own_api_answers(airflow: Site, dag: Callable[..., None], stands: str) -> None:
    dag(**DAGS[stands])
    assert airflow.get(PATH) == of_airflow(airflow)


def test_runs_under_way_and_open_questions_are_told(airflow: Site, asks: None) -> None:
    found = airflow.get(PATH)
    assert (found["is_paused"], found["next_dagrun_run_after"]) == (True, "2026-01-04T05:00:00Z")
    assert {run["dag_run_id"]: run["state"] for run in found["runs"]} == {"goes-on": "running", "waits": "queued"}
    assert [question["task_instance"]["task_id"] for question in found["questions"]] == OPEN


def test_a_dag_that_airflow_does_not_know_has_no_runs(airflow: Site) -> None:
    assert airflow.airflow(f"dags/{DAG_ID}").status_code == 404
    assert airflow.get(PATH) == UNKNOWN


def test_people_share_an_answer_of_which_each_is_told_what_they_may_see(
    airflow: Site, asks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "BELIEVED_SECONDS", 3600.0)
    fresh = {"X-Retraining-Changed": "0"}
    assert airflow.ask("GET", PATH, "admin", headers=fresh).json()["questions"]
    remove_dag(DAG_ID)
    whole = airflow.get(PATH, "viewer")
    assert set(RUNS) > {run["dag_run_id"] for run in whole["runs"]} and whole["questions"]
    for hidden, seen in (
        (DagAccessEntity.HITL_DETAIL, {**whole, "questions": []}),
        (DagAccessEntity.RUN, {**whole, "runs": [], "questions": []}),
    ):
        monkeypatch.setattr(airflow_view, "may", lambda method, entity, *_, hidden=hidden: entity is not hidden)
        assert airflow.get(PATH, "viewer") == seen
    assert airflow.ask("GET", PATH, "admin", headers=fresh).json() == UNKNOWN
