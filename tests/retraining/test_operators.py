"""The operator and its trigger against a running local_aws: defer, adopt, kill, fail."""

import asyncio
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, DownstreamTasksSkipped, TaskDeferred
from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import TaskSuccessEvent
from botocore.exceptions import ClientError
from local_account import BUCKET, wait_for

from retraining.aws.clients import client
from retraining.dag import pausing
from retraining.dag.operators import AwsJobOperator, QuestionOperator
from retraining.dag.triggers import JobTrigger, NewDataTrigger
from retraining.jobs.job import JobBusyError, JobStatus, is_transient
from retraining.jobs.kinds import JOB_KINDS
from retraining.settings.access import AwsAccess

TRAINING = JOB_KINDS["training"]
QUICK = "import os; open(os.environ['SM_MODEL_DIR'] + '/model.txt', 'w').close()"


@pytest.fixture(scope="module", autouse=True)
def job_bucket(account):
    account.s3.create_bucket(Bucket=BUCKET)


@pytest.fixture
def operator_for(account, access):
    def build(script, **changes):
        request = account.training_request(f"source-{uuid.uuid4().hex[:8]}", script, **changes.pop("request", {}))
        del request["TrainingJobName"]
        arguments = {
            "task_id": "training",
            "kind": "training",
            "model": f"m{uuid.uuid4().hex[:8]}",
            "step": "train",
            "access": access,
            "max_wait": timedelta(seconds=60),
            "poll_seconds": lambda: 0.1,
            "python_callable": lambda: request,
            **changes,
        }
        return AwsJobOperator(**arguments)

    return build


def execute(operator):
    """Run the operator and its trigger as Airflow would; return the result and the handle."""
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute({})
    trigger = deferral.value.trigger
    event = asyncio.run(first_event(trigger))
    return operator.resume({}, event, **deferral.value.kwargs)


async def first_event(trigger):
    async for event in trigger.run():
        return event.payload


def rebuilt(trigger):
    """The trigger as another triggerer would rebuild it."""
    path, arguments = trigger.serialize()
    assert path == "retraining.dag.triggers.JobTrigger"
    return JobTrigger(**arguments)


def test_the_operator_defers_and_returns_the_result_of_a_completed_job(operator_for):
    result = execute(operator_for(QUICK))
    assert result["model_data"].startswith(f"s3://{BUCKET}/models/")
    assert result["adopted"] is False


def ended_by(trigger, monkeypatch, store=None):
    """Run a trigger of a task to its event; return it and what was stored as the task's XCom."""
    kept = []

    async def aset(key, value, **place):
        kept.append((key, value, place))
        if store:
            store()

    async def event():
        return [event async for event in trigger.run()]

    monkeypatch.setattr(XCom, "aset", aset)
    trigger.task_instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=2)
    [found] = asyncio.run(event())
    return found, kept


