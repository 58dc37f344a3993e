"""Which spares are kept: one of each kind, while there is memory, one being warmed at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_account import wait_for

from local_aws.shared.running.spares import ENOUGH, SHORT, Spare, Spares


class Process:
    """A spare without a process."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.running, self.ready, self.warmed, self.ended = True, False, False, False
        self.gone_on, self.went_on = False, 0

    def warm(self) -> None:
        self.warmed = True

    def go_on(self) -> None:
        self.went_on += 1

    def end(self) -> None:
        self.ended = True

    def last_words(self) -> str:
        return "it said this"


class Kept:
    """Spares of two kinds, and the memory that is free."""

    def __init__(self, folder: Path) -> None:
        self.made: list[Process] = []
        self.free = ENOUGH
        self.spares = Spares("process", folder, self._make, ["first", "second"], lambda: self.free)

    def _make(self, kind: str, folder: Path) -> Process:
        self.made.append(Process(kind, folder))
        return self.made[-1]

    def look(self, times: int = 1) -> list[str]:
        for _ in range(times):
            self.spares._look()
        return [process.kind for process in self.made]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_one_is_warmed_after_the_other(kept: Kept) -> None:
    assert kept.look(2) == ["first"]
    assert kept.made[0].warmed
    kept.made[0].ready = True
    assert kept.look(2) == ["first", "second"]
    kept.made[1].ready = True
    assert kept.look() == ["first", "second"]
    assert kept.made[0].folder != kept.made[1].folder


def test_one_that_is_ready_goes_on_once_and_may_be_taken_meanwhile(kept: Kept) -> None:
    kept.look(2)
    assert kept.made[0].went_on == 0
    kept.made[0].ready = True
    kept.look(3)
    assert kept.made[0].went_on == 1
    taken = []
    kept.made[1].go_on = lambda: taken.append(kept.spares.take("second"))  # type: ignore[method-assign]
    kept.made[1].ready = True
    kept.look()
    assert taken == [kept.made[1]]


def test_each_is_given_to_one_job_and_followed_by_another(kept: Kept) -> None:
    assert kept.spares.take("first") is None
    kept.look()
    assert kept.spares.take("first") is None  # not yet ready
    kept.made[0].ready = True
    assert kept.spares.take("first") is kept.made[0]
    assert kept.spares.take("first") is None
    assert kept.spares.take("another") is None
    assert kept.look() == ["first", "first"]


def test_none_is_started_or_kept_when_memory_is_short(kept: Kept) -> None:
    kept.free = ENOUGH - 1
    assert kept.look() == []
    kept.free = ENOUGH
    kept.look()
    kept.made[0].ready = True
    kept.free = SHORT
    kept.look()
    assert not kept.made[0].ended
    kept.free = SHORT - 1
    kept.look()
    assert kept.made[0].ended
    assert kept.spares.take("first") is None


def test_one_that_died_is_followed_by_another_but_not_for_ever(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    kept.spares._wake.set()
    for _ in range(3):
        kept.look(2)
        kept.made[-1].running = False
    kept.spares._keep()  # comes back: nothing is tried any more
    assert len(kept.made) == 3
    assert [process.ended for process in kept.made] == [True, True, True]
    assert "a spare process ended: it said this" in caplog.text
    assert "no more spares of process: 3 ended before they had a job" in caplog.text


def test_those_that_wait_end_with_the_account(kept: Kept) -> None:
    kept.look()
    kept.spares.shutdown()
    assert kept.made[0].ended


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Callable[[str], Spare]]:
    made = []

    def wait(program: str) -> Spare:
        (tmp_path / "work").mkdir()
        made.append(Spare(tmp_path, ["/bin/sh", "-c", program], {"PATH": "/usr/bin:/bin"}, tmp_path, None, 1.0))
        made[-1].warm()
        return made[-1]

    yield wait
    for spare in made:
        spare.end()


def test_one_that_dies_before_it_opens_its_pipe_leaves_the_job_to_another_process(waiting) -> None:
    spare = waiting("sleep 0.3")
    assert spare.running
    assert not spare.assign(["true"], {})


def test_one_that_waits_is_given_the_job_when_it_is_started(waiting, tmp_path: Path) -> None:
    spare = waiting("cat work/job > work/given; sleep 60")
    assert spare.assign(["run"], {"PYTHONPATH": "a:b"}, "/there")
    spare.start()
    given = wait_for(lambda: (tmp_path / "work/given").read_text())
    job = {"argv": ["run"], "path": ["a", "b"], "env": {"PYTHONPATH": "a:b"}, "cwd": "/there"}
    assert json.loads(given) == job


def test_one_whose_job_was_stopped_before_it_began_keeps_no_file_open(waiting) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    spare = waiting("read job < work/job")
    assert spare.assign(["run"], {})
    spare.end()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
