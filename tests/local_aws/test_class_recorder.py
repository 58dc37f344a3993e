"""The classes of a Spark job are recorded once, in the background, and nothing half-done of that stays."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_account import wait_for

from local_aws.glue.quick_start.class_recorder import ClassRecorder, recording
from local_aws.glue.spark import class_archive, main, record_classes
from local_aws.shared.running.spares import ENOUGH
from local_aws.shared.settings import Settings

WRITES = (
    "import os, pathlib, sys; partial, archive = map(pathlib.Path, sys.argv[1:]); partial.write_text('half of it')\n"
)
RECORDS = f"{WRITES}partial.rename(archive)"
FAILS = f"{WRITES}print('OSError: it does not go', file=sys.stderr); sys.exit(1)"
GOES_ON = f"""{WRITES}
import subprocess, tempfile, time
tempfile.mkdtemp()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
archive.with_name("pids.new").write_text(f"{{os.getpid()}} {{child.pid}}")
archive.with_name("pids.new").rename(archive.with_name("pids"))
time.sleep(600)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return those of an account with spares and an environment of the jobs."""
    settings = Settings(port=0, data_dir=tmp_path / "data", environments=tmp_path / "environments", spares=True)
    settings.python("jobs").parent.mkdir(parents=True)
    settings.python("jobs").touch()
    return settings


@pytest.fixture
def recorder(settings: Settings) -> Any:
    """Return a function that starts a recorder of a program; what was started of it is listed."""
    started: list[ClassRecorder] = []

    def start(program: str, free_memory: Callable[[], int] = lambda: ENOUGH, **seconds: float) -> ClassRecorder:
        def command(settings: Settings, partial: Path) -> list[str]:
            start.commands.append(partial)
            return [sys.executable, "-c", program, str(partial), str(class_archive(settings))]

        started.append(ClassRecorder(settings, command, **{"delay_seconds": 0, **seconds}, free_memory=free_memory))
        started[-1].start()
        return started[-1]

    start.commands = []
    yield start
    for one in started:
        one.shutdown()


def ended(recorder: ClassRecorder) -> None:
    recorder._thread.join(60)
    assert not recorder._thread.is_alive()


def left(settings: Settings) -> list[str]:
    """Return the names of what lies beside the archive, and of what the recording had to itself."""
    beside = class_archive(settings).parent.iterdir()
    own = (settings.jobs_dir / "glue" / ".spares").glob("*")
    return sorted(path.name for path in [*beside, *own])


def test_they_are_recorded_in_the_background_and_only_the_archive_stays(settings, recorder, caplog):
    ended(recorder(RECORDS))
    assert class_archive(settings).read_text() == "half of it"
    assert left(settings) == ["bin", class_archive(settings).name]
    assert not caplog.records
    ended(recorder(RECORDS))  # of another account, or the next one
    assert len(recorder.commands) == 1


def test_two_accounts_that_record_at_once_have_files_of_their_own(settings, recorder):
    ready = {"delay_seconds": 0, "free_memory": lambda: ENOUGH}
    for _ in range(2):
        recorder(GOES_ON, **ready)
    wait_for(lambda: len(set(recorder.commands)) == 2 and all(path.exists() for path in recorder.commands))


def test_a_failure_is_one_warning_with_its_reason_and_is_not_tried_again(settings, recorder, caplog):
    ended(recorder(FAILS, look_seconds=0))
    [warning] = caplog.records
    assert warning.levelno == logging.WARNING
    assert warning.message.endswith("so jobs start more slowly: OSError: it does not go")
    assert len(recorder.commands) == 1
    assert left(settings) == ["bin"]


def test_an_account_without_room_for_the_recording_only_warns(settings, recorder, caplog):
    settings.data_dir.write_text("no folder")
    ended(recorder(RECORDS))
    [warning] = caplog.records
    assert "Not a directory" in warning.message


def test_the_end_of_the_account_ends_a_recording_of_which_nothing_stays(settings, recorder, caplog):
    one = recorder(GOES_ON)
    pids = class_archive(settings).with_name("pids")
    wait_for(pids.exists)
    processes = [Path("/proc", pid) for pid in pids.read_text().split()]
    pids.unlink()
    assert all(process.exists() for process in processes)
    assert len(left(settings)) == 3
    one.shutdown()
    wait_for(lambda: not any(process.exists() for process in processes))
    assert left(settings) == ["bin"]
    assert not caplog.records


def test_the_end_of_the_account_ends_the_wait_for_a_recording(recorder):
    one = recorder(RECORDS, delay_seconds=600)
    one.shutdown()
    ended(one)
    assert recorder.commands == []


def test_it_waits_for_memory(settings, recorder):
    free = [ENOUGH - 1, ENOUGH - 1, ENOUGH]
    ended(recorder(RECORDS, lambda: free.pop(0), look_seconds=0))
    assert free == []
    assert class_archive(settings).exists()


@pytest.mark.parametrize("change", [{"spares": False}, {"own_environment": True}, {"environments": Path("/nowhere")}])
def test_nothing_is_recorded_without_spares_or_an_environment_of_the_jobs(settings, change):
    recorder = ClassRecorder(Settings(**{**vars(settings), **change}), delay_seconds=0)
    recorder.start()
    assert recorder._thread is None
    recorder.shutdown()


def spark(settings: Settings, partial: Path, program: str) -> None:
    """Let the environment have a Spark whose program to submit jobs is this one."""
    home = settings.environments / "spark"
    for path, text in {settings.python("jobs"): f"echo {home}", home / "bin" / "spark-submit": program}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\nPARTIAL={partial}\n{text}\n")
        path.chmod(0o700)


@pytest.mark.parametrize("program", ["echo half > $PARTIAL; echo 'no heap' >&2; exit 1", "echo 'no heap' >&2"])
def test_a_job_that_fails_or_records_nothing_leaves_no_file(settings, program):
    partial = class_archive(settings).with_name("own.partial")
    spark(settings, partial, program)
    with pytest.raises(RuntimeError, match="no heap"):
        record_classes(settings, partial)
    assert left(settings) == ["bin"]


def test_the_command_of_the_recorder_records_while_nobody_else_wants_the_processors(settings, monkeypatch):
    partial = class_archive(settings).with_name("own.partial")
    spark(settings, partial, "echo $JAVA_HOME > $PARTIAL")
    idle = []
    monkeypatch.setattr("local_aws.glue.spark.wait_for_idle_processors", lambda: idle.append(partial.exists()))
    command = recording(Settings(**{**vars(settings), "java_home": "/of/java"}), partial)
    assert command[1:3] == ["-m", "local_aws.glue.spark"]
    monkeypatch.setattr(sys, "argv", command[2:])
    assert main() == 0
    assert idle == [False]
    assert class_archive(settings).read_text() == "/of/java\n"
    assert left(settings) == ["bin", class_archive(settings).name]


def test_a_folder_that_cannot_be_written_is_told_before_the_job_begins(settings, monkeypatch, capsys):
    monkeypatch.setattr("local_aws.glue.spark.wait_for_idle_processors", lambda: None)  # it would be for good
    partial = Path(os.devnull) / "own.partial"
    spark(settings, partial, "touch $0.began")
    monkeypatch.setattr(sys, "argv", recording(settings, partial)[2:])
    assert main() == 1
    assert "Not a directory: '/dev/null/own.partial'" in capsys.readouterr().err
    assert not (settings.environments / "spark" / "bin" / "spark-submit.began").exists()
