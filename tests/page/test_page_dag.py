"""What the page tells of a DAG is what Airflow's own API answers to the person who looks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from page_site import Site
from sqlalchemy import delete
from starlette.routing import Mount

from retraining.page import airflow_view
from retraining.page.concurrency import shared

DAG_ID, BUNDLE, PATH = "abalone_retraining", "dags-folder", "/models/abalone/dag"


@pytest.fixture(scope="module")
def airflow(site: Site) -> Iterator[Site]:
    """The page within a real API server, whose database knows a paused DAG with three runs, one of which asks something."""
    from airflow.api_fastapi.app import create_app
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.sdk import DAG
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    app = create_app("core")
    app.router.routes.insert(0, Mount("/retraining", app=site.app.routes[-1].app))
    dag = LazyDeserializedDAG.from_dag(DAG(DAG_ID, schedule=None))
    with create_session() as session:
        session.add(DagBundleModel(name=BUNDLE))
        session.flush()
        SerializedDAG.bulk_write_to_db(BUNDLE, None, [dag], session=session)
        SerializedDagModel.write_dag(dag, BUNDLE, session=session)
        session.get(DagModel, DAG_ID).is_paused = True
        for name, state in (("over", "success"), ("goes-on", "running"), ("waits", "queued")):
            session.add(DagRun(dag_id=DAG_ID, run_id=name, run_type=DagRunType.MANUAL, state=DagRunState(state)))
    yield replace(site, app=app)
    with create_session() as session:
        for table in (DagRun, DagModel):
            session.execute(delete(table).where(table.dag_id == DAG_ID))
        session.execute(delete(DagBundleModel))


@pytest.fixture
def asked(airflow: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that Airflow's API is asked for."""
    paths: list[str] = []
    inner = airflow_view._get

    async def get(client: Any, path: str, **query: Any) -> dict[str, Any]:
        paths.append(path.removeprefix("api/v2/"))
        found = await inner(client, path, **query)
        if path.endswith("hitlDetails"):  # the runs of this database have no tasks that could ask
            assert found["hitl_details"] == []
            return {"hitl_details": [{"subject": "Approve?"}]}
        return found

    monkeypatch.setattr(airflow_view, "_get", get)
    return paths


def test_the_state_of_the_dag_comes_from_airflow(airflow: Site, asked: list[str]) -> None:
    found = airflow.get(PATH)
    assert found["is_paused"] is True and found["next_dagrun_run_after"] is None
    assert {run["dag_run_id"]: run["state"] for run in found["runs"]} == {"goes-on": "running", "waits": "queued"}
    assert found["questions"] == [{"subject": "Approve?"}]
    assert asked == [f"dags/{DAG_ID}", f"dags/{DAG_ID}/dagRuns", f"dags/{DAG_ID}/dagRuns/~/hitlDetails"]


def test_people_of_the_same_rights_share_an_answer_and_others_do_not(
    airflow: Site, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "BELIEVED_SECONDS", 3600.0)
    fresh = {"X-Retraining-Changed": "0"}
    assert airflow.ask("GET", PATH, "admin", headers=fresh).status_code == 200
    first = len(asked)
    assert airflow.get(PATH, "op")["runs"] and airflow.get(PATH, "viewer")["runs"] and len(asked) == first
    monkeypatch.setattr(
        airflow_view, "may", lambda method, entity, *rest: entity is not airflow_view.DagAccessEntity.HITL_DETAIL
    )
    found = airflow.get(PATH, "viewer")
    assert found["runs"] and found["questions"] == [] and len(asked) == first + 2
    assert airflow.ask("GET", PATH, "admin", headers=fresh).status_code == 200
    assert len(asked) == first + 4


def test_who_may_not_see_runs_is_told_of_none(airflow: Site, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_view, "may", lambda *_: False)
    found = airflow.get(PATH)
    assert (found["is_paused"], found["runs"], found["questions"]) == (True, [], [])


def test_a_session_that_airflow_does_not_take_is_refused_with_its_status(
    airflow: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_view, "CREDENTIALS", ())
    assert airflow.ask("GET", PATH).status_code == 401
    monkeypatch.undo()
    assert airflow.ask("GET", PATH).status_code == 200, "a failure is not believed"


def test_a_dag_that_airflow_does_not_know_has_no_runs(site: Site) -> None:
    assert site.get(PATH) == {"is_paused": None, "next_dagrun_run_after": None, "runs": [], "questions": []}
