"""What lies in the landing zone, and whether it has settled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from retraining.dataset.log import FileRecord
from retraining.settings.model_config import Landing


@dataclass(frozen=True)
class LandedFile:
    """A file of the landing zone and its age in seconds by S3's own clock, so that skew between machines does not matter."""

    record: FileRecord
    age_seconds: float


def landed_files(s3: Any, bucket: str, prefix: str, landing: Landing) -> list[LandedFile]:
    """List the raw and new files of a model, with paging; folder markers are not files."""
    found = []
    for folder in (landing.raw, landing.new):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + folder):
            now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
            for item in page.get("Contents", []):
                if not item["Key"].endswith("/"):
                    found.append(
                        LandedFile(to_record(item, prefix, landing), age_in_seconds(item["LastModified"], now))
                    )
    return found


def to_record(item: dict[str, Any], prefix: str, landing: Landing) -> FileRecord:
    """Turn an entry of an S3 listing into a record; the prefix tells synthetic files from surveyed ones."""
    source = "synthetic" if item["Key"].startswith(prefix + landing.synthetic) else "survey"
    return FileRecord(key=item["Key"], etag=item["ETag"].strip('"'), size=item["Size"], source=source)


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
