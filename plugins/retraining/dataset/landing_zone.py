"""What lies in the landing zone, and whether it has settled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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


@dataclass(frozen=True)
class LandedFile:
    """A file of the landing zone and its age in seconds by S3's own clock, so that skew between machines does not matter."""

    record: FileRecord
    age_seconds: float


def landed_files(s3: Any, bucket: str, prefix: str, landing: Landing) -> list[LandedFile]:
    """List all objects in the raw and new folders of a model, with paging."""
    found: list[LandedFile] = []
    for folder in (landing.raw, landing.new):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + folder):
            found.extend(_landed(page, prefix, landing))
    return found


def landed_file(s3: Any, bucket: str, prefix: str, landing: Landing, key: str) -> LandedFile | None:
    """Return the object of a key; None when there is none, or when the key is not of the raw and new folders of the model."""
    if not key.startswith((prefix + landing.raw, prefix + landing.new)):
        return None
    page = s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)  # a key comes before those that it begins
    return next((file for file in _landed(page, prefix, landing) if file.record.key == key), None)


def _landed(page: Mapping[str, Any], prefix: str, landing: Landing) -> Iterator[LandedFile]:
    now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
    for item in page.get("Contents", []):
        yield LandedFile(to_record(item, prefix, landing), age_in_seconds(item["LastModified"], now))


def to_record(item: dict[str, Any], prefix: str, landing: Landing) -> FileRecord:
    """Turn an entry of an S3 listing into a record; the prefix tells synthetic files from surveyed ones."""
    source = "synthetic" if item["Key"].startswith(prefix + landing.synthetic) else "survey"
    landed_at = item["LastModified"].astimezone(UTC).isoformat(timespec="seconds")
    return FileRecord(
        key=item["Key"], etag=item["ETag"].strip('"'), size=item["Size"], source=source, landed_at=landed_at
    )


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
