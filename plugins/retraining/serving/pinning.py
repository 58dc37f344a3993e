"""An artifact is pinned by its SHA-256 once its training has ended, and read again before anything loads it: loading one runs its code.

The note of the digest lies below ``NAME/serving/artifacts/``, where no job's role writes, and is written once. The package of a model
carries the digest, too. An artifact that nobody has pinned is pinned when it is first asked for.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any, BinaryIO

from retraining.aws.documents import put_json_once, split_uri, utc_now
from retraining.aws.errors import error_code
from retraining.aws.naming import digest

SHA256 = "artifact_sha256"
"""Key of the digest in a package's metadata and in a training's result."""
CHUNK = 1 << 20

log = logging.getLogger(__name__)


class ExchangedError(RuntimeError):
    """Another artifact lies where the pinned one lay, or none."""


def sha256_of(s3: Any, uri: str, into: BinaryIO | None = None) -> str:
    """Return the SHA-256 of an object in hex, which is read as a stream.

    Args:
        s3: boto3 client.
        uri: of the object.
        into: a file that takes the content, too.

    Raises:
        LookupError: it does not exist.

    """
    from botocore.exceptions import ClientError

    bucket, key = split_uri(uri)
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if error_code(error) != "NoSuchKey":
            raise
        raise LookupError(f"{uri} does not exist") from error
    found = hashlib.sha256()
    while chunk := body.read(CHUNK):
        found.update(chunk)
        if into:
            into.write(chunk)
    return found.hexdigest()


def pinned(s3: Any, root: str, whose: str, uri: str, known: str = "") -> str:
    """Return the SHA-256 of an artifact that is still the one that was pinned.

    Args:
        s3: boto3 client.
        root: S3 URI of the model's prefix, with its slash.
        whose: what the artifact is called in messages.
        uri: of the artifact.
        known: its digest if it is known, as of a package; else the note of it counts, which the first call writes.

    Raises:
        ExchangedError: it is another one, or is gone.

    """
    try:
        found = sha256_of(s3, uri)
    except LookupError as error:
        raise ExchangedError(f"the artifact of {whose} is gone: {error}. Restore the object, or train anew") from error
    if not known:
        note = {"model_data": uri, "sha256": found, "pinned_at": utc_now()}
        known = str(put_json_once(s3, f"{root}serving/artifacts/{digest(uri)}.json", note)["sha256"])
    if found != known:
        raise ExchangedError(
            f"the artifact of {whose}, {uri}, was exchanged: its SHA-256 was {known} and is {found} now. This step loads nothing of it. "
            "Find out who wrote it, restore the version of the object that has the first digest, and repeat the step"
        )
    log.info("the artifact of %s has SHA-256 %s, as pinned", whose, found)
    return found
