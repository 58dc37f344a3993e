"""The runs that judged a model: scores, the difference with its error, decision and reason; and the report of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from retraining.aws.documents import get_json
from retraining.page.concurrency.remembered import Remembered
from retraining.page.known_models import KnownModel
from retraining.telling.gate_table import label

RUNS = 200
"""The newest runs that are shown."""
SETTLED = timedelta(days=1)
"""A summary of this age changes only when somebody clears an old run, so it is believed for a while."""
BELIEVED_SECONDS = 3600
RUN_KEY = r"^[vp]\d{1,7}-[0-9a-f]{12}$"
"""``v`` of a retraining, ``p`` of a promotion; the number is that of the dataset version."""


def history(model: KnownModel) -> dict[str, Any]:
    """Return the newest runs, oldest first, and how many there are."""
    keys = sorted(_run_keys(model), key=lambda key: int(key[1:].split("-")[0]))
    found = summaries(model, keys[-RUNS:])
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


def summaries(model: KnownModel, run_keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the summaries of runs by their key, without runs that judged no model: they failed before, or are under way."""
    folder = f"s3://{model.bucket}/{model.prefix}runs/"

    def read(uri: str) -> dict[str, Any] | None:
        try:
            return dict(get_json(model.s3, uri))
        except LookupError:
            return None

    uris = {f"{folder}{key}/summary.json": key for key in run_keys}
    return {uris[uri]: summary for uri, summary in _summaries.of(list(uris), read).items()}


def _is_settled(summary: Mapping[str, Any]) -> bool:
    made = summary.get("created_at")
    return made is not None and datetime.now(UTC) - datetime.fromisoformat(made) > SETTLED


_summaries: Remembered[dict[str, Any]] = Remembered(BELIEVED_SECONDS, _is_settled)
"""By URI."""


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
