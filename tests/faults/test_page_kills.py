"""The API server is killed while people send files on the page: what was confirmed is in the bucket, whole and once."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import requests
from local_airflow import DAG_ID, MODEL, LocalAirflow, started
from task_runs import wait_until

from local_stack.airflow_settings import ADMIN, stack_secrets

pytestmark = pytest.mark.airflow

SENDERS = 4
CONFIRMED = (1, 8)
"""After how many confirmed files of a round the server is killed: when it has just begun, and when all are at it."""
EACH = 6
"""Files that each of them sends in a round."""
BLANK = 300
"""Kilobytes of blank lines in each file, so that it is on its way for a while."""
ANSWER_SECONDS = 120


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A running stack without data, whose DAG is paused: what is sent stays where it landed."""
    with started(tmp_path_factory.mktemp("stack")) as stack:
        stack.wait_idle()
        stack.api.patch(f"dags/{DAG_ID}", {"is_paused": True})
        yield stack


@dataclass(frozen=True)
class File:
    """A file that somebody sends."""

    name: str
    body: bytes


def file_of(number: int) -> File:
    """Return a file like no other."""
    rows = [f"M,0.455,0.365,0.095,0.52{number:03}{at:02},0.2245,0.101,0.15,9\n" for at in range(10)]
    return File(f"survey-{number}.csv", "".join(rows).encode() + (b" " * 1023 + b"\n") * BLANK)


class People:
    """Send files one after the other, as the page does."""

    def __init__(self, stack: LocalAirflow) -> None:
        self.url = f"http://127.0.0.1:{stack.airflow_port}"
        self.confirmed: dict[str, File] = {}
        """By key."""
        self._session = requests.Session()
        self._session.trust_env = False
        login = {"username": ADMIN, "password": stack_secrets()["admin_password"]}
        answer = self._session.post(f"{self.url}/auth/token", json=login, timeout=ANSWER_SECONDS)
        self._token = {"Authorization": f"Bearer {answer.json()['access_token']}", "X-Retraining-Page": "1"}

    def send(self, file: File) -> dict | None:
        """Send a file; return the page's answer, None when nobody answers."""
        where = f"{self.url}/retraining/models/{MODEL}/files"
        try:
            answer = self._session.post(
                where, params={"name": file.name}, data=file.body, headers=self._token, timeout=ANSWER_SECONDS
            )
        except requests.RequestException:
            return None
        assert answer.status_code == 200 and answer.json()["key"], answer.text
        self.confirmed[answer.json()["key"]] = file
        return answer.json()

    def send_all(self, files: list[File]) -> list[File]:
        """Send files until nobody answers; return those that were not confirmed."""
        for at, file in enumerate(files):
            if self.send(file) is None:
                return files[at:]
        return []

    def way(self, key: str) -> str:
        """Return what the page says of a file."""
        where = f"{self.url}/retraining/models/{MODEL}/files"
        answer = self._session.get(where, params={"key": key}, headers=self._token, timeout=ANSWER_SECONDS)
        assert answer.status_code == 200, answer.text
        return answer.json()["state"]


def landed(stack: LocalAirflow) -> dict[str, bytes]:
    """Return what lies in the landing zone, by key."""
    s3 = stack.account.s3
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket, Prefix=f"{MODEL}/new/")
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {key: s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read() for key in keys}


def test_what_was_confirmed_is_there_whole_and_once_and_the_rest_can_be_sent_again(stack):
    files = [file_of(number) for number in range(len(CONFIRMED) * SENDERS * EACH)]
    confirmed: dict[str, File] = {}
    for turn, enough in enumerate(CONFIRMED):
        people, mine = People(stack), files[turn * SENDERS * EACH :][: SENDERS * EACH]
        with ThreadPoolExecutor(SENDERS) as pool:
            sending = [pool.submit(people.send_all, mine[at::SENDERS]) for at in range(SENDERS)]
            wait_until(functools.partial(has_confirmed, people, enough), "files are confirmed", 300)
            stack.kill("api-server")
            left = [file for one in sending for file in one.result()]
        assert len(left) >= SENDERS, "the kill came too late"
        confirmed |= people.confirmed
        lying = landed(stack)
        assert_whole_and_once(stack, lying, files)
        assert {key: lying.get(key) for key in confirmed} == {key: file.body for key, file in confirmed.items()}

        stack.command("up")
        people = People(stack)
        for file in left:
            answer = people.send(file)
            assert answer is not None
            assert answer["already_there"] == (file.body in lying.values())
        confirmed |= people.confirmed
        assert_whole_and_once(stack, landed(stack), files)
        assert {key: file.body for key, file in confirmed.items()} == landed(stack)
    assert {people.way(key) for key in confirmed} == {"waiting"}


def has_confirmed(people: People, enough: int) -> bool:
    return len(people.confirmed) >= enough


def assert_whole_and_once(stack: LocalAirflow, lying: dict[str, bytes], files: list[File]) -> None:
    assert set(lying.values()) <= {file.body for file in files}, "there is a half file"
    assert len(set(lying.values())) == len(lying), "a file lies there twice"
    assert not stack.account.s3.list_multipart_uploads(Bucket=stack.bucket).get("Uploads")
