"""Folders that stand for a container's file system, and safe ways into them.

Nothing that comes from a request, an S3 key or an archive may name a path outside the folder of its job.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_aws.shared.errors import JobError

#: A key may be what no file name is: longer than one may be, or the name of a file and of a folder.
_NO_FILE_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)

#: Takes (key, file) pairs and returns some of them.
Chosen = Callable[[list[tuple[str, Path]]], list[tuple[str, Path]]]

_CONTAINER_ROOT = re.compile(r"/opt/ml(?=/|$|[^A-Za-z0-9._-])")
_CONTAINER_PATH = re.compile(r"/opt/ml(/[^\s\"'`,;:|&<>()\[\]{}=]*)")


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key`` into bucket and key (the key may be empty); JobError for anything else."""
    match = re.fullmatch(r"s3a?://([^/]+)(?:/(.*))?", uri, re.DOTALL)
    if not match:
        raise JobError(f"{uri} is not an S3 URI of the form s3://bucket/key")
    return match.group(1), match.group(2) or ""


def safe_join(root: Path, relative: str) -> Path:
    """Return `root` / `relative`; JobError when that would leave `root`."""
    parts = relative.split("/")
    if relative.startswith("/") or ".." in parts or "\0" in relative:
        raise JobError(f"the name {relative!r} points outside of the folder it belongs to")
    return root.joinpath(*[part for part in parts if part not in ("", ".")])


class Sandbox:
    """The folder that one job sees as its container: `/opt/ml` lives at ``root/opt/ml``.

    A job that is `isolated` sees it at /opt/ml; for others the paths are mapped in what a request says.
    """

    def __init__(self, root: Path, isolated: bool = False) -> None:
        self.root = root
        self.isolated = isolated

    def seen(self, path: Path) -> Path:
        """Return where the job sees a path below its /opt/ml."""
        return Path("/opt/ml") / path.relative_to(self.ml) if self.isolated else path

    @property
    def ml(self) -> Path:
        """Return the folder that stands for /opt/ml."""
        return self.root / "opt" / "ml"

    def local(self, container_path: str) -> Path:
        """Return where a container path under /opt/ml lies on this machine."""
        if container_path.rstrip("/") != "/opt/ml" and not container_path.startswith("/opt/ml/"):
            raise JobError(f"the path {container_path} is not under /opt/ml, the only folder that local_aws maps")
        return safe_join(self.ml, container_path.removeprefix("/opt/ml").lstrip("/"))

    def map_text(self, text: str) -> str:
        """Return `text` with every /opt/ml in it replaced by the folder at which the job sees it.

        JobError when a path in it climbs out of /opt/ml: here it would not end in the container but in the user's files.
        """
        for match in _CONTAINER_PATH.finditer(text):
            depth = 0
            for part in match.group(1).split("/"):
                depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
                if depth < 0:
                    raise JobError(f"the path {match.group(0)} leaves /opt/ml, the only folder that local_aws maps")
        return text if self.isolated else _CONTAINER_ROOT.sub(str(self.ml), text)

    def map_script(self, path: Path) -> None:
        """Replace /opt/ml in a text file of the container, which a shell or an interpreter is about to run as it stands."""
        text = path.read_bytes().decode(errors="surrogateescape")
        path.write_bytes(self.map_text(text).encode(errors="surrogateescape"))

    def output(self, path: Path) -> Path:
        """Return a path that the job left; JobError when the job put a link in its place or above it: it leads to files of this machine."""
        for part in (path, *path.parents):
            if part == self.root:
                return path
            if part.is_symlink():
                raise JobError(
                    f"{path.relative_to(self.root)} is a link, or lies behind one; local_aws uploads no links"
                )
        raise JobError(f"{path} lies outside of the job's folder")

    def remove(self) -> None:
        """Delete the container's folders."""
        shutil.rmtree(self.root, ignore_errors=True)


def remove_leftovers(jobs: Path) -> None:
    """Delete the working folders that a killed process left below the jobs folder; logs stay."""
    for pattern in ("*-job/*/container*", "endpoint/*/container-*", "glue/*/*/work", "glue/.spares/*", ".spares/*"):
        for folder in jobs.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


def pack_folder(folder: Path, archive: Path) -> None:
    """Write the contents of `folder` as a gzip-compressed tar file with paths relative to it."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=4) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)


def _reason(error: ClientError) -> str:
    """Return S3's error code, and its words where the code alone does not say who may not do what."""
    code, message = error.response["Error"].get("Code"), error.response["Error"].get("Message")
    return f"{code}: {message}" if code == "AccessDenied" else str(code)


