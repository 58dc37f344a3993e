"""The page that lists AWS's rules says of each how it stands, and names checks that exist."""

import re

import pytest

from deploy import artifacts

PAGE = (artifacts.ROOT / "docs" / "not-verified.md").read_text()
STATES = r"checked here|safe side taken; a live run settles it: .+|open: .+"
LEFT_OUT = ("faults", "e2e", "pages")  # `make test` does not run them


def rows(page: str) -> list[tuple[str, str, str]]:
    """Return rule, checks and state of each row."""
    table = page.partition("| rule | check | state |\n|---|---|---|\n")[2]
    return [tuple(line.strip("| ").split(" | ")) for line in table.splitlines() if line.startswith("|")]


def faults(page: str) -> list[str]:
    """Return what is wrong with the table: checks that `make test` does not run, states that are none, rules without a check."""
    found = []
    for rule, checks, state in rows(page):
        named = re.findall(r"`([^`]+)::([^`]+)`", checks)
        if not re.fullmatch(STATES, state) or (not named and not state.startswith("open")):
            found.append(f"{rule}: {checks}: {state}")
        for place, name in named:
            path = artifacts.ROOT / "tests" / place
            text = path.read_text() if path.is_file() and place.split("/")[0] not in LEFT_OUT else ""
            if not re.search(rf"^def {re.escape(name)}\(", text, re.MULTILINE):
                found.append(f"{place}::{name}")
    return found


def test_every_rule_on_the_page_has_its_check_and_its_state():
    assert faults(PAGE) == []
    assert len(rows(PAGE)) == len({rule for rule, _, _ in rows(PAGE)}) >= 42


CANARY = "conformance/test_canary.py::test_a_canary_of_less_than_one_instance_is_refused"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (CANARY, CANARY.removesuffix("d")),
        (CANARY, CANARY.replace("test_canary", "test_nothing")),
        (CANARY, "faults/test_stack.py::test_a_canary_of_less_than_one_instance_is_refused"),
        (f"`{CANARY}`", "none"),
        (f"`{CANARY}` | checked here", f"`{CANARY}` | surely"),
        (f"`{CANARY}` | checked here", f"`{CANARY}` | open: "),
    ],
)
def test_a_wrong_name_or_state_would_be_seen(right, wrong):
    assert right in PAGE
    [fault] = faults(PAGE.replace(right, wrong, 1))
    assert wrong.split(" | ")[-1].strip() in fault


def test_the_libraries_that_the_page_tells_of_are_those_of_the_lock():
    lock = (artifacts.ROOT / "requirements" / "jobs.txt").read_text()
    [(_, _, state)] = [row for row in rows(PAGE) if row[0].startswith("Jobs have the libraries")]
    pins = dict(re.findall(r"^([a-z-]+)==(\S+)", lock, re.MULTILINE))
    assert f"pandas {pins['pandas']}," in state and f"scikit-learn is {pins['scikit-learn']} in both" in state
