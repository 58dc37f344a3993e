"""The dataset log's command line and its verification, on objects of a running local_aws."""

import io
import uuid

import pytest
from botocore.response import StreamingBody

from retraining.command.dataset_views import version_details, version_table
from retraining.dataset.landing_zone import with_versions
from retraining.dataset.log import DatasetLog
from retraining.dataset.records import ContractRecord, FileRecord, Output, TrainedNote, Version
from retraining.dataset.state import LogState
from retraining.dataset.verify import verify
from retraining.jobs.remerge import rebuild
from retraining.jobs.remerge.merge_again import MergeAgainError, as_landed, entity_tag
from retraining.settings.access import AwsAccess

LINES = {"train": [b"9,M,0.5", b"7,F,0.4"], "validation": [b"8,I,0.3"], "test": [b"6,I,0.2"]}


@pytest.fixture
def dataset(account, bucket):
    """A log with one version whose objects are all there; returns the prefix."""
    prefix = f"model-{uuid.uuid4().hex[:8]}/"
    landed = put(account, bucket, f"{prefix}new/a.csv", b"landed")
    commit(account, bucket, prefix, 1, LINES, landed)
    return prefix


def put(account, bucket, key, body):
    tag = account.s3.put_object(Bucket=bucket, Key=key, Body=body)["ETag"].strip('"')
    return Output(key=key, size=len(body), etag=tag)


def commit(account, bucket, prefix, number, lines, landed, version_id=None, contract=None, beside=()):
    root = f"{prefix}dataset/training/batch=b{number}/"
    training = {
        split: (put(account, bucket, f"{root}split={split}/part-00000.csv", b"\n".join(rows) + b"\n"),)
        for split, rows in lines.items()
        if rows
    }
    count = sum(map(len, lines.values()))
    version = Version(
        version=number,
        batch=f"b{number}",
        created_at="2026-01-01T00:00:00+00:00",
        files=(FileRecord(key=landed.key, etag=landed.etag, size=6, version_id=version_id),),
        rows={"rows_new": count + 1, "rows_accepted": count, "rows_duplicate": 1, "rows_quarantined": 0},
        rows_by_split={split: len(rows) for split, rows in lines.items()},
        training=training,
        run_key=f"v{number}-key",
        contract=contract,
        beside=beside,
    )
    DatasetLog(account.s3, bucket, prefix).commit(version)
    return version


def problems(account, bucket, prefix):
    return verify(account.s3, bucket, prefix, DatasetLog(account.s3, bucket, prefix).read, lambda line: None)


def test_a_whole_dataset_has_no_mismatch(account, bucket, dataset):
    assert problems(account, bucket, dataset) == []


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("dataset/training/batch=b1/split=test/part-00000.csv", None, "is missing"),
        ("dataset/training/batch=b1/split=test/part-00000.csv", b"6,I,0.3\n", "has other content"),
        ("dataset/training/batch=b1/split=test/part-00000.csv", b"6,I,0.2\n7,I,0.1\n", "split test holds 2 rows"),
        ("new/a.csv", None, "gone from the landing zone"),
        ("new/a.csv", b"other rows", "was overwritten in the landing zone"),
    ],
)
def test_what_was_changed_behind_the_logs_back_is_found(account, bucket, dataset, name, body, words):
    if body is None:
        account.s3.delete_object(Bucket=bucket, Key=dataset + name)
    else:
        account.s3.put_object(Bucket=bucket, Key=dataset + name, Body=body)
    assert any(words in line for line in problems(account, bucket, dataset))


class Rotten:
    """S3 with one object whose bytes changed on its disk, not by a request."""

    def __init__(self, s3, key):
        self._s3, self._key = s3, key

    def __getattr__(self, name):
        return getattr(self._s3, name)

    def get_object(self, **request):
        answer = self._s3.get_object(**request)
        if request["Key"] == self._key:
            body = bytearray(answer["Body"].read())
            body[0] ^= 1
            answer["Body"] = StreamingBody(io.BytesIO(bytes(body)), len(body))
        return answer


