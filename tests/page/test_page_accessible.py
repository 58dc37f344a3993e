"""Every view of the page in a browser, light and dark: axe finds no violation, nothing scrolls sideways on a phone, no text runs."""

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import chromium
import pytest
import uvicorn
from page_site import HOSTILE, PROFILE, Site

from retraining.contract.profiling.version_profile import added
from retraining.telling.profiling.figures import changes

pytestmark = chromium.needed
VIEWS = ("now", "history", "data", "drift", "send", "try")
DAG = {"dag_id": "abalone_retraining", "is_paused": False, "next_dagrun_run_after": "2026-01-04T05:00:00Z"}
RUN = {"dag_run_id": "r1", "state": "running", "run_after": "2026-01-03T05:00:00Z"}
TASKS = [
    {"task_id": "training", "state": "success", "task_display_name": "training"},
    {"task_id": "await_approval", "state": "deferred", "task_display_name": "await_approval"},
]
QUESTION = {
    "subject": "Approve <b>v3</b>?",
    "body": "It is better.",
    "options": ["Approve", "Reject"],
    "task_instance": {"dag_run_id": "r1", "task_id": "await_approval"},
}
STATE = {**DAG, "runs": [RUN], "questions": [QUESTION]}
AIRFLOW = (  # Airflow's own API, as far as the page asks it
    (r"/dags/[^/?]+/dagRuns/[^/?]+/taskInstances", {"task_instances": TASKS}),
    (r"/dags/[^/?]+/dagRuns", {"dag_runs": [RUN]}),
    (r"/dags/[^/?]+", DAG),
    (r"/dags", {"dags": [{**DAG, "tags": [{"name": "retraining"}, {"name": "abalone"}]}]}),
)


