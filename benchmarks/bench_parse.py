"""What parsing all DAG files costs on top of importing ``airflow.sdk``, with sockets blocked: a table over several fresh processes."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from figures import note

ROOT = Path(__file__).resolve().parent.parent
MEASURE = """
import json, runpy, socket, sys, time
started = time.perf_counter()
import airflow.sdk
imported = time.perf_counter()
def refuse(*_, **__): raise SystemExit("a DAG file opened a socket")
socket.socket.connect = socket.getaddrinfo = refuse
for path in sys.argv[1:]:
    runpy.run_path(path)
print(json.dumps([imported - started, time.perf_counter() - imported]))
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="fresh processes (default: 5)")
    chosen = parser.parse_args()
    files = sorted((ROOT / "dags").glob("*.py"))
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(ROOT / "plugins")}
    seconds = []
    for _ in range(chosen.runs + 1):  # the first only warms the caches
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *files], env=environment, capture_output=True, text=True, check=True
        )
        seconds.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{len(files)} DAG files, {chosen.runs} processes\n{'':<26}{'median':>8}{'min':>8}{'max':>8}  seconds")
    for title, column in (("import airflow.sdk", 0), ("parse all DAG files", 1)):
        values = [run[column] for run in seconds[1:]]
        print(f"{title:<26}{_median(seconds, column):>8.2f}{min(values):>8.2f}{max(values):>8.2f}")
    note({"import of airflow.sdk, s": _median(seconds, 0), "parsing all DAG files, s": _median(seconds, 1)})
    return 0


def _median(seconds: list[list[float]], column: int) -> float:
    return statistics.median(run[column] for run in seconds[1:])


if __name__ == "__main__":
    sys.exit(main())
