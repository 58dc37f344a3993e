"""Airflow's own routes do not wait for people who look at the page, nor do they for each other's files."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from page_site import Site

from retraining.page import data_view
from retraining.page.files import sending

PEOPLE = 60
"""More than the 40 threads that Airflow's routes share."""
STUCK_SECONDS = 60
"""After which something waits for ever."""


class Gate:
    """Lets nothing through before it is opened, and counts who stands before it."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.waiting = 0

    def answer(self, *_: Any, **__: Any) -> dict[str, Any]:
        self.waiting += 1
        assert self.opened.wait(STUCK_SECONDS)
        return {}


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


def with_pending(site: Site, gate: Gate, pending: tuple[str, str], then: Callable[[Any], Awaitable[None]]) -> list[int]:
    """Let many people ask for what waits, do something meanwhile, and return the statuses when all is answered."""
    airflow = FastAPI()
    airflow.mount("/retraining", site.app.routes[-1].app)

    @airflow.get("/threaded")
    def threaded() -> str:
        return threading.current_thread().name

    async def play() -> list[int]:
        cookies, header = {"_token": site.tokens["admin"]}, {"X-Retraining-Page": "1"}
        transport = httpx.ASGITransport(app=airflow)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", cookies=cookies, headers=header
        ) as client:
            method, path = pending
            asked = [asyncio.create_task(client.request(method, path, content=b"x")) for _ in range(PEOPLE)]
            while not gate.waiting:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # until all of them stand where they wait
            assert not any(task.done() for task in asked)
            await asyncio.wait_for(then(client), STUCK_SECONDS / 2)
            gate.opened.set()
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    return site.loop.run_until_complete(play())


PENDING = {
    "views": ("GET", "/retraining/models/abalone/data"),
    "checks": ("POST", "/retraining/models/abalone/checks?name=a.csv"),
}


@pytest.fixture
def stuck(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.setattr(data_view, "data", gate.answer)
    monkeypatch.setattr(sending, "judged", gate.answer)
    return gate


@pytest.mark.parametrize("kind", PENDING)
def test_airflows_own_routes_answer_while_people_wait_for_the_page(site: Site, stuck: Gate, kind: str) -> None:
    async def then(client: httpx.AsyncClient) -> None:
        assert (await client.get("/threaded")).status_code == 200

    assert with_pending(site, stuck, PENDING[kind], then) == [200] * PEOPLE


def test_a_view_does_not_wait_for_the_files_of_others(site: Site, stuck: Gate) -> None:
    async def then(client: httpx.AsyncClient) -> None:
        assert (await client.get("/retraining/models/abalone/now")).status_code == 200

    assert with_pending(site, stuck, PENDING["checks"], then) == [200] * PEOPLE


def test_nothing_of_the_page_runs_in_the_threads_of_airflow() -> None:
    from retraining.page.application import routes

    app, seen = routes(), []
    left = [route.dependant for route in app.routes]
    while left:
        one = left.pop()
        left += one.dependencies
        seen.append(one.call)
        assert one.is_coroutine_callable or not one.call.__module__.startswith("retraining."), one.call
    assert len(seen) > len(app.routes)
