"""Glue job runs, executed by local Spark."""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from local_aws.glue.bookmarks import STATE_VARIABLE, JobBookmarks
from local_aws.glue.quick_start.class_recorder import ClassRecorder
from local_aws.glue.quick_start.spares import SpareDriver, SpareDrivers
from local_aws.glue.script import Script
from local_aws.glue.staging import Staging
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError, ServiceError, describe_exception
from local_aws.shared.job_keys import JobKey
from local_aws.shared.listing import page_of
from local_aws.shared.logs import LogShipper, exception_line
from local_aws.shared.running.processes import ManagedProcess, Outcome, view_of_job
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

_LOG = logging.getLogger(__name__)

_ACTIVE = ("STARTING", "RUNNING", "STOPPING")

Document = dict[str, Any]

#: Members of a run that GetJobRun gives back as they were asked for.
_RECORDED = ("SecurityConfiguration", "NotificationProperty", "ExecutionClass", "MaxCapacity", "AllocatedCapacity")

INTERRUPTED = "InternalServiceException: local_aws stopped while the job was running; start the job again."


class ActiveRun:
    """Handle of a run in progress."""

    def __init__(self, key: JobKey) -> None:
        self.key = key
        self.staging: Staging | None = None
        self.stop_requested = False
        self.aborted = False
        self.thread: threading.Thread | None = None
        self._process: ManagedProcess | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Ask the run to end."""
        with self._lock:
            self.stop_requested = True
            if self._process:
                self._process.stop()

    def kill(self) -> None:
        """End the run's process at once; nothing more of it is uploaded."""
        with self._lock:
            self.stop_requested = self.aborted = True
            if self._process:
                self._process.kill()

    def run(self, process: ManagedProcess, limit_seconds: float) -> Outcome:
        """Run the script to its end."""
        with self._lock:
            if self.stop_requested:
                return Outcome(exit_code=0, stopped=True)
            self._process = process
            process.start()
        return process.wait(limit_seconds)


