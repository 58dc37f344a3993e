"""Runs the retraining DAG's tasks in this process as Airflow would: retries, deferral, triggers rebuilt from their serialized form."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from invariants import RunRecord

from retraining.aws_clients import AwsAccess
from retraining.config import ModelConfig
from retraining.operators import AwsJobOperator
from retraining.steps import RetrainingSteps

TRIES = 3  # the DAG's retries=2
WAIT_SECONDS = 120.0


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


def deferral_of(operator: AwsJobOperator) -> TaskDeferred:
    """Execute an operator that has to defer."""
    try:
        value = operator.execute({})
    except TaskDeferred as deferral:
        return deferral
    raise AssertionError(f"{operator.task_id} did not defer but returned {value}")


def run_operator(build: Callable[[], AwsJobOperator]) -> Any:
    """Run a fresh operator through deferral to its result: one try of a task."""
    operator = build()
    try:
        return operator.execute({})
    except TaskDeferred as deferral:
        event = event_of(rebuilt(deferral.trigger))
        return build().resume({}, event, **(deferral.kwargs or {}))


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


class Run:
    """One run of the retraining DAG, task by task; ``xcom`` holds what each task returned."""

    def __init__(self, config: ModelConfig, folder: Path, params: dict[str, Any] | None = None) -> None:
        self.steps = RetrainingSteps(config, folder)
        self.config = config
        self.params = params or {}
        self.xcom: dict[str, Any] = {}

    def tasks(self) -> dict[str, Callable[[], Any]]:
        """Return the tasks of the approved path in their order; a rejected challenger ends it early."""
        steps, xcom = self.steps, self.xcom
        candidate = self.config.training.candidates[0].name

        def operator(kind: str, step: str, request: Callable[[], Any], **options: Any) -> Callable[[], Any]:
            return lambda: run_operator(lambda: self.operator(kind, step, request, **options))

        return {
            "claim_new_data": lambda: steps.claim_new_data(self.params),
            "crawl_data": operator(
                "glue_crawler",
                "crawl",
                lambda: steps.crawl_request(xcom["claim_new_data"]),
                on_success=steps.check_schema,
            ),
            "preprocess_data": operator("glue_job", "merge", lambda: steps.merge_request(xcom["claim_new_data"])),
            "check_data_quality": lambda: steps.check_data_quality(xcom["claim_new_data"]),
            "training": operator(
                "training",
                "train",
                lambda: steps.training_request(
                    xcom["claim_new_data"], xcom["check_data_quality"], self.params, candidate
                ),
            ),
            "evaluate_model": operator(
                "processing",
                "evaluate",
                lambda: steps.evaluation_request(
                    xcom["claim_new_data"], xcom["check_data_quality"], [xcom["training"]]
                ),
            ),
            "analyze_results": lambda: steps.analyze_results(xcom["claim_new_data"]),
            "check_threshold": self._check_threshold,
            "register_model": lambda: steps.register_model(
                xcom["claim_new_data"],
                xcom["check_data_quality"],
                [xcom["training"]],
                xcom["evaluate_model"],
                xcom["decision"],
            ),
            "deploy_model": operator(
                "endpoint", "deploy", lambda: steps.deploy_request(xcom["claim_new_data"], [xcom["training"]])
            ),
            "verify_endpoint": lambda: steps.verify_endpoint(
                xcom["claim_new_data"], xcom["register_model"], xcom["deploy_model"]
            ),
            "publish_report": lambda: steps.publish_report(
                xcom["claim_new_data"],
                xcom["check_data_quality"],
                [xcom["training"]],
                xcom["evaluate_model"],
                xcom["analyze_results"],
                xcom["decision"],
                self.params,
                xcom.get("register_model") if xcom["decision"]["promote"] else None,
                None if xcom["decision"]["promote"] else xcom["register_model"],
                xcom.get("verify_endpoint"),
            ),
        }

    def operator(self, kind: str, step: str, request: Callable[[], Any], **options: Any) -> AwsJobOperator:
        """Return a fresh operator, as each try of a task has its own."""
        return job_operator(kind, self.config.name, step, self.config.aws, request, **options)

    def play(self, until: str | None = None, tries: int = TRIES) -> RunRecord:
        """Run the tasks in order, to the end or up to and including ``until``; return what the run says about itself."""
        try:
            for name, body in self.tasks().items():
                if name in ("deploy_model", "verify_endpoint") and not self.xcom["decision"]["promote"]:
                    continue
                self.xcom[name] = with_retries(body, tries)
                if name == until:
                    break
        except Exception as error:
            return RunRecord("failed", f"{type(error).__name__}: {error}", self.xcom.get("claim_new_data"))
        return self.record()

    def record(self) -> RunRecord:
        """Return what a run that got this far says about itself."""
        jobs = {
            name: self.xcom[name] for name in ("preprocess_data", "training", "evaluate_model") if self.xcom.get(name)
        }
        plan = self.xcom["claim_new_data"] if "check_data_quality" in self.xcom else None
        return RunRecord("success", "", plan, self.xcom.get("publish_report"), jobs)

    def _check_threshold(self) -> str:
        run = self

        class TaskInstance:
            def xcom_push(self, key: str, value: Any) -> None:
                run.xcom[key] = value

        return self.steps.check_threshold(
            self.xcom["claim_new_data"], self.xcom["analyze_results"], self.params, TaskInstance()
        )


def job_operator(
    kind: str, model: str, step: str, access: AwsAccess, request: Callable[[], Any], **options: Any
) -> AwsJobOperator:
    """Return an operator that looks at its job ten times per second."""
    arguments = {"max_wait": timedelta(seconds=WAIT_SECONDS), "poll_seconds": lambda: 0.1, "task_id": step, **options}
    return AwsJobOperator(kind=kind, model=model, step=step, access=access, python_callable=request, **arguments)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Poll until ``condition`` returns something true."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return answer
