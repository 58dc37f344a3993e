"""Plays the demo in a folder of its own, sends small files to the warm stack, and reports seconds, and the memory that all processes held.

    python benchmarks/bench_demo.py [--runs 5] [--without-spares]

Worker-slot seconds are those of the processes that run tasks, from fork to end.

Memory is the proportional set size (PSS) of every process of the stack, summed every two seconds: pages that processes share count once.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it also runs as a plain script

from own_stack import command, environment_of  # noqa: E402

from benchmarks.figures import note  # noqa: E402
from local_stack import layout  # noqa: E402

MOST_RUNS = 3
PEAK_SECONDS = 2.0
WARM_RUN = Path(__file__).with_name("warm_run.py")
TARGETS = {
    "the whole demo, s": 180.0,
    "upload to the end of the demo's run, s": 90.0,
    "warm: upload to the new model in service, s": 18.0,
    "warm without spares: upload to the new model in service, s": 30.0,
    "warm: worker-slot seconds of a run": 6.0,
    "upload to the DAG run, longest, s": 1.5,
    "peak memory of all processes, GiB": 6.0,
}


def main() -> int:
    """Measure and print; 1 when a figure misses its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="files sent to the warm stack (default: %(default)s)")
    parser.add_argument(
        "--without-spares", action="store_true", help="send as many again to a stack that keeps no spares"
    )
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-demo-", ignore_cleanup_errors=True) as name,
        environment_of(Path(name)) as environment,
    ):
        peak = Peak(name)
        peak.start()
        try:
            started = time.monotonic()
            command("demo", environment)
            found = {"the whole demo, s": time.monotonic() - started}
            summary = json.loads((Path(name) / "demo.json").read_text())
            measured = {"warm": warm_runs(options.runs, environment)}
            if options.without_spares:
                measured["warm without spares"] = warm_runs(options.runs, environment, spares=False)
        finally:
            peak.stop()
    events = [run["event"] for runs in measured.values() for run in runs] + [summary["event_to_run_seconds"]]
    found["upload to the end of the demo's run, s"] = summary["upload_to_service_seconds"]
    for title, runs in measured.items():
        found |= medians(title, runs)
    found["upload to the DAG run, longest, s"] = max(events)
    found["peak memory of all processes, GiB"] = peak.gib
    missed = table(found)
    note({title: value for title, value in found.items() if not math.isnan(value)})
    for title, runs in measured.items():
        tell_tasks(title, runs)
    return 1 if missed else 0


def warm_runs(count: int, environment: Mapping[str, str], spares: bool = True) -> list[dict[str, Any]]:
    """Return what the runs of small files took on a stack that has had one run before.

    The data decide whether a model is better, so there are up to ``MOST_RUNS`` times as many, until `count` have put one in service.
    """
    chosen = {**environment, "RETRAINING_SPARES": "1" if spares else "0"}
    command("up", chosen)
    runs: list[dict[str, Any]] = []
    for number in range(1 + MOST_RUNS * count):
        seed = 2 * number + (0 if spares else 1)
        call = [str(layout.python("airflow")), str(WARM_RUN), str(seed), "spares" if spares else "none"]
        done = subprocess.run(
            call, cwd=ROOT, env=chosen, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
        how = f"with{'' if spares else 'out'} spares"
        outcome = "kept the old model" if runs[-1]["service"] is None else "new model in service"
        print(f"run {number} {how}: {runs[-1]['end']:.1f} s, {outcome}", file=sys.stderr)
        if sum(run["service"] is not None for run in runs[1:]) == count:
            break
    command("down", chosen)
    return runs[1:]


def medians(title: str, runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return the medians over runs; those that kept the old model count for the end only."""
    found = {}
    served = [run["service"] for run in runs if run["service"] is not None]
    found[f"{title}: upload to the new model in service, s"] = statistics.median(served or [math.nan])
    if runs:
        found[f"{title}: upload to the end of the run, s"] = statistics.median(run["end"] for run in runs)
        found[f"{title}: worker-slot seconds of a run"] = statistics.median(
            sum(map(sum, run["slots"].values())) for run in runs
        )
    return found


def table(found: Mapping[str, float]) -> int:
    """Print figures beside their targets; return how many miss theirs."""
    print(f"{'':<62}{'measured':>10}{'target':>10}")
    missed = 0
    for title, value in found.items():
        target = TARGETS.get(title)
        late = target is not None and not value <= target  # also when nothing was measured
        missed += late
        print(f"{title:<62}{value:>10.1f}{'' if target is None else f'{target:.1f}':>10}{'  MISSED' if late else ''}")
    return missed


def tell_tasks(title: str, runs: list[dict[str, Any]]) -> None:
    """Print the median seconds of each task, those for which it held a worker slot, and in how many processes."""
    print(f"\nmedians, {title:<34}{'seconds':>8}{'in a slot':>11}{'processes':>11}")
    for task in runs[0]["tasks"]:
        seconds = statistics.median(run["tasks"].get(task, 0.0) for run in runs)
        held = [run["slots"].get(task, []) for run in runs]
        slot, processes = statistics.median(map(sum, held)), statistics.median(map(len, held))
        print(f"  {task:<41}{seconds:>8.1f}{slot:>11.1f}{processes:>11.0f}")


class Peak(threading.Thread):
    """Samples the summed PSS of all processes whose environment names the folder; seldom: the kernel walks through all their memory."""

    def __init__(self, folder: str) -> None:
        super().__init__(daemon=True)
        self._marks = (f"RETRAINING_LOCAL_DIR={folder}".encode(), folder.encode())
        self._ended = threading.Event()
        self.gib = 0.0

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._ended.wait(PEAK_SECONDS):
            total = sum(pss(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._ours(entry))
            self.gib = max(self.gib, total / 2**30)

    def stop(self) -> None:
        """End the sampling."""
        self._ended.set()
        self.join()

    def _ours(self, entry: Path) -> bool:
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            return False
        return any(mark in text for mark in self._marks)


def pss(entry: Path) -> int:
    """Return the proportional set size of a process in bytes, 0 when it has ended."""
    try:
        lines = (entry / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    sys.exit(main())
