"""Small JSON documents in S3: manifests, plans, decisions, summaries."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://`` URI.

    Raises:
        ValueError: it is not such a URI.

    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"{uri!r} is not an s3:// URI")
    return bucket, key


def get_json(s3: Any, uri: str) -> Any:
    """Read a JSON document.

    Raises:
        LookupError: it does not exist.

    """
    bucket, key = split_uri(uri)
    try:
        return json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except s3.exceptions.NoSuchKey as error:
        raise LookupError(f"{uri} does not exist") from error


def put_json(s3: Any, uri: str, document: Any) -> str:
    """Write a JSON document and return its URI."""
    bucket, key = split_uri(uri)
    body = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode()
    s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
    return uri


def put_json_once(s3: Any, uri: str, document: Any) -> Any:
    """Write a document that does not exist yet; return what stands there, which is the first writer's."""
    from botocore.exceptions import ClientError

    bucket, key = split_uri(uri)
    body = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode()
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise
        return get_json(s3, uri)
    return json.loads(body)


def put_bytes_once(s3: Any, uri: str, body: bytes, content_type: str) -> str:
    """Write an object whose name carries its content's digest, unless it is there already."""
    from botocore.exceptions import ClientError

    bucket, key = split_uri(uri)
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise
    return uri


def copy_as_listed(s3: Any, bucket: str, key: str, etag: str, target: str) -> bool:
    """Copy an object of at most 5 GB within a bucket as it was listed; return False when it has changed or gone since.

    Args:
        s3: client.
        bucket: of both.
        key: of the object.
        etag: that it was listed with, without quotes.
        target: key of the copy.

    """
    from botocore.exceptions import ClientError

    try:
        s3.copy_object(
            Bucket=bucket,
            Key=target,
            CopySource={"Bucket": bucket, "Key": key},
            CopySourceIfMatch=f'"{etag}"',
            TaggingDirective="REPLACE",  # to copy tags would need leave to read them
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("PreconditionFailed", "NoSuchKey", "404", "412"):
            raise
        return False
    return True


def put_bytes_under_free_name(s3: Any, uris: Iterable[str], body: bytes, content_type: str) -> str:
    """Write an object under the first of some names that is free; return its URI. Nothing that stands is overwritten.

    A name under which just this content stands is taken for the work of an earlier try.

    Raises:
        FileExistsError: other objects stand under all of them.

    """
    from botocore.exceptions import ClientError

    tried = []
    for uri in uris:
        bucket, key = split_uri(uri)
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            standing = s3.get_object(Bucket=bucket, Key=key)
            if standing["ContentLength"] != len(body) or standing["Body"].read() != body:
                tried.append(uri)
                continue
        return uri
    raise FileExistsError(
        f"other files stand under {tried[0]} and the {len(tried) - 1} names after it; try again later"
    )


def utc_now() -> str:
    """Return the time that documents carry: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
