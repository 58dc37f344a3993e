"""docs/troubleshooting.md has an entry for every error message that a user can meet, and none for messages that are gone."""

import functools
import re
from pathlib import Path

import pytest
from raised_messages import NAME, Raised, raised_in

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"
DISTINCTIVE_LETTERS = 12
SOURCES = ("plugins/retraining", "local_stack", "deploy", "experiment", "glue_scripts")
# A wrong call is answered with what is possible: the message is the remedy, and tests/local_stack/test_calls.py has each.
ANSWERS_TO_WRONG_CALLS = "local_stack/verbs/calls.py"
# Why a landed file is refused stands in the merge's report with its remedy; docs/data-contract.md has the reasons.
# What `make new-model` cannot do is told with its remedy, too: tests/retraining/test_new_model.py has each sentence.
REMEDIES_BY_THEMSELVES = ("FileRefused", "NewModelError")
TESTED_BY_THEIR_OWN_MODULE = {
    # A manifest is written by the library and read by the Glue script: no user meets these, they guard one part against the other.
    "contract column NAME: type NAME is not one of NAME",
    "NAME is not a column of the contract, which has NAME",
    "the split NAME does not add up to 100",
    "rows cannot be split by time as NAME says: it needs a column of the contract that is a date, a timestamp or an int and never missing, "
    "and shares for NAME, NAME and NAME",
    "contract names NAME, which are not among its columns NAME",
    "contract column NAME: the dataset has a column of that name already",
    "the manifest lists NAME more than once",
    "unknown source NAME: use one of NAME",
    "the split has no NAME, where synthetic rows go: NAME",
    "the split must add up to 100 percent, got NAME",
    "contract column NAME is the target and cannot be nullable",
}


@functools.cache
def messages() -> list[Raised]:
    found = [
        raised
        for folder in SOURCES
        for path in sorted((ROOT / folder).rglob("*.py"))
        for raised in raised_in(ROOT, path)
    ]
    return [
        raised
        for raised in found
        if raised.message not in TESTED_BY_THEIR_OWN_MODULE
        and raised.file != ANSWERS_TO_WRONG_CALLS
        and raised.exception not in REMEDIES_BY_THEMSELVES
    ]


@functools.cache
def entries() -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@functools.cache
def sources() -> str:
    folders = (*SOURCES, "local_aws")
    return " ".join(
        path.read_text(encoding="utf-8") for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))
    )


def shown(message: str) -> str:
    """A message as the page writes it: an ellipsis for each value, one line."""
    return re.sub(r"\s+", " ", message.replace(NAME, "…"))


def documents(entry: str, message: str) -> bool:
    """Whether the entry's words are in the message, in order. One with few words of its own must be the whole message."""
    pattern = ".*?".join(re.escape(part.strip()) for part in entry.split("…"))
    words = sum(character.isalpha() for character in entry)
    search = re.search if words >= DISTINCTIVE_LETTERS else re.fullmatch
    return search(pattern, shown(message).strip()) is not None


@pytest.mark.parametrize("raised", messages(), ids=lambda raised: f"{raised.file}:{raised.message[:40]}")
def test_every_message_has_an_entry(raised):
    assert any(documents(entry, raised.message) for entry in entries()), (
        f"{raised}\nhas no entry in docs/troubleshooting.md: add a row with its words, cause and remedy"
    )


@pytest.mark.parametrize("entry", entries())
def test_every_entry_is_about_a_message_that_exists(entry):
    if any(documents(entry, raised.message) for raised in messages()):
        return
    words = [part.strip() for part in entry.split("…") if part.strip()]
    assert all(word in sources() for word in words), f"no source says {entry!r} any more: remove or change the entry"


def test_every_row_has_a_cause_and_a_remedy():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 3 and all(cells), row


def test_no_message_is_documented_twice():
    found = entries()
    assert len(found) == len(set(found))


def test_a_message_is_read_from_every_form_of_raise(tmp_path):
    (tmp_path / "module.py").write_text(
        'def f(name):\n    raise ValueError("plain")\n    raise ValueError(f"no {name} here")\n'
        '    raise ValueError("a " + str(name))\n    raise ValueError\n    raise\n    raise KeyError(name)\n'
    )
    found = [raised.message for raised in raised_in(tmp_path, tmp_path / "module.py")]
    assert found == ["plain", f"no {NAME} here", f"a {NAME}"]
