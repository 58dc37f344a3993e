"""What a verb is called with, checked before anything is set up or started: each mistake is one line with the names that exist.

Standard library only: this runs before any environment exists.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local_stack import layout
from local_stack.preflight import PreflightError


class CallError(PreflightError):
    """A verb was called with something that does not exist or cannot be; the message names it and what is possible."""


def models() -> list[str]:
    """Return the names of the model folders."""
    return sorted(path.parent.name for path in (layout.ROOT / "dags" / "models").glob("*/model.yaml"))


def dags() -> list[str]:
    """Return the ids of the DAGs: each has a file of its name in ``dags/``."""
    return sorted(path.stem for path in (layout.ROOT / "dags").glob("*.py"))


def dag_of(model: str) -> str:
    """Return the id of a model's retraining DAG."""
    return f"{model.replace('-', '_')}_retraining"


def model_of(dag: str) -> str | None:
    """Return the model that a DAG belongs to, None for a DAG of its own."""
    owners = [model for model in models() if dag.startswith(f"{model.replace('-', '_')}_")]
    return max(owners, key=len, default=None)


def known_model(name: str) -> str:
    """Return the name of a model folder.

    Raises:
        CallError: there is no such folder.

    """
    if not name:
        raise CallError(f"no model is named; {_known('model', name, models(), 'dags/models')}")
    if name not in models():
        raise CallError(f"there is no model {name!r}; {_known('model', name, models(), 'dags/models')}")
    return name


def known_dag(name: str) -> str:
    """Return the id of a DAG.

    Raises:
        CallError: no file of ``dags/`` makes such a DAG.

    """
    if not name:
        raise CallError(f"no DAG is named: make run DAG=...; {_known('DAG', name, dags(), 'dags')}")
    if name not in dags():
        raise CallError(f"there is no DAG {name!r}; {_known('DAG', name, dags(), 'dags')}")
    return name


def csv_files(text: str) -> list[Path]:
    """Return the files that are to be uploaded.

    Args:
        text: one path, or several in the shell's way of writing a list; a path that exists as a whole may hold blanks.

    Raises:
        CallError: one does not exist, is a folder, is empty, or two have the same name.

    """
    paths = [Path(text)] if Path(text).exists() else [Path(name) for name in _words(text)]
    if not text.strip():
        raise CallError("no file is named: make retrain FILE=path.csv")
    for path in paths:
        if path.is_dir():
            raise CallError(f'{path} is a folder; name its files: make retrain FILE="$(echo {path}/*.csv)"')
        if not path.exists():
            near = sorted(item.name for item in path.parent.glob("*")) if path.parent.is_dir() else []
            hint = difflib.get_close_matches(path.name, near, 3)
            raise CallError(
                f"there is no file {path}" + (f"; in that folder there is {', '.join(hint)}" if hint else "")
            )
        if not path.stat().st_size:
            raise CallError(f"{path} is empty: it has no row to train on")
    names = [path.name for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CallError(f"two files are called {twice[0]}: the second would replace the first; rename one")
    return paths


def params(text: str) -> dict[str, Any]:
    """Return the parameters of a run.

    Raises:
        CallError: the text is no JSON object.

    """
    example = """PARAMS='{"why": "predictions drift"}'"""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise CallError(f"PARAMS is not JSON ({error}); names and texts stand in double quotes: {example}") from error
    if not isinstance(values, dict):
        raise CallError(f"PARAMS is {text!r}, not a JSON object such as {example}")
    return values


def unknown_params(dag: str, given: Sequence[str], known: Sequence[str]) -> str | None:
    """Return what is wrong with the names of a run's parameters, None when the DAG has them all."""
    for name in given:
        if name not in known:
            return f"DAG {dag} has no parameter {name!r}; {_known('parameter', name, sorted(known), 'its form')}"
    return None


def _known(kind: str, name: str, known: Sequence[str], place: str) -> str:
    near, names = difflib.get_close_matches(name, known, 1), ", ".join(known)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}there {'is' if len(known) == 1 else 'are'} {names}" if known else f"{place} has no {kind}"


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe in a name is no quote
        return text.split()
