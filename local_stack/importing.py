"""Airflow's processes import what their forks need, and read each model.yaml: a task, or the reading of a DAG file, is mostly that.

Who changes the library while the stack runs finds the change in the next task: a fork that sees one imports the library anew.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow.configuration import conf

_LOG = logging.getLogger(__name__)
LIBRARY = "retraining"
NOT_OF_TASKS = ("command", "inside", "page")
"""Rooms of the library that no task imports; what they need is not all in Airflow's environment."""


def for_forks(clients: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
    """Import the library for all processes that will be forked from this one; one that is broken just now is left to them.

    Args:
        clients: of AWS, service and options; they are made, too, as each model asks for them.

    """
    try:
        _import(clients)
    except Exception:  # a module may raise anything while somebody writes at it; tasks and DAG files say so themselves
        _LOG.warning("the library cannot be imported ahead: each task and DAG file does it by itself", exc_info=True)
        forget()


def _import(clients: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    root = Path(importlib.import_module(LIBRARY).__path__[0])
    seen = state_of(root)
    for name in _modules(root):
        importlib.import_module(name)
    from retraining.aws.clients import make_ahead
    from retraining.settings.model_config import ConfigError, load_model_config

    for path in sorted(Path(conf.get("core", "dags_folder")).glob("models/*/model.yaml")):
        with suppress(ConfigError):  # its DAG file says so
            make_ahead(clients, load_model_config(path).aws)
    os.register_at_fork(after_in_child=lambda: None if state_of(root) == seen else forget())


def state_of(folder: Path) -> tuple[int, int]:
    """Return how many modules there are below a folder, and when the newest was written, in ns; the same while nothing changes."""
    times = [path.stat().st_mtime_ns for path in folder.rglob("*.py")]
    return len(times), max(times, default=0)


def forget() -> None:
    """Let the library be imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == LIBRARY]:
        del sys.modules[name]


def _modules(root: Path) -> list[str]:
    """Return the names of the library's modules, but those of rooms that no task imports."""
    found = [path.relative_to(root.parent).with_suffix("").parts for path in sorted(root.rglob("*.py"))]
    return [".".join(parts).removesuffix(".__init__") for parts in found if parts[1] not in NOT_OF_TASKS]
