"""A listing of S3 that came in the same bytes before is not parsed again, and answers the same."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from local_account import Account

from retraining.page.concurrency import listings

BUCKET = "listed-bucket"
KEYS = ("a/1 + 2%.csv", "a/<b>&'\".csv", "a/plain.csv", "a/é\u202e.csv", "b/one/x", "b/two/x", "b/x")
REQUESTS: tuple[dict[str, Any], ...] = (
    {"Prefix": "a/"},
    {"Prefix": "a/", "MaxKeys": 2},
    {"Prefix": "a/", "StartAfter": "a/plain"},
    {"Prefix": "b/", "Delimiter": "/"},
    {"Prefix": "c/"},
    {},
)


@pytest.fixture(scope="module")
def bucket(account: Account) -> str:
    account.s3.create_bucket(Bucket=BUCKET)
    for key in KEYS:
        account.s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    return BUCKET


@pytest.fixture
def s3(account: Account, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client that remembers listings, of which it knows none."""
    monkeypatch.setattr(listings, "_known", {})
    made = boto3.client(
        "s3",
        endpoint_url=account.url,
        region_name="us-east-1",
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
    )
    listings.remember(made)
    listings.remember(made)  # as for each model of an account
    return made


@pytest.fixture
def parsed(s3: Any) -> Iterator[list[bool]]:
    """Whether the objects of each listing were parsed."""
    seen: list[bool] = []

    def note(response_dict: dict[str, Any], **_: Any) -> None:
        seen.append(listings.FIRST in response_dict["body"])

    s3.meta.events.register_last("before-parse.s3.ListObjectsV2", note)
    yield seen
    s3.meta.events.unregister("before-parse.s3.ListObjectsV2", note)


def pages(s3: Any, **request: Any) -> list[dict[str, Any]]:
    found = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, **request)
    return [{name: value for name, value in page.items() if name != "ResponseMetadata"} for page in found]


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_a_remembered_listing_answers_what_any_client_answers(account: Account, s3: Any, request_: dict) -> None:
    expected = pages(account.client("s3"), **request_)
    assert [pages(s3, **request_) for _ in range(3)] == [expected] * 3


def test_objects_are_parsed_when_anything_of_them_is_new(account: Account, s3: Any, parsed: list[bool]) -> None:
    pages(s3, Prefix="a/")
    pages(s3, Prefix="a/")
    assert parsed == [True, False]
    account.s3.put_object(Bucket=BUCKET, Key="a/plain.csv", Body=b"another")
    [page] = pages(s3, Prefix="a/")
    assert parsed == [True, False, True] and page["Contents"][2]["Size"] == len(b"another")


def test_nobody_changes_what_is_remembered(s3: Any, parsed: list[bool]) -> None:
    for _ in range(3):
        [page] = pages(s3, Prefix="a/")
        assert [item["Key"] for item in page["Contents"]] == [key for key in KEYS if key.startswith("a/")]
        for item in page["Contents"]:
            item["Key"] = "changed"
    assert parsed == [True, False, False]


def test_no_more_pages_are_kept_than_there_is_room_for(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "PAGES", 2)
    for request in REQUESTS:
        pages(s3, **request)
        assert len(listings._known) <= 2


def test_objects_among_prefixes_are_left_to_botocore(s3: Any) -> None:
    answer: dict[str, Any] = {}
    body = b"<Contents><Key>a</Key></Contents><CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes><Contents></Contents>"
    response = {"body": body}
    listings._take_out(response, answer)
    assert (response, answer) == ({"body": body}, {})
