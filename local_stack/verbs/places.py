"""Where the objects and logs of the local account lie as files, so that a message can name a path that opens."""

from __future__ import annotations

import os
from pathlib import Path

from local_stack import layout

ACCOUNT = "000000000000"


def object_path(uri: str) -> Path:
    """Return the file that holds an S3 object of the local account."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return layout.AWS_DATA / "s3" / ACCOUNT / bucket / key


def shown(path: Path) -> str:
    """Return a path as a person types it: from the project's folder when it lies there."""
    return os.path.relpath(path, layout.ROOT) if path.is_relative_to(layout.ROOT) else str(path)


def shown_object(uri: str) -> str:
    """Return the path of an S3 object, or its URI when the account's files are not on this machine."""
    path = object_path(uri)
    return shown(path) if path.exists() else uri
