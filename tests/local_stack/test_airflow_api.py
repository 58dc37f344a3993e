"""A busy API server: what only reads is asked again, what changes something is not."""

from types import SimpleNamespace

import pytest
import requests

from local_stack.airflow_api import READ_TRIES, AirflowApi


class Slow:
    """A session whose first answers come too late."""

    def __init__(self, late: int) -> None:
        self.late = late
        self.asked: list[str] = []

    def request(self, method, url, **_):
        self.asked.append(f"{method} {url}")
        if len(self.asked) <= self.late:
            raise requests.ReadTimeout("read timed out")
        return SimpleNamespace(ok=True, json=lambda: {"state": "success"})


@pytest.fixture
def api_of():
    def make(late):
        api = AirflowApi("http://127.0.0.1:1")
        api._session, api._until = Slow(late), float("inf")
        return api

    return make


def test_a_read_is_asked_again_and_gives_up_in_the_end(api_of):
    api = api_of(READ_TRIES - 1)
    assert api.run("dag", "run") == {"state": "success"}
    assert len(set(api._session.asked)) == 1 and len(api._session.asked) == READ_TRIES
    api = api_of(READ_TRIES)
    with pytest.raises(requests.Timeout):
        api.run("dag", "run")
    assert len(api._session.asked) == READ_TRIES


def test_a_change_is_asked_for_once_only(api_of):
    api = api_of(1)
    with pytest.raises(requests.Timeout):
        api.trigger("dag", {})
    assert len(api._session.asked) == 1
