"""Objects of a bucket in all their versions: listing them, and removing some for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from retraining.dataset.records import StoredObject

_AT_ONCE = 1000  # keys of one DeleteObjects


def stored_objects(s3: Any, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """Yield every version of every object below a prefix, also those that a later one or a delete marker hides."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Versions", []):
            yield StoredObject(
                key=item["Key"],
                version_id=item.get("VersionId") or "null",
                etag=item["ETag"].strip('"'),
                latest=bool(item["IsLatest"]),
            )


def read_object(s3: Any, bucket: str, stored: StoredObject) -> bytes:
    """Read one version of an object."""
    known = {} if stored.version_id == "null" else {"VersionId": stored.version_id}
    return bytes(s3.get_object(Bucket=bucket, Key=stored.key, **known)["Body"].read())


def remove_objects(s3: Any, bucket: str, objects: Sequence[StoredObject]) -> None:
    """Remove these versions of objects; one that is gone already is no error.

    Raises:
        RuntimeError: S3 refused to remove one; the message names it and S3's reason.

    """
    for start in range(0, len(objects), _AT_ONCE):
        names = [{"Key": item.key, "VersionId": item.version_id} for item in objects[start : start + _AT_ONCE]]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": names, "Quiet": True})
        for failed in answer.get("Errors", []):
            if failed.get("Code") not in ("NoSuchKey", "NoSuchVersion"):
                raise RuntimeError(
                    f"s3://{bucket}/{failed['Key']} (version {failed.get('VersionId')}) cannot be removed: "
                    f"{failed.get('Code')}: {failed.get('Message')}; the other objects may be gone: run the command again"
                )
