"""Glue jobs of tests: defined in a line, and waited for."""

from __future__ import annotations

from local_account import ROLE, Account, wait_for

ACTIVE = ("STARTING", "RUNNING", "STOPPING")


def define(account: Account, name: str, script: str, **changes) -> None:
    location = account.put(f"scripts/{name}.py", script)
    job = {
        "Name": name,
        "Role": ROLE,
        "Command": {"Name": "glueetl", "ScriptLocation": location},
        "GlueVersion": "5.0",
        "ExecutionProperty": {"MaxConcurrentRuns": 2},
    }
    account.glue.create_job(**(job | changes))


def run_end(account: Account, name: str, run: str) -> dict:
    def ended() -> dict | None:
        found = account.glue.get_job_run(JobName=name, RunId=run)["JobRun"]
        return found if found["JobRunState"] not in ACTIVE else None

    return wait_for(ended, timeout=240)
