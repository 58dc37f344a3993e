"""The source of this room, by the path under which it is imported: what travels into jobs beside their own code."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable


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
