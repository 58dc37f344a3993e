"""Runs of a Glue job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.aws.clients import client
from retraining.aws.errors import error_code
from retraining.aws.naming import digest
from retraining.jobs.job import STOPPED_REASON, TIME_LIMIT_REASON, Handle, JobBusyError, JobStatus, Submitted
from retraining.jobs.log_tail import cloudwatch_tail
from retraining.settings.access import AwsAccess

GLUE_RUNS_SEARCHED = 200


@dataclass(frozen=True)
class GlueJobRun:
    """A run of a Glue job. Glue gives runs random ids, so the request's digest travels as the argument ``--request_digest``."""

    def submit(self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any]) -> Submitted:
        """Start a run, or adopt the newest one with the same digest that is in progress or succeeded.

        StartJobRun is not retried blindly: when its reply is lost, the runs are searched again first.

        Raises:
            JobBusyError: the job runs with other inputs.

        """
        from botocore.exceptions import BotoCoreError, ClientError

        job, full = request["JobName"], digest(request, 64)
        started = {**request, "Arguments": {**request.get("Arguments", {}), "--request_digest": full}}
        glue = client("glue", access)
        for _ in range(3):
            if found := self._find(glue, job, full):
                return Submitted({"job": job, "run_id": found}, adopted=True)
            try:
                run_id = client("glue", access, retry=False).start_job_run(**started)["JobRunId"]
            except ClientError as error:
                if error_code(error) == "ConcurrentRunsExceededException":
                    if found := self._find(glue, job, full):
                        return Submitted({"job": job, "run_id": found}, adopted=True)
                    raise JobBusyError(
                        f"Glue job {job} is busy with a run of other inputs; this task tries again later"
                    ) from error
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 and "Throttling" not in error_code(error):
                    raise
            except BotoCoreError:
                pass  # the request may have arrived: look for the run before asking again
            else:
                return Submitted({"job": job, "run_id": run_id}, adopted=False)
        if found := self._find(glue, job, full):
            return Submitted({"job": job, "run_id": found}, adopted=True)
        raise JobBusyError(f"Glue did not confirm the start of {job}; this task tries again later")

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
        return cloudwatch_tail(access, "/aws-glue/jobs/error", handle["run_id"])

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the run."""
        return f"https://{region}.console.aws.amazon.com/gluestudio/home?region={region}#/job/{handle['job']}/run/{handle['run_id']}"

    @staticmethod
    def _run(access: AwsAccess, handle: Handle) -> dict[str, Any]:
        return client("glue", access).get_job_run(JobName=handle["job"], RunId=handle["run_id"])["JobRun"]

    def _find(self, glue: Any, job: str, full: str) -> str | None:
        pages = glue.get_paginator("get_job_runs").paginate(
            JobName=job, PaginationConfig={"MaxItems": GLUE_RUNS_SEARCHED, "PageSize": 100}
        )
        for run in (run for page in pages for run in page["JobRuns"]):
            same = run.get("Arguments", {}).get("--request_digest") == full
            if same and self._status(run).outcome != "failed" and run["JobRunState"] != "STOPPING":
                return str(run["Id"])
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
