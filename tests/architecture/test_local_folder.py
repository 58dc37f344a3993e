"""The folder of environments, state and results is ``RETRAINING_LOCAL_DIR`` for everything that is run, ``.local`` by default."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("benchmarks", "deploy", "docs", "experiment", "local_aws", "local_stack", "survey", "tests")
OWN_COPY = (
    "benchmarks/bench_slots.py",
    "tests/pages/reader.py",
    "tests/pages/test_play_pages.py",
    "tests/architecture/test_local_folder.py",
)
ASK = "import {module}; from local_stack import layout; print(layout.VENVS)"


def sources() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]


def test_nothing_but_the_layout_names_the_default_folder():
    naming = {
        name
        for name in sources()
        for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8")))
        if isinstance(node, ast.Constant) and node.value == ".local"
    }
    assert naming - {*OWN_COPY} == {"local_stack/layout.py"}, "use layout.LOCAL, layout.VENVS or layout.python"


@pytest.mark.parametrize("module", ["bench_demo", "bench_slots", "own_account"])
def test_a_benchmark_started_as_a_script_finds_the_environments_of_another_folder(tmp_path, module):
    call = [sys.executable, "-c", ASK.format(module=module)]
    variables = {**os.environ, "RETRAINING_LOCAL_DIR": str(tmp_path), "PYTHONPATH": ""}
    done = subprocess.run(
        call, cwd=ROOT / "benchmarks", env=variables, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "venvs")


@pytest.mark.parametrize(("given", "folder"), [("/elsewhere", "/elsewhere"), ("", str(ROOT / ".local"))])
def test_an_empty_variable_is_none(given, folder):
    call = [sys.executable, "-c", "from local_stack import layout; print(layout.LOCAL)"]
    variables = {**os.environ, "RETRAINING_LOCAL_DIR": given}
    done = subprocess.run(call, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == folder


@pytest.mark.parametrize(("given", "folder"), [("/elsewhere", "/elsewhere"), ("", ".local")])
def test_the_verbs_of_make_use_that_folder(given, folder):
    call = ["make", "-n", "bench-parse", "report-picture", "SETUP=true", "SETUP_DEV=true"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        call, cwd=ROOT, env=variables | {"RETRAINING_LOCAL_DIR": given}, capture_output=True, text=True, check=True
    )
    assert f"{folder}/venvs/airflow/bin/python benchmarks/bench_parse.py" in done.stdout
    assert f"docs/report_picture.py {folder}/report.html" in done.stdout
