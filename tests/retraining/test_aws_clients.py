"""How clients read the times of an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from retraining.aws.clients import client, timestamp
from retraining.settings.access import AwsAccess

ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=ZONES))
def test_a_time_is_what_botocore_reads(moment: datetime) -> None:
    for text in (moment.isoformat(), moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")):
        assert timestamp(text) == parse_timestamp(text)
        assert timestamp(text).utcoffset() == parse_timestamp(text).utcoffset()


@pytest.mark.parametrize(
    "value", ["Thu, 26 Nov 2026 20:13:04 GMT", 1_764_000_000, 1_764_000_000.25, "1764000000", "2026-11-26T20:13:04"]
)
def test_other_notations_are_left_to_botocore(value: Any) -> None:
    assert timestamp(value) == parse_timestamp(value)


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="some day"):
        timestamp("some day")


def test_clients_read_times_in_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    made = client("s3", AwsAccess(region="us-east-1", endpoint_url="http://127.0.0.1:9"))
    body = b"""<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Contents><Key>a</Key>
        <LastModified>2026-11-26T20:13:04.000Z</LastModified></Contents></ListBucketResult>"""
    from botocore.awsrequest import AWSResponse

    class Raw:
        def stream(self) -> Any:
            yield body

    made.meta.events.register("before-send.s3", lambda **_: AWSResponse("http://127.0.0.1:9", 200, {}, Raw()))
    found = made.list_objects_v2(Bucket="some-bucket")["Contents"][0]["LastModified"]
    assert found == datetime(2026, 11, 26, 20, 13, 4, tzinfo=UTC)
    assert type(found.tzinfo) is timezone  # botocore's own parser gives a zone of dateutil
