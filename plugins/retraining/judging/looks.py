"""Counts how often the same held-out rows have judged a model: each look favours the luckiest of those that were looked at.

``dataset/looks/DIGEST/RUN_KEY.json`` is one note per set of rows and run, written with ``If-None-Match: *``: a retry or a second scheduler
counts once. DIGEST is that of the list of the rows' objects, whose names carry the digests of what they hold.
"""

from __future__ import annotations

from typing import Any

from retraining.aws.documents import put_json_once, utc_now


def note_look(s3: Any, bucket: str, prefix: str, rows: str, run_key: str, by: str) -> int:
    """Note that a run judges a model on these rows, and return how many runs have, this one included.

    Args:
        s3: boto3 client.
        bucket: the data bucket.
        prefix: the model's prefix, with a trailing slash.
        rows: digest of the list of the rows' objects.
        run_key: of the run or experiment.
        by: what looked: ``retraining`` or ``experiment``.

    """
    folder = f"{prefix}dataset/looks/{rows}/"
    put_json_once(s3, f"s3://{bucket}/{folder}{run_key}.json", {"run_key": run_key, "by": by, "at": utc_now()})
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
    return sum(len(page.get("Contents", [])) for page in pages)


def rows_digest(manifest_uri: str) -> str:
    """Return the digest of the rows that a manifest lists, which its name ends with: ``000007-test-DIGEST.json``."""
    return manifest_uri.rsplit("-", 1)[-1].removesuffix(".json")