class S3Files:
    """Copies between S3 and folders of jobs, through the S3 API of the account."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def keys(self, bucket: str, prefix: str) -> list[dict[str, Any]]:
        """Return the objects (Key, Size, ETag, LastModified) below a prefix, folder markers left out."""
        objects: list[dict[str, Any]] = []
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                objects += [item for item in page.get("Contents", []) if not item["Key"].endswith("/")]
        except ClientError as error:
            raise JobError(f"cannot list s3://{bucket}/{prefix}: {_reason(error)}") from error
        return objects

    def find(self, bucket: str, key: str) -> dict[str, Any] | None:
        """Return an object (Key, Size, ETag) if it is there."""
        try:
            found = self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return None
            raise JobError(f"cannot read s3://{bucket}/{key}: {_reason(error)}") from error
        return {"Key": key, "Size": found["ContentLength"], "ETag": found["ETag"]}

    def exists(self, uri: str) -> bool:
        """Return whether any object lies at or below an S3 URI."""
        try:
            bucket, prefix = parse_s3_uri(uri)
            return bool(self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount"))
        except (ClientError, JobError):
            return False

    def download(self, bucket: str, key: str, target: Path) -> None:
        """Copy one object to a file."""
        try:
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            raise JobError(f"cannot read s3://{bucket}/{key}: {_reason(error)}") from error
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(body, file, 1 << 20)
        except OSError as error:
            if error.errno not in _NO_FILE_NAME:
                raise
            raise JobError(f"s3://{bucket}/{key[:200]} is not the name of a file: {error.strerror}") from error

    def require_etag(self, uri: str, etag: str) -> None:
        """Raise JobError unless the object at an S3 URI has this ETag: it was replaced after somebody had looked at it."""
        bucket, key = parse_s3_uri(uri)
        try:
            found = self._client.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
        except ClientError as error:
            raise JobError(f"cannot read {uri}: {_reason(error)}") from error
        if found != etag.strip('"'):
            raise JobError(f"the ETag of {uri} is {found}, the model was made with {etag}: the artifact was replaced")

    def download_uri(self, uri: str, target: Path) -> None:
        """Copy the object of an S3 URI to a file."""
        self.download(*parse_s3_uri(uri), target)

    def download_all(self, bucket: str, files: Iterable[tuple[str, Path]]) -> int:
        """Copy (key, file) pairs, some at a time; return how many."""
        pairs = list(files)
        if len(pairs) == 1:
            self.download(bucket, *pairs[0])
        elif pairs:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda pair: self.download(bucket, *pair), pairs))
        return len(pairs)

    def download_prefix(self, uri: str, folder: Path, chosen: Chosen = list) -> int:
        """Copy the objects below a prefix into `folder`, as SageMaker's S3Prefix does: all, or those that `chosen` returns of them.

        JobError when there are none.
        """
        bucket, prefix = parse_s3_uri(uri)
        pairs = [
            (item["Key"], safe_join(folder, relative_key(item["Key"], prefix))) for item in self.keys(bucket, prefix)
        ]
        if not pairs:
            raise JobError(f"no S3 objects found under {uri}")
        folder.mkdir(parents=True, exist_ok=True)
        return self.download_all(bucket, chosen(pairs))

    def manifest(self, uri: str) -> tuple[str, list[str]]:
        """Return the prefix (S3 URI) of a ManifestFile and the names below it: ``[{"prefix": "s3://b/p/"}, "a.csv", ...]``."""
        bucket, key = parse_s3_uri(uri)
        try:
            entries = json.loads(self._client.get_object(Bucket=bucket, Key=key)["Body"].read())
            parse_s3_uri(entries[0]["prefix"])
            return entries[0]["prefix"], [str(entry) for entry in entries[1:]]
        except ClientError as error:
            raise JobError(f"cannot read the manifest {uri}: {_reason(error)}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise JobError(
                f'the manifest {uri} is not JSON of the form [{{"prefix": "s3://b/p/"}}, "file", ...]'
            ) from error

    def download_manifest(self, uri: str, folder: Path, chosen: Chosen = list) -> int:
        """Copy the objects that a ManifestFile lists."""
        whole, names = self.manifest(uri)
        prefix_bucket, prefix = parse_s3_uri(whole)
        folder.mkdir(parents=True, exist_ok=True)
        pairs = [(prefix + name, safe_join(folder, name)) for name in names]
        return self.download_all(prefix_bucket, chosen(pairs))

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """Copy a file to an object."""
        try:
            with path.open("rb") as file:
                self._client.put_object(Bucket=bucket, Key=key, Body=file)
        except ClientError as error:
            raise JobError(f"cannot write s3://{bucket}/{key}: {_reason(error)}") from error

    def upload_folder(self, folder: Path, uri: str) -> int:
        """Copy all files below `folder` to keys below an S3 URI; return how many."""
        bucket, prefix = parse_s3_uri(uri)
        base = prefix.rstrip("/")
        count = 0
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                name = path.relative_to(folder).as_posix()
                self.upload(path, bucket, f"{base}/{name}" if base else name)
                count += 1
        return count


def relative_key(key: str, prefix: str) -> str:
    """Return the path below the channel's folder at which SageMaker puts an object found through a prefix."""
    if prefix.endswith("/") or not prefix:
        return key.removeprefix(prefix)
    if key.startswith(prefix + "/"):
        return key[len(prefix) + 1 :]
    return key[prefix.rfind("/") + 1 :]
