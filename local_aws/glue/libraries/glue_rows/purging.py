"""Old objects of S3, deleted by a job that no longer wants them."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Mapping
from typing import Any

import boto3

_WEEK_HOURS = 168
_AT_ONCE = 1000


@functools.cache
def _s3() -> Any:
    return boto3.client("s3")


def purge(uri: str, options: Mapping[str, Any]) -> bool:
    """Delete the objects below a path that are older than ``retentionPeriod`` hours; return whether none is left.

    Raises:
        NotImplementedError: a manifest of the deleted objects is asked for.
        ValueError: the path is no S3 URI.

    """
    if options.get("manifestFilePath"):
        raise NotImplementedError("manifestFilePath: local_aws writes no manifest of what it purges")
    match = re.fullmatch(r"s3[an]?://([^/]+)/?(.*)", uri)
    if not match:
        raise ValueError(f"{uri} is not an S3 URI of the form s3://bucket/key")
    bucket, prefix = match.groups()
    hours = float(options.get("retentionPeriod", _WEEK_HOURS))
    limit = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=hours)
    kept = set(options.get("excludeStorageClasses", ()))
    old, left = [], False
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    for page in _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if item["Key"] != prefix and not item["Key"].startswith(folder):
                continue  # another name with the same beginning
            # A whole second: S3 tells no finer time.
            if item["LastModified"] > limit + datetime.timedelta(seconds=1) or item.get("StorageClass") in kept:
                left = True
            else:
                old.append({"Key": item["Key"]})
    for start in range(0, len(old), _AT_ONCE):
        _s3().delete_objects(Bucket=bucket, Delete={"Objects": old[start : start + _AT_ONCE], "Quiet": True})
    return not left
