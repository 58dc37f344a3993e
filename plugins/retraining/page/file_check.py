"""The merge's verdict on a file that somebody is about to send, found in a process of its own.

The file is foreign: an archive may unpack without end, a line may be of any length. A process with limits of its own can be ended, and
the API server's other requests do not wait for it. It reads the model on standard input and writes the verdict on standard output.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from retraining.contract.rules import Contract
from retraining.contract.verdict import judge_file

SECONDS = 25
MEMORY = 1 << 30
AT_ONCE = 2
"""Files that one API server process judges at a time; the next ones wait."""
LINES = 200
"""Rejected lines that a verdict describes."""
_turns = BoundedSemaphore(AT_ONCE)


class UncheckedError(RuntimeError):
    """A file could not be judged within the limits; the message says what to do."""


def check(path: Path, key: str, contract: Mapping[str, Any], split: Mapping[str, int]) -> dict[str, Any]:
    """Return the verdict on a file as if it had landed under a key.

    Args:
        path: where its bytes are.
        key: what it would be called.
        contract: the ``contract`` section of model.yaml.
        split: percent of rows per split.

    Raises:
        UncheckedError: it took more time or memory than a check may.

    """
    job = {"path": str(path), "key": key, "contract": dict(contract), "split": dict(split)}
    library = str(Path(__file__).parents[2])
    with _turns:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "retraining.page.file_check"],
                input=json.dumps(job).encode(),
                capture_output=True,
                timeout=SECONDS,
                env={"PYTHONPATH": library, "PATH": os.environ.get("PATH", ""), "PYTHONUTF8": "1"},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UncheckedError(_too_much(f"{SECONDS} s")) from error
    if done.returncode:
        raise UncheckedError(_too_much(f"{SECONDS} s or {MEMORY >> 30} GB of memory"))
    return dict(json.loads(done.stdout))


def _too_much(limits: str) -> str:
    return (
        f"judging the file takes more than {limits}: check it with 'make check-file FILE=...', or copy it to the landing zone with "
        "'aws s3 cp'; the merge judges it there"
    )


def main() -> int:
    """Judge the file that standard input names."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    job = json.load(sys.stdin)
    path = Path(job["path"])
    contract = Contract.of(job["contract"])
    size = path.stat().st_size
    verdict = judge_file(lambda: path.open("rb"), job["key"], size, contract, job["split"], first_lines=LINES)
    json.dump(verdict.as_json(), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
