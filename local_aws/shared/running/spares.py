"""Processes that are started before the job that they will run: most of the seconds of a small job are the start of Java or of libraries.

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
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

from local_aws.shared.job_keys import JobKey
from local_aws.shared.logs import exception_line
from local_aws.shared.running.processes import ManagedProcess, View

_LOG = logging.getLogger(__name__)

#: Bytes of free memory: with less no spare is started, with less it is given up.
ENOUGH, SHORT = 3 << 30, 1 << 30
_LOOK_SECONDS = 2.0
_FAILURES = 3
#: What a spare has instead of the keys of a job.
NO_KEY = JobKey("none", "none")


class Spare(ManagedProcess):
    """A process below `folder`: its job's `work`, and its logs `output.txt` and, if errors have one of their own, `error.txt`.

    Its program makes the file ``ready`` in `work`, and waits at the pipe ``job`` there for a JSON document with ``argv``, ``path`` (what
    stands in PYTHONPATH), ``env`` and ``cwd`` (null: where it is).
    """

    def __init__(
        self,
        folder: Path,
        argv: Sequence[str],
        env: dict[str, str],
        cwd: Path,
        view: View | None,
        grace_seconds: float,
        separate_errors: bool = False,
    ) -> None:
        """`folder` holds ``work``, which the process sees; `view` is None where jobs are not isolated."""
        self.folder, self.work = folder, folder / "work"
        self.gone_on = False
        error = folder / "error.txt" if separate_errors else None
        self._pipe: int | None = None
        os.mkfifo(self.work / "job")
        super().__init__(list(argv), env, cwd, folder / "output.txt", error, grace_seconds=grace_seconds, view=view)

    def warm(self) -> None:
        """Start the process; it waits for its job when `ready`."""
        super().start()

    @property
    def ready(self) -> bool:
        """Return whether it waits for its job."""
        return (self.work / "ready").exists() and self.running

    def go_on(self) -> None:
        """Do what else can be done before there is a job; called once, when it is ready."""

    def take_over(self, output: Path, error: Path | None = None) -> None:
        """Let the process write to the job's logs, which are empty as yet; what it said before the job is dropped."""
        for own, log in ((self.stdout, output), (self.stderr, error)):
            if own and log:
                os.truncate(own, 0)
                own.rename(log)
        self.stdout, self.stderr = output, error
        (self.work / "ready").unlink()

    def assign(self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None = None) -> bool:
        """Say what it will run when it is started: a command, and where it begins, as the job sees that folder.

        Return False when it died while it waited: the job gets a process of its own.
        """
        path = [part for part in env.get("PYTHONPATH", "").split(":") if part]
        self._job = json.dumps({"argv": list(argv), "path": path, "env": dict(env), "cwd": cwd}).encode()
        while self.running and self._pipe is None:
            try:
                # Without a reader this would wait for ever; a spare opens the pipe just after it says that it is ready.
                self._pipe = os.open(self.work / "job", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.02)
        return self._pipe is not None

    def start(self) -> None:
        """Hand the job over."""
        assert self._pipe is not None, "assign() comes first"
        descriptor, self._pipe = self._pipe, None
        os.set_blocking(descriptor, True)
        with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as file:
            file.write(self._job)

    def end(self, keep: Path | None = None) -> None:
        """End the process if it still runs, and delete its folder; `keep` is where the job's files go instead."""
        if self._pipe is not None:  # its job was stopped before it began
            os.close(self._pipe)
            self._pipe = None
        if self._process is not None:  # one that has died, too: what leads to it is closed
            self.kill()
            self.wait()
        if keep:
            self.work.rename(keep)
        shutil.rmtree(self.folder, ignore_errors=True)

    def last_words(self) -> str:
        """Return what it said of its own failure."""
        return exception_line(self.stderr or self.stdout)


S = TypeVar("S", bound=Spare)


class Spares(Generic[S]):
    """Keeps one spare of each kind that jobs ask for while there is memory."""

    def __init__(
        self,
        what: str,
        folder: Path,
        make: Callable[[Any, Path], S],
        kinds: Sequence[Hashable],
        free_memory: Callable[[], int] | None = None,
    ) -> None:
        """Keep them below `folder`; `what` names them in the log, `make` builds one of a kind, `kinds` are warmed in this order."""
        self._what, self._folder, self._make = what, folder, make
        self._kinds = list(kinds)
        self._free_memory = free_memory or available_memory
        self._spares: dict[Hashable, S] = {}
        self._failures = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to keep them."""
        self._thread = threading.Thread(target=self._keep, name=f"spares-{self._what}"[:60], daemon=True)
        self._thread.start()

    def take(self, kind: Hashable) -> S | None:
        """Return the spare of a kind if one waits."""
        with self._lock:
            spare = self._spares.get(kind)
            if spare is None or not spare.ready:
                return None
            del self._spares[kind]
            self._failures = 0
        self._wake.set()
        return spare

    def shutdown(self) -> None:
        """End those that wait."""
        self._closed.set()
        self._wake.set()
        if self._thread:
            self._thread.join(timeout=10)
        with self._lock:
            spares = list(self._spares.values())
            self._spares.clear()
        for spare in spares:
            spare.end()

    def _keep(self) -> None:
        while not self._closed.is_set():
            try:
                self._look()
            except OSError as error:
                self._failures += 1
                _LOG.warning("no spare %s: %s", self._what, error)
            if self._failures >= _FAILURES:
                _LOG.warning("no more spares of %s: %d ended before they had a job", self._what, self._failures)
                return
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()

    def _look(self) -> None:
        """Start what is missing, one after the other; give up what died, and all if memory is short."""
        free = self._free_memory()
        gone: list[S] = []
        with self._lock:
            for kind, spare in list(self._spares.items()):
                if free < SHORT or not spare.running:
                    gone.append(self._spares.pop(kind))
            warming = any(not spare.ready for spare in self._spares.values())
            missing = [kind for kind in self._kinds if kind not in self._spares]
            if missing and not gone and not warming and free >= ENOUGH and not self._closed.is_set():
                spare = self._make(missing[0], self._folder / uuid4().hex)
                self._spares[missing[0]] = spare
                spare.warm()
            ready = [spare for spare in self._spares.values() if spare.ready and not spare.gone_on]
        for spare in ready:  # while it may be taken
            spare.gone_on = True
            spare.go_on()
        for spare in gone:
            if not spare.running:
                self._failures += 1
                _LOG.warning("a spare %s ended: %s", self._what, spare.last_words())
            spare.end()


def available_memory() -> int:
    """Return the bytes that new processes can have without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0
