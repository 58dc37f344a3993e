"""Plays the commands of the pages as a reader would, in a copy of the repository with a stack of its own.

What is played: documented_commands.yaml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import documented_commands as documented
import pytest
from reader import MARK, Reader

pytestmark = [pytest.mark.airflow, pytest.mark.pages, pytest.mark.timeout(3600)]
KNOWN = documented.registry()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    reader = Reader(tmp_path_factory.mktemp("reader"))
    try:
        yield reader
    finally:
        reader.types("make down")


@pytest.fixture(scope="module")
def play(reader: Reader) -> Callable[[str], str]:
    """Play a page once, after those before it in the list; return what its commands said."""
    said: dict[str, str] = {}

    def once(page: str) -> str:
        for earlier in KNOWN["sessions"][: KNOWN["sessions"].index(page) + 1]:
            if earlier not in said:
                said[earlier] = reader.types(*(it.text for it in documented.page_commands(earlier) if not it.aws))
        return said[page]

    return once


@pytest.mark.parametrize("page", KNOWN["sessions"])
def test_the_page_can_be_played_from_top_to_bottom(play, page):
    play(page)


def test_the_tutorial_promotes_two_models_and_judges_a_third_by_its_odds(play):
    said = play("docs/tutorial.md")
    text = (documented.ROOT / "docs" / "tutorial.md").read_text()
    shown = next(line for line in text.splitlines() if line.startswith("approved: First model"))
    decisions = [line for line in said.splitlines() if line.startswith(("approved: ", "rejected: "))]
    assert [line.split(":")[0] for line in decisions[:2]] == ["approved", "approved"]
    assert len(decisions) == 3
    assert " to 1 " in decisions[2]
    assert decisions[0] == shown
    assert "report.html" in said
    assert said.count("healthy") == 5


def test_the_recipes_have_the_effects_that_they_promise(play):
    said = play("docs/how-to.md")
    assert "everything is as the log says" in said
    assert said.count("identical to the original") >= 3
    assert "no file is refused" in said
    assert "approved: First model" in said  # of the data set with one more column


def test_a_model_of_ones_own_gets_into_service(play):
    said = play("docs/own-model.md")
    assert said.count("approved: First model") == 1
    answer = said.rpartition(MARK)[2].split("\n", 1)[1]
    assert 25 < float(re.findall(r"\d+\.\d+", answer)[-1]) < 346  # the range of the target


def test_every_other_command_runs(reader, play):
    play(KNOWN["sessions"][-1])
    reader.types(*(entry.get("as", entry["command"]) for entry in KNOWN["commands"]))


def test_stopping_and_starting_loses_nothing(reader, play):
    play(KNOWN["sessions"][-1])
    history = "PYTHONPATH=. .local/venvs/airflow/bin/python -m local_stack history"
    reader.types("make up", f"{history} > .local/before.json", "make down", "make up")
    assert json.loads((reader.folder / ".local" / "before.json").read_text())["packages"]
    assert "nothing is lost" in reader.types(f"{history} --compare .local/before.json")
