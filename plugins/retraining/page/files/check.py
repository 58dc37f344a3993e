"""What a file that somebody brings holds, found in a process of its own.

The file is foreign: an archive may unpack without end, a line may be of any length. A process with limits of its own can be ended, and
the API server's other requests do not wait for it. It reads the task on standard input and writes the outcome on standard output.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from retraining.contract.layout import UNSCORED_SPLIT, Layout, inspect, inspect_unscored
from retraining.contract.reader import read
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Contract
from retraining.contract.unpacking import Open
from retraining.contract.values import Value, form
from retraining.contract.verdict import described, judge_file

SECONDS = 25
MEMORY = 1 << 30
NICENESS = 10
"""The API server's own requests go first."""
AT_ONCE = 2
"""Files that one API server process reads at a time; the next ones wait."""
LINES = 200
"""Rejected lines that are described."""
_turns = BoundedSemaphore(AT_ONCE)


class UncheckedError(RuntimeError):
    """A file could not be read within the limits; the message says what to do."""


def verdict(path: Path, key: str, contract: Mapping[str, Any], split: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge's verdict on a file as if it had landed under a key.

    Args:
        path: where its bytes are.
        key: what it would be called.
        contract: the ``contract`` section of model.yaml.
        split: percent of rows per split.

    Raises:
        UncheckedError: it took more time or memory than a check may.

    """
    return _confined("verdict", path=str(path), key=key, contract=dict(contract), split=dict(split))


def rows(path: Path, key: str, contract: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Return the good rows of a file, which may or may not hold the target.

    Args:
        path: where its bytes are.
        key: what it is called.
        contract: the ``contract`` section of model.yaml.
        most: good rows to read at most.

    Returns:
        ``labelled``: whether it holds the target. ``rows``: objects of ``line``, ``features`` by column, and of a labelled file
        ``actual``. ``more``: whether it goes on behind them. ``rejected``, ``reasons`` and ``first``: bad rows, as in a verdict.
        ``refused`` and ``remedy`` of a file that holds no rows of the contract, None of others.

    Raises:
        UncheckedError: it took more time or memory than a check may.

    """
    return _confined("rows", path=str(path), key=key, contract=dict(contract), most=most)


def _confined(task: str, **job: Any) -> dict[str, Any]:
    library = str(Path(__file__).parents[3])
    with _turns:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "retraining.page.files.check", task],
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


def _verdict(job: Mapping[str, Any], contract: Contract) -> dict[str, Any]:
    path = Path(job["path"])
    size = path.stat().st_size
    found = judge_file(lambda: path.open("rb"), job["key"], size, contract, job["split"], first_lines=LINES)
    return found.as_json()


def _rows(job: Mapping[str, Any], contract: Contract) -> dict[str, Any]:
    found: dict[str, Any] = {"labelled": False, "rows": [], "more": False, "rejected": 0, "first": []}
    reasons: Counter[str] = Counter()

    def opened() -> Any:
        return Path(job["path"]).open("rb")

    try:
        judged, layout = _layout(opened, job["key"], contract)
        features = [name for name in contract.feature_columns if name in judged.position]
        found["labelled"] = judged is contract
        lines = () if layout.empty else read(opened, job["key"], judged, layout, UNSCORED_SPLIT)
        for line in lines:
            if line.reasons:
                found["rejected"] += 1
                reasons.update(line.reasons)
                if len(found["first"]) < LINES:
                    found["first"].append(described(line, judged))
                continue
            if len(found["rows"]) == job["most"]:
                found["more"] = True
                break
            cells = {name: _plain(line.values[judged.position[name]]) for name in features}
            actual = {"actual": _plain(line.values[judged.position[judged.target]])} if found["labelled"] else {}
            found["rows"].append({"line": line.number, "features": cells, **actual})
    except FileRefused as refusal:
        return {**found, "rows": [], "reasons": {}, "refused": refusal.reason, "remedy": refusal.remedy}
    return {**found, "reasons": dict(reasons.most_common()), "refused": None, "remedy": None}


def _layout(opened: Open, key: str, contract: Contract) -> tuple[Contract, Layout]:
    """Return by which contract the rows of a file are judged, with the target where the file holds it, and how it is laid out."""
    try:
        return contract, inspect(opened, key, contract)
    except FileRefused as refusal:
        try:
            return inspect_unscored(opened, key, contract)
        except FileRefused:
            raise refusal from None


def _plain(value: Value | None) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else form(value)


TASKS: dict[str, Callable[[Mapping[str, Any], Contract], dict[str, Any]]] = {"verdict": _verdict, "rows": _rows}


def main() -> int:
    """Read the file that standard input names."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    job = json.load(sys.stdin)
    json.dump(TASKS[sys.argv[1]](job, Contract.of(job["contract"])), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
