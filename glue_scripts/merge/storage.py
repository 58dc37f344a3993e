"""Objects by URI: s3:// through boto3, everything else as local files."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from glue_scripts.merge.manifest import ManifestError, SourceFile

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

    def write(self, uri: str, body: bytes) -> None:
        """Replace the object."""
        bucket, key = locate(uri)
        if bucket is not None:
            self.s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
            return
        Path(key).parent.mkdir(parents=True, exist_ok=True)
        partial = Path(f"{key}.{uuid.uuid4().hex}")
        partial.write_bytes(body)
        partial.replace(key)

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


def changed(file: SourceFile) -> str:
    """Message for a file that no longer is what the manifest lists."""
    return f"{file.uri} was removed or replaced after it was listed (etag {file.etag}): start a new run, which lists it again"


def locate(uri: str) -> tuple[str | None, str]:
    """(bucket, key) of an s3:// URI, (None, local path) of a file: URI or a plain path."""
    if uri.startswith("s3://"):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bucket, key
    return None, re.sub(r"^file:/*", "/", uri)
