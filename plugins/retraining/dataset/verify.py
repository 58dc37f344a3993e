"""Reads everything that the dataset log names again, and tells what is not as the log says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from retraining.dataset.records import FileRecord, Output, Version
from retraining.dataset.state import LogState


def verify(s3: Any, bucket: str, prefix: str, state: LogState, say: Callable[[str], None]) -> list[str]:
    """Check every version of a log against S3.

    Checked are: the arithmetic of row counts; that every object is there with its size and entity tag; that the training objects hold as
    many rows as the log says; that no row stands twice in the data set, and so in no two splits; that every landed file can still be read
    as it was merged.

    Args:
        s3: a boto3 S3 client.
        bucket: the data bucket.
        prefix: the model's prefix.
        state: the log.
        say: takes one line of progress per version.

    Returns:
        One line per mismatch; empty when all is well. Memory: 16 bytes a row.

    """
    problems: list[str] = []
    listed = {
        item["Key"]: item
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for item in page.get("Contents", [])
    }
    seen: dict[bytes, str] = {}
    for version in state.versions:
        if version.starts_anew:
            seen.clear()
        found = [
            *_counts(version),
            *_objects(version, listed),
            *_rows(s3, bucket, version, listed, seen),
            *_landed(s3, bucket, version, listed),
        ]
        say(f"version {version.version}: {version.rows['rows_accepted']} rows, {len(found)} mismatch(es)")
        problems += found
    return problems


def _counts(version: Version) -> Iterator[str]:
    rows = version.rows
    parts = rows["rows_accepted"] + rows["rows_duplicate"] + rows["rows_quarantined"]
    if rows["rows_new"] != parts:
        yield f"version {version.version}: {rows['rows_new']} new rows, but accepted, duplicate and quarantined make {parts}"
    if sum(version.rows_by_split.values()) != rows["rows_accepted"]:
        yield f"version {version.version}: {rows['rows_accepted']} accepted rows, but the splits hold {sum(version.rows_by_split.values())}"


def _objects(version: Version, listed: dict[str, Any]) -> Iterator[str]:
    for output in _outputs(version):
        item = listed.get(output.key)
        if item is None:
            yield f"version {version.version}: {output.key} is missing"
        elif item["Size"] != output.size:
            yield f"version {version.version}: {output.key} has {item['Size']} bytes, the log says {output.size}"
        elif output.etag and item["ETag"].strip('"') != output.etag:
            yield f"version {version.version}: {output.key} has other content than when it was committed"


def _rows(s3: Any, bucket: str, version: Version, listed: dict[str, Any], seen: dict[bytes, str]) -> Iterator[str]:
    for split, outputs in version.training.items():
        count = 0
        for output in outputs:
            if output.key not in listed:
                continue
            for line in s3.get_object(Bucket=bucket, Key=output.key)["Body"].iter_lines():
                count += 1
                digest = hashlib.sha256(line).digest()[:16]
                if digest in seen:
                    yield f"version {version.version}: a row of {output.key} stands in {seen[digest]} already: {line.decode()}"
                seen[digest] = output.key
        if count != version.rows_by_split.get(split, 0):
            yield f"version {version.version}: split {split} holds {count} rows, the log says {version.rows_by_split.get(split, 0)}"


def _landed(s3: Any, bucket: str, version: Version, listed: dict[str, Any]) -> Iterator[str]:
    for record in version.files:
        key, etag = (record.read_from, record.read_etag) if record.read_from else (record.key, record.etag)
        item = listed.get(key)
        if item is not None and item["ETag"].strip('"') == etag:
            continue
        what = "is gone from the landing zone" if item is None else "was overwritten in the landing zone"
        if not _is_kept(s3, bucket, record):
            yield f"version {version.version}: its file {record.key} {what}, and S3 keeps no version of it: a rebuild cannot read it"


def _is_kept(s3: Any, bucket: str, record: FileRecord) -> bool:
    """Tell whether S3 has the very version that was merged."""
    from botocore.exceptions import ClientError

    if not record.version_id:
        return False
    try:
        head = s3.head_object(Bucket=bucket, Key=record.key, VersionId=record.version_id)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500 or "AccessDenied" in str(error):
            raise
        return False
    return bool(head["ETag"].strip('"') == record.etag)


def _outputs(version: Version) -> Iterator[Output]:
    yield from version.data
    for outputs in version.training.values():
        yield from outputs
