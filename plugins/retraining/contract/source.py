"""The source of this room, by the path under which it is imported: what travels into jobs beside their own code."""

from __future__ import annotations

from importlib.resources import files


def source_files() -> dict[str, bytes]:
    """Return ``retraining/__init__.py`` and the modules of ``retraining/contract``."""
    room = files("retraining.contract")
    found = {
        f"retraining/contract/{entry.name}": entry.read_bytes()
        for entry in room.iterdir()
        if entry.is_file() and entry.name.endswith(".py")
    }
    found["retraining/__init__.py"] = files("retraining").joinpath("__init__.py").read_bytes()
    return dict(sorted(found.items()))
