"""What of this room travels into jobs: its source, by the path under which it is imported, and a contract as a model sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any


def source_files() -> dict[str, bytes]:
    """Return ``retraining/__init__.py`` and the modules of ``retraining/contract`` and its folders."""
    found = dict(_modules(files("retraining.contract"), "retraining/contract"))
    found["retraining/__init__.py"] = files("retraining").joinpath("__init__.py").read_bytes()
    return dict(sorted(found.items()))


def _modules(room: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in room.iterdir():
        if entry.is_dir():
            yield from _modules(entry, f"{path}/{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{path}/{entry.name}", entry.read_bytes()


def fed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a contract as a model sees it: without the columns that `ignore` names, rules that need them, and data set policies.

    Args:
        document: the ``contract`` section of ``model.yaml``.

    """
    ignored = set(document.get("ignore") or ())
    columns = [column for column in document["columns"] if column["name"] not in ignored]
    if len(columns) == len(document["columns"]):
        return dict(document)
    rules = [rule for rule in document.get("rules") or () if not ignored & {*rule["sum"], rule["at_most"]}]
    rest = {name: value for name, value in document.items() if name not in ("identity", "key", "split_by")}
    return {**rest, "columns": columns, "rules": rules}
