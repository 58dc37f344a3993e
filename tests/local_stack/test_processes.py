import os
import signal
import subprocess
import sys
import time

import pytest

from local_stack import layout, processes

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "RUN", tmp_path / "run")
    monkeypatch.setattr(layout, "LOGS", tmp_path / "logs")
    yield
    processes.stop("sleeper")


def test_a_process_is_started_once_found_and_stopped():
    first = processes.start("sleeper", SLEEP, os.environ)
    assert processes.start("sleeper", SLEEP, os.environ) == first
    assert processes.find("sleeper") == first
    assert processes.stop("sleeper")
    assert processes.find("sleeper") is None
    assert not processes.stop("sleeper")


def test_stopping_ends_the_children_too(tmp_path):
    marker = tmp_path / "child"
    script = (
        "import subprocess, sys, time; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(marker)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    )
    processes.start("sleeper", [sys.executable, "-c", script], os.environ)
    deadline = time.monotonic() + 20
    while not (marker.exists() and marker.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child = int(marker.read_text())
    assert processes.start_time(child)
    processes.stop("sleeper")
    deadline = time.monotonic() + 10
    while processes.start_time(child) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_that_ignores_the_first_signal_is_made_to_end():
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    running = processes.start("sleeper", [sys.executable, "-c", script], os.environ)
    deadline = time.monotonic() + 20
    while "ready" not in processes.log_tail("sleeper"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes.stop("sleeper", seconds=0.3)
    assert not running.alive()


def test_a_foreign_process_with_a_recycled_pid_is_never_touched():
    stranger = subprocess.Popen(SLEEP)
    try:
        layout.RUN.mkdir(parents=True)
        (layout.RUN / "sleeper.json").write_text(f'{{"pid": {stranger.pid}, "started": 1}}')
        assert processes.find("sleeper") is None
        assert not processes.stop("sleeper")
        assert stranger.poll() is None
    finally:
        stranger.send_signal(signal.SIGKILL)
        stranger.wait()
