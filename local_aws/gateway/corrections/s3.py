"""S3: conditions and refusals of copies and of uploads in parts, types, tags, ranges."""

from __future__ import annotations

import importlib
import re
from typing import Any
from urllib.parse import unquote

_SMALLEST_PART = 5 * 1024 * 1024
_PART = re.compile(rb"<(?:\w+:)?PartNumber>\s*(\d+)\s*<")
_UPLOAD = re.compile(rb"<UploadId>([^<]+)<")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def mend() -> None:
    """Mend all of S3 that this module knows."""
    s3: Any = importlib.import_module("ministack.services.s3")
    respect_conditions_of_copies(s3)
    give_objects_their_type(s3)
    check_parts(s3)
    tell_ranges(s3)


def respect_conditions_of_copies(s3: Any) -> None:
    """Let CopyObject look at If-Match and If-None-Match of its target, and refuse a copy onto itself that changes nothing."""
    original = s3._copy_object

    def copy(bucket: str, key: str, headers: dict[str, str]) -> Any:
        target = s3._ensure_bucket(bucket)
        if target is not None and (refused := s3._check_put_preconditions(headers, target.get("objects", {}).get(key))):
            return refused
        source = unquote(headers.get("x-amz-copy-source", "").lstrip("/"))
        if source == f"{bucket}/{key}" and not _changes_something(headers):
            return s3._error(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
                "metadata, storage class, website redirect location or encryption attributes.",
                400,
            )
        return original(bucket, key, headers)

    s3._copy_object = copy


def _changes_something(headers: dict[str, str]) -> bool:
    changing = ("x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-server-side-encryption")
    directives = ("x-amz-metadata-directive", "x-amz-tagging-directive")
    return any(name in headers for name in changing) or any(headers.get(name) == "REPLACE" for name in directives)


def give_objects_their_type(s3: Any) -> None:
    """Let objects without a type be ``binary/octet-stream``."""
    put, create = s3._put_object, s3._create_multipart_upload
    default = {"content-type": "binary/octet-stream"}
    s3._put_object = lambda bucket, key, body, headers: put(bucket, key, body, default | headers)
    s3._create_multipart_upload = lambda bucket, key, headers: create(bucket, key, default | headers)


def check_parts(s3: Any) -> None:
    """Refuse parts that are out of order or too small, and give the object the tags with which its upload began."""
    create, complete = s3._create_multipart_upload, s3._complete_multipart_upload
    tags: dict[str, str] = {}

    def begin(bucket: str, key: str, headers: dict[str, str]) -> Any:
        answer = create(bucket, key, headers)
        if headers.get("x-amz-tagging") and (match := _UPLOAD.search(answer[2])):
            tags[match[1].decode()] = headers["x-amz-tagging"]
        return answer

    def end(bucket: str, key: str, body: bytes, query: Any, headers: Any = None) -> Any:
        numbers = [int(number) for number in _PART.findall(body)]
        upload_id = s3._qp(query, "uploadId")
        if numbers != sorted(set(numbers)):
            return s3._error(
                "InvalidPartOrder",
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
                400,
            )
        parts = s3._multipart_uploads.get(upload_id, {}).get("parts", {})
        sizes = [len(parts[number]["body"]) for number in numbers if number in parts]
        if any(size < _SMALLEST_PART for size in sizes[:-1]):
            return s3._error(
                "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.", 400
            )
        answer = complete(bucket, key, body, query, headers)
        if answer[0] == 200 and (given := tags.pop(upload_id, "")):
            pairs = [pair.partition("=") for pair in given.split("&") if pair]
            items = "".join(f"<Tag><Key>{unquote(n)}</Key><Value>{unquote(v)}</Value></Tag>" for n, _, v in pairs)
            document = f"<Tagging><TagSet>{items}</TagSet></Tagging>"
            s3._put_object_tagging(bucket, key, document.encode(), {})
        return answer

    s3._create_multipart_upload, s3._complete_multipart_upload = begin, end


def tell_ranges(s3: Any) -> None:
    """Let HeadObject answer a range as GetObject does."""
    original = s3._head_object

    def head(bucket: str, key: str, headers: Any = None, query_params: Any = None) -> Any:
        status, answered, body = original(bucket, key, headers, query_params)
        match = _RANGE.fullmatch((headers or {}).get("range", ""))
        length = next((name for name in answered if name.lower() == "content-length"), None)
        if status != 200 or match is None or length is None:
            return status, answered, body
        size = int(answered[length])
        first = int(match[1]) if match[1] else max(0, size - int(match[2] or 0))
        last = min(size - 1, int(match[2]) if match[1] and match[2] else size - 1)
        if first > last:
            return 416, {**answered, length: "0"}, b""
        return 206, {**answered, length: str(last - first + 1), "Content-Range": f"bytes {first}-{last}/{size}"}, body

    s3._head_object = head
