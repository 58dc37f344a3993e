"""A person in a browser plays the loop on a real Airflow: sends data, releases, tries, approves, goes back, reads the quarantine."""

import importlib.util
import re

import chromium
import pytest
from conftest import ROOT, RUN_SECONDS, until

from local_stack import layout
from local_stack.airflow_settings import stack_secrets

SPEC = importlib.util.spec_from_file_location("page_pictures", ROOT / "docs" / "page_pictures.py")
page_pictures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(page_pictures)

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(3600), chromium.needed]
DAG = "abalone_retraining"
HEADER = "sex,length,diameter,height,whole_weight,shucked_weight,viscera_weight,shell_weight,rings"
PATIENCE = 1000 * RUN_SECONDS
"""Milliseconds that a person waits for what a run does."""


def rows(first, count, sex="M"):
    """Rows that no other file has."""
    return [
        f"{sex},0.455,0.365,0.095,0.52{at:06},0.2245,0.101,0.15,{1 + at % 20}" for at in range(first, first + count)
    ]


def csv(lines):
    return "".join(f"{line}\n" for line in [HEADER, *lines]).encode()


@pytest.fixture(scope="module")
def airflow(stack):
    return layout.AIRFLOW_URL


@pytest.fixture(scope="module")
def person(stack, airflow):
    """A browser in which somebody has logged in."""
    with (
        chromium.started() as browser,
        chromium.opened(browser, viewport={"width": 1400, "height": 900}) as page,
    ):
        page.set_default_timeout(60_000)
        page_pictures.log_in(page, airflow, stack_secrets()["admin_password"])
        yield page


def test_every_view_has_its_pictures(airflow, tmp_path):
    with chromium.started() as browser:
        password = stack_secrets()["admin_password"]
        drawn = list(page_pictures.pictures(browser, airflow, password, "abalone", tmp_path))
    assert len(drawn) == len(page_pictures.VIEWS) * 4
    assert all(path.stat().st_size > 5_000 for path in drawn)


@pytest.fixture
def opens(person, airflow):
    """Open a view of the model as it is now."""

    def open_view(view):
        person.goto("about:blank")
        person.goto(f"{airflow}/retraining/#/abalone/{view}")
        person.locator("main section").first.wait_for()
        return person

    return open_view


@pytest.fixture
def quiet(api):
    """Wait until no run is under way."""

    def wait():
        until(lambda: all(run["state"] in ("success", "failed") for run in api.runs(DAG)), "no run is under way")

    return wait


def chosen(page, name, content):
    page.locator("input[type=file]").first.set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


def now_until(page, condition, what):
    """Look at the view *Now* until it shows something."""

    def shown():
        page.reload()
        page.locator(".card").first.wait_for()
        return condition()

    until(shown, what)


def serves(page, model):
    """Wait until the view *Now* says which model serves."""
    now_until(page, lambda: page.locator(".card .value").first.inner_text() == model, f"{model} serves")


def test_the_page_lies_in_a_tab_of_the_dag(person, airflow):
    person.goto(f"{airflow}/dags/{DAG}/plugin/retraining-model")
    inside = person.frame_locator("iframe")
    inside.get_by_role("heading", name="Why this model serves").wait_for()
    assert inside.locator("select#model").input_value() == "abalone"


def test_a_file_is_judged_line_by_line_sent_and_followed_to_its_report(opens):
    page = opens("send")
    lines = rows(0, 40)
    lines[15] = lines[15].replace("M,", "X,", 1)
    chosen(page, "one bad row.csv", csv(lines))
    bad = page.get_by_role("region", name="The first 1 rejected lines").locator("tbody tr")
    bad.wait_for()
    assert bad.locator("td").all_inner_texts() == ["17", "sex", "X", "sex: not one of M, F, I"]

    page.get_by_role("button", name="Send it: 39 good rows count").click()
    page.get_by_text("merged into version").wait_for(timeout=PATIENCE)
    assert "39 rows accepted, 0 known already, 1 rejected" in page.get_by_text("merged into version").inner_text()
    page.get_by_role("link", name="The run and its report").click(timeout=PATIENCE)

    page.get_by_role("button", name="Show the report").click()
    page.frame_locator("iframe.report").get_by_text("RMSE").first.wait_for()


def test_a_file_that_the_merge_would_refuse_is_not_sent(opens):
    page = opens("send")
    chosen(page, "half bad.csv", csv(rows(100, 10) + rows(110, 10, sex="X")))
    page.get_by_text("The merge would refuse this file").wait_for()
    assert page.get_by_role("button", name="Send it").count() == 0


