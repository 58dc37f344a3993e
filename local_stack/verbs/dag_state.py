"""What Airflow makes of the DAG files: imported, broken, paused, older than the files on disk; asked before anything waits for a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from local_stack import layout, processes
from local_stack.airflow_api import AirflowApi
from local_stack.progress import AWAITING, AwaitsAnswerError
from local_stack.verbs import calls, places

Say = Callable[[str], None]
LOOK_SECONDS = 0.5
PARSE_SECONDS = 60
IMPORT_SECONDS = 120


class DagError(calls.CallError):
    """A DAG cannot run as things are; the message says why and what to do."""


def import_errors(api: AirflowApi) -> dict[str, str]:
    """Return what Airflow could not import: the last lines of the traceback, by the DAG file's stem."""
    found = api.get("importErrors", limit=100)["import_errors"]
    return {Path(item["filename"]).stem: cause(item["stack_trace"]) for item in found}


def cause(trace: str) -> str:
    """Return the exception of a traceback without its frames and without its class, the project's folder left out of paths."""
    lines = trace.strip().splitlines()
    start = next((number for number in reversed(range(len(lines))) if lines[number].startswith("  ")), -1) + 1
    text = "\n".join(lines[start:]) or trace.strip()
    for class_name in ("ConfigError: ",):
        text = text.rpartition(class_name)[2] if text.partition(": ")[0].endswith(class_name[:-2]) else text
    return text.replace(f"{layout.ROOT}/", "")


def wait_for_import(api: AirflowApi, models: Sequence[str], say: Say, seconds: float = IMPORT_SECONDS) -> None:
    """Wait until Airflow has imported the DAGs of these models; one whose file fails is told at once and not waited for."""
    told: set[str] = set()
    wanted = {calls.dag_of(model) for model in models}
    deadline = time.monotonic() + seconds
    while missing := wanted - {dag["dag_id"] for dag in api.get("dags", limit=200)["dags"]} - told:
        errors = import_errors(api)
        for dag in sorted(missing & errors.keys()):
            say(f"Airflow cannot import dags/{dag}.py, so this DAG does not run: {errors[dag]}")
            told.add(dag)
        if time.monotonic() > deadline:
            say(
                f"Airflow has not imported {', '.join(sorted(missing - told))} within {seconds:.0f} s; "
                "the stack is up, 'make status' says when they are there"
            )
            return
        time.sleep(LOOK_SECONDS)


def runnable(api: AirflowApi, dag: str, sources: Sequence[Path], seconds: float = PARSE_SECONDS) -> dict[str, Any]:
    """Return a DAG that a run can be started of: imported, not paused, and read after its files were last changed.

    Args:
        api: Airflow's REST API.
        dag: its id.
        sources: files and folders that it is made of.
        seconds: how long to wait for a new reading.

    Raises:
        DagError: it is paused, its file has a mistake, or Airflow does not read it.

    """
    deadline = time.monotonic() + seconds
    changed = max((path.stat().st_mtime for source in sources for path in _files(source)), default=0.0)
    asked = False
    while True:
        found = _find(api, dag)
        errors = import_errors(api)
        if found and _read_at(found) >= changed:
            if dag in errors:
                raise DagError(f"Airflow cannot import dags/{dag}.py: {errors[dag]}")
            break
        if not asked and found and found.get("file_token"):
            _ask_for_reading(api, found["file_token"])
            asked = True
        if time.monotonic() > deadline:
            reason = (
                f": {errors[dag]}" if dag in errors else f"; see {places.shown(processes.log_file('dag-processor'))}"
            )
            raise DagError(f"Airflow has not read dags/{dag}.py since it was changed{reason}")
        time.sleep(LOOK_SECONDS)
    if found["is_paused"]:
        raise DagError(
            f'DAG {dag} is paused, so no run of it would begin: switch it on in the Airflow UI, or eval "$(make env)" and '
            f"airflow dags unpause {dag}"
        )
    return found


def params(api: AirflowApi, dag: str) -> dict[str, Any]:
    """Return the parameters of a DAG by name, as Airflow describes them."""
    return dict(api.get(f"dags/{dag}/details")["params"] or {})


def questions(api: AirflowApi) -> list[tuple[str, str]]:
    """Return what waits for a person: id of the DAG, and a sentence with the page on which it is answered."""
    found = api.get("dags/~/dagRuns/~/hitlDetails", response_received="false", limit=100)["hitl_details"]
    asked = [item["task_instance"] for item in found]
    return [
        (task["dag_id"], str(AwaitsAnswerError.of(task["dag_id"], task["dag_run_id"], task["task_id"])))
        for task in asked
        if task["state"] == AWAITING
    ]


def paused(api: AirflowApi) -> list[str]:
    """Return the ids of the DAGs that are paused."""
    return sorted(dag["dag_id"] for dag in api.get("dags", limit=200, paused=True)["dags"])


def _find(api: AirflowApi, dag: str) -> dict[str, Any] | None:
    return next((item for item in api.get("dags", limit=200)["dags"] if item["dag_id"] == dag), None)


def _read_at(dag: dict[str, Any]) -> float:
    read = dag.get("last_parsed_time")
    return datetime.fromisoformat(read).timestamp() if read else 0.0


def _files(source: Path) -> list[Path]:
    if source.is_dir():
        return [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [source] if source.exists() else []


def _ask_for_reading(api: AirflowApi, token: str) -> None:
    """Ask Airflow to read a DAG file before its turn; that it is asked for already is no error."""
    try:
        api.put(f"parseDagFile/{token}")
    except RuntimeError as error:
        if "409" not in str(error):
            raise
