"""Gives what the SageMaker SDK uploaded a place that is named by its content.

The SDK uploads code below a prefix that carries the job's name, and with it the time of day. A request that points there differs from run
to run, and so would its digest. Here the files move to ``.../code/sdk/DIGEST/``, and the request follows them.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from retraining.aws.documents import split_uri
from retraining.aws.naming import canonical_json, digest, file_digest

Location = tuple[str, str]
"""Bucket and key of an object."""
INPUTS = ("InputDataConfig", "ProcessingInputs", "TransformInput")
COPIES_AT_A_TIME = 8
_DATED = re.compile(r".*\d{4}-?\d{2}-?\d{2}(-?\d+)*")


@dataclass(frozen=True)
class Stored:
    """An object's content, and how it was encrypted."""

    body: bytes
    encryption: Mapping[str, str]


def replaced_strings(value: Any, replace: Callable[[str], str]) -> Any:
    """Return a copy of a JSON-like value with every string (values, not keys) replaced."""
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, Mapping):
        return {key: replaced_strings(item, replace) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [replaced_strings(item, replace) for item in value]
    return value


def without_name(request: Mapping[str, Any], name: str, stem: str) -> dict[str, Any]:
    """Replace a name with a time of day inside a request, such as in a default output path, by one that follows from the content."""
    if not is_dated(name):
        return dict(request)
    anonymous = replaced_strings(request, lambda text: text.replace(name, ""))
    lasting = f"{stem}-{digest(anonymous)}"
    return dict(replaced_strings(request, lambda text: text.replace(name, lasting)))


def is_dated(name: str) -> bool:
    """Tell whether the SDK made up a job's name: it then ends with date and time."""
    return _DATED.fullmatch(name) is not None


def content(name: str, body: bytes) -> bytes:
    """Return what counts of a file: of a tar archive its files and their contents, not their times and owners."""
    if not name.endswith((".tar.gz", ".tgz", ".tar")):
        return body
    try:
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            members = {
                member.name: hashlib.sha256(file.read() if (file := archive.extractfile(member)) else b"").hexdigest()
                for member in archive
                if not _is_cache(member.name)
            }
    except (tarfile.TarError, EOFError, OSError):
        return body
    return canonical_json(members).encode()


def move_uploads(
    s3: Any, request: Mapping[str, Any], uploaded: Iterable[Location], name: str, code_prefix: str
) -> tuple[dict[str, Any], list[Location]]:
    """Copy what was uploaded for a job to places named by content, and point the request's inputs there.

    Args:
        s3: client.
        request: the job's request, as the SDK made it.
        uploaded: the objects that this process wrote.
        name: the SDK's name of the job.
        code_prefix: key prefix of the new places, in the bucket of each upload.

    Returns:
        The request with new URIs, and the objects that nothing points to any more.

    """
    own = set(uploaded)
    with ThreadPoolExecutor(COPIES_AT_A_TIME) as pool:
        new_uri = cache(lambda uri: _copied(s3, pool, uri, own, code_prefix))
        inputs = {
            key: replaced_strings(request[key], lambda text: new_uri(text) if text.startswith("s3://") else text)
            for key in INPUTS
            if key in request
        }
    return {**request, **inputs}, sorted(location for location in own if is_dated(name) and name in location[1])


def delete(s3: Any, locations: Iterable[Location]) -> None:
    """Delete objects."""
    for bucket, key in locations:
        s3.delete_object(Bucket=bucket, Key=key)


def _copied(s3: Any, pool: ThreadPoolExecutor, uri: str, own: Set[Location], code_prefix: str) -> str:
    """Copy what a URI stands for; return its new URI, or the old one when the objects there are not this process's alone."""
    bucket, key = split_uri(uri)
    base = key.rstrip("/")
    if not any(place == bucket and name.startswith(base) for place, name in own):
        return uri
    listed = _listed(s3, bucket, base)
    below = [name for name in listed if name == key or name.startswith(f"{base}/")]
    if not below or any((bucket, name) not in own for name in below):
        return uri
    needed = [name for name in below if not _is_cache(name)]
    files = dict(zip(needed, pool.map(lambda name: _read(s3, bucket, name), needed), strict=True))
    last = base.rsplit("/", 1)[-1]
    contents = {name.removeprefix(base) or last: content(name, item.body) for name, item in files.items()}
    place = f"{code_prefix}{file_digest(contents)}/{last}"
    present = _listed(s3, bucket, place)
    wanted = {place + name.removeprefix(base): item for name, item in files.items()}
    list(pool.map(lambda name: _write(s3, bucket, name, wanted[name]), set(wanted) - set(present)))
    return f"s3://{bucket}/{place}{key[len(base) :]}"


def _listed(s3: Any, bucket: str, prefix: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def _read(s3: Any, bucket: str, key: str) -> Stored:
    answer = s3.get_object(Bucket=bucket, Key=key)
    names = ("ServerSideEncryption", "SSEKMSKeyId") if answer.get("ServerSideEncryption") == "aws:kms" else ()
    return Stored(answer["Body"].read(), {name: answer[name] for name in names if name in answer})


def _write(s3: Any, bucket: str, key: str, item: Stored) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=item.body, **item.encryption)


def _is_cache(name: str) -> bool:
    return "__pycache__" in name.split("/")
