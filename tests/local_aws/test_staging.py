"""Folders in which a Spark job sees buckets."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from local_account import Account

from local_aws.glue import staging as staged
from local_aws.glue.staging import Ahead, StagedBucket, Staging
from local_aws.shared.errors import JobError
from local_aws.shared.sandbox import S3Files

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
    staging = Staging(settings_of(account), account.s3, account.s3, tmp_path, [BUCKET, OTHER])
    staging.refresh()
    asked.clear()
    return staging


def settings_of(account: Account) -> Any:
    return SimpleNamespace(data_dir=account.data_dir, account="000000000000")


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


@pytest.fixture
def ahead(account: Account, tmp_path: Path, asked: Counter[str]) -> Ahead:
    """Both buckets, with two objects each, to be copied to `tmp_path`."""
    for bucket in (BUCKET, OTHER):
        for key in ("a/b/c.txt", "d.txt"):
            account.s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    settings = settings_of(account)
    return Ahead(lambda: [StagedBucket(settings, account.s3, name, tmp_path / name) for name in (BUCKET, OTHER)])


def job(account: Account, folder: Path, ahead: Ahead, *buckets: str) -> Staging:
    """Stage buckets as a job does."""
    staging = Staging(settings_of(account), account.s3, account.s3, folder, buckets, ahead.give())
    staging.refresh()
    return staging


def test_a_job_copies_only_what_has_changed_since_its_buckets_were_copied_ahead(account, ahead, tmp_path, monkeypatch):
    ahead.copy()
    account.s3.put_object(Bucket=BUCKET, Key="d.txt", Body=b"changed")
    account.s3.put_object(Bucket=BUCKET, Key="new.txt", Body=b"new")
    account.s3.delete_object(Bucket=BUCKET, Key="a/b/c.txt")
    account.s3.put_object(Bucket=BUCKET, Key="a", Body=b"where a folder was")
    copied = []
    own = StagedBucket._copy
    monkeypatch.setattr(StagedBucket, "_copy", lambda self, key, *rest: copied.append(key) or own(self, key, *rest))
    staging = job(account, tmp_path, ahead, BUCKET, OTHER)
    assert sorted(copied) == ["a", "d.txt", "new.txt"]
    assert files(tmp_path / BUCKET) == {"a": b"where a folder was", "d.txt": b"changed", "new.txt": b"new"}
    assert files(tmp_path / OTHER) == {"a/b/c.txt": b"a/b/c.txt", "d.txt": b"d.txt"}
    (tmp_path / BUCKET / "d.txt").write_bytes(b"of the job")
    assert staging.publish() == 1
    assert account.read(f"s3://{BUCKET}/d.txt") == b"of the job"


def test_a_job_does_not_see_a_bucket_that_it_does_not_name(account, ahead, tmp_path):
    ahead.copy()
    job(account, tmp_path, ahead, OTHER)
    assert not (tmp_path / BUCKET).exists()
    assert files(tmp_path / OTHER)


def test_what_a_job_has_taken_is_not_copied_to_any_more(account, ahead, tmp_path):
    given = ahead.give()
    ahead.copy()
    StagedBucket(settings_of(account), account.s3, BUCKET, tmp_path / BUCKET).refresh_ahead(lambda: False)
    assert (given, list(tmp_path.iterdir())) == ({}, [])


def test_without_a_job_no_copies_are_left(account, ahead, tmp_path):
    ahead.copy()
    assert files(tmp_path)
    ahead.discard()
    ahead.copy()
    assert files(tmp_path) == {}


@pytest.mark.parametrize("asked_by", ["a job", "who ends the driver"])
def test_copying_stops_with_the_object_that_is_being_copied(account, ahead, tmp_path, monkeypatch, asked_by):
    copying, let_go = threading.Event(), threading.Event()
    own = StagedBucket._copy

    def slow(*arguments):
        copying.set()
        let_go.wait(10)
        own(*arguments)

    monkeypatch.setattr(StagedBucket, "_copy", slow)
    copier = threading.Thread(target=ahead.copy)
    copier.start()
    assert copying.wait(10)
    if asked_by == "a job":
        given = ahead.give()
        let_go.set()
        copier.join(10)
        assert list(given) == [BUCKET]
        assert files(tmp_path) == {f"{BUCKET}/a/b/c.txt": b"a/b/c.txt"}
        given[BUCKET].refresh()
        assert sorted(files(tmp_path)) == [f"{BUCKET}/a/b/c.txt", f"{BUCKET}/d.txt"]
    else:
        threading.Timer(0.3, let_go.set).start()
        ahead.discard()
        assert let_go.is_set()
        assert files(tmp_path) == {}
        copier.join(10)


@pytest.mark.parametrize("trouble", ["large", "gone", "cut", "full"])
def test_a_bucket_that_cannot_be_copied_ahead_is_met_by_the_job(account, ahead, tmp_path, monkeypatch, trouble):
    if trouble == "large":
        monkeypatch.setattr(staged, "_AHEAD_BYTES", 10)
    if trouble == "gone":
        monkeypatch.setattr(StagedBucket, "_bring", lambda *_: (_ for _ in ()).throw(JobError("NoSuchBucket")))
    if trouble == "cut":
        monkeypatch.setattr(
            S3Files, "keys", lambda *_: (_ for _ in ()).throw(ReadTimeoutError(endpoint_url="http://127.0.0.1"))
        )
    if trouble == "full":
        monkeypatch.setattr(
            staged.shutil, "copyfile", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        monkeypatch.setattr(
            S3Files, "download", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
    ahead.copy()
    assert files(tmp_path) == {}
    monkeypatch.undo()
    job(account, tmp_path, ahead, BUCKET, OTHER)
    assert files(tmp_path / BUCKET) == files(tmp_path / OTHER) == {"a/b/c.txt": b"a/b/c.txt", "d.txt": b"d.txt"}
