"""Fitted models between this machine and S3, so that a fit that a job made serves the command and the other way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CARD = "card.json"  # written last: a model without it is not complete


def fetch(s3: Any, bucket: str, prefix: str, folder: Path) -> bool:
    """Download the model below ``prefix`` unless ``folder`` has one; return whether there is one now.

    Loading a model unpickles it: the bucket must be one that only you and your jobs can write.
    """
    if (folder / CARD).exists():
        return True
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    keys = [item["Key"] for item in listed if "/" not in item["Key"].removeprefix(prefix)]  # a model is one flat folder
    if f"{prefix}{CARD}" not in keys:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for key in sorted(keys, key=lambda key: key.endswith(CARD)):
        path = folder / key.removeprefix(prefix)
        part = path.with_name(f"{path.name}.part")
        s3.download_file(bucket, key, str(part))
        part.replace(path)
    return True


def store(s3: Any, bucket: str, prefix: str, folder: Path) -> None:
    """Upload the model in ``folder`` unless S3 has it."""
    if s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}{CARD}", MaxKeys=1).get("Contents"):
        return
    for path in sorted(folder.iterdir(), key=lambda path: path.name == CARD):
        s3.upload_file(str(path), bucket, prefix + path.name)