def test_a_task_that_only_waits_for_its_job_is_ended_with_the_result_and_needs_no_second_worker(
    operator_for, monkeypatch
):
    operator = operator_for(QUICK)
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute({})
    event, kept = ended_by(rebuilt(deferral.value.trigger), monkeypatch)
    assert isinstance(event, TaskSuccessEvent)
    [(key, result, place)] = kept
    assert (key, place) == ("return_value", {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": 2})
    assert result == operator.resume({}, {"outcome": "succeeded"}, **deferral.value.kwargs)


@pytest.mark.parametrize("program", [QUICK, "raise ValueError('no')"])
def test_a_task_with_something_to_do_after_its_job_goes_on(operator_for, monkeypatch, program):
    operator = operator_for(program, on_success=lambda result: result)
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute({})
    event, kept = ended_by(rebuilt(deferral.value.trigger), monkeypatch)
    assert not isinstance(event, TaskSuccessEvent)
    assert event.payload["outcome"] == ("succeeded" if program == QUICK else "failed")
    assert kept == []


def test_a_failed_job_is_judged_by_its_task(operator_for, monkeypatch):
    operator = operator_for("raise ValueError('no')")
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute({})
    event, kept = ended_by(rebuilt(deferral.value.trigger), monkeypatch)
    assert (event.payload["outcome"], kept) == ("failed", [])


def test_a_result_that_cannot_be_kept_is_left_to_the_task(operator_for, monkeypatch):
    operator = operator_for(QUICK)
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute({})
    event, _ = ended_by(rebuilt(deferral.value.trigger), monkeypatch, store=lambda: {}["no database"])
    assert event.payload["outcome"] == "succeeded"
    assert operator.resume({}, event.payload, **deferral.value.kwargs)["adopted"] is False


def test_a_second_task_with_the_same_request_adopts_the_ended_job_without_deferring(operator_for):
    operator = operator_for(QUICK)
    first = execute(operator)
    again = operator.execute({})
    assert again["name"] == first["name"]
    assert again["adopted"] is True


def test_no_request_is_nothing_to_do(operator_for):
    assert operator_for("", python_callable=lambda: None).execute({}) is None


def test_the_result_passes_through_on_success(operator_for):
    operator = operator_for(QUICK, on_success=lambda result, **context: f"made {result['name']}")
    assert execute(operator) == f"made {operator._handle['name']}"


def test_a_failed_job_fails_the_task_without_retry_and_says_why(operator_for):
    with pytest.raises(AirflowFailException) as caught:
        execute(operator_for("raise ValueError('column rings is missing')"))
    message = str(caught.value)
    assert "ended Failed" in message
    assert "column rings is missing" in message
    assert "Console:" not in message  # this account has none


def test_a_request_that_aws_refuses_fails_at_once(operator_for):
    operator = operator_for("", request={"StoppingCondition": {"MaxRuntimeInSeconds": 0}})
    with pytest.raises(AirflowFailException, match="AWS refused the request of step train"):
        operator.execute({})


def test_a_job_beyond_the_time_limit_is_stopped(operator_for, access):
    operator = operator_for("import time; time.sleep(120)", max_wait=timedelta(seconds=-1))
    with pytest.raises(AirflowFailException, match="time limit is over"):
        execute(operator)
    assert wait_for(lambda: TRAINING.poll(access, operator._handle).state == "Stopped")


@pytest.mark.parametrize("where", ["worker", "triggerer"])
def test_killing_the_task_stops_the_job(operator_for, access, where):
    operator = operator_for("import time; time.sleep(120)")
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute({})
    if where == "worker":
        operator.on_kill()
    else:
        asyncio.run(rebuilt(deferral.value.trigger).on_kill())
    assert wait_for(lambda: TRAINING.poll(access, operator._handle).state == "Stopped")


def test_a_task_killed_while_its_job_is_being_created_stops_the_job(operator_for, access, monkeypatch):
    operator = operator_for("import time; time.sleep(120)")
    submit = type(TRAINING).submit

    def killed_meanwhile(*arguments):
        operator.on_kill()  # Airflow's SIGTERM handler
        return submit(*arguments)

    monkeypatch.setattr(type(TRAINING), "submit", killed_meanwhile)
    with pytest.raises(AirflowFailException, match="the task was killed while it started"):
        operator.execute({})
    assert wait_for(lambda: TRAINING.poll(access, operator._handle).state == "Stopped")


@pytest.mark.parametrize(
    ("reason", "transient"),
    [
        ("InternalServerError: We encountered an internal error", True),
        ("CapacityError: Unable to provision requested ML compute capacity", True),
        ("AlgorithmError: my own InternalServerError, exit code: 1", False),
        ("ClientError: no rows", False),
        ("", False),
    ],
)
def test_only_the_service_s_own_failures_are_worth_another_job(reason, transient):
    assert is_transient(reason) is transient


def run_of(number=0, **params):
    return {"dag_run": SimpleNamespace(dag_id="m_retraining", run_id="r1", clear_number=number), "params": params}


def played(operator, context):
    """Run the operator and all its triggers to the end, as Airflow would."""
    following, arguments = operator.execute, {}
    while True:
        try:
            return following(context, **arguments)
        except TaskDeferred as deferral:
            event = asyncio.run(first_event(deferral.trigger))
            following, arguments = getattr(operator, deferral.method_name), {"event": event, **deferral.kwargs}


def test_work_that_failed_by_itself_is_not_paid_again_until_a_person_asks_for_it(account, operator_for):
    operator = operator_for("raise ValueError('the same rows, the same error')")
    with pytest.raises(AirflowFailException, match="the same error"):
        played(operator, run_of())
    with pytest.raises(
        AirflowFailException, match=r"(?s)did this very work before and failed: .*the same error.* force_retrain"
    ):
        played(operator, run_of())
    assert len(jobs_of(account, operator.model)) == 1
    for asked in (run_of(number=1), run_of(force_retrain=True)):
        with pytest.raises(AirflowFailException, match="ended Failed"):
            played(operator, asked)
    assert len(jobs_of(account, operator.model)) == 3


def test_a_stop_that_nobody_asked_for_is_repaired_by_a_retry(account, access, operator_for):
    operator = operator_for("import time; time.sleep(120)")
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(run_of())
    TRAINING.stop(access, operator._handle)
    event = asyncio.run(first_event(deferral.value.trigger))
    with pytest.raises(RuntimeError, match="A retry of this task starts it again") as caught:
        operator.resume(run_of(), event, **deferral.value.kwargs)
    assert not isinstance(caught.value, AirflowFailException)
    with pytest.raises(TaskDeferred):
        operator.execute(run_of())
    assert operator._handle["name"].endswith("-2")
    operator.on_kill()


@pytest.fixture
def short_pauses(monkeypatch):
    monkeypatch.setattr(pausing, "FIRST_PAUSE", 0.1)


def test_a_busy_service_is_waited_for_without_a_retry(operator_for, monkeypatch, short_pauses):
    operator, submit, calls = operator_for(QUICK), type(TRAINING).submit, []

    def busy_twice(*arguments):
        calls.append(arguments)
        if len(calls) < 3:
            raise JobBusyError("the account's quota is used up")
        return submit(*arguments)

    monkeypatch.setattr(type(TRAINING), "submit", busy_twice)
    assert played(operator, run_of())["adopted"] is False
    assert len(calls) == 3


def test_waiting_has_an_end_that_says_what_was_waited_for(operator_for, monkeypatch, short_pauses):
    def busy(*_):
        raise JobBusyError("the account's quota is used up")

    monkeypatch.setattr(type(TRAINING), "submit", busy)
    with pytest.raises(AirflowFailException, match="and could not begin: the account's quota is used up"):
        played(operator_for(QUICK, patience=timedelta(seconds=1)), run_of())


def test_a_job_without_capacity_is_followed_by_another_one_after_a_pause(
    account, operator_for, monkeypatch, short_pauses
):
    operator, status, seen = operator_for(QUICK), type(TRAINING)._status, []

    def no_capacity_at_first(self, description):
        if description["TrainingJobName"].endswith("-2"):
            return status(self, description)
        seen.append(description)
        return JobStatus("Failed", "failed", "CapacityError: Unable to provision requested ML compute capacity")

    monkeypatch.setattr(type(TRAINING), "_status", no_capacity_at_first)
    assert played(operator, run_of())["name"].endswith("-2")


def test_a_quota_that_aws_refuses_with_is_waited_for(account, access, operator_for, monkeypatch):
    operator = operator_for(QUICK)
    refusal = ClientError({"Error": {"Code": "ResourceLimitExceeded", "Message": "2 of 2 in use"}}, "CreateTrainingJob")
    sagemaker = client("sagemaker", access)
    monkeypatch.setattr(sagemaker, "create_training_job", lambda **_: (_ for _ in ()).throw(refusal))
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(run_of())
    assert deferral.value.method_name == "start_again"


def jobs_of(account, model):
    listed = account.sagemaker.list_training_jobs(NameContains=model)["TrainingJobSummaries"]
    return [job["TrainingJobName"] for job in listed]


def test_killing_a_task_that_has_no_job_yet_is_harmless(operator_for):
    operator_for("").on_kill()


def test_a_job_that_cannot_be_looked_at_is_reported_and_not_stopped(operator_for, monkeypatch):
    monkeypatch.setattr("retraining.dag.triggers.UNREACHABLE_SECONDS", 0.3)
    operator = operator_for(QUICK)
    nowhere = AwsAccess(region="us-east-1", endpoint_url="http://127.0.0.1:9")
    monkeypatch.setattr("retraining.dag.triggers.client", lambda *_: None, raising=True)
    monkeypatch.setattr(
        "retraining.jobs.sagemaker_job.client", lambda service, access: client(service, access, retry=False)
    )
    trigger = JobTrigger("training", {"name": "x"}, nowhere.model_dump(), time.time() + 60, 0.05)
    event = asyncio.run(first_event(trigger))
    assert event["outcome"] == "unreachable"
    with pytest.raises(RuntimeError, match="a retry of this task adopts it"):
        operator.resume({}, event, handle={"name": "x"}, adopted=False)


def test_the_trigger_keeps_region_verification_and_connection(access):
    full = AwsAccess(conn_id="aws_data", region="eu-west-1", verify="/ca.pem")
    trigger = JobTrigger("training", {"name": "x"}, full.model_dump(), 1.0, 2.0)
    assert AwsAccess(**rebuilt(trigger).access) == full


@pytest.mark.parametrize(
    ("option", "user"),
    [("Approve", {"id": "1", "name": "ann"}), ("Reject", {"id": "1", "name": "ann"}), ("Reject", None)],
)
def test_the_answer_of_a_person_is_kept_also_when_it_is_a_no(option, user):
    """Airflow skips what follows a no, and loses what the task returns."""
    with DAG("asks", schedule=None):
        question = QuestionOperator(task_id="ask", subject="Deploy?", defaults="Reject")
        question >> EmptyOperator(task_id="deploy")
    kept = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: kept.update({key: value}), map_index=-1)
    event = {
        "chosen_options": [option],
        "params_input": {},
        "responded_at": datetime.now(UTC),
        "responded_by_user": user,
    }
    with nullcontext() if option == "Approve" else pytest.raises(DownstreamTasksSkipped):
        question.execute_complete({"ti": ti, "task": question}, event)
    assert kept["answer"] == {"chosen_options": [option], "responded_by_user": user}


def test_looks_at_jobs_do_not_queue_behind_watchers_that_wait(monkeypatch, access):
    """Each of many models has a watcher that blocks a thread nearly all the time."""
    models, waiting, over = 40, threading.Semaphore(0), threading.Event()

    def receive(self):
        waiting.release()
        over.wait()
        return 0

    def all_wait():
        for _ in range(models):
            assert waiting.acquire(timeout=30)

    class Ended:
        def title(self, *_):
            return "a job"

        def poll(self, *_):
            return JobStatus("Completed", "succeeded")

        def live_log(self, *_):
            return None

    async def first(trigger):
        async for event in trigger.run():
            return event.payload

    async def play():
        watchers = [asyncio.create_task(first(NewDataTrigger(f"queue-{number}"))) for number in range(models)]
        look = JobTrigger("training", {"name": "x"}, access.model_dump(), time.time() + 600, 2.0)
        try:
            with ThreadPoolExecutor(1) as own:
                await asyncio.get_running_loop().run_in_executor(own, all_wait)
                return await asyncio.wait_for(first(look), 30)
        finally:
            over.set()
            for watcher in watchers:
                watcher.cancel()

    monkeypatch.setattr(NewDataTrigger, "_receive", receive)
    monkeypatch.setitem(JOB_KINDS, "training", Ended())
    assert asyncio.run(play())["outcome"] == "succeeded"
