"""Someone who reads the pages and types their commands."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import documented_commands as documented
from local_account import free_port

from local_stack import layout

LEFT_OUT = (".git", ".local", ".hypothesis", ".*_cache", "__pycache__", "build")
MARK = "@@ "


class Reader:
    """Someone with the repository, a shell, and the tools that the pages ask for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        shutil.copytree(documented.ROOT, self.folder, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        (self.folder / ".local").mkdir()
        (self.folder / ".local" / "venvs").symlink_to(layout.VENVS)
        tools = folder / "tools"
        tools.mkdir()
        (tools / "aws").symlink_to(layout.VENVS / "dev" / "bin" / "aws")
        own = ("AIRFLOW_", "AWS_", "RETRAINING_", "LOCAL_AWS_", "PYTEST_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(own)},
            "LOCAL_AWS_PORT": str(free_port()),
            "AIRFLOW_PORT": str(free_port()),
            "PATH": f"{tools}:{os.environ['PATH']}",
            "no_proxy": "127.0.0.1,localhost",
        }

    def types(self, *commands: str, seconds: float = 3000, **variables: str) -> str:
        """Type commands into one shell that has further variables; the first that fails is an error. Return all output."""
        script = "\n".join(f"echo {MARK}{number}\n{command}" for number, command in enumerate(commands))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        last = int(done.stdout.rpartition(MARK)[2].split()[0])
        assert done.returncode == 0, f"{commands[last]}\nended with {done.returncode}:\n{done.stdout[-3000:]}"
        return done.stdout
