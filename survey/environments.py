"""The Python environment that a method runs in, created when it is first needed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_stack import bootstrap, layout

ENVIRONMENTS: Mapping[str, str] = {"ctgan": "survey", "copula": "jobs", "replay": "jobs"}


def run_generator(method: str, arguments: Sequence[str | Path]) -> int:
    """Run ``python -m survey.generator`` in the method's environment, its output on this terminal; return its exit code.

    Raises:
        PreflightError: the environment is missing and this machine lacks what it takes to create it.
        CalledProcessError: creating the environment failed.

    """
    environment = ENVIRONMENTS[method]
    bootstrap.ensure([environment])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    inherited["PYTHONPATH"] = str(layout.ROOT / "plugins")  # for the rules of the contract
    command = [str(layout.python(environment)), "-m", "survey.generator", *map(str, arguments)]
    return subprocess.run(command, cwd=layout.ROOT, env=inherited, check=False).returncode
