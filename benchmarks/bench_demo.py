"""Plays the demo in a folder of its own and reports how long each part took and how much memory all processes held together.

Memory is the proportional set size (PSS) of every process of the stack, summed twice a second: pages that processes share count once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it also runs as a plain script

from benchmarks.figures import note  # noqa: E402
from local_stack import layout  # noqa: E402

TARGETS = {
    "the whole demo": ("demo_seconds", 180.0, "s"),
    "upload to the end of the run": ("upload_to_service_seconds", 90.0, "s"),
    "upload to the DAG run": ("event_to_run_seconds", 5.0, "s"),
    "peak memory of all processes": ("peak_gib", 6.0, "GiB"),
}


def main() -> int:
    """Measure and print; 1 when a figure misses its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-demo-"))
    (folder / "venvs").symlink_to(layout.VENVS)
    own = ("AIRFLOW_", "AWS_", "LOCAL_AWS_")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(own)},
        "RETRAINING_LOCAL_DIR": str(folder),
        "LOCAL_AWS_PORT": "4766",
        "AIRFLOW_PORT": "8280",
        "PYTHONPATH": str(ROOT),
    }
    command = [layout.python("airflow"), "-m", "local_stack", "demo"]
    started = time.monotonic()
    demo = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    peak = Peak(str(folder))
    peak.start()
    output, _ = demo.communicate()
    seconds = time.monotonic() - started
    peak.stop()
    if demo.returncode:
        print(output)
        print(f"the demo ended with {demo.returncode}", file=sys.stderr)
        return 1
    summary = json.loads((folder / "demo.json").read_text())
    shutil.rmtree(folder, ignore_errors=True)
    found = {**summary, "demo_seconds": seconds, "peak_gib": peak.gib}
    print(f"{'':<32}{'measured':>10}{'target':>10}")
    missed = 0
    for title, (key, target, unit) in TARGETS.items():
        missed += found[key] > target
        print(f"{title:<32}{found[key]:>10.1f}{target:>10.0f} {unit}{'  MISSED' if found[key] > target else ''}")
    note({f"{title}, {unit}": found[key] for title, (key, _, unit) in TARGETS.items()})
    print("\nseconds per task of the retraining run")
    for task, value in summary["retrain_run"]["tasks"].items():
        print(f"  {task:<24}{value:>8.1f}")
    return 1 if missed else 0


class Peak(threading.Thread):
    """Samples the summed PSS of all processes whose environment names the folder."""

    def __init__(self, folder: str) -> None:
        super().__init__(daemon=True)
        self._marks = (f"RETRAINING_LOCAL_DIR={folder}".encode(), folder.encode())
        self._ended = threading.Event()
        self.gib = 0.0

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._ended.wait(0.5):
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
