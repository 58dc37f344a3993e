"""Whole runs of the workflow with real Spark, training and serving: throttled, doubled, cleared and repeated, over files that change."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow.sdk.exceptions import AirflowFailException
from conftest import abalone_rows
from invariants import GLUE_ACTIVE
from task_runs import JOB_TASKS, MERGED_BY_SPARK, Run, wait_until

pytestmark = pytest.mark.spark

ROWS = 400
REPEATABLE = (
    "claim_new_data", "crawl_data", "preprocess_data", "check_data_quality", "training", "evaluate_model", "analyze_results",
    "check_threshold", "register_model", "deploy_model", "verify_endpoint", "publish_report",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(account, new_world):
    """A first run of which 10 % of all calls were refused; the world, the run and what it says about itself."""
    world = new_world(account)
    world.put("raw/abalone.csv", abalone_rows(0, ROWS))
    world.proxy.refuse_share(0.10, seed=1)
    run = Run(world.folder)
    record = run.play(tries=8)
    world.proxy.refuse_share(0.0, seed=1)
    return world, run, record


def test_a_run_with_a_tenth_of_all_calls_throttled_or_refused_ends_as_it_should(finished):
    world, _, record = finished
    assert record.reason == ""
    assert world.proxy.refused >= 10  # how many calls there are depends on how often jobs are looked at
    assert record.summary["decision"] == "approved"
    assert record.summary["endpoint"] == f"dev-{world.model}"
    world.check(record)


@pytest.mark.parametrize("task", REPEATABLE)
def test_a_cleared_task_of_a_finished_run_does_its_work_again_without_paying_again(finished, task):
    world, run, record = finished
    before = run.results()
    again = run.execute(task)
    run.restore(before)
    if task in JOB_TASKS:
        assert again == {**run.result(task), "adopted": True}
    world.check(record)


def test_a_second_run_on_unchanged_input_finds_every_job_done(finished):
    world, first, record = finished
    world.proxy.seen.clear()
    second = Run(world.folder)
    again = second.play()
    assert again.state == "success", again.reason
    assert second.result("training")["name"] == first.result("training")["name"]
    assert [world.proxy.count(f"Create{kind}Job") for kind in ("Training", "Processing")] == [0, 0]
    world.check(record, again)


def test_two_runs_at_once_on_the_same_files_merge_and_commit_them_once(finished):
    world, _, first = finished
    world.put("new/survey.csv", abalone_rows(ROWS, 50))
    runs = [Run(world.folder) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(lambda run: run.play(until="check_data_quality"), runs))
    assert [record.state for record in records] == ["success", "success"], [record.reason for record in records]
    assert runs[0].result("claim_new_data") == runs[1].result("claim_new_data")
    world.check(first, *records)


def test_two_runs_at_once_on_different_files_commit_one_version_and_lose_nothing(finished):
    """The second run sees a file more: one of the two commits, the other says that it lost, and the next run takes the rest."""
    world, _, first = finished
    world.put("new/one.csv", abalone_rows(ROWS + 100, 20))
    early = Run(world.folder)
    early.execute("claim_new_data")
    world.put("new/two.csv", abalone_rows(ROWS + 120, 20))
    late = Run(world.folder)
    won = late.play(until="check_data_quality")
    early.execute("preprocess_data")
    with pytest.raises(AirflowFailException, match="was committed by another run"):
        early.execute("check_data_quality")
    assert won.state == "success"
    world.check(first, won)


def test_a_file_that_changes_after_it_was_listed_is_not_merged_as_what_it_was(account, new_world):
    world = new_world(account)
    world.put("new/growing.csv", abalone_rows(0, 20) + MERGED_BY_SPARK)
    run = Run(world.folder)
    run.execute("claim_new_data")
    world.put("new/growing.csv", abalone_rows(0, 40))
    with pytest.raises(AirflowFailException, match="was removed or replaced after it was listed") as caught:
        run.execute("preprocess_data")
    assert "start a new run" in str(caught.value)
    world.check()
    again = Run(world.folder).play(until="check_data_quality")
    assert again.state == "success", again.reason
    world.check(again)


def test_a_file_that_changes_while_it_is_read_is_not_committed_as_what_it_was(account, new_world):
    world = new_world(account)
    world.put("new/growing.csv", abalone_rows(0, 20) + MERGED_BY_SPARK)
    run = Run(world.folder)
    run.execute("claim_new_data")

    def grow_once_the_job_reads():
        key = f"/{world.bucket}/{world.model}/new/growing.csv"
        log = account.data_dir / "jobs" / "glue" / world.glue_job

        def reading():
            return any("inspect:" in path.read_text() for path in log.glob("*/output.txt"))

        wait_until(reading, f"the merge has looked at {key}")
        world.put("new/growing.csv", abalone_rows(0, 40) + MERGED_BY_SPARK)

    with ThreadPoolExecutor(1) as pool:
        grown = pool.submit(grow_once_the_job_reads)
        with pytest.raises(AirflowFailException, match="was removed or replaced after it was listed"):
            run.execute("preprocess_data")
        grown.result()
    states = [item["JobRunState"] for item in account.glue.get_job_runs(JobName=world.glue_job)["JobRuns"]]
    assert not set(states) & {*GLUE_ACTIVE, "SUCCEEDED"}
    world.check()
