"""Starts and stops local_aws and Airflow, and tells how they are."""

from __future__ import annotations

import functools
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import data_platform
from local_stack import airflow_database, enforcing, layout, processes, started
from local_stack.airflow_api import AirflowApi
from local_stack.airflow_settings import (
    ADMIN,
    airflow_environment,
    airflow_keys,
    stack_secrets,
    use_local_account,
    write_credentials,
)
from local_stack.preflight import check_disk, check_port, find_java
from local_stack.verbs import dag_state, model_check
from retraining.settings.environment import environment

AIRFLOW_PARTS = {
    "api-server": [],
    "dag-processor": [],
    "triggerer": ["--skip-serve-logs"],
    # Last, when the others are healthy: a task that it starts asks the API server at once, and fails when nobody answers.
    "scheduler": ["--skip-serve-logs"],
}
"""Airflow's command of each process, and its arguments."""
ALL = ("local_aws", *AIRFLOW_PARTS)
# A task that is stopped ends its job in local_aws, and tells the API server how it ended.
NEEDED_TO_THE_END = {"local_aws", "api-server"}
SPARES = "RETRAINING_SPARES"  # what SPARES=0 behind a verb sets to 0
LOCAL_TEMPLATE_SETTINGS = {"PollSeconds": "0.2", "SettleSeconds": "1"}
Say = Callable[[str], None]


class StackError(RuntimeError):
    """A part of the stack did not come up; the message names its log."""


@dataclass(frozen=True)
class Part:
    """One process of the stack as ``status`` shows it."""

    name: str
    pid: int | None
    health: str


def up(
    say: Say,
    model: str | None = None,
    enforce: bool | None = None,
    before_airflow: Callable[[], None] | None = None,
) -> None:
    """Start what does not run yet and wait until all is healthy. When something fails, what this call started is stopped again.

    A model whose files are wrong is told and left out; it stops neither the stack nor the other models.

    Args:
        say: takes one line of progress.
        model: the model that the caller needs.
        enforce: whether local_aws enforces policies, if it does not run yet; None for what the verb asks.
        before_airflow: called when the account is ready, if this call starts Airflow.

    Raises:
        PreflightError: Java, disk or a port is missing, or the needed model is broken; nothing was started.
        StackError: a process did not become healthy.
        DatabaseError: Airflow could not make its database.

    """
    layout.LOCAL.chmod(0o700)
    layout.STATE.mkdir(parents=True, exist_ok=True)
    models = model_check.sound(say, model)
    running = {name for name in ALL if processes.find(name)}
    java = find_java()
    check_disk(layout.LOCAL, needed_gb=1)
    if "local_aws" not in running:
        check_port(layout.AWS_PORT, "local_aws", "LOCAL_AWS_PORT")
    if "api-server" not in running:
        check_port(layout.AIRFLOW_PORT, "the Airflow UI", "AIRFLOW_PORT")
    try:
        with ThreadPoolExecutor(max_workers=2) as pool:
            database = pool.submit(airflow_database.migrate, say)
            start_local_aws(say, java, enforce)
            provision(say, models)
            if started.enforced():
                enforcing.provision(aws_session(), models, say)
            if before_airflow and not running & AIRFLOW_PARTS.keys():
                before_airflow()
            database.result()
        _start_airflow(say, models)
    except BaseException:
        stop(name for name in ALL if name not in running)
        raise


def provision(say: Say, models: Sequence[str]) -> None:
    """Deploy the data platforms of these models; what is up to date is not told."""
    for model in models:
        settings = {**LOCAL_TEMPLATE_SETTINGS, "EndpointName": model_check.endpoint_of(model) or ""}
        change, _ = data_platform.deploy(aws_session(), environment(), model, settings, say)
        if change != "unchanged":
            say(f"data platform of {model}: {change}")


def down(say: Say) -> None:
    """Stop everything that runs; data and history stay."""
    stopped = stop(ALL)
    say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