def test_bytes_that_changed_under_the_same_entity_tag_are_found(account, bucket, dataset):
    key = f"{dataset}dataset/training/batch=b1/split=test/part-00000.csv"
    log = DatasetLog(account.s3, bucket, dataset)
    lines = verify(Rotten(account.s3, key), bucket, dataset, log.read, lambda line: None)
    assert lines == [f"version 1: {key} is damaged: its bytes are not those of its entity tag"]


def test_an_overwritten_file_whose_version_is_on_record_is_no_mismatch(account):
    bucket, prefix = f"versioned-{uuid.uuid4().hex[:8]}", "m/"
    account.s3.create_bucket(Bucket=bucket)
    account.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    landed = put(account, bucket, "m/new/a.csv", b"landed")
    [known] = with_versions(account.s3, bucket, [FileRecord(key=landed.key, etag=landed.etag, size=6)])
    commit(account, bucket, prefix, 1, LINES, landed, known.version_id)
    account.s3.put_object(Bucket=bucket, Key="m/new/a.csv", Body=b"other rows")
    assert problems(account, bucket, prefix) == []
    [entry] = as_landed(account.s3, bucket, [known.model_dump()], "m/rebuilt/landed/")
    assert entry["key"] == f"m/rebuilt/landed/{known.version_id}/m/new/a.csv"
    assert account.s3.get_object(Bucket=bucket, Key=entry["key"])["Body"].read() == b"landed"
    account.s3.delete_object(Bucket=bucket, Key="m/new/a.csv", VersionId=known.version_id)
    assert ["no version of it" in line for line in problems(account, bucket, prefix)] == [True]
    assert as_landed(account.s3, bucket, [known.model_dump()], "m/rebuilt/landed/") == [
        entry
    ]  # the copy is still there
    with pytest.raises(MergeAgainError, match="upload it again"):
        as_landed(account.s3, bucket, [known.model_dump()], "m/elsewhere/landed/")


def test_quarantine_that_has_expired_is_no_mismatch_and_what_is_there_of_it_is_checked(account, bucket):
    prefix, said = f"model-{uuid.uuid4().hex[:8]}/", []
    landed = put(account, bucket, f"{prefix}new/a.csv", b"landed")
    beside = tuple(
        put(account, bucket, f"{prefix}{place}", b"{}")
        for place in ("quarantine/batch=b1/0.json", "quarantine/batch=b1/1.json", "batches/b1/manifest.json")
    )
    commit(account, bucket, prefix, 1, LINES, landed, beside=beside)
    log = DatasetLog(account.s3, bucket, prefix)
    account.s3.delete_object(Bucket=bucket, Key=beside[0].key)
    assert verify(account.s3, bucket, prefix, log.read, said.append) == []
    assert said == ["version 1: 4 rows, 0 mismatch(es); 1 object(s) of its quarantine have expired"]
    put(account, bucket, beside[1].key, b"[]")
    assert problems(account, bucket, prefix) == [
        f"version 1: {beside[1].key} has other content than when it was committed"
    ]
    account.s3.delete_object(Bucket=bucket, Key=beside[1].key)
    account.s3.delete_object(Bucket=bucket, Key=beside[2].key)
    assert problems(account, bucket, prefix) == [f"version 1: {beside[2].key} is missing"]


def put_in_parts(account, bucket, key, body):
    """Put an object whose entity tag is not the MD5 of its bytes, as where a key of KMS encrypts them."""
    place = {"Bucket": bucket, "Key": key}
    upload = account.s3.create_multipart_upload(**place)["UploadId"]
    tag = account.s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=body)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    done = account.s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload=parts)
    return done["ETag"].strip('"')


