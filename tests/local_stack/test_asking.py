"""Requests to an endpoint whose captures come later than the answers."""

import io
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_stack import asking, layout
from retraining.serving import monitoring
from retraining.settings.model_config import load_model_config

CONFIG = load_model_config(layout.ROOT / "dags" / "models" / "abalone" / "model.yaml")
BEGAN = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


class Late:
    """S3 in which capture files appear one by one, at each listing the next; time passes only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *files: tuple[list[str], datetime]) -> None:
        self.files = [(f"captured/{number}.jsonl", *file) for number, file in enumerate(files)]
        self.listings, self.now, self.read = 0, 0.0, list[str]()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def get_paginator(self, _: str) -> Any:
        """Return itself."""
        return self

    def paginate(self, Bucket: str, Prefix: str, StartAfter: str) -> list[dict[str, Any]]:
        """List what has appeared."""
        assert Prefix == f"abalone/{monitoring.captured_prefix(CONFIG)}"
        assert StartAfter < f"{Prefix}2026/03/04/05/"
        self.listings += 1
        return [{"Contents": [{"Key": key, "LastModified": at} for key, _, at in self.files[: self.listings]]}]

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        """Return the lines of a file."""
        self.read.append(Key)
        [ids] = [ids for key, ids, _ in self.files if key == Key]
        lines = [{"eventMetadata": {"inferenceId": name} if name else {}} for name in ids]
        return {"Body": io.BytesIO("".join(f"{json.dumps(line)}\n" for line in lines).encode())}


def test_it_waits_until_the_last_request_is_captured_and_reads_each_file_once(monkeypatch):
    old, new = BEGAN - timedelta(hours=2), BEGAN + timedelta(seconds=2)
    s3 = Late(monkeypatch, (["a", "b"], old), (["a", ""], new), (["other"], new), (["b"], new), (["c"], new))
    assert asking.not_captured(s3, "data", CONFIG, ["a", "b"], BEGAN) == set()
    assert s3.read == ["captured/1.jsonl", "captured/2.jsonl", "captured/3.jsonl"]


def test_what_is_not_captured_within_the_limit_is_named(monkeypatch):
    s3 = Late(monkeypatch, (["a"], BEGAN))
    assert asking.not_captured(s3, "data", CONFIG, ["a", "b"], BEGAN, 5) == {"b"}
    assert 5 <= s3.now < 6


def test_the_clock_of_this_machine_may_be_ahead_of_that_of_s3(monkeypatch):
    s3 = Late(monkeypatch, (["a"], BEGAN - timedelta(minutes=2)))
    assert asking.not_captured(s3, "data", CONFIG, ["a"], BEGAN, 5) == set()


def test_who_asked_nothing_waits_for_nothing(monkeypatch):
    s3 = Late(monkeypatch)
    assert asking.not_captured(s3, "data", CONFIG, [], BEGAN) == set()
    assert s3.listings == 0


def test_a_request_that_the_model_refuses_is_left_out_and_one_that_nobody_answers_is_an_error():
    class Runtime:
        def invoke_endpoint(self, EndpointName, ContentType, Body, InferenceId):
            named.append((Body.decode(), InferenceId))
            if Body != b"good":
                raise ClientError({"Error": {"Code": "ModelError" if Body == b"bad" else "ValidationError"}}, "x")
            return {"Body": io.BytesIO(b"1")}

    named: list[tuple[str, str]] = []
    assert asking.ask(Runtime(), "abalone", ["good", "bad", "good"], ["a", "b", "c"]) == ["a", "c"]
    assert sorted(named) == [("bad", "b"), ("good", "a"), ("good", "c")]
    with pytest.raises(LookupError, match="endpoint abalone cannot be asked"):
        asking.ask(Runtime(), "abalone", ["lost"], ["a"])
