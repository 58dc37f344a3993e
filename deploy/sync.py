"""Copies a folder to S3 and changes only what differs: contents are compared by hash, never by time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from deploy.preflight import PreflightError

SKIPPED = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


@dataclass(frozen=True)
class SyncPlan:
    """Keys to upload (with content) and to delete, and how many objects are right already."""

    upload: Mapping[str, bytes]
    delete: tuple[str, ...]
    unchanged: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.upload and not self.delete


SECRETS = (
    ".env",
    ".env.*",
    "*.pem",
    "*.key",
    "*.p12",
    "credentials",
    "credentials.*",
    "id_rsa*",
    "id_ed25519*",
    ".netrc",
    ".pgpass",
)
"""Names of files that hold secrets as a rule: what is uploaded, every author of a DAG can read."""


def folder_files(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder by relative path, through symbolic links within the repository and without caches.

    Raises:
        PreflightError: a link leads out of the repository, or a file has the name of one that holds secrets.

    """
    found, root = {}, folder.resolve().parent
    for place, names, files in os.walk(folder, followlinks=True):
        names[:] = sorted(name for name in names if name not in SKIPPED)
        for name in files:
            if not name.endswith(".pyc"):
                path = Path(place) / name
                _check(path, root)
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return dict(sorted(found.items()))


def _check(path: Path, root: Path) -> None:
    """Refuse what was not meant to be uploaded."""
    if not path.resolve().is_relative_to(root):
        raise PreflightError(
            f"{path} is {path.resolve()}, outside of the repository: it is not uploaded. Copy what the DAGs need, or remove the link"
        )
    if any(fnmatch(path.name.lower(), pattern) for pattern in SECRETS):
        raise PreflightError(
            f"{path} has the name of a file that holds secrets: it is not uploaded, as every author of a DAG could read it. Move it away"
        )


def plan_sync(s3: Any, bucket: str, prefix: str, files: Mapping[str, bytes]) -> SyncPlan:
    """Compare files with the objects below a prefix.

    The ETag of an object that was put in one part without KMS is the MD5 of its content. Any other kind of ETag counts as changed.
    """
    standing = {
        item["Key"]: item["ETag"].strip('"')
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for item in page.get("Contents", [])
    }
    wanted = {prefix + name: body for name, body in files.items()}
    changed = {key: body for key, body in wanted.items() if standing.get(key) != content_hash(body)}
    gone = tuple(sorted(key for key in standing if key not in wanted and not key.endswith("/")))
    return SyncPlan(changed, gone, len(wanted) - len(changed))


def apply(s3: Any, bucket: str, plan: SyncPlan) -> None:
    """Upload first, then delete: a file that moved exists all the time."""
    for key, body in plan.upload.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    for key in plan.delete:
        s3.delete_object(Bucket=bucket, Key=key)


def content_hash(body: bytes) -> str:
    """Return what S3 shows as ETag of this content."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
