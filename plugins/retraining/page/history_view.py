"""The runs that judged a model: scores, the difference with its error, decision and reason; and the report of each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from retraining.aws.documents import get_json
from retraining.page.known_models import KnownModel
from retraining.telling.gate_table import label

RUNS = 200
"""The newest runs that are shown."""
READERS = 16
SETTLED = timedelta(days=1)
"""A summary of this age changes only when somebody clears an old run, so it is believed for a while."""
BELIEVED_SECONDS = 3600
MOST_REMEMBERED = 5_000
_remembered: dict[str, tuple[float, dict[str, Any]]] = {}
"""Settled summaries by URI, and since when they are believed."""
RUN_KEY = r"^[vp]\d{1,7}-[0-9a-f]{12}$"
"""``v`` of a retraining, ``p`` of a promotion; the number is that of the dataset version."""


def history(model: KnownModel) -> dict[str, Any]:
    """Return the newest runs, oldest first, and how many there are."""
    keys = sorted(_run_keys(model), key=lambda key: int(key[1:].split("-")[0]))
    uris = [f"s3://{model.bucket}/{model.prefix}runs/{key}/summary.json" for key in keys[-RUNS:]]
    found = {uri: known for uri in uris if (known := _known(uri))}
    unknown = [uri for uri in uris if uri not in found]
    if unknown:
        with ThreadPoolExecutor(max_workers=READERS) as pool:
            read = pool.map(lambda uri: _read(model, uri), unknown)
            found |= {uri: summary for uri, summary in zip(unknown, read, strict=True) if summary}
    runs = [_shown(summary) for summary in found.values()]
    return {"runs": sorted(runs, key=lambda run: run["created_at"] or ""), "known": len(keys)}


def report(model: KnownModel, run_key: str) -> bytes:
    """Return the report of a run.

    Raises:
        LookupError: it has none.

    """
    try:
        found = model.s3.get_object(Bucket=model.bucket, Key=f"{model.prefix}runs/{run_key}/report.html")
    except model.s3.exceptions.NoSuchKey as error:
        raise LookupError(f"run {run_key} of model {model.name} has no report") from error
    return bytes(found["Body"].read())


def _run_keys(model: KnownModel) -> Iterator[str]:
    root, listing = f"{model.prefix}runs/", model.s3.get_paginator("list_objects_v2")
    for kind in "vp":
        for page in listing.paginate(Bucket=model.bucket, Prefix=f"{root}{kind}", Delimiter="/"):
            for item in page.get("CommonPrefixes", []):
                yield item["Prefix"].removeprefix(root).rstrip("/")


def _known(uri: str) -> dict[str, Any] | None:
    since, known = _remembered.get(uri, (0.0, None))
    return known if time.monotonic() - since < BELIEVED_SECONDS else None


def _read(model: KnownModel, uri: str) -> dict[str, Any] | None:
    try:
        found = dict(get_json(model.s3, uri))
    except LookupError:
        return None  # it judged no model: it failed before, or is under way
    if _is_settled(found.get("created_at")):
        if len(_remembered) >= MOST_REMEMBERED:
            _remembered.clear()
        _remembered[uri] = (time.monotonic(), found)
    return found


def _is_settled(created_at: str | None) -> bool:
    return created_at is not None and datetime.now(UTC) - datetime.fromisoformat(created_at) > SETTLED


def _shown(summary: Mapping[str, Any]) -> dict[str, Any]:
    numbers = summary.get("numbers") or {}
    return {
        "run_key": summary["run_key"],
        "created_at": summary.get("created_at"),
        "dataset_version": summary["dataset_version"],
        "decision": "promoted" if summary["promoted"] else summary["decision"],
        "reason": summary["reason"],
        "metric": label(summary["metric"]),
        "challenger": summary["score_challenger"],
        "champion": summary["score_champion"],
        "difference": numbers.get("difference"),
        "standard_error": numbers.get("standard_error"),
        "odds": numbers.get("odds"),
        "required_odds": numbers.get("required_odds"),
        "test_rows": numbers.get("n"),
        "train_rows": summary["rows_by_split"].get("train"),
        "rows_accepted": summary["rows_accepted"],
        "rows_quarantined": summary["rows_quarantined"],
    }
