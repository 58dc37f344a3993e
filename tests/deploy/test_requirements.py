"""What MWAA installs resolves under the published constraints of Airflow 3.3.1, and the library needs nothing else."""

import ast
import re
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy import artifacts

ROOT = artifacts.ROOT
PYTHON = {
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
}


def lines(path: Path) -> list[str]:
    return [line.split(" #")[0].strip() for line in path.read_text().splitlines() if line.strip() and line[0] != "#"]


PINS = {
    canonicalize_name(name): version
    for name, version in (line.split("==") for line in lines(ROOT / "requirements" / "airflow-3.3.1.constraints"))
}
# Airflow itself is in no constraints file: an environment's version is MWAA's choice.
PINS |= {"apache-airflow": "3.3.1", "apache-airflow-core": "3.3.1", "apache-airflow-task-sdk": "1.3.1"}
REQUIREMENTS = [Requirement(line) for line in lines(ROOT / "requirements.txt") if not line.startswith("-")]


def unmet(requirement: Requirement, seen: set[str]) -> list[str]:
    """Return what the pins do not satisfy of a requirement and all that it needs on MWAA's Python; each package is looked at once."""
    name = canonicalize_name(requirement.name)
    if name not in PINS:
        return [f"{requirement} has no pin"]
    if not requirement.specifier.contains(PINS[name], prereleases=True):
        return [f"{requirement} is not {PINS[name]}"]
    key = f"{name}[{','.join(sorted(requirement.extras))}]"
    if key in seen:
        return []
    seen.add(key)
    installed = distribution(name)
    assert installed.version == PINS[name], f"{name}: the lock has {installed.version}, the constraints {PINS[name]}"
    needed = [Requirement(text) for text in installed.requires or []]
    extras = requirement.extras or {""}
    wanted = [
        item for item in needed if not item.marker or any(item.marker.evaluate({**PYTHON, "extra": e}) for e in extras)
    ]
    return [problem for item in wanted for problem in unmet(item, seen)]


def test_the_requirements_resolve_under_the_constraints():
    seen: set[str] = set()
    assert [problem for item in REQUIREMENTS for problem in unmet(item, seen)] == []
    assert len(seen) > 50, "the walk must reach what the provider needs"


def test_a_requirement_against_the_constraints_is_noticed():
    assert unmet(Requirement("boto3<1"), set()) == [f"boto3<1 is not {PINS['boto3']}"]
    assert unmet(Requirement("sagemaker"), set()) == ["sagemaker has no pin"]


def test_nothing_needs_the_network_while_the_environment_starts():
    text = (ROOT / "requirements.txt").read_text()
    assert not [line for line in lines(ROOT / "requirements.txt") if line.startswith("-")]
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+", line) for line in lines(ROOT / "requirements.txt")), text


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"", "__future__"}


@pytest.mark.parametrize("folder", ["plugins", "dags"])
def test_the_library_imports_only_what_airflow_itself_brings(folder):
    own = {path.name.removesuffix(".py") for path in (ROOT / "plugins").iterdir()}
    elsewhere = {"models", "survey", "inside"}  # runs in jobs, never in Airflow
    files = [path for path in (ROOT / folder).rglob("*.py") if not elsewhere & set(path.parts)]
    owners = packages_distributions()
    seen: set[str] = set()
    for item in (*REQUIREMENTS, Requirement("apache-airflow-core"), Requirement("apache-airflow-task-sdk")):
        if canonicalize_name(item.name) in PINS:
            unmet(item, seen)
    brought = {key.split("[")[0] for key in seen} | {"apache-airflow-core", "apache-airflow-task-sdk"}
    for path in files:
        beside = (
            {"sagemaker"} if path.parts[-2:] == ("sdk", "context.py") else set()
        )  # its session() is called in the SDK's environment
        for name in imported(path) - own - beside:
            names = {canonicalize_name(owner) for owner in owners.get(name, [])}
            assert names & brought or name == "airflow", f"{path.name} imports {name}, which MWAA's image may lack"