class JobRuns:
    """StartJobRun, GetJobRun(s) and BatchStopJobRun."""

    def __init__(self, settings: Settings, store: Store, clients: Clients) -> None:
        self._settings = settings
        self._store = store
        self._clients = clients
        self.bookmarks = JobBookmarks(store)
        self.spares = SpareDrivers(settings, clients)
        self.recorder = ClassRecorder(settings)
        self._active: dict[str, ActiveRun] = {}
        self._by_key: dict[str, ActiveRun] = {}
        self._lock = threading.Lock()

    # -- the API ---------------------------------------------------------------------------------------------------

    def start(self, params: Document) -> Document:
        """Begin a run; ConcurrentRunsExceededException when the job's limit is reached."""
        name = params["JobName"]
        try:
            job = self._clients.catalog.get_job(JobName=name)["Job"]
        except self._clients.catalog.exceptions.EntityNotFoundException as error:
            raise ServiceError(
                "EntityNotFoundException", f"Failed to start job run due to missing metadata: no job {name}"
            ) from error
        if "MaxCapacity" in params and ("WorkerType" in params or "NumberOfWorkers" in params):
            raise ServiceError(
                "InvalidInputException", "Please do not set Max Capacity if using Worker Type and Number of Workers."
            )
        if "JobRunId" in params and (self._store.get("glue-run", params["JobRunId"]) or {}).get("JobName") != name:
            raise ServiceError("EntityNotFoundException", f"Job run {params['JobRunId']} not found")
        run = _new_run(job, params) | {key: params[key] for key in _RECORDED if key in params}
        if "JobRunId" in params:
            run["PreviousRunId"] = params["JobRunId"]
        limit = job.get("ExecutionProperty", {}).get("MaxConcurrentRuns", 1)
        with self._store.locked():
            running = sum(1 for other in self._runs_of(name) if other["JobRunState"] in _ACTIVE)
            if running >= limit:
                raise ServiceError(
                    "ConcurrentRunsExceededException", f"Concurrent runs exceeded for {name}: at most {limit} at a time"
                )
            self._store.put("glue-run", run["Id"], run)
        self._begin(job, run)
        return {"JobRunId": run["Id"]}

    def _begin(self, job: Document, run: Document) -> None:
        active = ActiveRun(self._clients.job_keys.issue("glue", job.get("Role")))
        with self._lock:
            self._active[run["Id"]] = active
            self._by_key[active.key.access_key] = active
        active.thread = threading.Thread(
            target=self._execute, args=(job, run, active), name=f"glue-{run['Id'][:12]}", daemon=True
        )
        active.thread.start()

    def _retry(self, job: Document, run: Document) -> None:
        """Begin the next attempt of a run that failed, as long as MaxRetries allows: a run of its own, with an id of its own."""
        attempt = run["Attempt"] + 1
        if attempt > int(job.get("MaxRetries") or 0):
            return
        now = time.time()
        again = {
            **run,
            "Id": f"{run['Id'].partition('_attempt_')[0]}_attempt_{attempt}",
            "Attempt": attempt,
            "PreviousRunId": run["Id"],
            "StartedOn": now,
            "LastModifiedOn": now,
            "JobRunState": "STARTING",
        }
        self._store.put("glue-run", again["Id"], again)
        self._begin(job, again)

    def get(self, params: Document) -> Document:
        """Return one run."""
        run = self._store.get("glue-run", params["RunId"])
        if run is None or run["JobName"] != params["JobName"]:
            raise ServiceError("EntityNotFoundException", f"Job run {params['RunId']} not found")
        return {"JobRun": _shown(run)}

    def list_runs(self, params: Document) -> Document:
        """Return a page of the job's runs, newest first."""
        name = params["JobName"]
        runs = [_shown(run) for run in reversed(self._runs_of(name))]
        if not runs:
            # An unknown job is an error; a job that never ran is an empty list.
            self._clients.catalog.get_job(JobName=name)
        return page_of(runs, params, "JobRuns", default_size=200)

    def delete_job(self, params: Document) -> Document:
        """Remove a job's definition and its bookmark; its runs stay to be looked at."""
        self.bookmarks.forget(params["JobName"])
        self._clients.catalog.delete_job(JobName=params["JobName"])
        return {"JobName": params["JobName"]}

    def stop(self, params: Document) -> Document:
        """Ask runs to end."""
        accepted, errors = [], []
        for run_id in params["JobRunIds"]:
            with self._store.locked():
                run = self._store.get("glue-run", run_id)
                if run is None or run["JobName"] != params["JobName"]:
                    errors.append(_stop_error(params["JobName"], run_id, "EntityNotFoundException", "not found"))
                    continue
                if run["JobRunState"] not in _ACTIVE:
                    state = run["JobRunState"]
                    errors.append(_stop_error(params["JobName"], run_id, "InvalidInputException", f"already {state}"))
                    continue
                self._change(run_id, JobRunState="STOPPING")
            active = self._active.get(run_id)
            if active:
                active.stop()
            accepted.append({"JobName": params["JobName"], "JobRunId": run_id})
        return {"SuccessfulSubmissions": accepted, "Errors": errors}

    def _runs_of(self, name: str) -> list[Document]:
        return [run for run in self._store.all("glue-run") if run["JobName"] == name]

    # -- what a running script sees --------------------------------------------------------------------------------

    def has_key(self, access_key: str) -> bool:
        """Return whether a request with this key comes from a running job."""
        return access_key in self._by_key

    def publish(self, access_key: str) -> None:
        """Bring to S3 what the job's Spark wrote."""
        run = self._by_key.get(access_key)
        if run and run.staging:
            run.staging.publish()

    def refresh(self, access_key: str, changed: tuple[str, str] | None) -> None:
        """Bring to the job's Spark what the job changed in S3: an object (bucket, key), or None if it may be several."""
        run = self._by_key.get(access_key)
        if run and run.staging:
            run.staging.refresh(changed)

    def others_wrote(self, access_key: str) -> None:
        """Note that S3 has changed by a request with this key: the Spark of all other jobs looks at everything when it looks next."""
        with self._lock:
            others = [run for key, run in self._by_key.items() if key != access_key]
        for run in others:
            if run.staging:
                run.staging.outdated = True

    # -- life of a run ---------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Report the runs that were under way when the process died as failed."""
        for run in self._store.all("glue-run"):
            if run["JobRunState"] in _ACTIVE:
                self._finish(run["Id"], "FAILED", INTERRUPTED)

    def shutdown(self) -> None:
        """End all running scripts; their runs are reported as failed, with this reason."""
        self.recorder.shutdown()
        self.spares.shutdown()
        with self._lock:
            runs = dict(self._active)
        for run_id, run in runs.items():
            self._finish(run_id, "FAILED", INTERRUPTED)
            run.kill()
        for run in runs.values():
            if run.thread:
                run.thread.join(timeout=5)

    def _change(self, run_id: str, **fields: Any) -> None:
        def apply(run: Document) -> None:
            if run["JobRunState"] in _ACTIVE:
                run.update(fields, LastModifiedOn=time.time())

        self._store.update("glue-run", run_id, apply)

    def _finish(self, run_id: str, state: str, error: str = "") -> None:
        def apply(run: Document) -> None:
            if run["JobRunState"] in _ACTIVE:
                now = time.time()
                run.update(JobRunState=state, LastModifiedOn=now, CompletedOn=now)
                run["ExecutionTime"] = round(now - run.get("RunningSince", now))
                if error:
                    run["ErrorMessage"] = error[:4000]

        self._store.update("glue-run", run_id, apply)

    def _execute(self, job: Document, run: Document, active: ActiveRun) -> None:
        run_id = run["Id"]
        folder = self._settings.jobs_dir / "glue" / _folder_name(job["Name"]) / run_id
        folder.mkdir(parents=True)
        output, error_log = folder / "output.txt", folder / "error.txt"
        spare = self.spares.take(job, run)
        if spare:
            spare.take_over(output, error_log)
        work = spare.work if spare else folder / "work"
        work.mkdir(exist_ok=True)
        for file in (output, error_log):
            file.touch()
        shippers = [
            LogShipper(self._clients.logs, file, f"{run['LogGroupName']}/{name}", run_id).start()
            for name, file in (("output", output), ("error", error_log))
        ]
        try:
            state, message = self._run(job, run, active, work, output, error_log, spare)
        except JobError as error:
            state, message = "FAILED", str(error)
        except Exception as error:
            _LOG.exception("glue run %s", run_id)
            state, message = "ERROR", describe_exception(error)
        if message:
            with error_log.open("a") as file:
                file.write(f"{state}: {message}\n")
        # Who sees the end of the run finds its log complete, and its next attempt begun.
        for shipper in shippers:
            shipper.close()
        if state == "FAILED" and not active.stop_requested:
            self._retry(job, run)
        self._finish(run_id, state, message)
        with self._lock:
            self._active.pop(run_id, None)
            self._by_key.pop(active.key.access_key, None)
        self._clients.job_keys.revoke(active.key)
        keep = self._settings.keep_job_folders
        if spare:
            spare.end(folder / "work" if keep else None)
        elif not keep:
            shutil.rmtree(work, ignore_errors=True)

    def _run(
        self,
        job: Document,
        run: Document,
        active: ActiveRun,
        work: Path,
        output: Path,
        error_log: Path,
        spare: SpareDriver | None,
    ) -> tuple[str, str]:
        """Return the final state and the error message."""
        ahead = spare.ahead.give() if spare else {}
        script = Script(self._settings, self._clients, job, run, work, ahead)
        active.staging = script.staging
        if script.staging:
            self.spares.buckets = script.staging.names
        bookmark = self.bookmarks.hand_out(job["Name"], work)
        argv, env = script.command(active.key, {STATE_VARIABLE: str(bookmark)})
        self._change_to_running(run["Id"], time.time())
        process: ManagedProcess
        if spare and spare.assign(argv, env):
            process = spare
        else:
            view = view_of_job(self._settings, work, work / "tmp", str(script.folder))
            process = ManagedProcess(argv, env, script.folder, output, error_log, grace_seconds=5.0, view=view)
        outcome = active.run(process, run["Timeout"] * 60)
        if active.aborted:
            return "FAILED", INTERRUPTED
        if active.staging:
            active.staging.publish()
        self.bookmarks.take_back(run, bookmark)
        if outcome.stopped:
            return "STOPPED", ""
        if outcome.timed_out:
            return "TIMEOUT", f"Job run exceeded its Timeout of {run['Timeout']} minutes"
        if outcome.exit_code:
            reason = exception_line(error_log) or f"the script ended with exit code {outcome.exit_code}"
            return "FAILED", reason
        return "SUCCEEDED", ""

    def _change_to_running(self, run_id: str, now: float) -> None:
        def apply(run: Document) -> None:
            if run["JobRunState"] == "STARTING":
                run.update(JobRunState="RUNNING", RunningSince=now, LastModifiedOn=now)

        self._store.update("glue-run", run_id, apply)


