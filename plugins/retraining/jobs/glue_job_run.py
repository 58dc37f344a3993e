"""Runs of a Glue job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.aws.clients import client
from retraining.aws.errors import error_code
from retraining.aws.naming import digest
from retraining.jobs.job import (
    STOPPED_REASON,
    TIME_LIMIT_REASON,
    Asker,
    Handle,
    JobBusyError,
    JobError,
    JobStatus,
    Submitted,
    failed_before,
    is_final,
)
from retraining.jobs.live_log import LiveLog
from retraining.jobs.log_tail import cloudwatch_tail
from retraining.settings.access import AwsAccess

LOG_GROUP = "/aws-glue/jobs/error"
GLUE_RUNS_SEARCHED = 200


def run_arguments(names: Mapping[str, str]) -> dict[str, str]:
    """Return the names that an asker's jobs carry as arguments of a Glue run, which takes no tags."""
    return {f"--{key.replace(':', '_')}": value for key, value in names.items()}


@dataclass(frozen=True)
class GlueJobRun:
    """A run of a Glue job. Glue gives runs random ids, so the request's digest travels as the argument ``--request_digest``."""

    def submit(
        self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any], asker: Asker | None = None
    ) -> Submitted:
        """Start a run, or adopt the newest one with the same digest that is in progress or succeeded.

        StartJobRun is not retried blindly: when its reply is lost, the runs are searched again first.

        Raises:
            JobBusyError: the job runs with other inputs, is being stopped, or has no room.
            JobError: the newest run with the same digest failed, and no person asks for a repetition.

        """
        from botocore.exceptions import BotoCoreError, ClientError

        job, full = request["JobName"], digest(request, 64)
        asked_by = run_arguments(asker.names()) if asker else {}
        arguments = {**request.get("Arguments", {}), "--request_digest": full, **asked_by}
        started = {**request, "Arguments": arguments}
        glue = client("glue", access)
        for _ in range(3):
            if found := self._find(glue, job, full, asker):
                return Submitted({"job": job, "run_id": found}, adopted=True)
            try:
                run_id = client("glue", access, retry=False).start_job_run(**started)["JobRunId"]
            except ClientError as error:
                if error_code(error) == "ConcurrentRunsExceededException":
                    if found := self._find(glue, job, full, asker):
                        return Submitted({"job": job, "run_id": found}, adopted=True)
                    raise JobBusyError(f"Glue job {job} is busy with a run of other inputs") from error
                if error_code(error) == "ResourceNumberLimitExceededException":
                    raise JobBusyError(f"Glue job {job} has to wait for room: {error}") from error
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 and "Throttling" not in error_code(error):
                    raise
            except BotoCoreError:
                pass  # the request may have arrived: look for the run before asking again
            else:
                return Submitted({"job": job, "run_id": run_id}, adopted=False)
        if found := self._find(glue, job, full, asker):
            return Submitted({"job": job, "run_id": found}, adopted=True)
        raise JobBusyError(f"Glue did not confirm the start of {job}")

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the run."""
        return self._status(self._run(access, handle))

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Stop the run."""
        client("glue", access).batch_stop_job_run(JobName=handle["job"], JobRunIds=[handle["run_id"]])

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return the run's id, seconds and DPU seconds."""
        run = self._run(access, handle)
        return {
            "name": handle["job"],
            "run_id": handle["run_id"],
            "seconds": run.get("ExecutionTime", 0),
            "dpu_seconds": run.get("DPUSeconds"),
        }

    def title(self, handle: Handle) -> str:
        """Name the run."""
        return f"Glue job {handle['job']} run {handle['run_id']}"

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines of the run's error log."""
        return cloudwatch_tail(access, LOG_GROUP, handle["run_id"])

    def live_log(self, access: AwsAccess, handle: Handle) -> LiveLog:
        """Return a reader of the run's error log, where Python's logging goes."""
        return LiveLog(access, LOG_GROUP, handle["run_id"])

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the run."""
        return f"https://{region}.console.aws.amazon.com/gluestudio/home?region={region}#/job/{handle['job']}/run/{handle['run_id']}"

    @staticmethod
    def _run(access: AwsAccess, handle: Handle) -> dict[str, Any]:
        return client("glue", access).get_job_run(JobName=handle["job"], RunId=handle["run_id"])["JobRun"]

    def _find(self, glue: Any, job: str, full: str, asker: Asker | None) -> str | None:
        """Return the newest run of this digest that is in progress or succeeded."""
        failed = ""
        pages = glue.get_paginator("get_job_runs").paginate(
            JobName=job, PaginationConfig={"MaxItems": GLUE_RUNS_SEARCHED, "PageSize": 100}
        )
        for run in (run for page in pages for run in page["JobRuns"]):
            if run.get("Arguments", {}).get("--request_digest") != full:
                continue
            status = self._status(run)
            if run["JobRunState"] == "STOPPING":
                raise JobBusyError(
                    f"run {run['Id']} of Glue job {job} is being stopped; the next one waits for its end"
                )
            if status.outcome != "failed":
                return str(run["Id"])
            if not failed and is_final(status):
                failed = failed_before(self.title({"job": job, "run_id": run["Id"]}), status.reason)
        if failed and asker and not asker.repeat:
            raise JobError(failed)
        return None

    @staticmethod
    def _status(run: Mapping[str, Any]) -> JobStatus:
        state = run["JobRunState"]
        if state == "SUCCEEDED":
            return JobStatus(state, "succeeded")
        if state in ("STARTING", "RUNNING", "STOPPING", "WAITING"):
            return JobStatus(state, "running")
        default = {"STOPPED": STOPPED_REASON, "TIMEOUT": TIME_LIMIT_REASON}.get(state, "")
        return JobStatus(state, "failed", run.get("ErrorMessage") or default)
