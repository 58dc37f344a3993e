"""A view that many people ask for is made once, serves nobody longer than a moment, and never hides what a person has just done."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from retraining.page.concurrency import shared as sharing
from retraining.page.concurrency.shared import shared
from retraining.page.known_models import KnownModel
from retraining.page.rights import Visitor

PEOPLE = 50


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


def visitor(name: str, unchanged: float = math.inf) -> Visitor:
    return Visitor(cast(KnownModel, Named(name)), "somebody", may_act=False, unchanged=unchanged)


ABALONE, ADULT, CHANGED = visitor("abalone"), visitor("adult"), visitor("abalone", unchanged=0.0)


class View:
    """Counts how often it is made; waits while it is told to."""

    def __init__(self) -> None:
        self.made = 0
        self.open = threading.Event()
        self.open.set()

    def __call__(self, model: KnownModel, *which: Any, **named: Any) -> tuple[Any, ...]:
        self.made += 1
        made = self.made
        assert self.open.wait(60)
        return model.name, made, which, named


@pytest.fixture
def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "BELIEVED_SECONDS", 3600.0)


@pytest.fixture
def view() -> View:
    return View()


def played(play: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(play(), 60))  # type: ignore[arg-type]


@pytest.mark.usefixtures("believed")
def test_people_who_ask_within_a_moment_get_one_answer(view: View) -> None:
    async def play() -> None:
        found = await asyncio.gather(*(shared(view, ABALONE) for _ in range(PEOPLE)))
        assert [*found, await shared(view, ABALONE)] == [("abalone", 1, (), {})] * (PEOPLE + 1)

    played(play)


def test_who_asks_while_a_view_is_made_waits_for_it(view: View) -> None:
    async def play() -> None:
        view.open.clear()
        asked = [asyncio.create_task(shared(view, ABALONE)) for _ in range(PEOPLE)]
        while not view.made:
            await asyncio.sleep(0.01)
        view.open.set()
        assert {made for _, made, *_ in await asyncio.gather(*asked)} == {1}

    played(play)


def test_a_view_is_made_anew_when_its_moment_is_over(view: View) -> None:
    async def play() -> None:
        assert [(await shared(view, ABALONE))[1] for _ in range(3)] == [1, 2, 3]

    played(play)


@pytest.mark.usefixtures("believed")
def test_models_views_and_what_is_asked_of_them_are_kept_apart(view: View) -> None:
    other = View()

    async def play() -> None:
        asked = [shared(view, ABALONE), shared(view, ADULT), shared(view, ABALONE, 1), shared(view, ABALONE, at=1)]
        found = [*await asyncio.gather(*asked), await shared(other, ABALONE)]
        assert [(name, *rest) for name, _, *rest in found] == [
            ("abalone", (), {}), ("adult", (), {}), ("abalone", (1,), {}), ("abalone", (), {"at": 1}), ("abalone", (), {})
        ]  # fmt: skip
        assert (view.made, other.made) == (4, 1)

    played(play)


@pytest.mark.usefixtures("believed")
def test_who_has_changed_something_gets_a_view_begun_afterwards_and_so_do_all_who_follow(view: View) -> None:
    async def play() -> None:
        await shared(view, ADULT)
        view.open.clear()
        before = asyncio.create_task(shared(view, ABALONE))
        while view.made < 2:
            await asyncio.sleep(0.01)
        after = asyncio.create_task(shared(view, CHANGED))
        while view.made < 3:
            await asyncio.sleep(0.01)
        view.open.set()
        assert [made for _, made, *_ in await asyncio.gather(before, after)] == [2, 3]
        assert [(await shared(view, who))[1] for who in (ABALONE, ADULT)] == [3, 1]

    played(play)


@pytest.mark.usefixtures("believed")
def test_a_view_that_was_begun_after_the_change_is_not_made_again(view: View) -> None:
    async def play() -> None:
        await shared(view, CHANGED)
        assert (await shared(view, visitor("abalone", unchanged=3600.0)))[1] == 1
        assert (await shared(view, CHANGED))[1] == 2

    played(play)


@pytest.mark.usefixtures("believed")
def test_a_failure_is_told_to_those_who_waited_and_not_believed() -> None:
    calls: list[int] = []

    def failing(model: KnownModel) -> str:
        calls.append(len(calls))
        if len(calls) == 1:
            raise LookupError("there is none")
        return "made"

    async def play() -> None:
        found = await asyncio.gather(*(shared(failing, ABALONE) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [LookupError] * 3
        assert await shared(failing, ABALONE) == "made"

    played(play)


@pytest.mark.usefixtures("believed")
def test_a_person_who_leaves_takes_the_view_from_nobody(view: View) -> None:
    async def play() -> None:
        view.open.clear()
        leaving, staying = (asyncio.create_task(shared(view, ABALONE)) for _ in range(2))
        while not view.made:
            await asyncio.sleep(0.01)
        leaving.cancel()
        view.open.set()
        assert (await staying)[1] == 1
        assert leaving.cancelled()

    played(play)


def test_what_nobody_may_have_any_more_is_not_kept(view: View) -> None:
    async def play() -> None:
        for number in range(20):
            await shared(view, ABALONE, number)
        assert len(sharing._of_this_loop()) == 1

    played(play)
