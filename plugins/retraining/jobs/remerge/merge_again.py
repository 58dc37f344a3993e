"""Merging landed files again, long after they landed: from the objects as they were, though their keys may hold others now."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from retraining.dataset.records import FileRecord
from retraining.jobs.glue_job_run import GlueJobRun
from retraining.jobs.job import Handle
from retraining.settings.access import AwsAccess
from retraining.settings.platform import Platform

READERS = 16  # parallel HEADs of landed files


class MergeAgainError(RuntimeError):
    """A batch could not be merged again, or came out differently."""


def as_landed(s3: Any, bucket: str, files: Sequence[Mapping[str, Any]], copies: str) -> list[dict[str, Any]]:
    """Return manifest entries that read the files as they were when the log recorded them.

    Args:
        s3: a boto3 S3 client.
        bucket: the data bucket.
        files: entries of a manifest, ``FileRecord`` as JSON.
        copies: prefix below which earlier versions of overwritten or deleted keys are copied.

    Raises:
        MergeAgainError: a file is gone and the log has no version of it.

    """
    if not files:
        return []
    with ThreadPoolExecutor(min(READERS, len(files))) as pool:
        return list(pool.map(lambda entry: _as_landed(s3, bucket, entry, copies), files))


def _as_landed(s3: Any, bucket: str, given: Mapping[str, Any], copies: str) -> dict[str, Any]:
    file = FileRecord.model_validate(given)
    entry = {"origin": file.key, **given, **file.model_dump(mode="json")}
    if file.read_from is not None:
        if entity_tag(s3, bucket, file.read_from) != file.read_etag:
            raise MergeAgainError(f"s3://{bucket}/{file.read_from} is not the copy without forgotten rows; restore it")
        return {**entry, "key": file.read_from, "etag": file.read_etag, "size": file.read_size, "version_id": None}
    if entity_tag(s3, bucket, file.key) == file.etag:
        return entry
    copy = f"{copies}{file.version_id}/{file.key}"
    if file.version_id and (tag := entity_tag(s3, bucket, copy)):  # made before; S3 may have dropped the version since
        return {**entry, "key": copy, "etag": tag, "version_id": None}
    if not file.version_id or entity_tag(s3, bucket, file.key, file.version_id) != file.etag:
        raise MergeAgainError(
            f"s3://{bucket}/{file.key} is not the file that was merged (entity tag {file.etag}), and S3 has no version of that file; "
            "upload it again under its key"
        )
    source = {"Bucket": bucket, "Key": file.key, "VersionId": file.version_id}
    copied = s3.copy_object(Bucket=bucket, Key=copy, CopySource=source)["CopyObjectResult"]["ETag"].strip('"')
    return {**entry, "key": copy, "etag": copied, "version_id": None}


def entity_tag(s3: Any, bucket: str, key: str, version_id: str | None = None) -> str | None:
    """Return the entity tag of an object, None when it is not there."""
    from botocore.exceptions import ClientError

    try:
        head = s3.head_object(Bucket=bucket, Key=key, **({"VersionId": version_id} if version_id else {}))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchVersion", "405", "MethodNotAllowed", "400"):
            return None
        raise
    return str(head["ETag"]).strip('"')


def merge_again(access: AwsAccess, platform: Platform, model: str, manifest: str) -> None:
    """Run the merge of a manifest to its end.

    Raises:
        MergeAgainError: it did not succeed.

    """
    job = GlueJobRun()
    handle: Handle = job.submit(
        access, model, "rebuild", {"JobName": platform.glue_job, "Arguments": {"--manifest": manifest}}
    ).handle
    while (status := job.poll(access, handle)).outcome == "running":
        time.sleep(platform.poll_seconds)
    if status.outcome != "succeeded":
        raise MergeAgainError(f"{job.title(handle)} ended {status.state}: {status.reason}")
