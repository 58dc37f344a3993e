"""Objects by URI: s3:// through boto3, everything else as local files."""

from __future__ import annotations

import io
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from glue_scripts.merge.manifest import ManifestError, SourceFile

FILES_AT_ONCE = 16
WHOLE = 1 << 20  # an object of so many bytes is read at once
BUFFER = 64 << 10  # the least that is read of a larger one
_GONE = ("PreconditionFailed", "412", "NoSuchKey", "404", "InvalidRange")


class Storage:
    """Reads and writes objects by URI."""

    def __init__(self) -> None:
        self._client: Any = None

    @property
    def s3(self) -> Any:
        """The boto3 client, made when it is first needed."""
        if self._client is None:
            import boto3

            self._client = boto3.client("s3")
        return self._client

    def read(self, uri: str) -> bytes:
        """Read the whole object."""
        bucket, key = locate(uri)
        if bucket is None:
            return Path(key).read_bytes()
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def write(self, uri: str, body: bytes, kind: str = "application/json") -> None:
        """Replace the object."""
        bucket, key = locate(uri)
        if bucket is not None:
            self.s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=kind)
            return
        Path(key).parent.mkdir(parents=True, exist_ok=True)
        partial = Path(f"{key}.{uuid.uuid4().hex}")
        partial.write_bytes(body)
        partial.replace(key)

    def listed(self, folder: str) -> dict[str, int]:
        """Return the objects below a folder, a URI that ends in a slash: relative name to bytes."""
        bucket, key = locate(folder)
        if bucket is None:
            paths = (path for path in Path(key).rglob("*") if path.is_file())
            return {path.relative_to(key).as_posix(): path.stat().st_size for path in paths}
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        return {item["Key"].removeprefix(key): item["Size"] for page in pages for item in page.get("Contents", ())}

    def delete(self, uri: str) -> None:
        """Remove the object."""
        bucket, key = locate(uri)
        if bucket is None:
            Path(key).unlink()
        else:
            self.s3.delete_object(Bucket=bucket, Key=key)

    def replace_folder(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Make the files, by relative name, all that there is below a folder. One that has the right bytes already is not touched."""
        present = self.listed(f"{folder}/")

        def put(name: str) -> None:
            body = files[name]
            if present.get(name) != len(body) or self.read(f"{folder}/{name}") != body:
                self.write(f"{folder}/{name}", body, "binary/octet-stream")

        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            list(pool.map(put, files))
            list(pool.map(lambda name: self.delete(f"{folder}/{name}"), present.keys() - files.keys()))

    @contextmanager
    def opened(self, uri: str, size: int) -> Iterator[BinaryIO]:
        """Open an object of so many bytes to read some parts of it."""
        bucket, key = locate(uri)
        if bucket is None:
            with Path(key).open("rb") as stream:
                yield stream
        elif size <= WHOLE:
            yield io.BytesIO(self.read(uri))
        else:
            yield io.BufferedReader(_Ranges(self.s3, bucket, key, size), BUFFER)

    @contextmanager
    def stream(self, file: SourceFile) -> Iterator[BinaryIO]:
        """Open a source file as a stream, provided it is still the one the manifest lists.

        Raises:
            ManifestError: the file is gone or was replaced.

        """
        bucket, key = locate(file.uri)
        if bucket is None:
            path = Path(key)
            if not path.is_file() or path.stat().st_size != file.size:
                raise ManifestError(changed(file))
            with path.open("rb") as stream:
                yield stream
            return
        from botocore.exceptions import ClientError

        match = {"IfMatch": f'"{file.etag.strip(chr(34))}"'} if file.etag else {}
        try:
            body = self.s3.get_object(Bucket=bucket, Key=key, **match)["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                raise ManifestError(changed(file)) from error
            raise
        with closing(body):
            yield body

    def confirm(self, file: SourceFile) -> None:
        """Look again at a source file after it was read: Spark read whatever was there at that moment.

        Raises:
            ManifestError: the file is gone or was replaced meanwhile.

        """
        bucket, key = locate(file.uri)
        if bucket is None:
            if not Path(key).is_file() or Path(key).stat().st_size != file.size:
                raise ManifestError(changed(file))
            return
        from botocore.exceptions import ClientError

        try:
            etag = self.s3.head_object(Bucket=bucket, Key=key)["ETag"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                raise ManifestError(changed(file)) from error
            raise
        if file.etag and etag.strip('"') != file.etag.strip('"'):
            raise ManifestError(changed(file))

    def is_folder(self, file: SourceFile) -> bool:
        """Whether the key of a file is a folder of other objects, too."""
        bucket, key = locate(file.uri)
        if bucket is None:
            return False
        listed = self.s3.list_objects_v2(Bucket=bucket, Prefix=f"{key}/", MaxKeys=1)
        return bool(listed.get("Contents"))

    def copy(self, file: SourceFile, uri: str) -> None:
        """Copy a source file to another place without reading it."""
        bucket, key = locate(file.uri)
        to_bucket, to_key = locate(uri)
        if bucket is None:
            Path(to_key).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(key, to_key)
        else:
            self.s3.copy({"Bucket": bucket, "Key": key}, to_bucket, to_key)

    def upload(self, path: Path, uri: str) -> None:
        """Bring a local file to a URI."""
        bucket, key = locate(uri)
        if bucket is None:
            Path(key).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, key)
        else:
            self.s3.upload_file(str(path), bucket, key)


class _Ranges(io.RawIOBase):
    """An object of S3 that is read where it is asked for."""

    def __init__(self, client: Any, bucket: str, key: str, size: int) -> None:
        self._client, self._bucket, self._key, self._size = client, bucket, key, size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        last = min(self._size, self._place + len(buffer)) - 1
        if last < self._place:
            return 0
        found = self._client.get_object(Bucket=self._bucket, Key=self._key, Range=f"bytes={self._place}-{last}")
        body = found["Body"].read()
        buffer[: len(body)] = body
        self._place += len(body)
        return len(body)


def changed(file: SourceFile) -> str:
    """Message for a file that no longer is what the manifest lists."""
    return f"{file.uri} was removed or replaced after it was listed (etag {file.etag}): start a new run, which lists it again"


def locate(uri: str) -> tuple[str | None, str]:
    """(bucket, key) of an s3:// URI, (None, local path) of a file: URI or a plain path."""
    if uri.startswith("s3://"):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bucket, key
    return None, re.sub(r"^file:/*", "/", uri)
