"""Runs the retraining DAG's tasks in this process as Airflow would: retries, deferral, triggers rebuilt from their serialized form."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import importlib
import inspect
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from invariants import RunRecord
from local_account import ENVIRONMENTS

from glue_scripts.merge.in_memory.rows import MOST_TEXT
from retraining.dag.operators import ANSWER, AwsJobOperator, JobOperator
from retraining.dag.retraining_dag import retraining_dag
from retraining.dag.sdk_operator import SdkJobOperator
from retraining.dag.verify_operator import VerifyOperator
from retraining.sdk.context import SdkContext
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import load_model_config

MERGED_BY_SPARK = f"{' ' * 1000}\n" * (MOST_TEXT // 1000 + 1)
"""Blank lines that make a file too large for a merge in memory: one that lasts."""
BEFORE_DECISION = (
    "settle_endpoint",
    "claim_new_data",
    "crawl_data",
    "preprocess_data",
    "check_data_quality",
    "list_candidates",
    "training",
    "score_champion",
    "evaluate_model",
    "analyze_results",
    "check_threshold",
)
DEPLOYMENT = ("register_model", "deploy_model", "verify_endpoint")
JOB_TASKS = ("preprocess_data", "training", "evaluate_model")
TRIES = 3  # the DAG's retries=2
WAIT_SECONDS = 120.0
SDK_PYTHON = ENVIRONMENTS / "sagemaker" / "bin" / "python"


def rebuilt(trigger: Any) -> Any:
    """Return the trigger as another triggerer would rebuild it from the database."""
    path, arguments = trigger.serialize()
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**arguments)


def event_of(trigger: Any) -> dict[str, Any]:
    """Run a trigger to its first event."""

    async def first() -> dict[str, Any]:
        async for event in trigger.run():
            return dict(event.payload)
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(asyncio.wait_for(first(), WAIT_SECONDS))


def deferral_of(operator: JobOperator) -> TaskDeferred:
    """Execute an operator that has to defer."""
    try:
        value = operator.execute({"ti": None, "run_id": "manual"})
    except TaskDeferred as deferral:
        return deferral
    raise AssertionError(f"{operator.task_id} did not defer but returned {value}")


def run_operator(build: Callable[[], JobOperator], context: dict[str, Any] | None = None) -> Any:
    """Run a fresh operator through deferral to its result: one try of a task."""
    operator = build()
    try:
        return operator.execute({"ti": None, "run_id": "manual", **(context or {})})
    except TaskDeferred as deferred:
        deferral = deferred
    while True:  # what resumes may defer again
        event = event_of(rebuilt(deferral.trigger))
        following = getattr(build(), deferral.method_name)
        try:
            return following(dict(context or {}), event, **(deferral.kwargs or {}))
        except TaskDeferred as deferred:
            deferral = deferred


def with_retries(attempt: Callable[[], Any], tries: int = TRIES) -> Any:
    """Try a task as often as the DAG does; AirflowFailException is never retried."""
    for number in range(1, tries + 1):
        try:
            return attempt()
        except AirflowFailException:
            raise
        except Exception:
            if number == tries:
                raise
    raise AssertionError("unreachable")


class TaskInstance:
    """XComs as a task sees them."""

    def __init__(self, xcom: dict[tuple[str, str], Any], task_id: str) -> None:
        self._xcom = xcom
        self.task_id = task_id

    def xcom_pull(self, task_ids: str | list[str], key: str = "return_value", **_: Any) -> Any:
        """Return the value of a task, or the list of values of several, of a mapped one those of its instances."""
        if isinstance(task_ids, list):
            found = [self._xcom.get((task_id, key)) for task_id in task_ids]
            return [item for value in found for item in (value if isinstance(value, list) else [value])]
        return self._xcom.get((task_ids, key))

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value."""
        self._xcom[self.task_id, key] = value


