"""The image of Airflow holds what the compose stack's commands need: they run from the folders that the Dockerfile copies alone."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from local_stack import layout

PROJECT = "/opt/project/"
COMPOSE = yaml.safe_load((layout.ROOT / "docker-compose.yaml").read_text())
IMPORT_ALL = """
import importlib, pkgutil, sys
for package in ("local_stack", "deploy", "survey"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.endswith("__main__"):
            print(module.name)
            importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's folder in the image."""
    folder = tmp_path_factory.mktemp("image")
    dockerfile = (layout.ROOT / "Dockerfile").read_text()
    [stage] = re.findall(r"(?ms)^FROM base AS airflow\n(.*?)^FROM ", dockerfile)
    for source, target in re.findall(rf"(?m)^COPY (\S+) {PROJECT}(\S+)$", stage):
        origin, copy = layout.ROOT / source, folder / target
        if origin.is_dir():
            shutil.copytree(origin, copy, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, copy)
    return folder


def called(image: Path, state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS", "RETRAINING"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=image,
        env={**kept, "PYTHONPATH": str(image), "RETRAINING_LOCAL_DIR": str(state), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_secrets_are_made_as_compose_makes_them(image, tmp_path):
    name, *words = [word.replace("/shared", str(tmp_path)) for word in COMPOSE["services"]["secrets"]["command"]]
    assert name == "python"
    done = called(image, tmp_path / "state", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "postgres" / "password").exists()


def test_the_models_are_read_and_nothing_is_said_about_environments_that_another_container_has(image, tmp_path):
    done = called(image, tmp_path / "state", *shlex.split("-m local_stack check-model"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": ok, " in done.stdout
    assert "not set up on this machine" not in done.stdout


def test_every_module_finds_what_it_imports(image, tmp_path):
    done = called(image, tmp_path / "state", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "local_stack.verbs.model_check" in done.stdout
