"""The stack's processes stop side by side, but those that others need to end well after them."""

import os
import sys
import time

import pytest

from local_stack import layout, processes, stack

# Asked to end, it waits until `others` have been asked, too: one that is stopped after it waits for ever.
PROGRAM = """
import os, pathlib, signal, sys, time
folder, name, *others = sys.argv[1:]
folder = pathlib.Path(folder)
def note(what):
    with open(folder / "events", "a") as file:
        file.write(f"{what} {name}\\n")
    (folder / f"{name}.{what}").touch()
def asked(*_):
    note("asked")
    while not all((folder / f"{other}.asked").exists() for other in others):
        time.sleep(0.01)
    note("ended")
    os._exit(0)
signal.signal(signal.SIGTERM, asked)
note("ready")
while True:
    time.sleep(600)
"""
TOGETHER = (["scheduler", "triggerer", "dag-processor"], ["api-server", "local_aws"])


@pytest.fixture
def running(tmp_path, monkeypatch):
    """Return a function that starts processes under the names of the stack's; the folder has what happens to them."""
    monkeypatch.setattr(layout, "LOGS", tmp_path / "logs")

    def start(*names):
        for name in names:
            others = [other for group in TOGETHER for other in group if name in group]
            command = [sys.executable, "-c", PROGRAM, tmp_path, name, *(set(others) & set(names))]
            processes.start(name, command, os.environ)
        deadline = time.monotonic() + 60
        while not all((tmp_path / f"{name}.ready").exists() for name in names):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return tmp_path

    yield start
    for name in stack.ALL:
        processes.stop(name, seconds=0)


def test_airflow_s_processes_stop_side_by_side_and_what_they_need_stops_after_them(running):
    folder = running(*stack.ALL)
    said = []
    stack.down(said.append)
    assert said == ["stopped scheduler, triggerer, dag-processor, api-server, local_aws"]
    events = [line for line in (folder / "events").read_text().splitlines() if not line.startswith("ready")]
    first, last = ({f"{what} {name}" for what in ("asked", "ended") for name in names} for names in TOGETHER)
    assert (set(events[:6]), set(events[6:])) == (first, last)


def test_what_did_not_run_is_not_told(running):
    running("local_aws", "triggerer")
    said = []
    stack.down(said.append)
    stack.down(said.append)
    assert said == ["stopped triggerer, local_aws", "nothing was running"]


def test_only_the_named_ones_are_stopped(running):
    running("local_aws", "api-server", "scheduler")
    assert stack.stop(name for name in ("dag-processor", "scheduler")) == ["scheduler"]
    assert processes.find("scheduler") is None
    assert processes.find("local_aws") and processes.find("api-server")


@pytest.fixture
def starting(monkeypatch):
    """Let a start of the stack do nothing; return what it did in order."""
    monkeypatch.setattr(layout, "LOCAL", layout.LOGS.parent)
    monkeypatch.setattr(layout, "STATE", layout.LOGS.parent)
    monkeypatch.setattr(stack.model_check, "sound", lambda *_: [])
    monkeypatch.setattr(stack, "find_java", lambda: "java")
    did = []
    for name in ("check_disk", "check_port", "start_local_aws", "provision", "_start_airflow"):
        monkeypatch.setattr(stack, name, lambda *_, _name=name, **__: did.append(_name))
    monkeypatch.setattr(stack.airflow_database, "migrate", lambda say: None)
    monkeypatch.setattr(stack.started, "enforced", lambda: False)
    return did


def test_what_has_to_be_there_before_airflow_is_made_when_the_account_is_ready_and_only_where_airflow_starts(
    running, starting
):
    running("local_aws")
    stack.up(print, before_airflow=lambda: starting.append("landed"))
    assert starting[-3:] == ["provision", "landed", "_start_airflow"]
    running("api-server")
    stack.up(print, before_airflow=lambda: pytest.fail("Airflow runs"))


def test_a_start_that_fails_stops_what_it_has_started_and_nothing_else(running, starting, monkeypatch):
    running("local_aws")

    def start(*_):
        running("api-server", "scheduler")
        raise stack.StackError("the scheduler ended")

    monkeypatch.setattr(stack, "_start_airflow", start)
    with pytest.raises(stack.StackError):
        stack.up(print)
    assert [name for name in stack.ALL if processes.find(name)] == ["local_aws"]
