"""A local stack of one benchmark: local_aws and a real Airflow on free ports and in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from own_account import ROOT, free_port

from local_stack import layout

FOREIGN = ("AIRFLOW_", "AWS_", "LOCAL_AWS_", "RETRAINING_")
"""Beginnings of variables of the shell that would lead a stack elsewhere."""


@contextmanager
def environment_of(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a stack below `folder`, and stop what was started in it."""
    (folder / "venvs").symlink_to(layout.VENVS)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)},
        "RETRAINING_LOCAL_DIR": str(folder),
        "LOCAL_AWS_PORT": str(free_port()),
        "AIRFLOW_PORT": str(free_port()),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
    }
    try:
        yield environment
    finally:
        command("down", environment)


def command(verb: str, environment: Mapping[str, str]) -> None:
    """Run a verb of the stack; its output is shown if it fails."""
    call = [str(layout.python("airflow")), "-m", "local_stack", verb]
    done = subprocess.run(
        call, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{verb} ended with {done.returncode}\n{done.stdout}{done.stderr}")
