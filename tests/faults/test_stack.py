"""Parts of a real Airflow and of AWS are killed in the middle of a run, and people clear and fail tasks whose jobs run."""

import uuid

import pytest
from conftest import ROOT, abalone_rows
from local_airflow import DAG_ID, MODEL, started
from task_runs import MERGED_BY_SPARK, wait_until

from local_stack import layout
from retraining.dataset.log import DatasetLog

pytestmark = [pytest.mark.airflow, pytest.mark.spark]

ORIGINAL_ROWS = 3000


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """A running stack with a first version, whose model serves."""
    with started(tmp_path_factory.mktemp("stack")) as stack:
        wait_until(lambda: stack.api.runs(DAG_ID), "the first scheduled run starts", 60)
        stack.wait_idle()
        first = stack.ended(stack.land("raw/abalone.csv", abalone_rows(0, ORIGINAL_ROWS)))
        assert first.state == "success", first.reason
        assert first.summary["endpoint"] == f"dev-{MODEL}"
        yield stack


_next = iter(range(ORIGINAL_ROWS, 4177, 25))


@pytest.fixture
def survey():
    """A name and rows that no earlier test has landed, and whose merge lasts."""
    return f"new/{uuid.uuid4().hex[:8]}.csv", abalone_rows(next(_next), 25) + MERGED_BY_SPARK


def assert_committed(stack, run_id):
    plan = stack.xcom(run_id, "claim_new_data")
    assert plan["batch"] in DatasetLog(stack.account.s3, stack.bucket, f"{MODEL}/").read().batches


def test_a_first_run_on_a_real_airflow_ends_with_a_served_approved_model_and_nothing_in_progress(stack):
    assert ROOT == layout.ROOT
    stack.check()


def test_a_triggerer_killed_while_a_task_is_deferred_is_replaced_and_the_run_goes_on(stack, survey):
    run_id = stack.land(*survey)
    merge = stack.deferred_merge(run_id)
    stack.kill("triggerer")
    stack.command("up")
    assert stack.ended(run_id).state == "success"
    assert stack.xcom(run_id, "preprocess_data")["run_id"] == merge
    assert_committed(stack, run_id)
    stack.check()


def test_a_scheduler_killed_while_a_job_runs_is_replaced_and_the_run_goes_on(stack, survey):
    run_id = stack.land(*survey)
    merge = stack.deferred_merge(run_id)
    stack.kill("scheduler")
    stack.command("up")
    assert stack.ended(run_id).state == "success"
    assert stack.xcom(run_id, "preprocess_data")["run_id"] == merge
    assert_committed(stack, run_id)
    stack.check()


def test_aws_killed_while_a_job_runs_fails_the_try_with_a_reason_and_the_next_try_does_the_work(stack, survey):
    run_id = stack.land(*survey)
    merge = stack.deferred_merge(run_id)
    stack.kill("local_aws")
    stack.command("up")
    assert stack.glue_state(merge) == "FAILED"
    state = stack.wait_for_task(run_id, "preprocess_data", ["up_for_retry", "success", "failed"])
    if state == "up_for_retry":
        assert "local_aws stopped while the job was running" in stack.reason(
            run_id, stack.task(run_id, "preprocess_data")
        )
    record = stack.ended(run_id)
    assert record.state == "success", record.reason
    assert stack.xcom(run_id, "preprocess_data")["run_id"] != merge
    assert_committed(stack, run_id)
    stack.check()


def test_a_deferred_task_marked_failed_stops_its_job_and_a_new_run_does_the_work(stack, survey):
    run_id = stack.land(*survey)
    merge = stack.deferred_merge(run_id)
    stack.mark_failed(run_id, "preprocess_data")
    wait_until(lambda: stack.glue_state(merge) == "STOPPED", "the job has stopped")
    assert stack.api.run(DAG_ID, run_id)["state"] in ("running", "failed")
    wait_until(lambda: stack.api.run(DAG_ID, run_id)["state"] == "failed", "the run has failed", 120)
    new = stack.api.trigger(DAG_ID, {})["dag_run_id"]
    assert stack.ended(new).state == "success"
    assert_committed(stack, new)
    stack.check()


def test_a_deferred_task_that_is_cleared_does_its_work_once_and_leaves_nothing_running(stack, survey):
    """Airflow tells the trigger that its task was cleared, unless the next try was faster; then that one has adopted the job."""
    run_id = stack.land(*survey)
    merge = stack.deferred_merge(run_id)
    stack.clear(run_id, "preprocess_data")
    record = stack.ended(run_id)
    assert record.state == "success", record.reason
    adopted = stack.xcom(run_id, "preprocess_data")["run_id"] == merge
    assert stack.glue_state(merge) == ("SUCCEEDED" if adopted else "STOPPED")
    assert_committed(stack, run_id)
    stack.check()


def test_a_run_marked_failed_leaves_no_job_in_progress(stack, survey):
    run_id = stack.land(*survey)
    merge = stack.deferred_merge(run_id)
    stack.api.patch(f"dags/{DAG_ID}/dagRuns/{run_id}", {"state": "failed"})
    wait_until(lambda: stack.glue_state(merge) == "STOPPED", "the job has stopped")
    stack.check()


def test_aws_that_stays_away_fails_the_run_with_a_reason_and_a_run_after_its_return_does_the_work(stack, survey):
    run_id = stack.land(*survey)
    stack.deferred_merge(run_id)
    stack.kill("local_aws")
    record = stack.ended(run_id)
    assert record.state == "failed"
    assert "preprocess_data" in record.reason
    assert "Connection" in record.reason  # the last try's: nothing answers
    stack.command("up")
    new = stack.api.trigger(DAG_ID, {})["dag_run_id"]
    assert stack.ended(new).state == "success"
    assert_committed(stack, new)
    stack.check()