def _new_run(job: Document, params: Document) -> Document:
    """Return the document of a run that is about to begin."""
    now = time.time()
    shell = job["Command"]["Name"] == "pythonshell"
    run = {
        "Id": "jr_" + secrets.token_hex(32),
        "Attempt": 0,
        "JobName": job["Name"],
        "JobMode": "SCRIPT",
        "StartedOn": now,
        "LastModifiedOn": now,
        "JobRunState": "STARTING",
        "Arguments": params.get("Arguments", {}),
        "PredecessorRuns": [],
        "ExecutionTime": 0,
        "Timeout": params.get("Timeout") or job.get("Timeout") or 2880,
        "LogGroupName": "/aws-glue/python-jobs" if shell else "/aws-glue/jobs",
        "GlueVersion": job.get("GlueVersion", "5.1"),
    }
    if shell:
        return run | {
            "AllocatedCapacity": 0,
            "MaxCapacity": params.get("MaxCapacity") or job.get("MaxCapacity") or 0.0625,
        }
    workers = params.get("NumberOfWorkers") or job.get("NumberOfWorkers") or 2
    return run | {
        "AllocatedCapacity": workers,
        "MaxCapacity": float(workers),
        "WorkerType": params.get("WorkerType") or job.get("WorkerType") or "G.1X",
        "NumberOfWorkers": workers,
    }


def _folder_name(job: str) -> str:
    """Return a folder name for a job, whose own name may hold any character."""
    return re.sub(r"[^A-Za-z0-9_-]|^(?=[.])", "_", job)[:200]


def _shown(run: Document) -> Document:
    return {name: value for name, value in run.items() if name != "RunningSince"}


def _stop_error(job: str, run_id: str, code: str, message: str) -> Document:
    return {
        "JobName": job,
        "JobRunId": run_id,
        "ErrorDetail": {"ErrorCode": code, "ErrorMessage": f"Job run {run_id} {message}"},
    }
