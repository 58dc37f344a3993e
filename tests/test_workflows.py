"""The workflows run verbs of the Makefile and nothing else, with as few rights as can be."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VERBS = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", MAKEFILE, re.MULTILINE))
FILES = sorted((ROOT / ".github" / "workflows").iterdir())
CHECK, DEPLOY = (ROOT / ".github" / "workflows" / f"{name}.yml" for name in ("check", "deploy"))
READ = {"contents": "read"}
# What a job may do beside reading the sources: take on a role, or write a comment, never both.
MORE = ({}, {"id-token": "write"}, {"pull-requests": "write"})
BASE = "${{ github.event.pull_request.base.sha }}"
CHECKOUT = re.compile(r"actions/checkout@[0-9a-f]{40}")


def workflow(path: Path) -> dict:
    # YAML 1.1 takes the key "on" for a truth value.
    return {("on" if key is True else key): value for key, value in yaml.safe_load(path.read_text()).items()}


def steps(path: Path) -> list[dict]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def verbs(command: str) -> list[str]:
    """Return the verbs of a command that is one call of make, an empty list for any other."""
    return command.split()[1:] if re.fullmatch(r"make( [a-z][a-z0-9-]*)+", command) else []


def deploying(command: str) -> tuple[str, dict[str, str]]:
    """Return verb and variables of a command that is one call of make with plain values; nothing for any other."""
    if not re.fullmatch(r"make [a-z][a-z0-9-]*( [A-Z_]+=[A-Za-z0-9]+)*", command):
        return "", {}
    _, verb, *given = command.split()
    return verb, dict(item.split("=") for item in given)


def test_there_are_workflows():
    assert FILES == [CHECK, DEPLOY]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_step_is_a_verb_that_exists(path):
    for step in steps(path):
        if "run" in step:
            named = verbs(step["run"]) if path == CHECK else [deploying(step["run"])[0]]
            assert named and all(named), (
                f"{path.name}: {step['run']!r} is no call of make: write a verb, so that others can run it"
            )
            assert set(named) <= VERBS, step["run"]
        else:
            assert CHECKOUT.fullmatch(step["uses"]), f"{path.name}: {step['uses']} is not the checkout by its full SHA"
            assert step["with"].pop("ref", BASE) == BASE
            assert step["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_has_no_secret_and_hardly_a_right(path):
    found, text = workflow(path), path.read_text()
    assert found["permissions"] == {}
    assert set(found["on"]) <= {
        "pull_request",
        "push",
    }  # pull_request_target runs a stranger's code with the repository's rights
    for job in found["jobs"].values():
        more = {name: kind for name, kind in job["permissions"].items() if name not in READ}
        assert job["permissions"] == READ | more and more in (MORE[:1] if path == CHECK else MORE)
        assert 0 < job["timeout-minutes"] <= 60
        assert "continue-on-error" not in job
    assert "secrets." not in text and "AWS_ACCESS_KEY" not in text and "AWS_SECRET" not in text


def test_a_pull_request_can_only_plan_and_one_of_a_fork_nothing():
    jobs = workflow(DEPLOY)["jobs"]
    on_requests = {name for name, job in jobs.items() if "event_name == 'push'" not in job.get("if", "")}
    assert on_requests == {"plan", "comment"} and jobs["comment"]["needs"] == "plan"
    assert "github.event.pull_request.head.repo.full_name == github.repository &&" in jobs["plan"]["if"]
    [planned] = [step["run"] for step in jobs["plan"]["steps"] if "run" in step]
    assert deploying(planned) == ("deploy", {"ENV": "staging", "PLAN": "1"})


def test_what_writes_the_comment_runs_nothing_of_the_request_and_has_no_role():
    job = workflow(DEPLOY)["jobs"]["comment"]
    assert job["steps"][0]["with"]["ref"] == BASE
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make plan-comment"]
    assert "id-token" not in job["permissions"]


@pytest.mark.parametrize(
    ("name", "role", "when"),
    [
        ("plan", "PLAN_ROLE_ARN", "'pull_request'"),
        ("staging", "STAGING_ROLE_ARN", "github.ref == 'refs/heads/main'"),
        ("prod", "PROD_ROLE_ARN", "startsWith(github.ref, 'refs/tags/v')"),
    ],
)
def test_each_job_has_the_role_of_its_deployment_and_goes_there_only(name, role, when):
    job = workflow(DEPLOY)["jobs"][name]
    assert when in job["if"]
    for step in job["steps"]:
        if "run" in step:
            verb, given = deploying(step["run"])
            assert step["env"]["AWS_ROLE_ARN"] == f"${{{{ vars.{role} }}}}"
            assert given.get("ENV" if verb == "deploy" else "TO") == ("staging" if name == "plan" else name)
    assert f"vars.{role} != ''" in str(job), "without the variable it does nothing"
    assert (job.get("environment") == "prod") == (name == "prod")
    if name != "plan":
        assert job["concurrency"] == {"group": name, "cancel-in-progress": False}


def test_a_change_passes_what_the_full_run_begins_with():
    """Verb by verb as .ci/run does it, up to those that need a whole stack."""
    full = (ROOT / ".ci" / "run").read_text()
    first = full[: full.index('step "make test-e2e"')]
    expected = {verb for line in re.findall(r"; (make .*)$", first, re.MULTILINE) for verb in verbs(line)}
    assert {"check", "conformance", "test", "setup-sdk"} <= expected
    assert {verb for step in steps(CHECK) if "run" in step for verb in verbs(step["run"])} == expected


def test_the_page_names_the_steps_in_the_same_words():
    page = (ROOT / "docs" / "ci-cd.md").read_text()
    for step in steps(CHECK):
        if "run" in step:
            assert f"$ {step['run']} " in page, step["run"]
    for step in steps(DEPLOY):
        if "run" in step:
            assert f"`{step['run']}`" in page, step["run"]


@pytest.mark.parametrize(
    "command", ["make", "make test; curl x", "make test ENV=prod", "echo make", "make test\nmake check"]
)
def test_what_is_no_plain_call_of_make_is_seen(command):
    assert verbs(command) == []
    assert deploying(command.replace(" ENV=prod", " ENV=${{ github.head_ref }}")) == ("", {})
