"""Asks an advisory source about the locked versions, and bandit about the sources; says so when a source cannot be reached.

Standard library only. Exit codes: 0 nothing found, 1 something found, 3 the advisory source could not be reached (bandit still ran).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("airflow.txt", "airflow-postgres.txt", "jobs.txt", "local_aws.txt", "survey.txt", "tensorflow.txt")
SOURCES = ("dags", "deploy", "glue_scripts", "lambda_functions", "local_aws", "local_stack", "plugins", "survey")
UNREACHABLE = (
    "ConnectionError",
    "ServiceError",
    "Connection refused",
    "Max retries exceeded",
    "Failed to resolve",
    "timed out",
    "HTTPError",
)
SECONDS = 300
FOUND, NOT_REACHED = 1, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both tools; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.audit", description=__doc__)
    parser.add_argument("--tools", type=Path, required=True, help="bin folder with pip-audit and bandit")
    options = parser.parse_args(arguments)
    codes = [bandit(options.tools), *advisories(options.tools)]
    return FOUND if FOUND in codes else max(codes)


def bandit(tools: Path) -> int:
    """Look for risky patterns of medium and high severity in the sources."""
    command = [tools / "bandit", "--quiet", "--recursive", "--severity-level", "medium", *SOURCES]
    code = subprocess.run(command, cwd=ROOT, check=False, timeout=SECONDS).returncode
    print(
        f"bandit: {'nothing' if code == 0 else 'something'} of medium or high severity in {', '.join(SOURCES)}",
        flush=True,
    )
    return FOUND if code else 0


def advisories(tools: Path) -> list[int]:
    """Ask about every lock; stop asking when the source cannot be reached."""
    codes = []
    for lock in LOCKS:
        command = [tools / "pip-audit", "--requirement", ROOT / "requirements" / lock, "--no-deps", "--disable-pip"]
        try:
            done = subprocess.run(command, cwd=ROOT, check=False, timeout=SECONDS, capture_output=True, text=True)
            output, code = done.stdout + done.stderr, done.returncode
        except subprocess.TimeoutExpired:
            output, code = "timed out", FOUND
        codes.append(judge(lock, code, output))
        if codes[-1] == NOT_REACHED:
            break
    return codes


def judge(lock: str, code: int, output: str) -> int:
    """Tell a vulnerability from an advisory source that does not answer, and say which it was."""
    if code == 0:
        print(f"pip-audit {lock}: no known vulnerability", flush=True)
        return 0
    if any(sign in output for sign in UNREACHABLE) and "Found " not in output:
        print(
            f"pip-audit {lock}: the advisory source cannot be reached from here, so nothing is known about vulnerabilities. "
            f"Run make audit where pypi.org answers. Its last words: {output.strip().splitlines()[-1:]}",
            file=sys.stderr,
            flush=True,
        )
        return NOT_REACHED
    print(output, flush=True)
    print(f"pip-audit {lock}: see above", file=sys.stderr, flush=True)
    return FOUND


if __name__ == "__main__":
    raise SystemExit(main())
