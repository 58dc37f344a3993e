import os
from pathlib import Path

import pytest
from local_account import ENVIRONMENTS
from page_stage import LONG_BATCH, QUARANTINED, VERSIONS

ROOT = Path(__file__).resolve().parents[2]
GOOD = ROOT / "data" / "surveys" / "good" / "2025-03-02_north_bay.csv"
BAD = ROOT / "data" / "surveys" / "bad" / "not_numbers.csv"
VIEWS = ("now", "history", "data", "send", "try")
ROW = {
    "length": "0.5",
    "diameter": "0.4",
    "height": "0.1",
    "whole_weight": "0.6",
    "shucked_weight": "0.2",
    "viscera_weight": "0.1",
    "shell_weight": "0.15",
}


def test_now_says_what_serves_and_offers_the_way_back(visit) -> None:
    page = visit()
    page.get_by_text("Why this model serves").wait_for()
    assert "model 2" in page.locator(".card").first.inner_text()
    page.get_by_role("button", name="Go back…").click()
    assert "Say why" in page.get_by_role("alert").inner_text()
    page.get_by_label("Why (goes on record)").fill("it drifts")
    page.get_by_role("button", name="Go back…").click()
    page.get_by_text("Model 1 will serve in place of model 2").wait_for()
    page.get_by_role("button", name="Yes, serve model 1").click()
    page.get_by_text("goes back to model 1 and verifies it").wait_for()


def test_a_viewer_sees_everything_and_can_change_nothing(visit) -> None:
    page = visit("viewer")
    page.get_by_text("Who may start the DAG can go back.").wait_for()
    assert not page.get_by_role("button", name="Go back…").count()
    page.goto(page.url.split("#")[0] + "#/abalone/send")
    page.get_by_text("who may start the DAG abalone_retraining may send data").wait_for()


def test_a_run_of_the_history_leads_to_its_report(visit) -> None:
    page = visit(path="retraining/#/abalone/history")
    page.get_by_role("button", name=f"v{VERSIONS}-", exact=False).last.click()
    page.get_by_role("button", name="Show the report").click()
    page.frame_locator("iframe.report").get_by_text("Report of the run").wait_for()
    assert page.title() != "taken"


def test_a_long_quarantine_is_browsed_and_its_cells_stay_text(visit) -> None:
    page = visit(path="retraining/#/abalone/data")
    page.get_by_role("button", name=f"{QUARANTINED:,}").click()
    page.get_by_text(f"Quarantine of batch {LONG_BATCH}").wait_for()
    page.get_by_text("50 rows shown").wait_for()
    page.get_by_role("button", name="More rows").click()
    page.get_by_text("100 rows shown").wait_for()
    assert page.locator("main script, main img, main svg[onload]").count() == 0
    assert page.title().startswith("abalone: Data")
    page.get_by_label("Column or rule").fill("sex")
    page.get_by_label("Column or rule").press("Tab")
    page.get_by_text("0 rows shown, these are all").wait_for()


def test_a_refused_file_is_released_with_a_reason(visit, stage) -> None:
    page = visit(path="retraining/#/abalone/data")
    page.get_by_text("Release this file").click()
    page.get_by_label("Why (goes on record)").fill("the file is right")
    page.get_by_role("button", name="Release", exact=True).click()
    page.get_by_text("judges it again").wait_for()
    assert stage.account.s3.list_objects_v2(Bucket="page-bucket", Prefix="abalone/dataset/released/")["KeyCount"] == 1


def test_a_bad_file_is_told_line_by_line_and_a_good_one_is_sent_and_followed(visit, stage) -> None:
    page = visit(path="retraining/#/abalone/send")
    page.get_by_label("Drop a file here").set_input_files(BAD)
    page.get_by_text("The merge would refuse this file").wait_for()
    assert "not a number" in page.locator("main").inner_text()
    assert not page.get_by_role("button", name="Send it").count()
    page.get_by_label("Drop a file here").set_input_files(GOOD)
    page.get_by_text("Every row is good").wait_for()
    page.get_by_role("button", name="Send it").click()
    page.get_by_text("in the landing zone").wait_for()
    key = page.locator("section code").first.inner_text()
    assert stage.account.s3.get_object(Bucket="page-bucket", Key=key)["Body"].read() == GOOD.read_bytes()


def test_the_model_is_tried_and_a_wrong_field_is_named(visit) -> None:
    page = visit("viewer", "retraining/#/abalone/try")
    page.get_by_label("sex").select_option("M")
    for name, value in ROW.items():
        page.locator(f"[name={name}]").fill(value)
    page.locator("[name=length]").fill("7")
    page.get_by_role("button", name="Predict rings").click()
    page.get_by_text("above 1", exact=True).wait_for()
    assert page.evaluate("document.activeElement.name") == "length"
    page.locator("[name=length]").fill("0.5")
    page.locator("[name=length]").press("Enter")
    page.get_by_text("about 11.0 years old").wait_for()


def test_the_page_is_in_the_navigation_of_airflow_and_on_the_dag(visit) -> None:
    page = visit(path="plugin/retraining")
    page.frame_locator("iframe").get_by_text("Why this model serves").wait_for()
    page = visit(path="dags/abalone_retraining/plugin/retraining-model")
    page.frame_locator("iframe").get_by_text("Why this model serves").wait_for()


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_fits_and_has_no_known_barrier(visit, view: str) -> None:
    found = []
    for theme in ("light", "dark"):
        page = visit(path=f"retraining/#/abalone/{view}", theme=theme)
        for width in (1400, 360):
            page.set_viewport_size({"width": width, "height": 900})
            page.reload()
            page.locator("main section").first.wait_for()
            assert page.evaluate("document.documentElement.dataset.theme") == theme
            if folder := os.environ.get("SCREENSHOTS"):
                Path(folder).mkdir(parents=True, exist_ok=True)
                page.screenshot(path=f"{folder}/{view}-{theme}-{width}.png", full_page=True)
            beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            found += [f"{theme} {width}: {beyond} pixels too wide"] if beyond > 0 else []
            found += [f"{theme} {width}: {barrier}" for barrier in barriers(page)]
    assert found == []


def barriers(page) -> list[str]:
    """Return what axe finds."""
    (script,) = (ENVIRONMENTS / "browser").glob("lib/python3.*/site-packages/axe_playwright_python/axe.min.js")
    page.evaluate(script.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{item['id']}: {item['help']}: {node['target']}" for item in found for node in item["nodes"]]
