"""One holder at a time, across runs, DAGs, Airflow environments and people: a small document in S3, changed by conditional puts only.

Of two writers S3 lets one win. A holder that dies without a word loses the lease when its time is over, by S3's own clock, so that skew
between machines does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from retraining.aws.documents import split_uri

TRIES = 5
LOST = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


class LeaseHeldError(RuntimeError):
    """Somebody else holds the lease; the message says who, what for and until when."""


@dataclass(frozen=True)
class Lease:
    """The lease that a document in S3 is.

    Args:
        s3: a boto3 S3 client.
        uri: S3 URI of the document.
        owner: who wants to hold it; a retry and a later task of the same owner hold it already.

    """

    s3: Any
    uri: str
    owner: str

    def take(self, why: str, seconds: float, gone: Callable[[str], bool] = lambda owner: False) -> None:
        """Take the lease, or renew it when it is held already.

        Args:
            why: what the owner does meanwhile, for others to read.
            seconds: how long it counts without being renewed.
            gone: tells of another owner whether it is known to have ended; its lease counts no more.

        Raises:
            LeaseHeldError: another owner holds it, and its time is not over.

        """
        for _ in range(TRIES):
            tag, standing, now = self._read()
            mine = standing is None or standing["owner"] == self.owner
            if standing and not (mine or datetime.fromisoformat(standing["until"]) <= now or gone(standing["owner"])):
                raise LeaseHeldError(
                    f"{standing['owner']} is changing it until {standing['until']} at the latest ({standing['why']})"
                )
            if self._write(tag, why, now + timedelta(seconds=seconds)):
                return
        raise LeaseHeldError("others take and leave it at this moment")

    def release(self) -> None:
        """Let others take the lease; nothing happens when this owner does not hold it."""
        tag, standing, now = self._read()
        if standing and standing["owner"] == self.owner and datetime.fromisoformat(standing["until"]) > now:
            self._write(tag, "done", now)

    def _read(self) -> tuple[str | None, dict[str, Any] | None, datetime]:
        from botocore.exceptions import ClientError

        bucket, key = split_uri(self.uri)
        try:
            found = self.s3.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None, None, _time_of(error.response)
        return found["ETag"], json.loads(found["Body"].read()), _time_of(found)

    def _write(self, tag: str | None, why: str, until: datetime) -> bool:
        """Write the document unless it changed since it was read."""
        from botocore.exceptions import ClientError

        bucket, key = split_uri(self.uri)
        document = {"owner": self.owner, "why": why, "until": until.isoformat(timespec="milliseconds")}
        unchanged = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        body = json.dumps(document, indent=1).encode()
        try:
            self.s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", **unchanged)
        except ClientError as error:
            if error.response["Error"]["Code"] not in LOST:
                raise
            return False
        return True


def _time_of(answer: Any) -> datetime:
    """Return S3's time of an answer."""
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)
