"""The objects that a merge wrote for one batch."""

from __future__ import annotations

from typing import Any

from retraining.aws.documents import get_json
from retraining.dataset.records import Output, Version

SPLITS = ("train", "validation", "test")
PROFILES = "profiles/"
"""Below the data set: what the columns of each version hold, see ``contract.profiling``."""


def batch_outputs(s3: Any, bucket: str, root: str, batch: str) -> dict[str, Any]:
    """Return the ``training`` and ``data`` objects of a batch and those ``beside``, as a version records them.

    Args:
        s3: a boto3 S3 client.
        bucket: the data bucket.
        root: prefix of the data set, such as ``abalone/dataset/``.
        batch: the batch.

    """
    training = {split: _outputs(s3, bucket, f"{root}training/batch={batch}/split={split}/", ".csv") for split in SPLITS}
    model = root.removesuffix("dataset/")
    beside = [
        *_outputs(s3, bucket, f"{root}hashes/batch={batch}/", ".parquet"),
        *_outputs(s3, bucket, f"{root}{PROFILES}batch={batch}/", ".json"),
        *_outputs(s3, bucket, f"{model}quarantine/batch={batch}/", ".json"),
        *_outputs(s3, bucket, f"{model}batches/{batch}/manifest.json", ".json"),
        *_outputs(s3, bucket, f"{model}batches/{batch}/etl_report.json", ".json"),
    ]
    data = _outputs(s3, bucket, f"{root}data/batch={batch}/", ".parquet")
    return {"training": training, "data": data, "beside": tuple(beside)}


def stored_profile(s3: Any, bucket: str, version: Version) -> dict[str, Any] | None:
    """Return what the columns of a version hold, as the merge counted it; None when that is lost, or was never stored."""
    key = next((output.key for output in version.beside if f"/{PROFILES}batch=" in output.key), None)
    if key is None:
        return None
    try:
        found = get_json(s3, f"s3://{bucket}/{key}")
    except (LookupError, ValueError):
        return None
    return dict(found) if found.get("schema_version") == 1 else None


def _outputs(s3: Any, bucket: str, prefix: str, suffix: str) -> tuple[Output, ...]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    items = (item for page in pages for item in page.get("Contents", []))
    return tuple(
        Output(key=item["Key"], size=item["Size"], etag=item["ETag"].strip('"'))
        for item in items
        if item["Key"].endswith(suffix)
    )
