"""S3 buckets as folders for one Spark job.

Spark reads and writes ``s3://`` paths in a private copy of each bucket. `publish` brings changes of the folder to S3,
`refresh` brings changes of S3 to the folder; both compare with what they saw last, so neither undoes what somebody
else wrote to S3 meanwhile. While nobody else writes, only the object that the job itself wrote is looked at. The
account makes the copy, because S3A would read only what the job asks for; what Spark wrote goes to S3 in the job's role.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_aws.shared.errors import JobError
from local_aws.shared.sandbox import S3Files, safe_join
from local_aws.shared.settings import Settings

_LOG = logging.getLogger(__name__)

#: (size, time of modification in ns, inode): differs after every way in which Spark replaces a file.
_Stamp = tuple[int, int, int]


#: Of a file name, on the file systems of Linux.
_MAX_NAME_BYTES = 255


class StagedBucket:
    """One bucket and its folder."""

    def __init__(self, settings: Settings, reader: Any, writer: Any, bucket: str, folder: Path) -> None:
        self.bucket = bucket
        self.folder = folder
        self._writer = writer
        self._files = S3Files(reader)
        self._objects = settings.data_dir / "s3" / settings.account / bucket
        self._seen: dict[str, _Stamp] = {}
        self._etags: dict[str, str] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Copy what is new or changed in S3 to the folder, and remove what is gone."""
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = set()
            for item in self._files.keys(self.bucket, ""):
                found.add(item["Key"])
                self._take(item)
            for key in set(self._etags) - found:
                self._forget(key)

    def refresh_object(self, key: str) -> None:
        """Do so for one object."""
        if key.endswith("/"):
            return
        with self._lock:
            item = self._files.find(self.bucket, key)
            if item:
                self._take(item)
            elif key in self._etags:
                self._forget(key)

    def _take(self, item: dict[str, Any]) -> None:
        """Copy an object of S3 unless it is known."""
        key, etag = item["Key"], item["ETag"]
        if self._etags.get(key) == etag:
            return
        self._etags[key] = etag
        if (path := self._path(key)) is not None:
            self._copy(key, etag, item["Size"], path)
            self._seen[key] = _stamp(path.stat())
        else:
            _LOG.warning("s3://%s/%s is not the path of a file: Spark does not see it", self.bucket, key)

    def _forget(self, key: str) -> None:
        """Remove an object that is gone."""
        if self._seen.pop(key, None) is not None:
            safe_join(self.folder, key).unlink(missing_ok=True)
        del self._etags[key]

    def _path(self, key: str) -> Path | None:
        """Return where a key lies in the folder; None for one that is no path, such as ``a//b`` or ``../a``, which stays in S3 alone."""
        parts = key.split("/")
        if any(part in ("", ".", "..") or len(part.encode()) > _MAX_NAME_BYTES for part in parts) or "\0" in key:
            return None
        path = safe_join(self.folder, key)
        return None if path.is_dir() or any(parent.is_file() for parent in path.parents) else path

    def _copy(self, key: str, etag: str, size: int, path: Path) -> None:
        """Copy an object: from MiniStack's file if that is the listed version, else through the API."""
        path.parent.mkdir(parents=True, exist_ok=True)
        source = safe_join(self._objects, key)
        try:
            meta = json.loads(source.with_name(source.name + ".meta.json").read_text())
            if meta["etag"].strip('"') == etag.strip('"') and source.stat().st_size == size:
                shutil.copyfile(source, path)
                return
        except (OSError, ValueError, KeyError):
            pass
        self._files.download(self.bucket, key, path)

    def publish(self) -> int:
        """Copy what is new or changed in the folder to S3 and delete what is gone; return how many changed."""
        changes = 0
        with self._lock:
            present = set()
            for key, path, stamp in sorted(_files_below(self.folder)):
                if _is_scratch(key):
                    continue
                present.add(key)
                if self._seen.get(key) != stamp:
                    with Path(path).open("rb") as file:
                        answer = self._writer.put_object(Bucket=self.bucket, Key=key, Body=file)
                    self._seen[key], self._etags[key] = stamp, answer["ETag"]
                    changes += 1
            for key in set(self._seen) - present:
                self._writer.delete_object(Bucket=self.bucket, Key=key)
                del self._seen[key]
                self._etags.pop(key, None)
                changes += 1
        return changes


def _files_below(folder: Path) -> Iterator[tuple[str, str, _Stamp]]:
    """Yield key, path and stamp of each file below a folder; links are none. A job asks S3 often, and a bucket may have thousands."""
    waiting = [(str(folder), "")]
    while waiting:
        path, prefix = waiting.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{prefix}{entry.name}/"))
                elif entry.is_file(follow_symlinks=False):
                    yield f"{prefix}{entry.name}", entry.path, _stamp(entry.stat(follow_symlinks=False))


def _stamp(status: os.stat_result) -> _Stamp:
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def _is_scratch(key: str) -> bool:
    """Return whether Spark itself would not regard the file as output."""
    parts = key.split("/")
    return any(part in ("_temporary", ".spark-staging") or part.startswith(".spark-staging-") for part in parts) or (
        parts[-1].startswith(".") and parts[-1].endswith(".crc")
    )


class Staging:
    """All staged buckets of one job."""

    def __init__(self, settings: Settings, reader: Any, writer: Any, root: Path, buckets: list[str]) -> None:
        """`reader` and `writer` are S3 clients: the account's, and that of the job's role."""
        self.root = root
        self.buckets = [StagedBucket(settings, reader, writer, bucket, root / bucket) for bucket in buckets]
        #: Whether somebody else has written to S3 since the folders were compared with it.
        self.outdated = False

    def refresh(self, changed: tuple[str, str] | None = None) -> None:
        """Bring changes of S3 to the folders.

        Args:
            changed: bucket and key of the object that the job itself has changed, if it was one; others are looked at when somebody else
                has written.

        """
        if self.outdated:
            changed, self.outdated = None, False  # what is written from now on is told anew
        for bucket in self.buckets:
            try:
                if changed is None:
                    bucket.refresh()
                elif bucket.bucket == changed[0]:
                    bucket.refresh_object(changed[1])
            except ClientError as error:
                raise JobError(f"cannot stage s3://{bucket.bucket}: {error}") from error

    def publish(self) -> int:
        """Bring changes of the folders to S3; return how many objects changed."""
        changes = 0
        for bucket in self.buckets:
            try:
                changes += bucket.publish()
            except ClientError as error:
                raise JobError(f"cannot write to s3://{bucket.bucket}: {error}") from error
        return changes
