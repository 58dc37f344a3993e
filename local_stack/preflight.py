"""Looks at the machine before anything is started, so that what is missing is one clear line and not a half-built stack.

Standard library only: this runs before any environment exists.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MIN_JAVA = 17
MIN_DISK_GB = 4
SUPPORTED = ((3, 11), (3, 12))


class PreflightError(RuntimeError):
    """Something that the stack needs is missing; the message names it and the remedy."""


def find_python(which: Callable[[str], str | None] = shutil.which) -> str:
    """Return a supported Python interpreter.

    Raises:
        PreflightError: there is none on PATH.

    """
    if sys.version_info[:2] in SUPPORTED:
        return sys.executable
    for major, minor in reversed(SUPPORTED):
        name = f"python{major}.{minor}"
        found = which(name)
        if found and _runs(found):
            return found
    seen = ".".join(str(part) for part in sys.version_info[:3])
    raise PreflightError(
        f"Python 3.11 or 3.12 is needed, found {seen} and no python3.11 or python3.12 on PATH: install one of them"
    )


def _runs(interpreter: str) -> bool:
    """Tell whether an interpreter starts; a version manager's shim of a version that is not selected does not."""
    return subprocess.run([interpreter, "-c", "import venv"], capture_output=True, check=False).returncode == 0


def find_java(environment: dict[str, str] | None = None, which: Callable[[str], str | None] = shutil.which) -> str:
    """Return the Java home of a runtime that Spark can use.

    Raises:
        PreflightError: there is none, or it is too old.

    """
    environment = dict(os.environ) if environment is None else environment
    home = environment.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else which("java")
    if not java or not Path(java).exists():
        where = f"JAVA_HOME is {home}, which has no bin/java" if home else "no java on PATH"
        raise PreflightError(
            f"Java {MIN_JAVA} is needed for Spark: {where}. Install it (Debian, Ubuntu: apt install openjdk-17-jre-headless)"
        )
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    version = java_version(answer.stderr + answer.stdout)
    if version is None or version < MIN_JAVA:
        raise PreflightError(
            f"Java {MIN_JAVA} or newer is needed for Spark, {java} is version {version or 'unknown'}: "
            "install openjdk-17-jre-headless, or point JAVA_HOME to a newer one"
        )
    return str(Path(java).resolve().parent.parent)


def java_version(text: str) -> int | None:
    """Read the major version out of what ``java -version`` prints; 8 calls itself 1.8."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if not match:
        return None
    major = int(match.group(1))
    return int(match.group(2) or 0) if major == 1 else major


def check_disk(folder: Path, needed_gb: float = MIN_DISK_GB) -> None:
    """Check for free disk space.

    Raises:
        PreflightError: there is too little.

    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if free < needed_gb:
        raise PreflightError(
            f"{needed_gb:g} GB of free disk are needed below {folder}, there are {free:.1f} GB: free some, or set RETRAINING_LOCAL_DIR"
        )


def check_port(port: int, purpose: str, variable: str) -> None:
    """Check that a port of the loopback can be bound.

    Raises:
        PreflightError: another process holds it.

    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PreflightError(
                f"port {port} for {purpose} is in use by another program: stop it, or choose another port with {variable}=PORT"
            ) from error
