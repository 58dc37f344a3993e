"""People who look at the page, as their browsers ask: views with their requests, files judged and sent, rows tried."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import httpx

DAG, MODEL = "abalone_retraining", "abalone"
ASSETS = ("page.js", "page.css", "dom.js", "server.js", "now.js", "drift.js", "plots.js", "icon.svg")
"""What the first view loads; a browser keeps it for a minute, and scripts of other views are like them."""
CONNECTIONS = 6
"""That a browser opens to one server."""
THINK = (4.0, 12.0)
"""Seconds between two views of a person."""
FOLLOW_SECONDS, FOLLOWED = 3, 4
"""As send.js asks for the way of a file, and how often before a person goes elsewhere."""
CHANGED_SECONDS = 6.0
"""As server.js says for how long that a person has changed something."""
LIKELY = {"now": 6, "history": 3, "data": 5, "drift": 2, "send": 2, "try": 3}
"""How often a person turns to each view."""
HEADER = "sex,length,diameter,height,whole_weight,shucked_weight,viscera_weight,shell_weight,rings"
ROW = {"sex": "M", "length": 0.5, "diameter": 0.4, "height": 0.1, "whole_weight": 0.6}
ROW |= {"shucked_weight": 0.2, "viscera_weight": 0.1, "shell_weight": 0.15}


class Noted:
    """Seconds of each kind of request, and what went wrong."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.failures: list[str] = []


def crowd(url: str, token: str, people: int, seconds: int) -> Noted:
    """Let people look around for a while, in a process of their own: what they do takes no time from whoever measures."""

    async def looking() -> Noted:
        noted, until = Noted(), time.monotonic() + seconds
        await asyncio.gather(*(Person(url, token, number, noted).look_around(until) for number in range(people)))
        return noted

    return asyncio.run(looking())


class Person:
    """A person with a browser.

    Args:
        url: of Airflow.
        token: of a login.
        number: makes a person do the same in each run.
        noted: takes what each request took.

    """

    def __init__(self, url: str, token: str, number: int, noted: Noted) -> None:
        self._random = random.Random(number)
        self._number, self._noted, self._sent, self._changed = number, noted, 0, -CHANGED_SECONDS
        self._client = httpx.AsyncClient(
            base_url=f"{url}/retraining/",
            cookies={"_token": token},
            headers={"X-Retraining-Page": "1"},
            limits=httpx.Limits(max_connections=CONNECTIONS),
            timeout=60,
            trust_env=False,
            verify=False,  # plain HTTP: no certificates are read for each person
        )

    async def look_around(self, until: float) -> None:
        """Open the page and go from view to view until a moment of ``time.monotonic``."""
        async with self._client:
            await asyncio.sleep(self._random.uniform(0, THINK[1]))
            await self._ask("page", "GET", "")
            await asyncio.gather(*(self._ask("assets", "GET", f"assets/{name}") for name in ASSETS))
            await self._ask("Airflow's API", "GET", "../api/v2/dags", params={"tags": "retraining", "limit": 200})
            view = "now"
            while time.monotonic() < until:
                await getattr(self, f"_{view}")()
                await asyncio.sleep(self._random.uniform(*THINK))
                [view] = self._random.choices(list(LIKELY), list(LIKELY.values()))

    async def open_every_view(self) -> None:
        """Look at everything once; what is imported and parsed for the first time is so afterwards."""
        async with self._client:
            for view in LIKELY:
                await getattr(self, f"_{view}")()

    async def _now(self) -> None:
        await asyncio.gather(self._model("now"), self._model("dag"))

    async def _history(self) -> None:
        await self._model("history")

    async def _data(self) -> None:
        data = await self._model("data")
        if not data or self._random.random() < 0.5:
            return
        version = self._random.choice(data["versions"])
        if self._random.random() < 0.5:
            await self._model("versions", f"versions/{version['version']}")
            return
        batch = f"batches/{data['versions'][0]['batch']}"
        await self._model("quarantine", f"{batch}/reasons")
        await self._model("quarantine", f"{batch}/rejected")

    async def _drift(self) -> None:
        await self._model("drift")

    async def _send(self) -> None:
        await self._model("now")
        self._sent += 1
        name = f"survey-{self._number}-{self._sent}.csv"
        rows = [
            f"M,0.455,0.365,0.095,0.5{self._number:03}{self._sent:03}{at:03},0.2245,0.101,0.15,9" for at in range(200)
        ]
        body = "\n".join([HEADER, *rows]).encode()
        verdict = await self._model("checks", method="POST", params={"name": name}, content=body)
        if not verdict or self._random.random() < 0.5:
            return
        sent = await self._model("send", "files", method="POST", params={"name": name}, content=body)
        for _ in range(FOLLOWED if sent and sent["key"] else 0):
            await self._model("follow", "files", params={"key": sent["key"]})
            await self._model("dag")
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _try(self) -> None:
        await self._model("now")
        for explain in ({}, {"explain": True}):
            await self._model("try", "predictions", method="POST", json={"rows": [ROW], **explain})

    async def _model(self, kind: str, path: str = "", method: str = "GET", **request: Any) -> Any:
        return await self._ask(kind, method, f"models/{MODEL}/{path or kind}", **request)

    async def _ask(self, kind: str, method: str, path: str, **request: Any) -> Mapping[str, Any] | None:
        begun = time.monotonic()
        ago = begun - self._changed
        headers = {"X-Retraining-Changed": str(int(1000 * ago))} if ago < CHANGED_SECONDS else {}
        try:
            answer = await self._client.request(method, path, headers=headers, **request)
        except httpx.HTTPError as error:
            self._noted.failures.append(f"{method} {path}: {type(error).__name__} {error}")
            return None
        self._noted.seconds[kind].append(time.monotonic() - begun)
        if kind == "send":
            self._changed = time.monotonic()
        if answer.status_code != 200:
            self._noted.failures.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
            return None
        return answer.json() if answer.headers["content-type"].startswith("application/json") else None
