"""A model artifact in a Python process of its own: two artifacts may hold different versions of the same modules."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from retraining.inside.artifact import extract
from retraining.inside.processes import answering
from retraining.inside.processes.forking import Fork, forked

ARCHIVE = "model.tar.gz"
CHUNK = 1 << 20


class ArtifactError(RuntimeError):
    """An artifact cannot be loaded, or does not answer; the message names its role and archive."""


class ExchangedError(RuntimeError):
    """The archive is not the one that was pinned: nothing of it was unpacked, and no answer of it may count."""


class ArtifactRefusal(ArtifactError):
    """An artifact refuses a request, and goes on to answer others; ``reason`` is its own."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def require(archive: Path, role: str, sha256: str | None) -> None:
    """See that an archive is the one that was pinned; without a digest, or without the archive, there is nothing to see.

    Raises:
        ExchangedError: it is another one.

    """
    if not sha256 or not archive.is_file():
        return
    found = hashlib.sha256()
    with archive.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    if found.hexdigest() != sha256:
        raise ExchangedError(
            f"the artifact of the {role} was exchanged on its way to this job: its SHA-256 was {sha256} and is {found.hexdigest()} in "
            f"{archive}. Nothing of it was unpacked: restore the version of the object that has the first digest"
        )


def _started(unpacked: Path) -> subprocess.Popen[str] | Fork:
    """Start the program that answers for an unpacked artifact."""
    return forked(answering, unpacked) or subprocess.Popen(
        [sys.executable, str(Path(answering.__file__).resolve()), str(unpacked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


class ArtifactProcess(AbstractContextManager["ArtifactProcess"]):
    """An artifact, unpacked and loaded, that answers requests one by one."""

    def __init__(self, folder: Path, role: str, sha256: str | None = None) -> None:
        """Take the folder that holds ``model.tar.gz``, the model's role, for messages, and the digest that the archive must have."""
        self._archive = folder / ARCHIVE
        self._sha256 = sha256
        self.role = role
        self._cleanup = ExitStack()

    def __enter__(self) -> ArtifactProcess:
        with self._cleanup:
            require(self._archive, self.role, self._sha256)
            unpacked = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix=f"{self.role}-")))
            try:
                extract(self._archive, unpacked)
            except ValueError as error:
                raise ArtifactError(f"the {self.role} cannot be loaded: {error}") from error
            self._process = _started(unpacked)
            self._cleanup.enter_context(self._process)
            self._cleanup.callback(self._stop)
            self._cleanup = self._cleanup.pop_all()
        self._unread = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _stop(self) -> None:
        self._process.kill()  # before waiting, so that a failed evaluation does not hang
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the rest of a request that the process did not live to read
            self._process.stdin.close()

    def be_ready(self) -> None:
        """Start anew if the process has ended, or if an answer was not fetched, which the next request would get."""
        if self._unread or self._process.poll() is not None:
            self._cleanup.close()
            self.__enter__()

    def ask(self, **request: Any) -> None:
        """Send a request; the answer is fetched with ``answer``, so that several models can work at the same time.

        Raises:
            ArtifactError: the process has ended.

        """
        assert self._process.stdin is not None
        self._unread += 1
        try:
            self._process.stdin.write(json.dumps(request, allow_nan=False) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def answer(self) -> dict[str, Any]:
        """Return ``predictions`` or ``probabilities`` for the last request.

        Raises:
            ArtifactRefusal: the artifact refuses the request.
            ArtifactError: it cannot be loaded.

        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        self._unread -= 1
        answer = dict(json.loads(line))
        if "error" in answer:
            reason = answer["error"]
            raise ArtifactRefusal(f"the {self.role} ({self._archive}) failed: {reason}", reason)
        return answer

    def answers(self, name: str, rows: int) -> list[Any]:
        """Return the list ``name`` of the answer to the last request, one item for each row.

        Raises:
            ArtifactError: see ``answer``; or the answer has no such list, or one of another length.

        """
        found = self.answer().get(name)
        if not isinstance(found, list) or len(found) != rows:
            what = f"{len(found)} {name}" if isinstance(found, list) else f"no list of {name}"
            raise ArtifactError(f"the {self.role} answered {rows} rows with {what}")
        return found

    def _ended(self) -> ArtifactError:
        code = self._process.wait()
        where = f"the {self.role} ({self._archive})"
        return ArtifactError(f"{where} ended with exit code {code} before it answered; its error is in the log above")
