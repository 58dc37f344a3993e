"""Reads everything that the dataset log names again, and tells what is not as the log says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

from retraining.aws.naming import digest
from retraining.dataset.object_versions import stored_objects
from retraining.dataset.records import FileRecord, Output, Version
from retraining.dataset.state import LogState

DOCUMENTS = ("log/", "judged/", "released/", "erased/", "trained/")
_BLOCK = 1 << 20


def verify(
    s3: Any, bucket: str, prefix: str, read_state: Callable[[], LogState], say: Callable[[str], None]
) -> list[str]:
    """Check every version of a log against S3.

    Checked are: that each document of the log has the digest of its content; the arithmetic of row counts; that every object of a version
    is there with its size, entity tag and content; that the training objects hold as many rows as the log says; that no row stands twice
    in the data set, and so in no two splits, unless rows may be equal; that the lists of training objects are what their names say; that
    every landed file can still be read as it was merged; that what was erased is gone. Quarantine expires: what is there of it is checked,
    and that it is gone is said and is no mismatch.

    Args:
        s3: a boto3 S3 client.
        bucket: the data bucket.
        prefix: the model's prefix.
        read_state: reads the log.
        say: takes one line of progress per version.

    Returns:
        One line per mismatch; empty when all is well. Memory: 16 bytes a row.

    """
    listed = {
        item["Key"]: item
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for item in page.get("Contents", [])
    }
    problems = [*_documents(s3, bucket, f"{prefix}dataset/", listed), *_manifests(s3, bucket, prefix, listed)]
    try:
        state = read_state()
    except ValueError as error:  # a document that is no record any more, and is named above
        return [*problems, f"the log cannot be read: {str(error).splitlines()[0]}"]
    seen: dict[bytes, str] = {}
    for version in state.versions:
        if version.starts_anew:
            seen.clear()
        if version.version in state.erased:
            found = list(_counts(version))
            say(f"version {version.version}: erased, {len(found)} mismatch(es)")
            problems += found
            continue
        expired = {
            output.key
            for output in version.beside
            if output.key.startswith(f"{prefix}quarantine/") and output.key not in listed
        }
        found = [
            *_counts(version),
            *_objects(s3, bucket, version, listed, expired),
            *_rows(s3, bucket, version, listed, seen),
            *_landed(s3, bucket, version, listed),
        ]
        gone = f"; {len(expired)} object(s) of its quarantine have expired" if expired else ""
        say(f"version {version.version}: {version.rows['rows_accepted']} rows, {len(found)} mismatch(es){gone}")
        problems += found
    return [*problems, *_erased(s3, bucket, prefix, state)]


def _documents(s3: Any, bucket: str, root: str, listed: dict[str, Any]) -> Iterator[str]:
    """Compare the documents of the log with the digests that they carry."""
    for key in sorted(listed):
        if not key.startswith(tuple(root + folder for folder in DOCUMENTS)):
            continue
        try:
            document = json.loads(_body(s3, bucket, key))
            said = document.pop("digest", None)
        except (ValueError, AttributeError) as error:
            yield f"{key} is no JSON document: {error}"
            continue
        if said != digest(document):
            yield f"{key} has other content than when it was written: its digest is {digest(document)}, it says {said}"


def _manifests(s3: Any, bucket: str, prefix: str, listed: dict[str, Any]) -> Iterator[str]:
    """Compare the lists of training objects with the digests in their names."""
    for key in sorted(key for key in listed if key.startswith(f"{prefix}dataset/manifests/")):
        said = key.rsplit("-", 1)[-1].removesuffix(".json")
        try:
            found = digest(json.loads(_body(s3, bucket, key)))
        except ValueError as error:
            yield f"{key} is no JSON document: {error}"
            continue
        if found != said:
            yield f"{key} has other content than when it was written: its digest is {found}"


def _erased(s3: Any, bucket: str, prefix: str, state: LogState) -> Iterator[str]:
    """Look for versions of objects that the log says were removed for good."""
    if not state.erasures:
        return
    present = {(item.key, item.version_id, item.etag) for item in stored_objects(s3, bucket, prefix)}
    for erasure in state.erasures:
        for item in erasure.removed:
            if (item.key, item.version_id, item.etag) in present:
                yield f"{item.key} (version {item.version_id}) still exists, though it was to be erased: run the erasure again"


def _body(s3: Any, bucket: str, key: str) -> bytes:
    return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def _counts(version: Version) -> Iterator[str]:
    rows = version.rows
    parts = rows["rows_accepted"] + rows["rows_duplicate"] + rows["rows_quarantined"]
    if rows["rows_new"] != parts:
        yield f"version {version.version}: {rows['rows_new']} new rows, but accepted, duplicate and quarantined make {parts}"
    if sum(version.rows_by_split.values()) != rows["rows_accepted"]:
        yield f"version {version.version}: {rows['rows_accepted']} accepted rows, but the splits hold {sum(version.rows_by_split.values())}"


def _objects(s3: Any, bucket: str, version: Version, listed: dict[str, Any], expired: Collection[str]) -> Iterator[str]:
    for output in _outputs(version):
        item = listed.get(output.key)
        if output.key in expired:
            continue
        if item is None:
            yield f"version {version.version}: {output.key} is missing"
        elif item["Size"] != output.size:
            yield f"version {version.version}: {output.key} has {item['Size']} bytes, the log says {output.size}"
        elif output.etag and item["ETag"].strip('"') != output.etag:
            yield f"version {version.version}: {output.key} has other content than when it was committed"
        elif output.etag and "-" not in output.etag and _md5(s3, bucket, output.key) != output.etag:
            yield f"version {version.version}: {output.key} is damaged: its bytes are not those of its entity tag"


def _md5(s3: Any, bucket: str, key: str) -> str:
    """Return the MD5 of an object's bytes, which is its entity tag unless it came in parts or is encrypted with a key of KMS."""
    found = hashlib.md5(usedforsecurity=False)
    answer = s3.get_object(Bucket=bucket, Key=key)
    if answer.get("ServerSideEncryption", "AES256") != "AES256":
        return str(answer["ETag"]).strip('"')
    for block in answer["Body"].iter_chunks(_BLOCK):
        found.update(block)
    return found.hexdigest()


