"""Starts the stack's processes, each in a session of its own with a log file, and stops by pid what it started and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_stack import layout

_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Running:
    """A process of the stack. ``started`` is the kernel's start time: a recycled pid is not our process."""

    name: str
    pid: int
    started: int

    @property
    def log(self) -> Path:
        """The process's log file."""
        return log_file(self.name)

    def alive(self) -> bool:
        """Tell whether this very process still runs."""
        return start_time(self.pid) == self.started


def log_file(name: str) -> Path:
    """Return the log file of a process."""
    return layout.LOGS / f"{name}.log"


def start_time(pid: int) -> int | None:
    """Return the kernel's start time of a process, None when it does not run (a zombie does not)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rsplit(")", 1)[1].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def start(name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> Running:
    """Start a process, unless it runs already."""
    if (standing := find(name)) is not None:
        return standing
    layout.LOGS.mkdir(parents=True, exist_ok=True)
    layout.RUN.mkdir(parents=True, exist_ok=True)
    with log_file(name).open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=layout.ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[process.pid] = process
    running = Running(name, process.pid, start_time(process.pid) or 0)
    _record(name).write_text(json.dumps({"pid": running.pid, "started": running.started}))
    return running


def find(name: str) -> Running | None:
    """Return the process of this name if it runs."""
    try:
        record = json.loads(_record(name).read_text())
    except (OSError, ValueError):
        return None
    running = Running(name, int(record["pid"]), int(record["started"]))
    return running if running.alive() else None


def stop(name: str, seconds: float = 20) -> bool:
    """Stop a process and its children: ask first, insist after ``seconds``. Return whether it ran."""
    running = find(name)
    if running is None:
        _record(name).unlink(missing_ok=True)
        return False
    _signal_group(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while running.alive() and time.monotonic() < deadline:
        _reap(running.pid)
        time.sleep(0.1)
    _signal_group(running.pid, signal.SIGKILL)  # what is left of its session
    while running.alive():  # a killed process is gone as soon as the kernel gets to it
        _reap(running.pid)
        time.sleep(0.01)
    _reap(running.pid)
    _record(name).unlink(missing_ok=True)
    return True


def log_tail(name: str, lines: int = 15) -> str:
    """Return the last lines of a process's log."""
    try:
        return "\n".join(log_file(name).read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def _record(name: str) -> Path:
    return layout.RUN / f"{name}.json"


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _reap(pid: int) -> None:
    """Collect an ended child of this very command; what an earlier command started is init's to collect."""
    if (child := _children.get(pid)) is not None and child.poll() is not None:
        del _children[pid]
