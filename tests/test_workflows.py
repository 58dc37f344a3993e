"""The workflows run verbs of the Makefile and nothing else, with as few rights as can be."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VERBS = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", MAKEFILE, re.MULTILINE))
FILES = sorted((ROOT / ".github" / "workflows").iterdir())
READ = {"contents": "read"}
CHECKOUT = re.compile(r"actions/checkout@[0-9a-f]{40}")


def workflow(path: Path) -> dict:
    # YAML 1.1 takes the key "on" for a truth value.
    return {("on" if key is True else key): value for key, value in yaml.safe_load(path.read_text()).items()}


def steps(path: Path) -> list[dict]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def verbs(command: str) -> list[str]:
    """Return the verbs of a command that is one call of make, an empty list for any other."""
    return command.split()[1:] if re.fullmatch(r"make( [a-z][a-z0-9-]*)+", command) else []


def test_there_are_workflows():
    assert [path.name for path in FILES] == ["check.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_step_is_a_verb_that_exists(path):
    for step in steps(path):
        if "run" in step:
            assert verbs(step["run"]), (
                f"{path.name}: {step['run']!r} is no call of make: write a verb, so that others can run it"
            )
            assert set(verbs(step["run"])) <= VERBS, step["run"]
        else:
            assert CHECKOUT.fullmatch(step["uses"]), f"{path.name}: {step['uses']} is not the checkout by its full SHA"
            assert step["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_may_read_the_sources_and_nothing_else(path):
    found, text = workflow(path), path.read_text()
    assert found["permissions"] == {}
    assert set(found["on"]) <= {
        "pull_request",
        "push",
    }  # pull_request_target runs a stranger's code with the repository's rights
    for job in found["jobs"].values():
        assert job["permissions"] == READ
        assert 0 < job["timeout-minutes"] <= 60
        assert "continue-on-error" not in job
    assert "secrets." not in text


def test_a_change_passes_what_the_full_run_begins_with():
    """Verb by verb as .ci/run does it, up to those that need a whole stack."""
    full = (ROOT / ".ci" / "run").read_text()
    first = full[: full.index('step "make test-e2e"')]
    expected = {verb for line in re.findall(r"; (make .*)$", first, re.MULTILINE) for verb in verbs(line)}
    assert {"check", "conformance", "test", "setup-sdk"} <= expected
    assert {verb for path in FILES for step in steps(path) if "run" in step for verb in verbs(step["run"])} == expected


def test_the_page_names_the_steps_in_the_same_words():
    page = (ROOT / "docs" / "ci-cd.md").read_text()
    for path in FILES:
        for step in steps(path):
            if "run" in step:
                assert f"$ {step['run']} " in page, step["run"]


@pytest.mark.parametrize(
    "command", ["make", "make test; curl x", "make test ENV=prod", "echo make", "make test\nmake check"]
)
def test_what_is_no_plain_call_of_make_is_seen(command):
    assert verbs(command) == []
