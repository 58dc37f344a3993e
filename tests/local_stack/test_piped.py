"""A command whose output nobody reads any more, as in ``make logs | head``, ends without a traceback, and never as if all was well."""

import os
import subprocess
import sys

import pytest

from local_stack import layout

LIBRARY = f"{layout.ROOT}:{layout.ROOT / 'plugins'}"


def unread(local, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command into a pipe that is closed at its other end."""
    read, write = os.pipe()
    os.close(read)
    variables = {**os.environ, "RETRAINING_LOCAL_DIR": str(local), "PYTHONPATH": LIBRARY}
    try:
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=layout.ROOT,
            env=variables,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(write)


@pytest.mark.parametrize(
    "words",
    [
        ["local_stack", "env"],
        ["retraining.command.check_file", "data/surveys/good/2025-03-02_north_bay.csv"],
        ["retraining.command.check_file", "data/surveys/good", "--json"],
    ],
    ids=" ".join,
)
def test_a_command_without_a_reader_ends_quietly(tmp_path, words):
    ended = unread(tmp_path, *words)
    assert ended.stderr == ""
    assert ended.returncode == 141


def test_a_verb_that_does_something_goes_on_without_a_reader(tmp_path):
    (tmp_path / "run").mkdir()
    ended = unread(tmp_path, "local_stack", "reset", "--yes")
    assert ended.stderr == ""
    assert ended.returncode == 0
    assert not (tmp_path / "run").exists()