def test_a_rebuilt_object_is_compared_by_its_bytes_where_its_entity_tag_says_nothing(account, bucket, dataset):
    [version] = DatasetLog(account.s3, bucket, dataset).read().versions
    root = f"{dataset}rebuilt/"
    for output in (output for outputs in version.training.values() for output in outputs):
        body = account.s3.get_object(Bucket=bucket, Key=output.key)["Body"].read()
        key = root + output.key.removeprefix(dataset)
        assert put_in_parts(account, bucket, key, body) != output.etag
    moved = rebuild._moved(account.s3, bucket, version, dataset, root)
    for output in (output for outputs in moved.training.values() for output in outputs):
        assert entity_tag(account.s3, bucket, output.key) == output.etag
    put_in_parts(account, bucket, key, body + b"\n")
    with pytest.raises(MergeAgainError, match=f"{key} is not identical to"):
        rebuild._moved(account.s3, bucket, version, dataset, root)


def test_a_data_set_is_rebuilt_where_the_merge_may_write_alone():
    with pytest.raises(MergeAgainError, match="cannot be rebuilt into copy/: name rebuilt/ or a prefix below it"):
        rebuild.rebuild(AwsAccess(), None, "m", "copy", print)


def test_a_file_that_changed_since_it_was_listed_waits(account, bucket):
    old = put(account, bucket, "m/new/changing.csv", b"a")
    put(account, bucket, "m/new/changing.csv", b"b")
    listed = [FileRecord(key=old.key, etag=old.etag, size=1), FileRecord(key="m/new/gone.csv", etag="e", size=1)]
    assert with_versions(account.s3, bucket, listed) == []


def test_a_row_in_two_versions_or_splits_is_found(account, bucket, dataset):
    landed = put(account, bucket, f"{dataset}new/b.csv", b"landed again")
    commit(account, bucket, dataset, 2, {"train": [b"6,I,0.2"], "validation": [], "test": []}, landed)
    [line] = problems(account, bucket, dataset)
    assert "split=test/part-00000.csv already: 6,I,0.2" in line


def test_a_text_with_a_line_feed_is_one_row(account, bucket):
    prefix = f"model-{uuid.uuid4().hex[:8]}/"
    landed = put(account, bucket, f"{prefix}new/a.csv", b"landed")
    commit(account, bucket, prefix, 1, {"train": [b'9,"two\nlines ""quoted"" here"', b"8,x"]}, landed)
    assert problems(account, bucket, prefix) == []


def test_rows_that_a_file_keeps_are_no_repetition_but_those_of_another_version_are(account, bucket):
    prefix = f"model-{uuid.uuid4().hex[:8]}/"
    landed = put(account, bucket, f"{prefix}new/a.csv", b"landed")
    kept = ContractRecord(digest="d", keys={"duplicates": "keep"})
    commit(account, bucket, prefix, 1, {"train": [b"9,x", b"9,x"]}, landed, contract=kept)
    assert problems(account, bucket, prefix) == []
    commit(account, bucket, prefix, 2, {"train": [b"9,x"]}, landed, contract=kept)
    [line] = problems(account, bucket, prefix)
    assert "version 2: a row of" in line


def test_counts_that_do_not_add_up_are_found(account, bucket, dataset):
    log = DatasetLog(account.s3, bucket, dataset)
    version = log.read().versions[0]
    wrong = version.model_copy(update={"rows": {**version.rows, "rows_new": 99}})
    lines = verify(account.s3, bucket, dataset, lambda: LogState((wrong,)), lambda line: None)
    assert lines == ["version 1: 99 new rows, but accepted, duplicate and quarantined make 5"]


def test_the_table_tells_rows_per_split_and_who_trained(account, bucket, dataset):
    log = DatasetLog(account.s3, bucket, dataset)
    log.note_trained(TrainedNote(version=1, run_key="v1-key", decision="approved", model_package="arn:p/1"))
    head, row, footer = version_table(log.read(), log.trained_notes()).splitlines()
    cells = dict(zip(head.split(), row.split(maxsplit=13), strict=True))
    assert (cells["train"], cells["valid"], cells["test"], cells["duplicate"]) == ("2", "1", "1", "1")
    assert cells["judged"] == "v1-key approved"
    assert footer == "rows in all: train 2, validation 1, test 1"
    assert "arn:p/1" in version_details(log.read(), log.trained_notes())


def test_an_empty_log_says_where_data_goes():
    assert "MODEL/raw/" in version_table(LogState(), [])
