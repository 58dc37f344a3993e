"""Operators that carry a request to AWS, or to a person, and give up their worker meanwhile, and the buttons of tasks in the Airflow UI."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import BaseOperatorLink
from airflow.sdk.exceptions import AirflowFailException

from retraining.aws.console import default_region, has_console
from retraining.aws.errors import is_refusal
from retraining.contract.plain_text import plain, plain_lines
from retraining.dag.asking import asker_of, page_url
from retraining.dag.pausing import LONGEST_PAUSE, Pausing
from retraining.dag.triggers import PERMANENT_ERRORS, JobTrigger
from retraining.jobs.job import (
    STOPPED_REASON,
    Asker,
    Handle,
    JobBusyError,
    JobError,
    Submitted,
    is_transient,
    lacks_capacity,
)
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.log_tail import failure_text
from retraining.settings.access import AwsAccess

LONGEST_WAIT = timedelta(hours=6)
"""How long a job waits for the service to have room, or for other work of its name to end, before its task fails."""
LONGEST_WARNING = 1000
ANSWER = "answer"
"""XCom of a question's answer."""


class QuestionOperator(ApprovalOperator):
    """Wait for a person's yes or no, and keep the answer as XCom ``answer``: ``chosen_options`` and ``responded_by_user``.

    Airflow's own keeps nothing of a no: it skips what follows, and what the task returns is lost.
    """

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Keep the answer; None as the user is silence."""
        if "error" not in event:
            answer = {name: event[name] for name in ("chosen_options", "responded_by_user")}
            context["ti"].xcom_push(key=ANSWER, value=answer)
        return super().execute_complete(context, event)


class JobLink(BaseOperatorLink):
    """The job in the AWS console; without a console there is no link."""

    name = "Job"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the job that the task started or adopted."""
        handle = operator.handle
        if handle is None or not has_console(operator.access):
            return ""
        region = operator.access.region or default_region()
        return JOB_KINDS[operator.kind].console_url(region, handle)


class ReportLink(BaseOperatorLink):
    """The run on the page of the Airflow UI, with its report."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the run whose summary the task returned."""
        from airflow.sdk.execution_time.xcom import XCom

        summary = XCom.get_value(key="return_value", ti_key=ti_key)
        return page_url(summary["model"], summary["run_key"]) if summary else ""


