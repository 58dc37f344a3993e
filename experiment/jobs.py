"""Runs an experiment's jobs: submits them through the SDK, waits, and stops what it started when it is interrupted."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment.plan import ExperimentContext
from experiment.progress import Progress
from retraining.jobs.job import JobError, JobStatus, Submitted
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.log_tail import failure_text
from retraining.sdk.context import SDK_FUNCTIONS
from retraining.sdk.runner import HeldSignal, submit
from retraining.settings.access import AwsAccess

STEPS = {"training": "train", "evaluation": "evaluate"}
"""Function of sdk_jobs.py -> second part of the job's name, as in the DAG."""
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Step:
    """One job to be: what it is for people, and the function that submits it."""

    title: str
    function: str
    context: ExperimentContext


@dataclass
class Running:
    """A job that exists."""

    step: Step
    submitted: Submitted
    since: float
    ended: bool = False
    reused: bool = False
    """Whether it was finished before this command asked for it."""

    @property
    def kind(self) -> Any:
        """Its kind, which knows how to look at it and to stop it."""
        return JOB_KINDS[SDK_FUNCTIONS[self.step.function]]

    @property
    def name(self) -> str:
        """Its name at AWS."""
        return str(self.submitted.handle["name"])


class Interruption(HeldSignal):
    """SIGINT and SIGTERM: end the command with ``KeyboardInterrupt``, but not between the creation of a job and the note of it."""

    def __init__(self) -> None:
        super().__init__(_interrupt)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals until the block ends."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _interrupt(number: int) -> None:
    raise KeyboardInterrupt


class JobRunner:
    """Runs the jobs of one experiment.

    Args:
        folder: the model folder.
        access: how to reach AWS.
        owner: first part of the jobs' names, and their model tag.
        poll_seconds: seconds between two looks at a job.
        progress: told what goes on.
        interruption: whose signals to hold while a job is created.

    """

    def __init__(
        self,
        folder: Path,
        access: AwsAccess,
        owner: str,
        poll_seconds: float,
        progress: Progress,
        interruption: Interruption,
    ) -> None:
        self._folder = folder.resolve()
        self._access = access
        self._owner = owner
        self._poll_seconds = poll_seconds
        self._progress = progress
        self._interruption = interruption
        self._jobs: list[Running] = []

    def run(self, steps: Sequence[Step]) -> list[dict[str, Any]]:
        """Run jobs side by side; return their results in order, each with ``reused``: whether it was finished before.

        Raises:
            JobError: jobs failed; the others have ended, too.
            KeyboardInterrupt: a person stopped the command; so are the jobs that it started.

        """
        results, failures = self._run(steps)
        if failures:
            raise JobError("\n".join(failures))
        return [result for result in results if result]

    def run_some(self, steps: Sequence[Step], at_once: int) -> list[dict[str, Any] | None]:
        """Run jobs, some at a time; return their results in order, None of one that failed, which is told and stops no other."""
        found: list[dict[str, Any] | None] = []
        for start in range(0, len(steps), at_once):
            results, failures = self._run(steps[start : start + at_once])
            for failure in failures:
                self._progress.say(failure)
            found += results
        return found

    def _run(self, steps: Sequence[Step]) -> tuple[list[dict[str, Any] | None], list[str]]:
        """Run jobs side by side; return their results, None of one that failed, and what the failures say."""
        first = len(self._jobs)
        try:
            for step in steps:
                self._submit(step)
            jobs = self._jobs[first:]
            statuses = [self._wait(job) for job in jobs]
        except KeyboardInterrupt:
            self._stop_own()
            raise
        except Exception:
            for job in self._unfinished():
                self._progress.say(f"{job.kind.title(job.submitted.handle)} goes on; the same command finds it again")
            raise
        results: list[dict[str, Any] | None] = []
        failures = []
        for job, status in zip(jobs, statuses, strict=True):
            handle = job.submitted.handle
            if status.outcome == "succeeded":
                results.append({**job.kind.result(self._access, handle), "reused": job.reused})
            else:
                results.append(None)
                failures.append(failure_text(job.kind, self._access, handle, status.state, status.reason))
        return results, failures

    def _submit(self, step: Step) -> None:
        self._progress.tick(f"{step.title}: the SDK prepares the job")

        @contextlib.contextmanager
        def at_creation() -> Iterator[Callable[[Submitted, str], None]]:
            with self._interruption.held():
                yield lambda submitted, full: self._jobs.append(Running(step, submitted, time.monotonic()))

        submit(
            self._folder,
            step.function,
            step.context,
            self._access,
            self._owner,
            STEPS[step.function],
            at_creation=at_creation,
        )
        job = self._jobs[-1]
        if job.submitted.adopted:
            job.reused = job.kind.poll(self._access, job.submitted.handle).outcome == "succeeded"
        word = "reuses the finished" if job.reused else "joins the running" if job.submitted.adopted else "started"
        self._progress.say(f"{step.title}: {word} job {job.name}")

    def _wait(self, job: Running) -> JobStatus:
        looked, status = -self._poll_seconds, JobStatus("", "running")
        while True:
            seconds = time.monotonic() - job.since
            if seconds - looked >= self._poll_seconds:
                status, looked = job.kind.poll(self._access, job.submitted.handle), seconds
            if status.outcome != "running":
                break
            stage = " ".join(word for word in (status.state, status.reason) if word)
            self._progress.tick(f"{job.step.title}: {stage} {seconds:.0f} s")
            time.sleep(min(LOOK_SECONDS, self._poll_seconds))
        job.ended = True
        if status.outcome == "succeeded":
            if not job.reused:
                self._progress.say(f"{job.step.title}: completed after {seconds:.0f} s")
        else:
            self._progress.say(f"{job.step.title}: {status.state} after {seconds:.0f} s")
        return status

    def _unfinished(self) -> list[Running]:
        return [job for job in self._jobs if not job.ended]

    def _stop_own(self) -> None:
        """Stop what this command started; a job that someone else started goes on."""
        for job in self._unfinished():
            title = job.kind.title(job.submitted.handle)
            if job.submitted.adopted:
                self._progress.say(f"{title} was not started by this command and goes on")
                continue
            try:
                job.kind.stop(self._access, job.submitted.handle)
            except Exception as error:
                self._progress.say(f"{title} could not be stopped, stop it in the console: {error}")
            else:
                self._progress.say(f"stopped {title}, which this command had started")
