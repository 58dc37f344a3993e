"""The page ``map.md``: the rooms of the library, who imports whom, and the way of one file from the landing zone to the endpoint."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "plugins" / "retraining"
HEAD = """# Map of the code

Generated from the sources by `make docs`; do not edit. The library `plugins/retraining` has rooms in an order: a room imports
only those above it in the table. `make check` fails on an import against the order.
"""
WAY = (
    ("A file lands; its name and size say whether it is data at all", "contract.names.ignored_reason"),
    ("The event of the bucket's queue wakes a run", "dag.triggers.NewDataTrigger"),
    ("The sensor looks for files that no version knows", "dag.tasks.data.DataTasks.look_for_work"),
    ("The landing zone is listed", "dataset.landing_zone.landed_files"),
    ("The dataset log is read", "dataset.log.DatasetLog.read"),
    ("The run is planned from content alone", "jobs.plan.make_plan"),
    ("The plan, the code and the manifest are written", "dag.tasks.data.DataTasks.claim_new_data"),
    ("The Glue crawler is asked what is there", "dag.tasks.data.DataTasks.crawl_request"),
    ("The merge is requested", "jobs.requests.glue_job_request"),
    ("Its verdict is judged and the version committed", "dag.tasks.commit.CommitTasks.check_data_quality"),
    ("One conditional write is the commit", "dataset.log.DatasetLog.commit"),
    ("Each candidate's training job is requested", "jobs.requests.training_request"),
    ("The best candidate is chosen", "judging.candidates.choose"),
    ("Challenger and champion are scored on the same test rows", "jobs.requests.evaluation_request"),
    ("The Lambda function compares the losses", "judging.candidates.analyze"),
    ("The gate decides", "judging.gate.decide"),
    ("The candidate is registered", "serving.registry.register"),
    ("Model and endpoint config are made", "serving.deployment.ensure_endpoint_config"),
    ("The endpoint has to answer as evaluated", "serving.verification.verify"),
    ("The report is written", "telling.run_report.write_report"),
    ("The topic is told", "telling.outcomes.Outcomes.tell"),
)


def page() -> str:
    """Return the page.

    Raises:
        LookupError: a step of the way names something that the sources do not have.

    """
    rooms = order()
    arrows = imports(rooms)
    lines = [HEAD, "## Rooms", "", "| room | what lives there | imports |", "|---|---|---|"]
    lines += [
        f"| `{room}` | {paragraph(LIBRARY / room)} | {', '.join(f'`{other}`' for other in arrows[room])} |"
        for room in rooms
    ]
    lines += [
        "",
        "## The way of one file from the landing zone to the endpoint",
        "",
        "| step | function |",
        "|---|---|",
    ]
    for words, name in WAY:
        find(name)
        room, *rest = name.split(".")
        lines.append(f"| {words} | `{room}/{'.'.join(rest)}` |")
    return "\n".join(lines) + "\n"


def order() -> list[str]:
    """Return the rooms in their order, the first imports none of the others."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(
        contract["layers"] for contract in settings["contracts"] if contract.get("containers") == ["retraining"]
    )
    names = [layer.strip("()") for layer in layers]
    return [name for name in reversed(names) if (LIBRARY / name).is_dir()]


def imports(rooms: list[str]) -> dict[str, list[str]]:
    """Return for each room the others whose modules it imports, in the order of the rooms."""
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for room in rooms:
        for path in (LIBRARY / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                found[room] |= {name.split(".")[1] for name in names if name.startswith("retraining.")}
    return {room: [other for other in rooms if other in found[room] - {room}] for room in rooms}


def paragraph(folder: Path) -> str:
    """Return the docstring of a room as one line."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def find(name: str) -> None:
    """See that a function, method or class exists below the library.

    Args:
        name: such as ``dataset.log.DatasetLog.commit``.

    Raises:
        LookupError: it does not.

    """
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        path = LIBRARY.joinpath(*parts[:length]).with_suffix(".py")
        if path.exists():
            body = ast.parse(path.read_text(encoding="utf-8")).body
            for part in parts[length:]:
                node = next((node for node in body if getattr(node, "name", None) == part), None)
                if node is None:
                    break
                body = getattr(node, "body", [])
            else:
                return
    raise LookupError(f"docs/map_page.py names {name}, which the library does not have: write what does this step now")
