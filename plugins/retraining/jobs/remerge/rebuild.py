"""Rebuilds a data set from the landed files into another prefix, batch by batch, and compares it with the original bit by bit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from retraining.aws.clients import client
from retraining.aws.documents import get_json, put_json
from retraining.dataset.log import DatasetLog
from retraining.dataset.records import Output, Version
from retraining.jobs.remerge.merge_again import MergeAgainError, as_landed, entity_tag, merge_again
from retraining.settings.access import AwsAccess
from retraining.settings.platform import Platform

REBUILT = "rebuilt/"
"""Below the model's prefix; elsewhere the role of the merge may write no copy of a data set."""
_BLOCK = 1 << 20


def rebuild(access: AwsAccess, platform: Platform, model: str, into: str, say: Callable[[str], None]) -> int:
    """Merge every batch of the log again, from the same files under the contract of its time, into ``into``.

    Args:
        access: how to reach AWS.
        platform: the model's resources.
        model: the model's name.
        into: prefix of the new root below the model's own: ``rebuilt/`` or one below it; it must be empty or an unfinished rebuild.
        say: takes one line of progress per version.

    Returns:
        How many versions were rebuilt; a version that is already there is not merged again.

    Raises:
        MergeAgainError: the prefix lies elsewhere, a merge failed, or its bytes differ from the original's.

    """
    into = f"{into.strip('/')}/"
    if not into.startswith(REBUILT):
        raise MergeAgainError(f"a data set cannot be rebuilt into {into}: name {REBUILT} or a prefix below it")
    s3, source = client("s3", access), f"{model}/"
    root = f"{source}{into}"
    state = DatasetLog(s3, platform.bucket, source).read()
    target = DatasetLog(s3, platform.bucket, root)
    done = target.read().latest
    for version in state.versions[done:]:
        if version.version in state.erased:
            target.commit(version.model_copy(update={"training": {}, "data": (), "beside": ()}))
            say(f"version {version.version}: erased, nothing to rebuild")
            continue
        manifest = get_json(s3, f"s3://{platform.bucket}/{source}batches/{version.batch}/manifest.json")
        place = f"s3://{platform.bucket}/{root}"
        manifest |= {
            "files": as_landed(s3, platform.bucket, manifest["files"], f"{root}landed/"),
            "output": f"{place}dataset/",
            "quarantine": f"{place}quarantine/",
            "report": f"{place}batches/{version.batch}/etl_report.json",
        }
        uri = put_json(s3, f"{place}batches/{version.batch}/manifest.json", manifest)
        merge_again(access, platform, model, uri)
        moved = _moved(s3, platform.bucket, version, source, root)
        target.commit(moved)
        say(f"version {version.version}: {version.rows['rows_accepted']} rows, identical to the original")
    return len(state.versions) - done


def _is_same(s3: Any, bucket: str, key: str, output: Output) -> bool:
    """Compare an object with an original byte by byte: entity tags of equal bytes differ where a key of KMS encrypts them."""
    if entity_tag(s3, bucket, output.key) != output.etag:
        return False
    return _digest(s3, bucket, key) == _digest(s3, bucket, output.key)


def _digest(s3: Any, bucket: str, key: str) -> bytes:
    found = hashlib.sha256()
    for block in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_BLOCK):
        found.update(block)
    return found.digest()


def _moved(s3: Any, bucket: str, version: Version, source: str, root: str) -> Version:
    """Return the version with its objects below ``root``, after comparing each with the original."""

    def moved(output: Output) -> Output:
        key = root + output.key.removeprefix(source)
        tag = entity_tag(s3, bucket, key)
        if tag != output.etag and not _is_same(s3, bucket, key, output):
            raise MergeAgainError(f"{key} is not identical to {output.key}: entity tags {tag} and {output.etag}")
        return output.model_copy(update={"key": key, "etag": tag})

    training = {split: tuple(moved(output) for output in outputs) for split, outputs in version.training.items()}
    data = tuple(moved(output) for output in version.data)
    return version.model_copy(update={"training": training, "data": data, "beside": ()})
