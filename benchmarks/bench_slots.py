"""Counts the seconds for which a training of 60 s holds a worker slot, as a declarative step and as a step of the SageMaker SDK.

Each form runs the retraining DAG once, on a stack of its own, with a train.py that sleeps first. Five times a second Airflow is asked for
the state of the task: what is ``running`` holds a slot, what is ``deferred`` holds none.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it also runs as a plain script

from local_stack import layout  # noqa: E402

PARTS = (
    "dags", "data", "deploy", "glue_scripts", "infra", "lambda_functions", "local_aws", "local_stack", "plugins", "requirements", "survey",
)  # fmt: skip
FORMS = {"declarative": "", "sdk": "training,evaluation"}
TARGET_SECONDS = 15.0
SLEEP = """

_fit = fit


def fit(*arguments, **named):
    import time

    time.sleep({seconds})
    return _fit(*arguments, **named)
"""
WATCH = """
import json, sys, threading, time
from collections import defaultdict
from local_stack import demo, stack
from local_stack.airflow_api import AirflowApi
from local_stack.verbs import runs

held, ended = defaultdict(float), threading.Event()

def watch():
    api, last = AirflowApi(), time.monotonic()
    while not ended.is_set():
        time.sleep(0.2)
        runs = api.runs(demo.DAG_ID)
        tasks = api.tasks(demo.DAG_ID, runs[0]["dag_run_id"]) if runs else []
        now = time.monotonic()
        for task in tasks:
            held[task["task_id"]] += (now - last) * (task["state"] == "running")
        last = now

session, api = stack.aws_session(), AirflowApi()
runs.wait_for_first_schedule(api, lambda line: None, demo.DAG_ID)
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
run = demo.load_original(session.client("s3"), api, runs.data_bucket(session, demo.MODEL), lambda line: print(line, file=sys.stderr))
ended.set()
watcher.join()
print(json.dumps({"held": held, "run_seconds": run["seconds"], "operator": api.get(f"dags/{demo.DAG_ID}/tasks/training")["operator_name"]}))
"""


def main() -> int:
    """Measure both forms and print a table; 1 when one holds a slot for longer than the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long the training job sleeps")
    seconds = parser.parse_args().seconds
    measured = {form: measure(form, steps, seconds) for form, steps in FORMS.items()}
    print(f"worker-slot seconds of one run whose training job sleeps {seconds} s")
    print(f"{'':<14}{'operator':<18}{'training':>10}{'evaluation':>12}{'all tasks':>11}{'run':>8}")
    for form, found in measured.items():
        held = found["held"]
        training, evaluation, everything = held["training"], held["evaluate_model"], sum(held.values())
        print(
            f"{form:<14}{found['operator']:<18}{training:>9.1f}s{evaluation:>11.1f}s{everything:>10.1f}s{found['run_seconds']:>7.0f}s"
        )
    missed = [form for form, found in measured.items() if found["held"]["training"] > TARGET_SECONDS]
    print(f"target: training at most {TARGET_SECONDS:.0f} s{'  MISSED by ' + ', '.join(missed) if missed else ''}")
    return 1 if missed else 0


def measure(form: str, sdk_steps: str, seconds: int) -> dict:
    """Run the DAG once in a copy of the repository; return seconds held by task, and the run's own."""
    folder = Path(tempfile.mkdtemp(prefix=f"bench-slots-{form}-"))
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    sleep_first(folder / "dags" / "models" / "abalone" / "train.py", seconds)
    local = folder / ".local"
    local.mkdir()
    (local / "venvs").symlink_to(layout.VENVS)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "AWS_"))}
    environment = {
        **inherited,
        "RETRAINING_LOCAL_DIR": str(local),
        "RETRAINING_SDK_STEPS": sdk_steps,
        "LOCAL_AWS_PORT": "4767",
        "AIRFLOW_PORT": "8281",
        "PYTHONPATH": str(folder),
    }
    python = layout.python("airflow")

    def run(*command: str) -> str:
        done = subprocess.run(
            [python, *command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
        )  # fmt: skip
        return done.stdout

    try:
        run("-m", "local_stack", "up")
        return dict(json.loads(run("-c", WATCH).splitlines()[-1]))
    finally:
        run("-m", "local_stack", "down")
        shutil.rmtree(folder, ignore_errors=True)


def sleep_first(script: Path, seconds: int) -> None:
    """Let a model folder's training sleep before it works."""
    with script.open("a") as file:
        file.write(SLEEP.format(seconds=seconds))


if __name__ == "__main__":
    sys.exit(main())
