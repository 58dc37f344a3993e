"""Shows how the tasks of a run come along: a live table on a terminal, one line per change elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.live import Live
from rich.table import Table

from local_stack import layout
from local_stack.airflow_api import AirflowApi

AWAITING = "awaiting_input"
LOOK_SECONDS = 1.0
"""Between two looks at a run. Each look costs the API server, which the tasks of the run wait for, 0.1 s of a processor."""
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
MARKS = {
    "success": "[green]ok[/]",
    "failed": "[red]failed[/]",
    "running": "[cyan]running[/]",
    "deferred": "[cyan]waiting for AWS[/]",
    AWAITING: "[yellow]waiting for a person[/]",
}


BRANCHES = {
    (branch, state): word
    for branch in ("approved", "rejected")
    for state, word in (("success", "branch taken"), ("skipped", "not taken"))
}


class RunFailedError(RuntimeError):
    """A run did not succeed, or did not end in time."""


class NothingToTrainError(RunFailedError):
    """A run ended well without training anything; the message says why."""


class AwaitsAnswerError(RunFailedError):
    """A run goes on only when a person has answered; the message says where."""

    @classmethod
    def of(cls, dag_id: str, run_id: str, task_id: str) -> AwaitsAnswerError:
        """Return the error of a task that waits."""
        url = f"{layout.AIRFLOW_URL}/dags/{dag_id}/runs/{quote(run_id)}/tasks/{task_id}/required_actions"
        return cls(f"run {run_id} waits for a person's yes or no: {url}")


def follow(api: AirflowApi, dag_id: str, run_id: str, seconds: float = math.inf) -> dict[str, Any]:
    """Show a run until it has ended and return it; who presses Ctrl-C is told that it goes on.

    Args:
        api: Airflow.
        dag_id: its DAG.
        run_id: the run.
        seconds: how long it may take; a person's training takes as long as it takes.

    Raises:
        RunFailedError: it failed; the message names the task and how it ended.
        AwaitsAnswerError: it waits for a person.

    """
    console = Console(file=sys.stdout, highlight=False)
    order = in_order(api.get(f"dags/{dag_id}/tasks")["tasks"])
    deadline = time.monotonic() + seconds
    shown: dict[Any, str] = {}
    live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
    with live or nullcontext(), _going_on(console, run_id):
        while True:
            run = api.run(dag_id, run_id)
            tasks = sorted(api.tasks(dag_id, run_id), key=lambda task: _place(order, task))
            if live:
                live.update(_table(tasks), refresh=True)
            else:
                _print_changes(console, tasks, shown)
            if run["state"] in ("success", "failed"):
                break
            unless_asked(dag_id, run_id, tasks)
            if time.monotonic() > deadline:
                raise RunFailedError(f"run {run_id} is still {run['state']} after {seconds:.0f} s")
            time.sleep(LOOK_SECONDS)
    if run["state"] == "failed":
        failed = [task for task in tasks if task["state"] == "failed"]
        reasons = "\n".join(f"{_label(task)}: {reason_of(api, dag_id, run_id, task)}" for task in failed)
        raise RunFailedError(f"run {run_id} failed\n{reasons}")
    return run


@contextmanager
def _going_on(console: Console, run_id: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"\nrun {run_id} goes on without being followed; make status shows what runs and what serves")
        raise


def ended(api: AirflowApi, dag_id: str, run_id: str, seconds: float = math.inf) -> dict[str, Any]:
    """Wait silently until a run has ended and return it, however it ended.

    Raises:
        RunFailedError: it does not end.
        AwaitsAnswerError: it waits for a person.

    """
    deadline = time.monotonic() + seconds
    while (run := api.run(dag_id, run_id))["state"] not in ("success", "failed"):
        unless_asked(dag_id, run_id, api.tasks(dag_id, run_id))
        if time.monotonic() > deadline:
            raise RunFailedError(f"run {run_id} is still {run['state']} after {seconds:.0f} s")
        time.sleep(LOOK_SECONDS)
    return run


def unless_asked(dag_id: str, run_id: str, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Raise AwaitsAnswerError when one of a run's tasks waits for a person."""
    for task in tasks:
        if task["state"] == AWAITING:
            raise AwaitsAnswerError.of(dag_id, run_id, task["task_id"])


