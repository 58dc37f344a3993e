"""What the SDK uploads gets a place by its content, and the request follows; against a real S3."""

import io
import json
import tarfile
import uuid

import pytest

from retraining.sdk.uploads import content, delete, is_dated, move_uploads, without_name

FIRST, SECOND = "abalone-train-20261121124653", "abalone-train-2026-11-21-12-46-56-144"


@pytest.fixture
def s3(account):
    return account.s3


def tar(text, seconds):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.py")
        member.size, member.mtime = len(text), seconds
        archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def upload(s3, bucket, root, files):
    keys = [f"{root}/{name}" for name in files]
    for key, body in zip(keys, files.values(), strict=True):
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    return [(bucket, key) for key in keys]


def request_for(bucket, root, end=""):
    return {
        "InputDataConfig": [
            {"ChannelName": "code", "DataSource": {"S3DataSource": {"S3Uri": f"s3://{bucket}/{root}/code{end}"}}}
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/{root.split('/')[0]}/"},
    }


def uri_of(request):
    return request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]


def moved(s3, bucket, name, files, end=""):
    top = uuid.uuid4().hex[:8]
    root = f"{top}/{name}/input"
    uploaded = upload(s3, bucket, f"{root}/code", files)
    return move_uploads(s3, request_for(bucket, root, end), uploaded, name, "m/code/sdk/")


@pytest.mark.parametrize("end", ["", "/"])
def test_the_same_content_gets_the_same_place_whatever_the_time_of_day(s3, bucket, end):
    one, _ = moved(s3, bucket, FIRST, {"train.py": b"a", "lib/x.py": b"b", "source.tar.gz": tar("x", 1)}, end)
    two, _ = moved(s3, bucket, SECOND, {"train.py": b"a", "lib/x.py": b"b", "source.tar.gz": tar("x", 2)}, end)
    assert uri_of(one) == uri_of(two)
    place = uri_of(one).removeprefix(f"s3://{bucket}/")
    assert place.startswith("m/code/sdk/") and place.endswith(f"/code{end}")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=place)["Contents"]
    names = sorted(item["Key"].removeprefix(place.rstrip("/")) for item in listed)
    assert names == ["/lib/x.py", "/source.tar.gz", "/train.py"]


@pytest.mark.parametrize("changed", [{"train.py": b"A"}, {"other.py": b"a"}, {"train.py": b"a", "more.py": b""}])
def test_other_content_or_another_name_gets_another_place(s3, bucket, changed):
    one, _ = moved(s3, bucket, FIRST, {"train.py": b"a"})
    two, _ = moved(s3, bucket, FIRST, changed)
    assert uri_of(one) != uri_of(two)


def test_compiled_files_neither_count_nor_move(s3, bucket):
    one, _ = moved(s3, bucket, FIRST, {"train.py": b"a"})
    two, _ = moved(s3, bucket, FIRST, {"train.py": b"a", "__pycache__/train.cpython-311.pyc": b"time"})
    assert uri_of(one) == uri_of(two)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=uri_of(two).removeprefix(f"s3://{bucket}/"))["Contents"]
    assert len(listed) == 1


def test_what_is_dated_is_left_over_and_can_be_deleted(s3, bucket):
    _, leftover = moved(s3, bucket, FIRST, {"train.py": b"a"})
    assert len(leftover) == 1 and FIRST in leftover[0][1]
    delete(s3, leftover)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix=leftover[0][1])


def test_a_prefix_that_holds_other_objects_as_well_stays_as_it_is(s3, bucket):
    root = f"{uuid.uuid4().hex[:8]}/shared"
    uploaded = upload(s3, bucket, f"{root}/code", {"mine.csv": b"1"})
    upload(s3, bucket, f"{root}/code", {"somebodys.csv": b"2"})
    request = request_for(bucket, root)
    assert move_uploads(s3, request, uploaded, FIRST, "m/code/sdk/") == (request, [])


def test_outputs_are_never_moved_even_when_code_was_uploaded_below_them(s3, bucket):
    one, _ = moved(s3, bucket, FIRST, {"train.py": b"a"})
    assert one["OutputDataConfig"]["S3OutputPath"].count("/code/sdk/") == 0


@pytest.mark.parametrize(("name", "dated"), [(FIRST, True), (SECOND, True), ("abalone", False), ("job-20", False)])
def test_a_name_is_dated_when_the_sdk_made_it_up(name, dated):
    assert is_dated(name) is dated


def test_a_dated_name_inside_the_request_becomes_one_of_its_content():
    def request(name, cores):
        return {"Outputs": [{"S3Uri": f"s3://b/{name}/output/x"}], "Cores": cores}

    one, two = (without_name(request(name, 1), name, "m-evaluate") for name in (FIRST, SECOND))
    assert one == two
    assert one["Outputs"][0]["S3Uri"].startswith("s3://b/m-evaluate-")
    assert without_name(request(FIRST, 2), FIRST, "m-evaluate")["Outputs"] != one["Outputs"]


def test_a_chosen_name_is_left_alone_for_it_may_be_any_word():
    request = {"Outputs": ["s3://bucket/abalone/results/"]}
    assert without_name(request, "abalone", "m") == request


def test_an_archive_counts_by_its_files_and_anything_else_by_its_bytes():
    assert content("a.tar.gz", tar("x", 1)) == content("a.tar.gz", tar("x", 2)) != content("a.tar.gz", tar("y", 1))
    assert json.loads(content("a.tar.gz", tar("x", 1))).keys() == {"train.py"}
    assert content("a.tar.gz", b"no archive") == b"no archive"
