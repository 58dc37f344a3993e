"""What is kept of the watch over a model, read from S3: the state of each model that was watched, its newest look, the incidents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from retraining.aws.documents import get_json
from retraining.serving import monitoring

SUFFIX = ".json"


def state(s3: Any, bucket: str, model: str, version: str) -> dict[str, Any] | None:
    """Return what the looks at a version of a model gathered; None when it was never watched."""
    return _document(s3, bucket, f"{model}/{monitoring.STATE}{version}{SUFFIX}")


def watched(s3: Any, bucket: str, model: str) -> list[str]:
    """Return the versions of a model that were watched, the one whose state was written last first."""
    root = f"{model}/{monitoring.STATE}"
    found = sorted(_listed(s3, bucket, root), key=lambda item: item["LastModified"], reverse=True)
    return [item["Key"].removeprefix(root).removesuffix(SUFFIX) for item in found]


def newest_look(s3: Any, bucket: str, model: str, state: dict[str, Any]) -> dict[str, Any] | None:
    """Return ``reference``, ``rows`` and ``tally`` of the newest look that a state has; None when there was none, or it has expired."""
    if not state["look"]:
        return None
    return _document(s3, bucket, f"{model}/{monitoring.look_output(state['look'])}{monitoring.LOOK_FILE}")


def incidents(s3: Any, bucket: str, model: str, newest: int) -> list[dict[str, Any]]:
    """Return the newest incidents, the newest last."""
    keys = [item["Key"] for item in _listed(s3, bucket, f"{model}/{monitoring.INCIDENTS}")]
    found = (_document(s3, bucket, key) for key in keys[-newest:])
    return [document for document in found if document]


def open_incident(s3: Any, bucket: str, model: str) -> dict[str, Any] | None:
    """Return the incident that is open; None when none is. Only the newest one may be."""
    last = incidents(s3, bucket, model, 1)
    return last[0] if last and not last[0]["closed_at"] else None


def _listed(s3: Any, bucket: str, prefix: str) -> Iterator[Any]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return (item for page in pages for item in page.get("Contents", []))


def _document(s3: Any, bucket: str, key: str) -> dict[str, Any] | None:
    try:
        return dict(get_json(s3, f"s3://{bucket}/{key}"))
    except LookupError:
        return None