def skip_reason(api: AirflowApi, dag_id: str, run_id: str) -> str:
    """Return why a run ended without training: what its first skipped task said."""
    for task in api.tasks(dag_id, run_id):
        if task["state"] == "skipped" and task.get("start_date"):
            path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{max(1, task.get('try_number') or 1)}"
            entries = api.get(path, map_index=task.get("map_index", -1), full_content=True)["content"]
            reasons = [entry["reason"] for entry in entries if isinstance(entry, dict) and entry.get("reason")]
            if reasons:
                return f"{task['task_id']}: {reasons[-1]}"
    return "it found nothing to do"


def reason_of(api: AirflowApi, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
    """Return the error that ended a task, read from the log of its last try."""
    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{max(1, task.get('try_number') or 1)}"
    try:
        entries = api.get(path, map_index=task.get("map_index", -1), full_content=True)["content"]
    except RuntimeError as error:
        return f"its log cannot be read: {error}"
    details = [detail for entry in entries if isinstance(entry, dict) for detail in entry.get("error_detail") or []]
    if details:
        return f"{details[-1].get('exc_type')}: {details[-1].get('exc_value')}"
    errors = [str(entry.get("event")) for entry in entries if isinstance(entry, dict) and entry.get("level") == "error"]
    return errors[-1] if errors else "no error in its log"


def seconds_of(item: dict[str, Any]) -> float | None:
    """Return how long a run or a task has taken so far, None before its start."""
    if not item.get("start_date"):
        return None
    start = datetime.fromisoformat(item["start_date"])
    end = datetime.fromisoformat(item["end_date"]) if item.get("end_date") else datetime.now(UTC)
    return (end - start).total_seconds()


def in_order(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the ids of a DAG's tasks in the order in which they run: each after all before it, names decide between equals.

    Args:
        tasks: Airflow's answer, in alphabetical order; each has ``task_id`` and ``downstream_task_ids``.

    """
    after = {task["task_id"]: set(task["downstream_task_ids"]) for task in tasks}
    waits = {name: sum(name in others for others in after.values()) for name in after}
    ordered: list[str] = []
    while free := sorted(name for name, count in waits.items() if not count):
        ordered += free
        for name in free:
            del waits[name]
        for other in (other for name in free for other in after[name] if other in waits):
            waits[other] -= 1
    return [*ordered, *sorted(waits)]


def _place(order: list[str], task: dict[str, Any]) -> tuple[int, int]:
    return (order.index(task["task_id"]) if task["task_id"] in order else len(order), task.get("map_index", -1))


def _label(task: dict[str, Any]) -> str:
    index = task.get("rendered_map_index")
    return f"{task['task_id']} [{index}]" if index else str(task["task_id"])


def _table(tasks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("task")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for task in tasks:
        seconds, state = seconds_of(task), task["state"] or ""
        table.add_row(
            _label(task).replace("[", "\\["), _mark(task["task_id"], state), f"{seconds:.1f}" if seconds else ""
        )
    return table


def _mark(task: str, state: str) -> str:
    word = BRANCHES.get((task, state))
    return f"[dim]{word}[/]" if word else MARKS.get(state, f"[dim]{state}[/]")


def _print_changes(console: Console, tasks: list[dict[str, Any]], shown: dict[Any, str]) -> None:
    for task in tasks:
        key = (task["task_id"], task.get("map_index"))
        if task["state"] in ENDED and shown.get(key) != task["state"]:
            shown[key] = task["state"]
            state = BRANCHES.get((task["task_id"], task["state"]), task["state"])
            console.print(f"  {_label(task):<28} {state:<12} {seconds_of(task) or 0:6.1f} s", markup=False)
