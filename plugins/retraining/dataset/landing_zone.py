"""What lies in the landing zone, and whether it has settled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from retraining.contract.names import ignored_reason
from retraining.dataset.records import IGNORED, FileRecord, FileVerdict, Version
from retraining.dataset.state import LogState
from retraining.settings.model_config import Landing

READERS = 16  # parallel HEADs of new files


Page = tuple[Sequence[dict[str, Any]], datetime]
"""Objects as S3 lists them, and when it did by its own clock."""


@dataclass(frozen=True)
class LandedFile:
    """A file of the landing zone and its age in seconds by S3's own clock, so that skew between machines does not matter."""

    record: FileRecord
    age_seconds: float


def landed_files(s3: Any, bucket: str, prefix: str, landing: Landing) -> list[LandedFile]:
    """List all objects in the raw and new folders of a model, with paging."""
    pages = listed(s3, bucket, prefix, landing)
    return [_landed(item, now, prefix, landing) for items, now in pages for item in items]


def listed(s3: Any, bucket: str, prefix: str, landing: Landing) -> list[Page]:
    """Return the same objects as S3 lists them."""
    listing = s3.get_paginator("list_objects_v2")
    folders = (landing.raw, landing.new)
    return [_page(page) for folder in folders for page in listing.paginate(Bucket=bucket, Prefix=prefix + folder)]


def waiting(pages: Iterable[Page], state: LogState, prefix: str, landing: Landing) -> list[LandedFile]:
    """Return the files of `listed` that a run has to look at; of thousands that are on record, no record is made."""
    known = state.known_files
    new = ((item, now) for items, now in pages for item in items if _identity(item) not in known)
    return unseen((_landed(item, now, prefix, landing) for item, now in new), state)[0]


def landed_file(s3: Any, bucket: str, prefix: str, landing: Landing, key: str) -> LandedFile | None:
    """Return the object of a key; None when there is none, or when the key is not of the raw and new folders of the model."""
    if not key.startswith((prefix + landing.raw, prefix + landing.new)):
        return None
    # A key comes before those that it begins.
    items, now = _page(s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1))
    return next((_landed(item, now, prefix, landing) for item in items if item["Key"] == key), None)


def _page(answer: Mapping[str, Any]) -> Page:
    return answer.get("Contents", []), parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def _landed(item: dict[str, Any], now: datetime, prefix: str, landing: Landing) -> LandedFile:
    return LandedFile(to_record(item, prefix, landing), age_in_seconds(item["LastModified"], now))


def to_record(item: dict[str, Any], prefix: str, landing: Landing) -> FileRecord:
    """Turn an entry of an S3 listing into a record; the prefix tells synthetic files from surveyed ones."""
    source = "synthetic" if item["Key"].startswith(prefix + landing.synthetic) else "survey"
    landed_at = item["LastModified"].astimezone(UTC).isoformat(timespec="seconds")
    key, etag = _identity(item)
    return FileRecord(key=key, etag=etag, size=item["Size"], source=source, landed_at=landed_at)


def _identity(item: dict[str, Any]) -> tuple[str, str]:
    return item["Key"], item["ETag"].strip('"')


def unseen(landed: Iterable[LandedFile], state: LogState) -> tuple[list[LandedFile], list[FileVerdict]]:
    """Return the files that a run has to look at, and the objects that are no data by name or size and not on record as such."""
    known = state.known_files
    files: list[LandedFile] = []
    ignored: list[FileVerdict] = []
    for file in landed:
        if file.record.identity in known:
            continue
        if reason := ignored_reason(file.record.key, file.record.size):
            ignored.append(FileVerdict(**file.record.model_dump(), outcome=IGNORED, reason=reason))
        else:
            files.append(file)
    return files, ignored


def with_versions(s3: Any, bucket: str, records: Sequence[FileRecord]) -> list[FileRecord]:
    """Return the records with the S3 version of each object, without those that changed or went since they were listed."""

    def looked_at(record: FileRecord) -> FileRecord | None:
        from botocore.exceptions import ClientError

        try:
            head = s3.head_object(Bucket=bucket, Key=record.key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return None
            raise
        if head["ETag"].strip('"') != record.etag:
            return None
        return record.model_copy(update={"version_id": head.get("VersionId")})

    if not records:
        return []
    with ThreadPoolExecutor(max_workers=min(READERS, len(records))) as pool:
        return [record for record in pool.map(looked_at, records) if record is not None]


def age_in_seconds(last_modified: datetime, now: datetime) -> float:
    """Return the age of an object, never negative."""
    return max(0.0, (now - last_modified).total_seconds())


def split_settled(files: Iterable[LandedFile], settle_seconds: float) -> tuple[list[FileRecord], list[FileRecord]]:
    """Separate files unchanged for ``settle_seconds`` from those that may still be overwritten."""
    settled: list[FileRecord] = []
    unsettled: list[FileRecord] = []
    for file in files:
        (settled if file.age_seconds >= settle_seconds else unsettled).append(file.record)
    return settled, unsettled


def seconds_to_gather(versions: Sequence[Version], minutes: int, now: datetime) -> float:
    """Return how long new files still wait for others: until the newest version is `minutes` old, 0 when there is none."""
    if not versions or not minutes:
        return 0.0
    age = (now - datetime.fromisoformat(versions[-1].created_at)).total_seconds()
    return max(0.0, 60.0 * minutes - age)