def test_a_refused_file_is_read_row_by_row_and_released(opens, session, bucket, quiet):
    quiet()
    s3 = session.client("s3")
    half = csv(rows(200, 30) + rows(230, 10, sex="X"))
    many = csv(f"M,9.455,0.365,0.095,0.5,0.2,0.1,0.15,{1 + at % 20}" for at in range(100_000))
    for name, content in (("half.csv", half), ("many.csv", many)):
        s3.put_object(Bucket=bucket, Key=f"abalone/new/{name}", Body=content)
    page = opens("now")
    now_until(page, lambda: "2 refused" in page.locator("main").inner_text(), "both files are refused")

    page = opens("data")
    of = {
        name: page.locator("div.notice.bad", has=page.get_by_role("heading", name=name))
        for name in ("half.csv", "many.csv")
    }
    of["many.csv"].get_by_role("button", name="Show its rows").click()
    page.get_by_text("50 rows shown.").wait_for()
    page.get_by_role("button", name="More rows").click()
    page.get_by_text("100 rows shown.").wait_for()
    of["half.csv"].get_by_role("button", name="Show its rows").click()
    page.get_by_text(re.compile("^11 rows shown")).wait_for()  # ten bad lines, and why the file is refused
    for column, count in (("length", 0), ("sex", 10)):
        page.get_by_label("Column or rule", exact=True).fill(column)
        page.get_by_label("Column or rule", exact=True).press("Tab")
        page.get_by_text(re.compile(f"^{count} rows shown")).wait_for()
    first = page.get_by_role("region", name="rejected rows").locator("tbody tr").first
    assert first.locator("td").all_inner_texts()[:5] == ["half.csv", "32", "sex", "X", "sex: not one of M, F, I"]

    of["half.csv"].get_by_text("Release this file").click()
    of["half.csv"].get_by_label("Why (goes on record)").fill("the other rows are right")
    of["half.csv"].get_by_label("take its good rows however many are bad").check()
    of["half.csv"].get_by_role("button", name="Release", exact=True).click()
    of["half.csv"].get_by_text("judges it again").wait_for()
    quiet()
    page = opens("data")
    page.get_by_role("region", name="newest first").get_by_role("button").first.click()
    released = page.get_by_role("region", name="files, made by run").get_by_role("row", name="half.csv")
    released.wait_for()
    assert {"merged", "30"} <= set(released.locator("td").all_inner_texts())


def test_the_model_answers_says_why_and_is_held_against_a_file(opens):
    page = opens("try")
    page.get_by_label("sex").select_option("M")
    for name, value in zip(HEADER.split(",")[1:8], (0.455, 0.365, 0.095, 0.514, 0.2245, 0.101, 0.15), strict=True):
        page.get_by_label(name).fill(str(value))
    page.get_by_role("button", name="Predict rings").click()
    assert "years old" in page.locator(".answer").inner_text()
    page.get_by_role("heading", name="What moved the answer").wait_for()
    assert page.get_by_role("region", name="moves of rings").locator("tbody tr").count() == 8

    own = ROOT / "data" / "surveys" / "good" / "2025-03-02_north_bay.csv"
    page.locator("#own").set_input_files(str(own))
    page.get_by_text("The model's error on these 100 rows").wait_for()
    figures = page.get_by_role("region", name="The model's error").inner_text()
    assert "RMSE" in figures and "test rows" in figures


def test_a_person_goes_back_and_approves_what_follows(opens, api, session, quiet):
    quiet()
    page = opens("now")
    page.get_by_label("Serve again").select_option("1")
    page.get_by_label("Why (goes on record)").fill("the browser shows the way back")
    page.get_by_role("button", name="Go back…").click()
    page.get_by_role("button", name="Yes, serve model 1").click()
    page.get_by_text("goes back to model 1 and verifies it").wait_for()
    serves(page, "model 1")

    conf = {"force_retrain": True, "require_approval": True, "hyperparameters": {"seed": 103}}
    run_id = api.trigger(DAG, conf)["dag_run_id"]
    approve = page.get_by_role("button", name="Approve")

    def asked():
        states = {task["task_id"]: task["state"] for task in api.tasks(DAG, run_id)}
        assert states.get("rejected") != "success" and "failed" not in states.values(), states
        return approve.count()

    now_until(page, asked, "the page asks a person")
    approve.click()
    page.get_by_text('Your answer "Approve" is recorded').wait_for()
    quiet()
    newest = session.client("sagemaker").list_model_packages(
        ModelPackageGroupName="dev-abalone-models", SortBy="CreationTime", SortOrder="Descending"
    )["ModelPackageSummaryList"][0]
    assert newest["ModelApprovalStatus"] == "Approved"
    page = opens("now")
    serves(page, f"model {newest['ModelPackageVersion']}")
