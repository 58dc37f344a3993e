"""The names of AWS's awsglue package that scripts of Glue use, over plain Spark; ``from awsglue import DynamicFrame`` is one of them."""

from typing import Any

_ROOT = {"DynamicFrame": "awsglue.dynamicframe", "DynamicFrameCollection": "awsglue.dynamicframe"}


def __getattr__(name: str) -> Any:
    """Import on demand: a script that asks for its arguments alone starts no Spark."""
    if name not in _ROOT:
        raise AttributeError(f"module 'awsglue' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_ROOT[name]), name)
