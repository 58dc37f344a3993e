"""The canonical row and its hash in plain Python, written from docs/data-contract.md and not from the Spark expressions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from retraining.contract.values import mixed


def canonical(value: Any, kind: str) -> str:
    """Canonical text of one typed value."""
    if value is None:
        return ""
    if kind == "double":
        return str(mixed(value))
    return str(int(value)) if kind == "int" else str(value)


def row_hash(row: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]) -> str:
    """Hash of a typed row, 32 hex digits."""
    text = "\x1f".join(canonical(row[column["name"]], column["type"]) for column in columns)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def split(digest: str, shares: Mapping[str, int], synthetic: bool) -> str:
    """Split of a row."""
    if synthetic:
        return "train"
    bucket, edge = int(digest[:15], 16) % 100, 0
    for name, share in shares.items():
        edge += share
        if bucket < edge:
            return name
    raise AssertionError("shares add up to 100")
