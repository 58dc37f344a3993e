"""A Spark driver kept ready for the next job run: most of the seconds of a small job are the start of Java.

A spare has the folder, the process group and the view of the machine of a job, but no keys. It runs one job and ends with it. Another
takes its place, warmed while nobody else wants the processors.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from local_aws.glue.spark import settings_of, spark_environment
from local_aws.shared.errors import JobError
from local_aws.shared.job_keys import JobKey
from local_aws.shared.logs import exception_line
from local_aws.shared.running.processes import ManagedProcess, job_environment, view_of_job
from local_aws.shared.settings import Settings

_LOG = logging.getLogger(__name__)
_DRIVER = Path(__file__).with_name("spare_driver.py")

#: Bytes of free memory: with less no spare is started, with less it is given up. It takes about half a GiB.
ENOUGH, SHORT = 3 << 30, 1 << 30
_LOOK_SECONDS = 2.0
_FAILURES = 3
#: The bucket of the typical job. None of S3 has a name that short.
_OWN_BUCKET = "w"
#: What a spare has instead of the keys of a job.
_NO_KEY = JobKey("none", "none")

Document = dict[str, Any]


class SpareDriver(ManagedProcess):
    """A driver below `folder`: its job's `work`, and the logs `output.txt` and `error.txt`."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.folder, self.work = folder, folder / "work"
        here = self.work / "here"
        here.mkdir(parents=True)
        os.mkfifo(self.work / "job")
        bucket = self.work / "warm-up"
        bucket.mkdir()
        python = settings.python("jobs")
        env = job_environment(settings, python, self.work, _NO_KEY, {})
        env |= spark_environment(settings, self.work, {_OWN_BUCKET: bucket})
        super().__init__(
            [str(python), str(_DRIVER), str(self.work), _OWN_BUCKET],
            env,
            here,
            folder / "output.txt",
            folder / "error.txt",
            grace_seconds=5.0,
            view=view_of_job(settings, self.work, self.work / "tmp", str(here)),
        )

    def warm(self) -> None:
        """Start the process; it waits for its job when `ready`."""
        super().start()

    @property
    def ready(self) -> bool:
        """Return whether it waits for its job."""
        return (self.work / "ready").exists() and self.running

    def take_over(self, output: Path, error: Path) -> None:
        """Move the logs to where the job's are; what was said before the job is dropped."""
        for path, target in ((self.folder / "output.txt", output), (self.folder / "error.txt", error)):
            os.truncate(path, 0)
            path.rename(target)
        (self.work / "ready").unlink()
        shutil.rmtree(self.work / "warm-up", ignore_errors=True)

    def assign(self, argv: list[str], env: Mapping[str, str]) -> None:
        """Say what it will run when it is started: a command of the jobs' Python."""
        env = dict(env)
        path = env.get("PYTHONPATH", "").split(":")
        self._job = json.dumps({"argv": argv[1:], "path": path, "env": env}).encode()

    def start(self) -> None:
        """Hand the job over.

        Raises:
            JobError: the process died while it waited.

        """
        while self.running:
            try:
                # Without a reader this would wait for ever; a driver opens the pipe just after it says that it is ready.
                descriptor = os.open(self.work / "job", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.02)
                continue
            os.set_blocking(descriptor, True)
            with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as file:
                file.write(self._job)
            return
        raise JobError("the process that waited for this job is gone: start the job again")

    def end(self, keep: Path | None = None) -> None:
        """End the process if it still runs, and delete its folder; `keep` is where the job's files go instead."""
        if self.running:
            self.kill()
            self.wait()
        if keep:
            self.work.rename(keep)
        shutil.rmtree(self.folder, ignore_errors=True)


class SpareDrivers:
    """Keeps one driver ready while there is memory for it."""

    def __init__(self, settings: Settings, free_memory: Callable[[], int] | None = None) -> None:
        self._settings = settings
        self._free_memory = free_memory or available_memory
        self._spare: SpareDriver | None = None
        self._failures = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to keep one, if the settings ask for it."""
        if self._settings.spare_drivers and self._settings.python("jobs").exists():
            self._thread = threading.Thread(target=self._keep, name="spare-drivers", daemon=True)
            self._thread.start()

    def take(self, job: Document, run: Document) -> SpareDriver | None:
        """Return the driver for a run if it waits and the run can do with it."""
        if not suits(job, run):
            return None
        with self._lock:
            spare = self._spare
            if spare is None or not spare.ready:
                return None
            self._spare = None
        self._wake.set()
        return spare

    def shutdown(self) -> None:
        """End the driver that waits."""
        self._closed.set()
        self._wake.set()
        if self._thread:
            self._thread.join(timeout=10)
        with self._lock:
            spare, self._spare = self._spare, None
        if spare:
            spare.end()

    def _keep(self) -> None:
        while not self._closed.is_set():
            try:
                self._look()
            except OSError as error:
                self._failures += 1
                _LOG.warning("no spare Spark driver: %s", error)
            if self._failures >= _FAILURES:
                _LOG.warning("no more spare Spark drivers: %d ended before they had a job", self._failures)
                return
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()

    def _look(self) -> None:
        """Start a driver if there is none, give it up if it died or memory is short."""
        free = self._free_memory()
        gone: SpareDriver | None = None
        with self._lock:
            spare = self._spare
            if spare and (free < SHORT or not spare.running):
                gone, self._spare = spare, None
            elif spare is None and free >= ENOUGH and not self._closed.is_set():
                self._spare = SpareDriver(self._settings, self._settings.jobs_dir / "glue" / ".spares" / uuid4().hex)
                self._spare.warm()
        if gone:
            if not gone.running:
                self._failures += 1
                _LOG.warning("a spare Spark driver ended: %s", exception_line(gone.folder / "error.txt"))
            gone.end()


def suits(job: Document, run: Document) -> bool:
    """Return whether a run is a Spark job whose Java needs no settings of its own: those of Spark SQL are read by each session."""
    arguments = job.get("DefaultArguments", {}) | run["Arguments"] | job.get("NonOverridableArguments", {})
    settings = settings_of(str(arguments.get("--conf", "")))
    return job["Command"]["Name"] == "glueetl" and all(name.startswith("spark.sql.") for name in settings)


def available_memory() -> int:
    """Return the bytes that new processes can have without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0
