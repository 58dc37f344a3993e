"""A file on its way into the landing zone: received within limits, judged, and put under a key that this page makes."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from stat import S_ISREG
from tempfile import NamedTemporaryFile, gettempdir
from typing import Any

from anyio import CancelScope
from starlette.requests import ClientDisconnect, Request

from retraining.contract.plain_text import plain
from retraining.contract.verdict import MERGED
from retraining.page.concurrency.threads import looking
from retraining.page.files import check
from retraining.page.files.check import UncheckedError
from retraining.page.known_models import KnownModel

LARGEST = 10 << 20
"""Bytes of a file; MWAA's front and a person's patience end somewhere beyond."""
ENDING = re.compile(r"(\.(csv|tsv|txt|jsonl|ndjson|json|parquet))?(\.(gz|bz2|zst))?$", re.IGNORECASE)
"""What the merge takes from a name: how rows are written and how the file is packed."""
LONGEST_STEM = 60
RECEIVED = "retraining-page-"
"""How the name of a file on its way begins."""
LONGEST_WAY = 3600
"""Seconds after which no file is on its way any more."""

log = logging.getLogger(__name__)


class TooLargeError(ValueError):
    """A file is larger than this page takes; the message names the command that takes it."""


@dataclass(frozen=True)
class Received:
    """A file that was received: where it lies, bytes, and the SHA-256 of its content."""

    path: Path
    size: int
    digest: str


@asynccontextmanager
async def received(request: Request, model: KnownModel, name: str, folder: str) -> AsyncIterator[Received]:
    """Receive the body of a request into a file that is gone afterwards.

    Args:
        request: its body is the file.
        model: whom the file is for.
        name: what its sender calls it.
        folder: of the model, where a file goes that is too large for this page.

    Raises:
        TooLargeError: it is larger than this page takes, found out before it is read where its length is said.

    """
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > LARGEST:
        raise TooLargeError(_too_large(model, name, folder))
    size, digest = 0, hashlib.sha256()
    file: Any = await looking(NamedTemporaryFile, "w+b", prefix=RECEIVED)  # the event loop does not wait for the disk
    try:
        try:
            async for block in request.stream():
                size += len(block)
                if size > LARGEST:
                    raise TooLargeError(_too_large(model, name, folder))
                digest.update(block)
                file.write(block)
        except ClientDisconnect as error:
            raise TooLargeError("the file did not arrive whole: send it again") from error
        file.flush()
        yield Received(Path(file.name), size, digest.hexdigest())
    finally:
        with CancelScope(shield=True):
            await looking(file.close)


def remove_leftovers() -> None:
    """Remove what servers that were killed have received and not sent."""
    for path in Path(gettempdir()).glob(f"{RECEIVED}*"):
        with suppress(OSError):  # another server removes it, too, or it is another user's
            found = path.stat(follow_symlinks=False)
            if S_ISREG(found.st_mode) and time.time() - found.st_mtime > LONGEST_WAY:
                path.unlink()


def judged(model: KnownModel, file: Received, name: str) -> dict[str, Any]:
    """Return the merge's verdict on a received file, under the name that its sender gave it.

    Raises:
        UncheckedError: it cannot be judged here.

    """
    config = model.config
    refuse_unreadable(model, name, config.landing.new)
    key, split = key_of(model, name, file.digest), config.split.model_dump()
    verdict = check.verdict(file.path, key, config.contract.model_dump(), split)
    return {**verdict, "file": name, "size": file.size, "largest": LARGEST}


def refuse_unreadable(model: KnownModel, name: str, folder: str) -> None:
    """Refuse a file that needs a library which the web server does not have; a job has it, which reads what lies in ``folder``.

    Raises:
        UncheckedError: it is one.

    """
    if name.lower().endswith(".parquet") and find_spec("pyarrow") is None:
        raise UncheckedError(f"the web server cannot read Parquet, a job can: {_copying(model, folder)}")


def send(model: KnownModel, file: Received, name: str, who: str) -> dict[str, Any]:
    """Judge a file once more and put it into the landing zone, unless the merge would take no row of it.

    Returns:
        The verdict; ``key`` where the file lies, None when it was not sent; ``already_there`` when this very content was sent before.

    """
    from botocore.exceptions import ClientError

    verdict = judged(model, file, name)
    if verdict["outcome"] != MERGED or not verdict["accepted"]:
        return {**verdict, "key": None, "already_there": False}
    key, already_there = key_of(model, name, file.digest), False
    try:
        with file.path.open("rb") as body:
            model.s3.put_object(Bucket=model.bucket, Key=key, Body=body, IfNoneMatch="*", ContentLength=file.size)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise
        already_there = True  # the name carries the content's digest
    log.info("%s sent %s as s3://%s/%s (sha256 %s)", plain(who), plain(name), model.bucket, key, file.digest)
    return {**verdict, "key": key, "already_there": already_there}


def key_of(model: KnownModel, name: str, digest: str) -> str:
    """Return the key of a sent file: in the landing zone whatever its name says, and another one for other content.

    What cannot stand in a key is left out of the name; a name cannot begin with what hides a file.
    """
    last = re.split(r"[/\\]", name)[-1]
    found = ENDING.search(last)
    ending = found.group() if found else ""
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", last.removesuffix(ending) if ending else last)
    stem = stem.strip("-")[:LONGEST_STEM] or "file"
    return f"{model.prefix}{model.config.landing.new}{stem}-{digest[:12]}{ending.lower() or '.csv'}"


def _too_large(model: KnownModel, name: str, folder: str) -> str:
    copy = _copying(model, folder)
    return f"{plain(name, 80)} is larger than {LARGEST >> 20} MB, which is what this page takes: {copy}"


def _copying(model: KnownModel, folder: str) -> str:
    return f"aws s3 cp FILE s3://{model.bucket}/{model.prefix}{folder}"
