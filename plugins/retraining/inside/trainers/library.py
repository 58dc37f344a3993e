"""Finds a library that only the image of its trainer has."""

from __future__ import annotations

import importlib
from typing import Any


def library(name: str, trainer: str) -> Any:
    """Return a module.

    Raises:
        RuntimeError: it is not installed here.

    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RuntimeError(
            f"the trainer {trainer} needs {name}, which this image does not have ({error}): take image out of the candidate in "
            "model.yaml, and it trains in the image that the trainer is made for"
        ) from error
