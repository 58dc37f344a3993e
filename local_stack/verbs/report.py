"""``make report``: where the report of a model's run lies, the newest unless a run is named."""

from __future__ import annotations

from typing import Any

from local_stack.verbs import calls, places, service


def lines(s3: Any, bucket: str, model: str, run: str | None = None) -> list[str]:
    """Return the verdict of a run and the path of its report.

    Args:
        s3: boto3 client of the local account.
        bucket: the model's data bucket.
        model: the model's name.
        run: the run's key such as ``v3-0123456789ab``, None for the newest.

    Raises:
        CallError: there is no report, or none of this run.

    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{model}/runs/")
    found = [item for page in pages for item in page.get("Contents", []) if item["Key"].endswith("/report.html")]
    reports = {item["Key"].split("/")[2]: item for item in sorted(found, key=lambda item: item["LastModified"])}
    if not reports:
        raise calls.CallError(
            f"model {model} has no report yet: a run that judges a model writes one; make retrain FILE=... MODEL={model}"
        )
    if run and run not in reports:
        raise calls.CallError(f"model {model} has no report of run {run!r}; there are {', '.join(reports)}")
    key = run or list(reports)[-1]
    summary = service.document(s3, f"s3://{bucket}/{model}/runs/{key}/summary.json") or {}
    shown = [f"{summary['decision']}: {summary['reason']}"] if summary else []
    shown.append(places.shown_object(f"s3://{bucket}/{reports[key]['Key']}"))
    earlier = [name for name in reports if name != key]
    return [*shown, f"other runs: {', '.join(reversed(earlier))}"] if earlier else shown