def _rows(s3: Any, bucket: str, version: Version, listed: dict[str, Any], seen: dict[bytes, str]) -> Iterator[str]:
    """Count rows, and look for one that stands in the data set twice; where a file keeps equal rows, only in another version."""
    keys = version.contract.keys if version.contract else {}
    ignored = set(keys.get("ignore") or ())
    hides_columns = any(column["name"] in ignored for column in keys.get("columns", ()))  # distinct rows may look equal
    own: dict[bytes, str] = {} if keys.get("duplicates") == "keep" else seen
    for split, outputs in version.training.items():
        count = 0
        for output in outputs:
            if output.key not in listed:
                continue
            for row in _records(s3.get_object(Bucket=bucket, Key=output.key)["Body"]):
                count += 1
                mark = hashlib.sha256(row).digest()[:16]
                if mark in seen and not hides_columns:
                    shown = row.decode("utf-8", "replace")
                    yield f"version {version.version}: a row of {output.key} stands in {seen[mark]} already: {shown}"
                own[mark] = output.key
        if count != version.rows_by_split.get(split, 0):
            yield f"version {version.version}: split {split} holds {count} rows, the log says {version.rows_by_split.get(split, 0)}"
    seen |= own


def _records(body: Any) -> Iterator[bytes]:
    """Yield the rows of a CSV object; a text in quotes may hold line ends."""
    held = b""
    for line in body.iter_lines(keepends=True):
        held += line
        if held.count(b'"') % 2 == 0:
            yield held.rstrip(b"\n")
            held = b""
    if held:
        yield held


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
    yield from version.beside
