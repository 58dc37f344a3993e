"""Log files of jobs, shown in CloudWatch Logs while the job runs."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

_LOG = logging.getLogger(__name__)

_BATCH_LINES = 2_000
_BATCH_BYTES = 900_000
_LINE_BYTES = 200_000
_INTERVAL_SECONDS = 1.0
#: Of one stream; the account keeps its logs in memory. The file in the jobs folder goes on.
STREAM_BYTES = 16 * 1024 * 1024
_READ_BYTES = 4 * 1024 * 1024


class LogShipper:
    """Follow a growing file and put its lines into one CloudWatch log stream."""

    def __init__(self, client: Any, path: Path, group: str, stream: str) -> None:
        self._client = client
        self._path = path
        self._group = group
        self._stream = stream
        self._offset = 0
        self._rest = b""
        self._waiting: deque[bytes] = deque()
        self._created = False
        self._room = STREAM_BYTES
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"logs-{stream}"[:60], daemon=True)

    def start(self) -> LogShipper:
        """Begin to follow."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Ship what is left and end."""
        self._done.set()
        self._thread.join()

    def _follow(self) -> None:
        last = False
        while True:
            try:
                self._ship(last)
            except (BotoCoreError, ClientError, OSError) as error:
                # The file under the jobs folder stays complete; only the copy in CloudWatch Logs may miss the last lines.
                _LOG.warning("log stream %s of %s: %s", self._stream, self._group, error)
            if last:
                return
            last = self._done.wait(_INTERVAL_SECONDS)

    def _ship(self, last: bool) -> None:
        if not self._created:  # at once: of two containers, the one that started last has the newer stream
            self._create()
        more = True
        while more and self._room > 0:
            lines, more = self._new_lines(last)
            self._waiting += self._within_room(lines)
            self._put()

    def _within_room(self, lines: list[bytes]) -> list[bytes]:
        """Return the lines that the stream still takes, and a last word when it takes no more."""
        kept: list[bytes] = []
        for line in lines:
            if self._room <= 0:
                break
            self._room -= len(line) + 26
            kept.append(line)
            if self._room <= 0:
                kept.append(
                    f"The log is longer than {STREAM_BYTES // 2**20} MiB: the rest is only in {self._path}".encode()
                )
        return kept

    def _put(self) -> None:
        while self._waiting:
            batch: list[dict[str, Any]] = []
            size = 0
            for line in self._waiting:
                if len(batch) == _BATCH_LINES or size >= _BATCH_BYTES:
                    break
                size += len(line) + 26
                batch.append({"timestamp": int(time.time() * 1000), "message": line.decode("utf-8", "replace") or " "})
            self._client.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=batch)
            for _ in batch:
                self._waiting.popleft()

    def _new_lines(self, last: bool) -> tuple[list[bytes], bool]:
        """Return the lines of the next piece of the file, and whether there is more to read at once."""
        if not self._path.exists():
            return [], False
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read(_READ_BYTES)
        self._offset += len(data)
        more = len(data) == _READ_BYTES
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[:_LINE_BYTES]
        if last and not more and self._rest:
            lines.append(self._rest)
            self._rest = b""
        return [line.rstrip(b"\r")[:_LINE_BYTES] for line in lines], more

    def _create(self) -> None:
        for create, names in (
            (self._client.create_log_group, {"logGroupName": self._group}),
            (self._client.create_log_stream, {"logGroupName": self._group, "logStreamName": self._stream}),
        ):
            try:
                create(**names)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                    raise
        self._created = True


def tail(path: Path, limit: int = 2_000) -> str:
    """Return the last `limit` characters of a log file, cut at a line start; empty if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(0, size - limit * 4))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    if len(text) > limit:
        text = text[-limit:]
        text = text[text.find("\n") + 1 :] if "\n" in text else text
    return text.strip()


def exception_line(path: Path) -> str:
    """Return the line that names the exception of the last Python traceback in a log, or its last line."""
    lines = [line for line in tail(path, 20_000).splitlines() if line.strip()]
    start = max((n for n, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")), default=-1)
    if start >= 0:
        for line in lines[start + 1 :]:
            if not line[:1].isspace() and not line.startswith("Traceback"):
                return line.strip()[:1_000]
    return lines[-1].strip()[:1_000] if lines else ""
