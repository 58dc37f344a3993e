"""The page of the DAGs: schedule, parameters and tasks, read from the DAG objects that Airflow would see."""

from __future__ import annotations

import os
import runpy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHIPPED = "abalone_*.py"  # DAG files of other models are their authors', not the page's
ROOT = Path(__file__).resolve().parent.parent
# Of an Airflow that nobody configured; gone with the process.
HOME = tempfile.TemporaryDirectory(prefix="airflow-home-")
HEAD = """# DAGs: tasks and parameters

Generated from the abalone model's files in `dags/` by `make docs`; do not edit. The ids begin with the name of the model folder.
Parameters are the form behind *Trigger* in the Airflow UI, the JSON object of `make run DAG=... PARAMS=...`, and `conf` in the REST
API.
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(text for dag in _dags() for text in _section(dag))


def _dags() -> list[Any]:
    os.environ.setdefault("AIRFLOW_HOME", HOME.name)
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    return [runpy.run_path(str(path))["dag"] for path in sorted((ROOT / "dags").glob(SHIPPED))]


def _section(dag: Any) -> Iterator[str]:
    yield f"\n## {dag.dag_id}\n\n{_first_sentence(dag.doc_md)}\n\n"
    limit = f"at most {dag.max_active_runs} at a time" if dag.max_active_runs < 16 else "several at a time"
    yield f"Schedule: {_schedule(dag)}; {limit}.\n\n| parameter | type | default | meaning |\n|---|---|---|---|\n"
    for name in dag.params:
        yield _parameter(name, dag.params.get_param(name))
    yield "\n| task | after | does |\n|---|---|---|\n"
    for task in dag.topological_sort():
        before = ", ".join(f"`{name}`" for name in sorted(task.upstream_task_ids))
        rule = str(getattr(task.trigger_rule, "value", task.trigger_rule))
        when = "" if rule == "all_success" else f" ({rule.replace('_', ' ')})"
        yield f"| `{task.task_id}` | {before}{when} | {_does(task)} |\n"


def _schedule(dag: Any) -> str:
    cron = getattr(dag.timetable, "timetable", dag.timetable)
    events = (
        "when new data lands, and " if hasattr(dag.timetable, "asset_condition") and dag.timetable is not cron else ""
    )
    expression = getattr(cron, "expression", None) or getattr(cron, "_expression", None)
    return f"{events}`{expression}` UTC" if expression else "by hand"


def _parameter(name: str, param: Any) -> str:
    schema, value = param.schema, param.value
    kinds = schema.get("type", "")
    kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if "enum" in schema:
        kind = " or ".join(f"`{choice}`" for choice in schema["enum"])
    words = (param.description or schema.get("title") or "").replace("|", "\\|")
    return f"| `{name}` | {kind} | {_default(value)} | {words} |\n"


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if type(value).__name__ == "ArgNotSet":
        return "**required**"
    return f"`{value}`" if value != "" else "empty"


def _does(task: Any) -> str:
    if hasattr(task, "subject"):
        return f"Waits for a person's answer in the Airflow UI: {task.subject}"
    if task.task_type == "EmptyOperator":
        return "Nothing: a fixed point of the graph."
    function = getattr(task, "python_callable", None) or getattr(task, "partial_kwargs", {}).get("python_callable")
    return _first_sentence((function or type(task)).__doc__)


def _first_sentence(text: str | None) -> str:
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split()).replace("``", "`").replace("|", "\\|")
    end = paragraph.find(". ")
    return paragraph if end < 0 else paragraph[: end + 1]