class Run:
    """One run of a model's retraining DAG: its own tasks and wiring, task by task; ``result`` returns what a task returned.

    Args:
        folder: the model folder.
        params: what is filled in of the DAG's form.
        answer: what ``await_approval`` keeps of the answer of a person, or of nobody.
        build: makes the DAG of the folder.

    """

    def __init__(
        self,
        folder: Path,
        params: dict[str, Any] | None = None,
        answer: dict[str, Any] | None = None,
        build: Callable[[Path], Any] = retraining_dag,
    ) -> None:
        self.config = load_model_config(folder / "model.yaml")
        self.dag = build(folder)
        self.params = {name: param.value for name, param in self.dag.params.items()} | (params or {})
        self.answer = answer
        now = datetime.now(UTC)
        self.dag_run = SimpleNamespace(
            dag_id=self.dag.dag_id, run_id=f"in_process__{uuid.uuid4().hex}", clear_number=0, run_after=now
        )
        self._xcom: dict[tuple[str, str], Any] = {}
        self._skipped: set[str] = set()

    def result(self, task_id: str) -> Any:
        """Return what a task returned, None before it ran."""
        return self._xcom.get((task_id, "return_value"))

    def results(self) -> dict[tuple[str, str], Any]:
        """Return what all tasks left, to restore it later: a cleared task replaces its own."""
        return dict(self._xcom)

    def restore(self, results: dict[tuple[str, str], Any]) -> None:
        """Take the tasks' results back to what they were."""
        self._xcom = dict(results)

    def execute(self, task_id: str) -> Any:
        """Run one try of a task and keep its result; of a mapped one with several instances those that succeed, if any does."""
        context = self.context(task_id)
        mapped = self.result("list_candidates") if task_id == "training" else []
        if len(mapped) > 1:
            value: Any = self._instances(task_id, [item["candidate"] for item in mapped])
        elif issubclass(self.dag.task_dict[task_id].operator_class, (JobOperator, VerifyOperator)):
            value = run_operator(lambda: self.task(task_id), context)
        else:
            body = self.task(task_id).python_callable
            wanted = inspect.signature(body).parameters.values()
            takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in wanted)
            names = {parameter.name for parameter in wanted}
            try:
                value = body(**{name: item for name, item in context.items() if takes_all or name in names})
            except AirflowSkipException:
                value = self._skipped.add(task_id)
        self._xcom[task_id, "return_value"] = value
        return value

    def _instances(self, task_id: str, candidates: list[str]) -> list[Any]:
        found, errors = [], []
        for candidate in candidates:
            try:
                task = functools.partial(self.task, task_id, candidate)
                found.append(run_operator(task, {**self.context(task_id), "task": task()}))
            except AirflowFailException as error:
                errors.append(error)
        if not found:
            raise errors[0]
        return found

    def path(self) -> Iterator[str]:
        """Yield the tasks of the run in their order, following the gate's decision and a person's."""
        for name in BEFORE_DECISION:
            yield name
            if name == "training" and "tuning" in self.dag.task_dict:
                yield "tuning"
        branches = self.result("check_threshold")
        if branches == ["rejected"]:
            yield "rejected"
        elif "ask_for_approval" in branches:
            yield "ask_for_approval"
            self._xcom["await_approval", ANSWER] = self.answer
            if (self.answer or {}).get("chosen_options") == ["Approve"]:
                yield from DEPLOYMENT
        else:
            for name in DEPLOYMENT:
                yield name
                if name in self._skipped:
                    break
        yield "publish_report"

    def play(self, until: str | None = None, tries: int = TRIES, since: str | None = None) -> RunRecord:
        """Run the tasks, to the end or up to and including ``until``; return what the run says about itself.

        With ``since`` those before it have run.
        """
        try:
            for task_id in self.path():
                since = None if task_id == since else since
                if since:
                    continue
                with_retries(functools.partial(self.execute, task_id), tries)
                if task_id == until:
                    break
        except Exception as error:
            self.fail(task_id, error)
            self.end()
            return RunRecord("failed", f"{type(error).__name__}: {error}", self.result("claim_new_data"))
        if until is None:
            self.end()
        jobs = {name: value for name in JOB_TASKS if isinstance(value := self.result(name), dict)}
        committed = self.result("claim_new_data") if self.result("check_data_quality") else None
        return RunRecord("success", "", committed, self.result("publish_report"), jobs)

    def end(self) -> None:
        """Run what Airflow runs at the end of every run, however it ended: the teardowns of the DAG."""
        for name, task in self.dag.task_dict.items():
            if task.is_teardown:
                self.execute(name)

    def fail(self, task_id: str, error: Exception) -> None:
        """Call what Airflow calls when a task failed for good, and with it the run; what goes wrong there it only logs."""
        context = {**self.context(task_id), "exception": error, "dag": self.dag}
        for callback in (self.task(task_id).on_failure_callback, self.dag.on_failure_callback):
            for call in callback if isinstance(callback, list | tuple) else [callback]:
                with contextlib.suppress(Exception):
                    if call:
                        call(context)

    def context(self, task_id: str) -> dict[str, Any]:
        """Return what Airflow hands to a task."""
        return {
            "params": self.params,
            "ti": TaskInstance(self._xcom, task_id),
            "dag_run": self.dag_run,
            "task": self.task(task_id),
        }

    def task(self, task_id: str, candidate: str | None = None) -> Any:
        """Return a fresh operator, as each try of a task has its own; of a mapped one that of a candidate, or of the first."""
        task = copy.copy(self.dag.task_dict[task_id])
        if not isinstance(task, MappedOperator):
            return task
        return task.unmap({"op_kwargs": {"candidate": candidate or self.config.training.candidates[0].name}})


def job_operator(
    kind: str, model: str, step: str, access: AwsAccess, request: Callable[[], Any], **options: Any
) -> AwsJobOperator:
    """Return an operator that looks at its job ten times per second."""
    arguments = {"max_wait": timedelta(seconds=WAIT_SECONDS), "poll_seconds": lambda: 0.1, "task_id": step, **options}
    return AwsJobOperator(kind=kind, model=model, step=step, access=access, python_callable=request, **arguments)


def sdk_operator(model: str, step: str, access: AwsAccess, context: SdkContext, **options: Any) -> SdkJobOperator:
    """Return an operator of a training that is written with the SageMaker SDK."""
    arguments = {"max_wait": timedelta(seconds=WAIT_SECONDS), "poll_seconds": lambda: 0.1, "task_id": step, **options}
    with DAG("faults", schedule=None):
        return SdkJobOperator(
            kind="training",
            model=model,
            step=step,
            access=access,
            function="training",
            python_callable=lambda **_: context,
            python=str(SDK_PYTHON),
            **arguments,
        )


def training_operator(form: str, model: str, access: AwsAccess, order: dict[str, Any]) -> JobOperator:
    """Return the operator of a training in either form; ``order`` is its request or its context."""
    if form == "sdk":
        return sdk_operator(model, "train", access, SdkContext(**order))
    return job_operator("training", model, "train", access, lambda: order)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Poll until ``condition`` returns something true."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return answer