@pytest.fixture(scope="module")
def address(site: Site) -> Iterator[str]:
    """The page on a port of the loopback."""
    server = uvicorn.Server(uvicorn.Config(site.app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.started() as browser:
        yield browser


def airflow(route: Any) -> None:
    path = re.sub(r"^.*/api/v2|\?.*$", "", route.request.url)
    body = next(body for pattern, body in AIRFLOW if re.fullmatch(pattern, path))
    route.fulfill(status=200, content_type="application/json", body=json.dumps(body))


@pytest.fixture
def page(browser: Any, site: Site, address: str) -> Iterator[Any]:
    with chromium.opened(browser, viewport={"width": 1000, "height": 900}) as page:
        page.context.add_cookies([{"name": "_token", "value": site.tokens["admin"], "url": address}])
        page.context.route("**/api/v2/**", airflow)
        page.context.route("**/models/abalone/dag", lambda route: route.fulfill(status=200, json=STATE))
        yield page


def shown(page: Any, address: str, view: str) -> None:
    page.goto(f"{address}/retraining/#/abalone/{view}")
    page.locator("main section").first.wait_for()
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_on_a_view_and_a_phone_shows_all_of_it(page: Any, address: str, view: str) -> None:
    shown(page, address, view)
    assert chromium.in_both_colours(page) == []
    assert chromium.width_on_a_phone(page) <= 360


def test_axe_finds_nothing_on_quarantined_rows_and_files_of_a_version(page: Any, address: str) -> None:
    shown(page, address, "data")
    page.get_by_role("button", name="v1", exact=True).click()
    page.get_by_role("heading", name="Files of version 1").wait_for()
    page.get_by_role("region", name="1 files, made by").get_by_role("button", name="4").click()
    page.get_by_text("4 rows shown, these are all.").wait_for()
    assert chromium.in_both_colours(page) == []
    assert page.locator("img, main script").count() == 0


def test_axe_finds_nothing_on_what_a_version_holds_beside_the_one_before(page: Any, address: str) -> None:
    twice = added(PROFILE, PROFILE)
    columns = [{**column, "unit": None} for column in changes(twice, PROFILE, goes_on=True)]
    held = {"version": 1, "before": 0, "goes_on": True, "columns": columns}
    page.route("**/versions/1/profile", lambda route: route.fulfill(status=200, json=held))
    shown(page, address, "data")
    page.get_by_role("button", name="v1", exact=True).click()
    page.get_by_role("heading", name="What its rows hold").wait_for()
    page.get_by_role("button", name="length", exact=True).click()
    page.get_by_role("heading", name="length", exact=True).wait_for()
    assert page.get_by_role("group", name="share of the rows by range").count() == 1
    assert page.get_by_text("0.5000 → 0.5000").count() or page.get_by_text("0.5 → 0.5").count()
    assert chromium.in_both_colours(page) == []
    assert chromium.width_on_a_phone(page) <= 360


def test_history_lists_the_newest_runs_and_all_of_them_on_demand(page: Any, address: str) -> None:
    def often(route: Any) -> None:
        [run] = route.fetch().json()["runs"]
        runs = [{**run, "run_key": f"v{number}-0123456789ab", "dataset_version": number} for number in range(1, 61)]
        route.fulfill(status=200, json={"runs": runs, "known": 90})

    page.route("**/models/abalone/history", often)
    shown(page, address, "history")
    listed = page.get_by_role("region", name="of 90 runs, newest first").get_by_role("button")
    assert listed.all_text_contents() == [f"v{number}-0123456789ab" for number in range(60, 10, -1)]
    page.get_by_role("button", name="Older runs (10)").click()
    assert listed.all_text_contents() == [f"v{number}-0123456789ab" for number in range(60, 0, -1)]
    assert page.get_by_role("button", name="Older runs").count() == 0
    listed.last.click()
    page.get_by_role("heading", name="Run v1-0123456789ab").wait_for()
    assert chromium.in_both_colours(page) == []


@pytest.mark.parametrize("dag", ["abalone_retraining", "abalone_deep_retraining", "abalone_deep_sea_rollback"])
def test_the_tab_of_a_dag_shows_the_dags_own_model(page: Any, address: str, dag: str) -> None:
    models = ("abalone", "abalone-deep", "abalone-deep-sea")
    dags = [{"dag_id": f"{name.replace('-', '_')}_retraining", "tags": [{"name": name}]} for name in models]
    page.route("**/api/v2/dags?*", lambda route: route.fulfill(status=200, json={"dags": dags}))
    page.goto(f"{address}/retraining/?dag={dag}")
    page.locator("#views a").first.wait_for()
    own = dag.rpartition("_")[0].replace("_", "-")
    assert page.locator("#model").input_value() == own


def test_rows_that_cannot_be_read_are_told(page: Any, address: str) -> None:
    shown(page, address, "data")
    page.get_by_role("button", name="Show its rows").click()
    page.get_by_role("alert").get_by_text("etl_report.json does not exist").wait_for()


def test_axe_finds_nothing_on_a_form_with_mistakes(page: Any, address: str) -> None:
    shown(page, address, "try")
    page.get_by_label("length").fill("long")
    page.get_by_role("button", name="Predict rings").click()
    page.locator("[aria-invalid]").first.wait_for()
    assert page.locator("#field-length-wrong").inner_text() == "not a number"
    assert chromium.in_both_colours(page) == []


def test_axe_finds_nothing_on_the_verdict_of_a_file(page: Any, address: str) -> None:
    shown(page, address, "send")
    body = b"M,0.5,0.4,0.1,0.6,0.2,0.1,0.15,9\nX,0.5,0.4,0.1,0.6,0.2,0.1,0.15,9\n"
    page.locator("input[type=file]").set_input_files({"name": f"{HOSTILE}.csv", "mimeType": "text/csv", "buffer": body})
    page.get_by_text("not one of M, F, I").first.wait_for()
    assert chromium.in_both_colours(page) == []


def test_a_sent_file_is_followed_while_its_run_goes_on_whatever_others_saw_before_it(page: Any, address: str) -> None:
    """The state of the DAG that several people share may be from before the run that has just merged the file."""
    ways = iter([{"state": "waiting"}, *2 * [{"state": "merged", "version": 2, "accepted": 1, "run_key": "v2-x"}]])
    decided = {
        "state": "merged",
        "version": 2,
        "accepted": 1,
        "run_key": "v2-x",
        "decision": "promoted",
        "reason": "It",
    }

    def dag(route: Any) -> None:
        begun_now = route.request.headers.get("x-retraining-changed") == "0"
        route.fulfill(status=200, json={**STATE, "runs": [RUN] if begun_now else []})

    page.route("**/models/abalone/dag", dag)
    page.route("**/models/abalone/files?key=*", lambda route: route.fulfill(status=200, json=next(ways, decided)))
    page.route("**/models/abalone/files?name=*", lambda route: route.fulfill(status=200, json={"key": "abalone/new/a"}))
    shown(page, address, "send")
    body = b"M,0.5,0.4,0.1,0.6,0.2,0.1,0.15,9\n"
    page.locator("input[type=file]").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": body})
    page.get_by_role("button", name="Send it").click()
    page.get_by_text("a model is being trained and compared").wait_for()
    page.get_by_text("The run and its report").wait_for()
    assert page.get_by_text("judged no model").count() == 0


NUMBERS = {
    "labelled": True,
    "rows": [
        {
            "line": 2 + at,
            "prediction": 9.5 + at,
            "probabilities": None,
            "actual": 9 + 2 * at,
            "error": 0.5 - at,
            "loss": (0.5 - at) ** 2,
        }
        for at in range(4)
    ],
    "scores": {"rmse": 1.5, "mae": 1.2, "bias": -1.0, "r2": None},
}
CLASSES = {
    "labelled": True,
    "rows": [
        {
            "line": 2,
            "prediction": HOSTILE,
            "probabilities": {HOSTILE: 0.9, "no": 0.1},
            "actual": "no",
            "right": False,
            "loss": 2.3,
        }
    ],
    "scores": {"log_loss": 2.3, "accuracy": 0.0},
}


@pytest.mark.parametrize("found", [NUMBERS, CLASSES], ids=["numbers", "classes"])
def test_axe_finds_nothing_on_a_file_beside_the_models_answers(page: Any, address: str, found: dict) -> None:
    told = {**found, "file": f"{HOSTILE}.csv", "more": True, "rejected": 1, "reasons": {HOSTILE: 1}, "refused": None}
    told["first"] = [{"line": 9, "column": "sex", "value": HOSTILE, "reason": "sex: not one of M, F, I"}]
    page.route("**/comparisons?*", lambda route: route.fulfill(status=200, json=told))
    shown(page, address, "try")
    page.locator("#own").set_input_files({"name": "own.csv", "mimeType": "text/csv", "buffer": b"x"})
    page.get_by_text("The model's error on these").wait_for()
    assert page.get_by_role("img", name="predicted over actual rings").count() == (1 if found is NUMBERS else 0)
    assert chromium.in_both_colours(page) == []
    assert chromium.width_on_a_phone(page) <= 360
    with page.expect_download() as download:
        page.get_by_text("answers as CSV").click()
    assert len(download.value.path().read_text().splitlines()) == 1 + len(found["rows"])


def test_a_rule_that_is_broken_would_be_found(page: Any, address: str) -> None:
    shown(page, address, "try")
    page.evaluate("document.querySelectorAll('main label').forEach((label) => label.remove())")
    page.evaluate("document.querySelector('main p').style.color = '#ccc'")
    assert {one.partition(":")[0] for one in chromium.violations(page)} >= {"label", "color-contrast"}
