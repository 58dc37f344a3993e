"""Objects that are written once, by whoever comes first."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from retraining.aws.documents import put_bytes_under_free_name
from retraining.survey.job import free_names

pytestmark = pytest.mark.local_aws
FIRST = "s3://surveys/abalone/new/abalone.20251231235959"


@pytest.fixture(scope="module")
def s3(account):
    account.s3.create_bucket(Bucket="surveys")
    return account.s3


@pytest.fixture(autouse=True)
def nothing_landed(s3):
    yield
    for item in s3.list_objects_v2(Bucket="surveys").get("Contents", []):
        s3.delete_object(Bucket="surveys", Key=item["Key"])


def landed(s3):
    listed = s3.list_objects_v2(Bucket="surveys").get("Contents", [])
    return {
        item["Key"].rpartition(".")[2]: s3.get_object(Bucket="surveys", Key=item["Key"])["Body"].read() for item in listed
    }  # fmt: skip


def upload(s3, body, seconds=60):
    return put_bytes_under_free_name(s3, free_names(FIRST, seconds), body, "text/csv")


def test_the_names_are_those_of_the_following_seconds():
    assert [name.rpartition(".")[2] for name in free_names(FIRST, 3)] == [
        "20251231235959", "20260101000000", "20260101000001"
    ]  # fmt: skip


def test_a_second_survey_of_the_same_second_takes_the_next_one_and_replaces_nothing(s3):
    assert upload(s3, b"first") == FIRST
    assert upload(s3, b"other") == "s3://surveys/abalone/new/abalone.20260101000000"
    assert landed(s3) == {"20251231235959": b"first", "20260101000000": b"other"}


def test_a_repeated_upload_finds_its_own_file(s3):
    places = [upload(s3, body) for body in (b"first", b"other", b"first", b"other")]
    assert places[:2] == places[2:]
    assert len(landed(s3)) == 2


def test_surveys_that_land_at_once_all_land(s3):
    bodies = [b"%d" % number for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda body: upload(s3, body), bodies))
    assert len(set(places)) == 8
    assert sorted(landed(s3).values()) == bodies


def test_when_no_name_is_free_the_file_says_so_and_nothing_is_replaced(s3):
    for body in (b"1", b"2"):
        upload(s3, body)
    with pytest.raises(
        FileExistsError, match=r"other files stand under s3://surveys/.*20251231235959 and the 1 names after it"
    ):
        upload(s3, b"3", seconds=2)
    assert sorted(landed(s3).values()) == [b"1", b"2"]