def stop(names: Iterable[str]) -> list[str]:
    """Stop these processes, side by side as far as none needs another one to end well; return those that ran."""
    chosen = set(names)
    ran = set()
    with ThreadPoolExecutor(max_workers=len(ALL)) as pool:
        for group in (set(ALL) - NEEDED_TO_THE_END, NEEDED_TO_THE_END):
            stopping = {name: pool.submit(processes.stop, name) for name in group & chosen}
            ran |= {name for name, stopped in stopping.items() if stopped.result()}
    return [name for name in reversed(ALL) if name in ran]


def status() -> list[Part]:
    """Return the state of all processes."""
    health = AirflowApi().health() or {}
    parts = []
    for name in ALL:
        running = processes.find(name)
        parts.append(Part(name, running.pid if running else None, _health_of(name, health) if running else "stopped"))
    return parts


def aws_session() -> Any:
    """Return a boto3 session on local_aws; sets the standard variables of this process."""
    from boto3.session import Session

    use_local_account()
    return Session(region_name=layout.REGION)


def log_in_hint() -> str:
    """Return one line on where the Airflow UI is and how to log in."""
    return f"Airflow UI {layout.PUBLIC_URL}  user {ADMIN}  password {stack_secrets()['admin_password']}"


def start_local_aws(say: Say, java: str | None = None, enforce: bool | None = None) -> None:
    """Start local_aws alone and wait until it answers.

    Args:
        say: takes one line of progress.
        java: a Java home that fits; looked for when None.
        enforce: whether it enforces policies; None for what the verb asks. One that runs stays as it is.

    """
    enforce = started.enforced() if enforce is None else enforce
    if processes.find("local_aws") is None:
        say(f"starting local_aws on {layout.AWS_URL}{', policies are enforced' if enforce else ''}")
        started.note(enforce)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    command: list[str | Path] = [layout.python("local_aws"), "-m", "local_aws", "--port", str(layout.AWS_PORT)]
    command += ["--data-dir", layout.AWS_DATA, "--environments", layout.VENVS]
    command += ["--credentials", write_credentials(layout.RUN / "aws_credentials", enforcing.role_arn())]
    command += ["--images", layout.IMAGES]
    command += ["--enforce-policies"] if enforce else []
    command += ["--spares"] if os.environ.get(SPARES) != "0" else []
    processes.start("local_aws", command, {**environment, "JAVA_HOME": java or find_java()})
    _wait("local_aws", lambda: _answers(f"{layout.AWS_URL}/_local_aws/health"), 60)


def _start_airflow(say: Say, models: Sequence[str]) -> None:
    environment = airflow_environment() | (airflow_keys() if started.enforced() else {})
    if any(processes.find(name) is None for name in AIRFLOW_PARTS):
        say(f"starting Airflow on {layout.AIRFLOW_URL}")
    api = AirflowApi()
    first = [name for name in AIRFLOW_PARTS if name != "scheduler"]
    for group in (first, ["scheduler"]):
        for name in group:
            processes.start(
                name,
                [str(layout.python("airflow")), "-m", "local_stack.airflow_command", name, *AIRFLOW_PARTS[name]],
                environment,
            )
        for name in group:
            _wait(name, functools.partial(_is_healthy, api, name), 180)
    dag_state.wait_for_import(api, models, say)


def _is_healthy(api: AirflowApi, name: str) -> bool:
    return _health_of(name, api.health() or {}) == "healthy"


def _health_of(name: str, health: dict[str, Any]) -> str:
    if name == "local_aws":
        return "healthy" if _answers(f"{layout.AWS_URL}/_local_aws/health") else "not answering"
    if name == "api-server":  # the pages, and what tasks ask
        answers = health and _answers(f"{layout.AIRFLOW_URL}/execution/health")
        return "healthy" if answers else "not answering"
    return (health.get(name.replace("-", "_")) or {}).get("status") or "not healthy yet"


def _wait(name: str, ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if processes.find(name) is None:
            raise StackError(
                f"{name} ended right after its start; see {processes.log_file(name)}:\n{processes.log_tail(name)}"
            )
        if ready():
            return
        time.sleep(0.3)
    raise StackError(
        f"{name} was not healthy within {seconds:.0f} s; see {processes.log_file(name)}:\n{processes.log_tail(name)}"
    )


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
