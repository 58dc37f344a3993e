"""Plays demo and tutorial one after the other in either order, as somebody does who tries both and never starts over.

The shell has AWS_PROFILE set to a profile that no file of this machine knows, and talks to the local account: neither may lead a verb
astray.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import documented_commands as documented
import pytest
from reader import Reader

pytestmark = [pytest.mark.airflow, pytest.mark.pages, pytest.mark.timeout(3600)]
FOREIGN = {"AWS_PROFILE": "no-such-profile"}
NEXT = re.compile(r"'(make reset MODEL=\w+)' deletes this model's local data")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    try:
        yield reader
    finally:
        reader.types("make down")


def commands(page: str) -> list[str]:
    return [command.text for command in documented.page_commands(page) if not command.aws]


def verdicts(said: str) -> list[str]:
    return re.findall(r"^ *(?:decision +)?(approved|rejected): ", said, flags=re.MULTILINE)


def test_the_demo_and_then_the_tutorial(reader):
    said = reader.types("make demo", "make demo", **FOREIGN)
    assert (
        verdicts(said).count("approved") >= 3
    )  # two runs, and the retraining of the second time; it tells the first run again
    said = reader.types(*commands("docs/tutorial.md"), **FOREIGN)
    assert verdicts(said)[:2] == ["approved", "approved"]
    assert len(verdicts(said)) == 3  # the third model is as good as the second, and either may win
    assert said.count("healthy") == 5


def test_the_tutorial_and_then_the_demo(reader):
    said = reader.types(
        *commands("docs/tutorial.md"), 'eval "$(make env)"', "make demo 2>&1 || echo ended with $?", **FOREIGN
    )
    assert "holds other data" in said
    remedy = NEXT.search(said)
    assert remedy, said[-2000:]
    assert verdicts(reader.types(remedy[1], "make demo", **FOREIGN)).count("approved") == 2
