"""Code that jobs run: put where they find it, and once."""

import io
import tarfile

import pytest

from retraining.jobs.code_bundle import put_code

pytestmark = pytest.mark.local_aws
BUCKET = "code-of-jobs"
FOLDER = "abalone/code/0123456789abcdef/"
URI = f"s3://{BUCKET}/{FOLDER}"
FILES = {"train.py": b"x = 1\n", "retraining/contract/rules.py": b"y = 2\n", "job.py": b"z = 3\n"}


@pytest.fixture(scope="module")
def bucket(account):
    account.s3.create_bucket(Bucket=BUCKET)
    return account.s3


@pytest.fixture
def s3(bucket):
    yield bucket
    for item in bucket.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        bucket.delete_object(Bucket=BUCKET, Key=item["Key"])


@pytest.fixture
def requests(s3):
    """Names of the operations that the client sends, in their order."""
    sent = []

    def note(model, **_):
        sent.append(model.name)

    s3.meta.events.register("before-call.s3", note)
    yield sent
    s3.meta.events.unregister("before-call.s3", note)


def read(s3, name):
    return s3.get_object(Bucket=BUCKET, Key=FOLDER + name)["Body"].read()


def test_code_is_put_with_its_archive_and_the_second_time_only_looked_for(s3, requests):
    put_code(s3, URI, FILES, archive=True)
    assert requests == ["ListObjectsV2", *["PutObject"] * 4]
    requests.clear()
    put_code(s3, URI, FILES, archive=True)
    assert requests == ["ListObjectsV2"]
    assert {name: read(s3, name) for name in FILES} == FILES
    with tarfile.open(fileobj=io.BytesIO(read(s3, "sourcedir.tar.gz"))) as archive:
        assert {name: archive.extractfile(name).read() for name in archive.getnames()} == FILES


def test_what_a_killed_task_left_out_is_put_by_the_next_one(s3, requests):
    put_code(s3, URI, dict(list(FILES.items())[:1]))
    requests.clear()
    put_code(s3, URI, FILES)
    assert requests == ["ListObjectsV2", *["PutObject"] * 2]
    assert {name: read(s3, name) for name in FILES} == FILES


def test_a_folder_whose_name_begins_alike_is_another_one(s3):
    put_code(s3, URI.removesuffix("/") + "0/", FILES)
    put_code(s3, URI, FILES)
    assert {name: read(s3, name) for name in FILES} == FILES


def test_an_object_that_comes_between_the_look_and_the_put_stays(s3, requests):
    def come_between(model, **_):
        if model.name == "PutObject" and len(requests) == 2:
            s3.put_object(Bucket=BUCKET, Key=FOLDER + "train.py", Body=b"the first\n")

    s3.meta.events.register("before-call.s3", come_between)
    put_code(s3, URI, FILES)
    s3.meta.events.unregister("before-call.s3", come_between)
    assert {name: read(s3, name) for name in FILES} == {**FILES, "train.py": b"the first\n"}
