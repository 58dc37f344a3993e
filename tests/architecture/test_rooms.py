"""The rooms of the library and of the local account: their order, their size, and that the check of the order sees a wrong import."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (ROOT / "plugins" / "retraining", ROOT / "local_aws", ROOT / "glue_scripts")
LONGEST_MODULE = 400
MOST_MODULES = 12
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def order_check(root: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": f"{root / 'plugins'}:{root}", "PATH": "/usr/bin:/bin"}
    command = [LINT_IMPORTS, "--no-cache", "--config", root / "pyproject.toml"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("plugins/retraining", "local_aws"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_each_room_uses_only_those_above_it():
    result = order_check(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("plugins/retraining/judging/gate.py", "from retraining.dag import triggers"),
        ("plugins/retraining/dataset/log.py", "from retraining.jobs import kinds"),
        ("local_aws/shared/store.py", "from local_aws.gateway import server"),
    ],
)
def test_a_planted_import_against_the_order_is_seen(copy, module, line):
    path = copy / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    result = order_check(copy)
    assert result.returncode == 1
    assert "BROKEN" in result.stdout


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]


def test_no_module_is_longer_than_a_reader_can_hold():
    long = {
        str(path.relative_to(ROOT)): count
        for path in modules()
        if (count := len(path.read_text().splitlines())) > LONGEST_MODULE
    }
    assert long == {}


def test_no_room_holds_more_modules_than_a_reader_can_name():
    folders: dict[Path, int] = {}
    for path in modules():
        if path.name != "__init__.py":
            folders[path.parent] = folders.get(path.parent, 0) + 1
    assert {str(folder.relative_to(ROOT)): count for folder, count in folders.items() if count > MOST_MODULES} == {}


def test_each_room_says_what_lives_there():
    empty = [
        str(path.relative_to(ROOT))
        for path in modules()
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert empty == []
