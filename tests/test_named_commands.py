"""Verbs of make, their variables and modules that any text names, pages, comments and messages alike, exist."""

import os
import re
from pathlib import Path

import pytest

from local_stack import layout

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VERBS = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"[A-Z][A-Z_]+", MAKEFILE)) | {"LOCAL_AWS_PORT", "AIRFLOW_PORT"}
KINDS = {".py", ".md", ".yaml", ".yml", ".toml", ".in", ".sh", ".js", ".html", ".example"}
OTHERS = ("Makefile", "Dockerfile", ".ci/run")
LEFT_OUT = {layout.LOCAL.name, ".git", ".hypothesis", "build", "__pycache__"}
WITH_WRONG_ONES = {"tests/test_named_commands.py", "tests/test_documented_commands.py"}
# As a command: in quotes, after a prompt, another command, a colon, or "run".
VERB = re.compile(r"""(?:[`'"($|;&#:]\s?|\brun )make ([a-z][a-z0-9-]*)((?: [A-Z_]+=\S*)*)""")
PROSE = {"a", "an", "another", "it", "its", "itself", "new", "no", "one", "sure", "that", "the"}
MODULE = re.compile(r"python3? -m ((?:retraining|local_stack|local_aws|deploy|survey|experiment)[\w.]*\w)")


def texts() -> dict[str, str]:
    found = {name: ROOT / name for name in OTHERS}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in LEFT_OUT and not name.endswith("_cache")]
        paths = [Path(folder, name) for name in files if Path(name).suffix in KINDS]
        found |= {path.relative_to(ROOT).as_posix(): path for path in paths}
    return {name: path.read_text(encoding="utf-8") for name, path in found.items() if name not in WITH_WRONG_ONES}


def wrong(text: str) -> list[str]:
    """Return the commands of a text that cannot be typed."""
    found = []
    for verb, given in VERB.findall(text):
        if verb not in PROSE and verb not in VERBS:
            found.append(f"make {verb}")
        found += [f"make {verb}{given}" for name in re.findall(r" ([A-Z_]+)=", given) if name not in VARIABLES]
    for module in MODULE.findall(text):
        place = module.replace(".", "/")
        if not any(
            (root / file).exists()
            for root in (ROOT, ROOT / "plugins")
            for file in (f"{place}.py", f"{place}/__main__.py")
        ):
            found.append(f"python -m {module}")
    return found


def test_every_command_that_a_text_names_exists():
    found = {name: commands for name, text in texts().items() if (commands := wrong(text))}
    assert found == {}, "no such verb, variable or module: name one that the Makefile or the sources have"


def test_texts_of_all_kinds_are_read():
    read = texts()
    for name in (
        "README.md",
        "CHANGELOG.md",
        "deploy/environments/staging.yaml",
        "local_stack/verbs/calls.py",
        ".ci/run",
        ".github/workflows/check.yml",
    ):
        assert name in read
    assert sum(len(VERB.findall(text)) for text in read.values()) > 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tried here before `make promenade` is typed", ["make promenade"]),
        ("raise Error('nothing is there: make surv makes it')", ["make surv"]),
        ("$ make up ENVIRON=staging", ["make up ENVIRON=staging"]),
        ("# make demo ENFORCE=1", []),
        ('help="make the secrets of this stack"', []),
        ("two files make uneven parts", []),
        ("the command `python -m retraining.dataset`", ["python -m retraining.dataset"]),
        ("`python3 -m retraining.command.dataset versions`, `python -m survey`", []),
    ],
)
def test_a_command_that_does_not_exist_is_found(text, expected):
    assert wrong(text) == expected
