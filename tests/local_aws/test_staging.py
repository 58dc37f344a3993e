"""Folders in which a Spark job sees buckets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_account import Account

from local_aws.glue.staging import Staging

pytestmark = pytest.mark.local_aws
BUCKET, OTHER = "staged", "staged-too"


@pytest.fixture
def asked(account: Account) -> Iterator[Counter[str]]:
    """What the account's client is asked, by operation."""
    counted: Counter[str] = Counter()
    for bucket in (BUCKET, OTHER):
        account.s3.create_bucket(Bucket=bucket)
        for item in account.s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            account.s3.delete_object(Bucket=bucket, Key=item["Key"])

    def count(model: Any, **_: Any) -> None:
        counted[model.name] += 1

    account.s3.meta.events.register("provide-client-params.s3.*", count)
    yield counted
    account.s3.meta.events.unregister("provide-client-params.s3.*", count)


@pytest.fixture
def staging(account: Account, tmp_path: Path, asked: Counter[str]) -> Staging:
    """Both buckets, a file in each, compared once."""
    for bucket in (BUCKET, OTHER):
        account.s3.put_object(Bucket=bucket, Key="a/b.txt", Body=b"first")
    settings: Any = SimpleNamespace(data_dir=account.data_dir, account="000000000000")
    staging = Staging(settings, account.s3, account.s3, tmp_path, [BUCKET, OTHER])
    staging.refresh()
    asked.clear()
    return staging


def files(folder: Path) -> dict[str, bytes]:
    """Return what lies below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_after_a_write_of_the_job_only_that_object_is_looked_at(account, staging, asked, tmp_path):
    account.s3.put_object(Bucket=BUCKET, Key="a/new.txt", Body=b"new")
    account.s3.put_object(Bucket=OTHER, Key="unseen.txt", Body=b"x")
    asked.clear()
    staging.refresh((BUCKET, "a/new.txt"))
    assert files(tmp_path / BUCKET) == {"a/b.txt": b"first", "a/new.txt": b"new"}
    account.s3.delete_object(Bucket=BUCKET, Key="a/b.txt")
    for key in ("a/b.txt", "a/b.txt", "never", "folder/"):
        staging.refresh((BUCKET, key))
    assert files(tmp_path / BUCKET) == {"a/new.txt": b"new"}
    assert files(tmp_path / OTHER) == {"a/b.txt": b"first"}
    assert asked["ListObjectsV2"] == 0
    assert asked["HeadObject"] == 4


def test_when_somebody_else_has_written_everything_is_looked_at_once(account, staging, asked, tmp_path):
    account.s3.put_object(Bucket=OTHER, Key="theirs.txt", Body=b"theirs")
    staging.outdated = True
    staging.refresh((BUCKET, "a/b.txt"))
    assert files(tmp_path / OTHER) == {"a/b.txt": b"first", "theirs.txt": b"theirs"}
    assert asked["ListObjectsV2"] == 2
    staging.refresh((BUCKET, "a/b.txt"))
    assert asked["ListObjectsV2"] == 2


def test_what_spark_writes_changes_and_deletes_comes_to_s3_and_nothing_else(account, staging, asked, tmp_path):
    folder = tmp_path / BUCKET
    account.s3.put_object(Bucket=BUCKET, Key="a/b.txt", Body=b"of somebody else")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "part").write_bytes(b"written")
    (folder / "deep" / ".part.crc").write_bytes(b"x")
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "0").write_bytes(b"x")
    (folder / "link").symlink_to("/etc/hostname")
    (folder / "folder").symlink_to("/etc")
    assert staging.publish() == 1
    assert account.read(f"s3://{BUCKET}/a/b.txt") == b"of somebody else"
    (folder / "deep" / "er" / "part").unlink()
    (folder / "deep" / "part").write_bytes(b"moved")
    assert staging.publish() == 2
    assert staging.publish() == 0
    found = account.s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert {item["Key"] for item in found} == {"a/b.txt", "deep/part"}
