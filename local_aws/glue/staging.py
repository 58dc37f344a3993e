"""S3 buckets as folders for one Spark job.

Spark reads and writes ``s3://`` paths in a private copy of each bucket. `publish` brings changes of the folder to S3,
`refresh` brings changes of S3 to the folder; both compare with what they saw last, so neither undoes what somebody
else wrote to S3 meanwhile. While nobody else writes, only the object that the job itself wrote is looked at. The
account makes the copy, because S3A would read only what the job asks for; what Spark wrote goes to S3 in the job's role.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_aws.shared.errors import JobError
from local_aws.shared.sandbox import S3Files, safe_join
from local_aws.shared.settings import Settings

_LOG = logging.getLogger(__name__)

#: (size, time of modification in ns, inode): differs after every way in which Spark replaces a file.
_Stamp = tuple[int, int, int]


#: Where the folders lie in that of a job.
STAGED = "s3"
#: Of a file name, on the file systems of Linux.
_MAX_NAME_BYTES = 255
#: Of a bucket that is copied before a job wants it: a larger one would hold too much of the disk for nothing.
_AHEAD_BYTES = 256 << 20


class StagedBucket:
    """One bucket and its folder."""

    def __init__(self, settings: Settings, reader: Any, bucket: str, folder: Path) -> None:
        self.bucket = bucket
        self.folder = folder
        self._files = S3Files(reader)
        self._objects = settings.data_dir / "s3" / settings.account / bucket
        self._seen: dict[str, _Stamp] = {}
        self._etags: dict[str, str] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Copy what is new or changed in S3 to the folder, and remove what is gone."""
        with self._lock:
            self._bring(self._files.keys(self.bucket, ""))

    def refresh_ahead(self, wanted: Callable[[], bool]) -> None:
        """Do so for a job that is still to come, as long as that is wanted, unless the bucket is large."""
        with self._lock:
            items = self._files.keys(self.bucket, "") if wanted() else []
            if items and sum(item["Size"] for item in items) <= _AHEAD_BYTES:
                self._bring(items, wanted)

    def discard(self) -> None:
        """Delete the folder."""
        with self._lock:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _bring(self, items: Sequence[dict[str, Any]], wanted: Callable[[], bool] = lambda: True) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # First what is gone: its folder may be the name of an object now.
        for key in set(self._etags) - {item["Key"] for item in items}:
            self._forget(key)
        for item in items:
            if not wanted():
                return
            self._take(item)

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
        if (path := self._path(key)) is not None:
            self._copy(key, etag, item["Size"], path)
            self._seen[key] = _stamp(path.stat())
        else:
            _LOG.warning("s3://%s/%s is not the path of a file: Spark does not see it", self.bucket, key)
        self._etags[key] = etag

    def _forget(self, key: str) -> None:
        """Remove an object that is gone, and the folders that held nothing else."""
        if self._seen.pop(key, None) is not None:
            path = safe_join(self.folder, key)
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # one that holds something
                while (path := path.parent) != self.folder:
                    path.rmdir()
        del self._etags[key]

    def _path(self, key: str) -> Path | None:
        """Return where a key lies in the folder; None for one that is no path, such as ``a//b`` or ``../a``, which stays in S3 alone."""
        parts = key.split("/")
        if any(part in ("", ".", "..") or len(part.encode()) > _MAX_NAME_BYTES for part in parts) or "\0" in key:
            return None
        path = safe_join(self.folder, key)
        above = path.parents[: len(parts) - 1]
        return None if path.is_dir() or any(parent.is_file() for parent in above) else path

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

    def publish(self, writer: Any) -> int:
        """Copy what is new or changed in the folder to S3 and delete what is gone, with a client of S3; return how many changed."""
        changes = 0
        with self._lock:
            present = set()
            for key, path, stamp in sorted(_files_below(self.folder)):
                if _is_scratch(key):
                    continue
                present.add(key)
                if self._seen.get(key) != stamp:
                    with Path(path).open("rb") as file:
                        answer = writer.put_object(Bucket=self.bucket, Key=key, Body=file)
                    self._seen[key], self._etags[key] = stamp, answer["ETag"]
                    changes += 1
            for key in set(self._seen) - present:
                writer.delete_object(Bucket=self.bucket, Key=key)
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


class Ahead:
    """Buckets that are copied before there is a job, for the job that is given them."""

    def __init__(self, copies: Callable[[], Iterable[StagedBucket]]) -> None:
        """Ask `copies` for them when it is time to copy."""
        self._copies = copies
        self._buckets: dict[str, StagedBucket] = {}
        self._given = False
        self._lock, self._copying = threading.Lock(), threading.Lock()

    def copy(self) -> None:
        """Copy them as long as there is no job. What goes wrong is left to the job, if it still wants the bucket."""
        with self._copying:
            for bucket in self._copies():
                with self._lock:
                    if self._given:
                        return
                    self._buckets[bucket.bucket] = bucket
                try:
                    bucket.refresh_ahead(lambda: not self._given)
                except Exception as error:
                    _LOG.info("s3://%s is not copied ahead of a job: %s", bucket.bucket, error)

    def give(self) -> Mapping[str, StagedBucket]:
        """Return them by name; they are the caller's from now on, one perhaps still being copied."""
        with self._lock:
            self._given = True
            buckets, self._buckets = self._buckets, {}
        return buckets

    def discard(self) -> None:
        """Delete those that were not given, and return when nothing is being copied any more."""
        left = self.give()
        with self._copying:
            for bucket in left.values():
                bucket.discard()


class Staging:
    """All staged buckets of one job."""

    def __init__(
        self,
        settings: Settings,
        reader: Any,
        writer: Any,
        root: Path,
        buckets: Sequence[str],
        ahead: Mapping[str, StagedBucket] | None = None,
    ) -> None:
        """`reader` and `writer` are S3 clients: the account's, and that of the job's role. `ahead` are buckets below `root`."""
        ahead = ahead or {}
        self._writer = writer
        self.buckets = [ahead.get(name) or StagedBucket(settings, reader, name, root / name) for name in buckets]
        for name in ahead.keys() - set(buckets):
            ahead[name].discard()
        #: Whether somebody else has written to S3 since the folders were compared with it.
        self.outdated = False

    @property
    def names(self) -> list[str]:
        """Return the names of the buckets."""
        return [bucket.bucket for bucket in self.buckets]

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
                changes += bucket.publish(self._writer)
            except ClientError as error:
                raise JobError(f"cannot write to s3://{bucket.bucket}: {error}") from error
        return changes