class JobOperator(Pausing, PythonOperator):
    """What all operators of jobs share once the job exists: defer until it has ended, judge it, stop it.

    Only success is success. A killed, cleared or failed task stops its job. The task's result is what ``on_success`` makes of the job's;
    without it the triggerer ends the task with the job's result, and no second worker is needed.
    What can only be waited for (a busy service, no capacity, a used-up quota) is waited for without a worker and without using retries.

    Args:
        kind: key of ``jobs.kinds.JOB_KINDS``.
        model: the model's name, first part of job names.
        step: the step's name, second part of job names.
        access: how to reach AWS.
        max_wait: how long the job may take, waiting included; afterwards it is stopped.
        poll_seconds: returns the seconds between two looks at the job.
        on_failure: called with ``message`` and the context when the work itself failed, before the task does.
        patience: how long to wait until the job can be started at all.
        longest_pause: seconds; pauses between two tries to start it grow up to this.
        on_success: called with ``result`` and the items of the context when the job succeeded; what it returns is the task's result.

    """

    operator_extra_links = (JobLink(),)

    def __init__(
        self,
        *,
        kind: str,
        model: str,
        step: str,
        access: AwsAccess,
        max_wait: timedelta,
        poll_seconds: Callable[[], float],
        on_success: Callable[..., Any] | None = None,
        on_failure: Callable[..., Any] | None = None,
        patience: timedelta = LONGEST_WAIT,
        longest_pause: float = LONGEST_PAUSE,
        **kwargs: Any,
    ) -> None:
        super().__init__(show_return_value_in_logs=False, **kwargs)
        self.on_failure = on_failure
        self.patience = patience
        self.longest_pause = longest_pause
        self.kind = kind
        self.model = model
        self.step = step
        self.access = access
        self.max_wait = max_wait
        self.poll_seconds = poll_seconds
        self.on_success = on_success
        self._handle: Handle | None = None
        self._killed = False

    @property
    def handle(self) -> Handle | None:
        """The job, once the task has started or adopted it."""
        return self._handle

    @abstractmethod
    def submitted(self, context: Any) -> Submitted | None:
        """Create or adopt the job; None when there is nothing to do.

        Raises:
            AirflowFailException: the job is refused for a reason that a retry cannot mend.

        """

    def execute(self, context: Any) -> Any:
        """Create or adopt the job, and defer until it has ended.

        Raises:
            TaskDeferred: the job is in progress.
            AirflowFailException: the job is refused, or failed for a reason that a retry cannot mend.

        """
        return self._start(context, since=time.time(), pauses=0)

    def start_again(self, context: Any, event: dict[str, Any], since: float, pauses: int) -> Any:
        """Try to start the job after a pause."""
        return self._start(context, since, pauses)

    def _start(self, context: Any, since: float, pauses: int) -> Any:
        try:
            submitted = self.submitted(context)
        except JobBusyError as error:
            self._pause(str(error), since, pauses)
        if submitted is None:
            self.log.info("nothing to do")
            return None
        self._handle = submitted.handle
        if self._killed:  # Airflow's SIGTERM came while the job was being created: the task goes on, its job must not
            self.on_kill()
            raise AirflowFailException(
                f"the task was killed while it started {JOB_KINDS[self.kind].title(submitted.handle)}"
            )
        job = JOB_KINDS[self.kind]
        self.log.info("%s %s", "adopted" if submitted.adopted else "started", job.title(submitted.handle))
        if submitted.adopted:
            status = job.poll(self.access, submitted.handle)
            if status.outcome != "running":
                event = {"outcome": status.outcome, "state": status.state, "reason": status.reason}
                return self._finish(context, submitted.handle, event, submitted.adopted, since, pauses)
        self.defer(
            trigger=JobTrigger(
                kind=self.kind,
                handle=submitted.handle,
                access=self.access.model_dump(),
                deadline=time.time() + self.max_wait.total_seconds(),
                poll_seconds=self.poll_seconds(),
                ends=None if self.on_success else {"adopted": submitted.adopted},
            ),
            method_name="resume",
            kwargs={"handle": submitted.handle, "adopted": submitted.adopted, "since": since, "pauses": pauses},
        )

    def resume(
        self, context: Any, event: dict[str, Any], handle: Handle, adopted: bool, since: float = 0.0, pauses: int = 0
    ) -> Any:
        """Judge the job after the trigger has seen it end."""
        self._handle = handle
        return self._finish(context, handle, event, adopted, since or time.time(), pauses)

    def _pause(self, reason: str, since: float, pauses: int) -> NoReturn:
        self.pause(f"step {self.step} of model {self.model}", reason, since, pauses)

    def on_kill(self) -> None:
        """Stop the job of a task that is killed while it holds a worker."""
        self._killed = True
        if self._handle is not None:
            job = JOB_KINDS[self.kind]
            self.log.info("the task was killed: stopping %s", job.title(self._handle))
            job.stop(self.access, self._handle)

    def _finish(
        self, context: Any, handle: Handle, event: dict[str, Any], adopted: bool, since: float, pauses: int
    ) -> Any:
        job = JOB_KINDS[self.kind]
        if event["outcome"] == "unreachable":
            raise RuntimeError(
                f"{job.title(handle)}: AWS could not be reached to look at it ({plain(event['reason'])}). The job was not stopped; "
                "a retry of this task adopts it"
            )
        if event["outcome"] != "succeeded":
            if event["outcome"] == "failed" and lacks_capacity(event["reason"]):
                self._pause(f"{job.title(handle)} ended: {event['reason']}", since, pauses)
            message = failure_text(job, self.access, handle, event["state"] or event["outcome"], event["reason"])
            # Nobody who wants the run to stop stops only its job: a task that is killed never comes here.
            if is_transient(event["reason"]) or event["reason"] == STOPPED_REASON:
                raise RuntimeError(f"{message}\nA retry of this task starts it again")
            if self.on_failure and event["outcome"] == "failed" and event["state"] not in PERMANENT_ERRORS:
                self.on_failure(**{**context, "message": message, "context": context})
            raise AirflowFailException(message)
        result = {**job.result(self.access, handle), "adopted": adopted}
        self.log.info("%s succeeded: %s", job.title(handle), result)
        return self.on_success(**{**context, "result": result}) if self.on_success else result


class AwsJobOperator(JobOperator):
    """Run a job on AWS: the callable builds the request, the operator does the rest.

    The request is created or adopted, see ``jobs.job``; what follows is ``JobOperator``'s. ``python_callable`` returns the AWS request
    without its name, or None when there is nothing to do.
    """

    def submitted(self, context: Any) -> Submitted | None:
        """Build the request, and create or adopt its job."""
        request = PythonOperator.execute(self, context)
        return None if request is None else self._submit(request, asker_of(context))

    def _submit(self, request: dict[str, Any], asker: Asker | None) -> Submitted:
        try:
            return JOB_KINDS[self.kind].submit(self.access, self.model, self.step, request, asker)
        except JobBusyError:
            raise
        except JobError as error:
            raise AirflowFailException(plain_lines(error)) from error
        except Exception as error:
            if is_refusal(error):
                raise AirflowFailException(
                    f"AWS refused the request of step {self.step} of model {self.model}: {plain_lines(error)}"
                ) from error
            raise


class ObservingJobOperator(AwsJobOperator):
    """Run a job that only looks: what goes wrong with it is a warning in the task's result, ``{"warning": why}``, and no failure.

    Args:
        forgives: errors that become a warning; by default all of them.

    """

    def __init__(self, *, forgives: type[Exception] = Exception, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.forgives = forgives

    def execute(self, context: Any) -> Any:
        """Create or adopt the job, and defer until it has ended."""
        return self._warned(lambda: super(ObservingJobOperator, self).execute(context))

    def start_again(self, context: Any, event: dict[str, Any], since: float, pauses: int) -> Any:
        """Try to start the job after a pause."""
        return self._warned(lambda: super(ObservingJobOperator, self).start_again(context, event, since, pauses))

    def resume(
        self, context: Any, event: dict[str, Any], handle: Handle, adopted: bool, since: float = 0.0, pauses: int = 0
    ) -> Any:
        """Look at what the job came to."""
        return self._warned(
            lambda: super(ObservingJobOperator, self).resume(context, event, handle, adopted, since, pauses)
        )

    def _warned(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except self.forgives as error:
            self.log.warning("%s: %s", self.task_id, error)
            return {"warning": plain(error, LONGEST_WARNING)}
