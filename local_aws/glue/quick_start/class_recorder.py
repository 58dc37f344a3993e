"""Records the classes of a Spark job in the background where that has not been done, see ``local_aws.glue.spark``."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import local_aws
from local_aws.glue.spark import class_archive
from local_aws.shared.logs import exception_line
from local_aws.shared.running.processes import ManagedProcess
from local_aws.shared.running.spares import ENOUGH, available_memory
from local_aws.shared.settings import Settings

_LOG = logging.getLogger(__name__)

#: Who starts an account has something to do with it: a demo is over by then.
DELAY_SECONDS = 180.0
_LOOK_SECONDS = 30.0


def recording(settings: Settings, partial: Path) -> list[str]:
    """Return the command that records while nobody else wants the processors; until it ends the archive is `partial`."""
    command = [sys.executable, "-m", "local_aws.glue.spark", "--environments", str(settings.environments)]
    command += ["--partial", str(partial), "--when-idle"]
    return [*command, *(["--java-home", settings.java_home] if settings.java_home else [])]


class ClassRecorder:
    """Records once, while there is memory for it, if the settings ask for spares and the environment of the jobs is one of our own."""

    def __init__(
        self,
        settings: Settings,
        command: Callable[[Settings, Path], list[str]] = recording,
        delay_seconds: float = DELAY_SECONDS,
        look_seconds: float = _LOOK_SECONDS,
        free_memory: Callable[[], int] = available_memory,
    ) -> None:
        self._settings = settings
        self._command = command
        self._delay_seconds, self._look_seconds = delay_seconds, look_seconds
        self._free_memory = free_memory
        self._wanted = settings.spares and not settings.own_environment and settings.python("jobs").exists()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._process: ManagedProcess | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to wait for the time to record."""
        if self._wanted:
            self._thread = threading.Thread(target=self._wait, name="class-recorder", daemon=True)
            self._thread.start()

    def shutdown(self) -> None:
        """End a recording; nothing of it stays."""
        with self._lock:
            self._closed.set()
            if self._process:
                self._process.kill()
        if self._thread:
            self._thread.join(timeout=10)

    def _wait(self) -> None:
        seconds = self._delay_seconds
        while not self._closed.wait(seconds) and not class_archive(self._settings).exists():
            if self._free_memory() >= ENOUGH:
                self._record()
                return
            seconds = self._look_seconds

    def _record(self) -> None:
        """Do so; a failure is told and not tried again: jobs run without."""
        archive = class_archive(self._settings)
        partial = archive.with_name(f"{archive.stem}-{uuid4().hex}.partial")
        # Among the spares: what a killed account leaves there, the next one deletes.
        folder = self._settings.jobs_dir / "glue" / ".spares" / uuid4().hex
        try:
            reason = self._run(partial, folder)
        except OSError as error:
            reason = str(error)
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        if reason and not self._closed.is_set():
            _LOG.warning("the classes of a Spark job could not be recorded, so jobs start more slowly: %s", reason)

    def _run(self, partial: Path, folder: Path) -> str:
        """Run the command to its end; return why it failed, or nothing."""
        folder.mkdir(parents=True)
        output = folder / "output.txt"
        program = str(Path(local_aws.__file__).resolve().parents[1])
        env = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": program}
        process = ManagedProcess(self._command(self._settings, partial), env, folder, output)
        with self._lock:
            if self._closed.is_set():
                return ""
            process.start()
            self._process = process
        code = process.wait().exit_code
        return (exception_line(output) or f"it ended with exit code {code}") if code else ""
