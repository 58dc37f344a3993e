"""The whole local stack in a folder of its own, to kill parts of it: real scheduler, triggerer, API server and local_aws."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from invariants import RunRecord, assert_invariants
from local_account import ENVIRONMENTS, Account, free_port
from task_runs import wait_until

from local_stack import layout
from local_stack.airflow_api import AirflowApi
from local_stack.progress import reason_of

MODEL = "abalone"
DAG_ID = f"{MODEL}_retraining"
RUN_SECONDS = 420.0
ENDED = ("success", "failed")


@contextmanager
def started(folder: Path) -> Iterator[LocalAirflow]:
    """Start a stack below ``folder``, and stop it in the end."""
    stack = LocalAirflow(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SECRETS", folder / "secrets.json")
        try:
            stack.command("up")
            yield stack
        finally:
            stack.command("down")


class LocalAirflow:
    """A stack below ``folder``, on free ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "venvs").symlink_to(ENVIRONMENTS.resolve())
        self.aws_port, self.airflow_port = free_port(), free_port()
        self.account = Account(folder / "aws")
        self.account.url = f"http://127.0.0.1:{self.aws_port}"
        self.account.access_key, self.account.secret_key = "unknown", "until the stack has made its keys"
        self.api = AirflowApi(f"http://127.0.0.1:{self.airflow_port}")
        self._records: list[RunRecord] = []

    def command(self, *arguments: str) -> None:
        """Run ``python -m local_stack``."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "AWS_"))}
        environment = {
            **inherited,
            "RETRAINING_LOCAL_DIR": str(self.folder),
            "LOCAL_AWS_PORT": str(self.aws_port),
            "AIRFLOW_PORT": str(self.airflow_port),
            "PYTHONPATH": str(layout.ROOT),
        }
        done = subprocess.run(
            [ENVIRONMENTS / "airflow" / "bin" / "python", "-m", "local_stack", *arguments],
            cwd=layout.ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        secrets = json.loads((self.folder / "secrets.json").read_text())
        self.account.access_key, self.account.secret_key = (
            secrets["aws_access_key_id"],
            secrets["aws_secret_access_key"],
        )

    def kill(self, part: str) -> None:
        """End a part and everything that it started, without a word."""
        pid = json.loads((self.folder / "run" / f"{part}.json").read_text())["pid"]
        os.killpg(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), f"{part} is gone")

    @property
    def bucket(self) -> str:
        value = self.account.ssm.get_parameter(Name=f"/retraining/dev/{MODEL}/platform")["Parameter"]["Value"]
        return str(json.loads(value)["bucket"])

    # -- runs ------------------------------------------------------------------------------------------------------

    def land(self, name: str, body: str) -> str:
        """Land a file and return the id of the run that its event starts."""
        self.wait_idle()
        known = {run["dag_run_id"] for run in self.api.runs(DAG_ID)}
        self.account.s3.put_object(Bucket=self.bucket, Key=f"{MODEL}/{name}", Body=body.encode())
        if not name.startswith("new/"):
            time.sleep(1.2)  # until the file has settled
            return str(self.api.trigger(DAG_ID, {})["dag_run_id"])

        def started() -> str | None:
            fresh = [run["dag_run_id"] for run in self.api.runs(DAG_ID) if run["dag_run_id"] not in known]
            return fresh[-1] if fresh else None

        return str(wait_until(started, "the event starts a run", 120))

    def wait_idle(self) -> None:
        """Wait until no run is under way."""
        wait_until(
            lambda: all(run["state"] in ENDED for run in self.api.runs(DAG_ID)), "earlier runs end", RUN_SECONDS
        )  # fmt: skip

    def task(self, run_id: str, task_id: str) -> dict[str, Any]:
        """Return a task instance."""
        return next(task for task in self.api.tasks(DAG_ID, run_id) if task["task_id"] == task_id)

    def wait_for_task(self, run_id: str, task_id: str, states: Collection[str], seconds: float = 240) -> str:
        """Wait until a task is in one of these states."""

        def reached() -> str | None:
            state = self.task(run_id, task_id)["state"]
            return state if state in states else None

        return str(wait_until(reached, f"{task_id} is {' or '.join(states)}", seconds))

    def deferred_merge(self, run_id: str) -> str:
        """Wait until the merge's task is deferred and its Glue run runs; return the run's id."""
        self.wait_for_task(run_id, "preprocess_data", ["deferred"])

        def running() -> str | None:
            runs = self.account.glue.get_job_runs(JobName=self.glue_job)["JobRuns"]
            return next((run["Id"] for run in runs if run["JobRunState"] in ("STARTING", "RUNNING")), None)

        return str(wait_until(running, "the merge runs"))

    @property
    def glue_job(self) -> str:
        return f"retraining-dev-{MODEL}-merge"

    def glue_state(self, run_id: str) -> str:
        """Return the state of a Glue run."""
        return str(self.account.glue.get_job_run(JobName=self.glue_job, RunId=run_id)["JobRun"]["JobRunState"])

    def mark_failed(self, run_id: str, task_id: str) -> None:
        """Mark a task as failed, as a person does in the UI."""
        self.api.patch(f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": "failed"})

    def clear(self, run_id: str, task_id: str) -> None:
        """Clear a task, as a person does in the UI."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False}
        self.api.post(f"dags/{DAG_ID}/clearTaskInstances", body)

    def ended(self, run_id: str) -> RunRecord:
        """Wait for the end of a run; return what it says about itself."""
        state = wait_until(
            lambda: (found := self.api.run(DAG_ID, run_id)["state"]) in ENDED and found, f"run {run_id} ends", RUN_SECONDS
        )  # fmt: skip
        failed = [task for task in self.api.tasks(DAG_ID, run_id) if task["state"] == "failed"]
        reason = "\n".join(f"{task['task_id']}: {self.reason(run_id, task)}" for task in failed)
        jobs = {name: value for name in ("preprocess_data", "evaluate_model") if (value := self.xcom(run_id, name))}
        plan = self.xcom(run_id, "claim_new_data")
        record = RunRecord(str(state), reason, plan, self.xcom(run_id, "publish_report"), jobs)
        self._records.append(record)
        return record

    def reason(self, run_id: str, task: dict[str, Any]) -> str:
        """Return the error in a task's log."""
        return str(reason_of(self.api, DAG_ID, run_id, task))

    def xcom(self, run_id: str, task_id: str) -> Any:
        """Return a task's result, None when there is none."""
        path = f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        try:
            value = self.api.get(path, deserialize=True)["value"]
        except RuntimeError:
            return None
        return json.loads(value) if isinstance(value, str) else value

    def check(self) -> None:
        """Check all invariants, over all runs so far; with no run under way there must be no job, either."""
        self.wait_idle()
        assert_invariants(self.account, MODEL, self.bucket, runs=self._records, glue_job=self.glue_job)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in ("Z", "X")
    except OSError:
        return True
