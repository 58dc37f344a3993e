"""Archives of users, unpacked without trust: nothing is written outside of the folder, and neither disk nor memory is filled.

``tarfile``'s ``data`` filter does most of it. It is not all: some Python releases let a chain of links lead out of the folder
(CVE-2025-4517), and ``tarfile`` reads an extended header of any size into memory. So links that climb are refused before they are
made, and headers are read through a reader with a limit.
"""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from local_aws.shared.errors import JobError

#: Limits of an archive that a job unpacks.
MAX_BYTES = 4 * 1024**3
MAX_MEMBERS = 50_000
#: Of the disk, this much stays free: what local_aws itself writes must still find room.
RESERVED_BYTES = 256 * 1024**2

_MAX_READ = 1024**2  # tarfile copies contents in pieces of 16 KiB: only a header can ask for more
_OPENERS: tuple[tuple[bytes, Any], ...] = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open))


class _LimitedReader:
    """A seekable stream that refuses to hand out a large piece at once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        if size > _MAX_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        """Go to a position."""
        return self._stream.seek(position)

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()


def extract_archive(archive: Path, target: Path, max_bytes: int = MAX_BYTES) -> None:
    """Unpack a tar file, plain or compressed by gzip or bzip2, into a folder.

    Raises:
        JobError: it is no such file, is too large for the limits or the disk, or holds a device, a name or a link that leads
            outside of ``target``.

    """
    target.mkdir(parents=True, exist_ok=True)
    room = min(max_bytes, shutil.disk_usage(target).free - RESERVED_BYTES)
    total = 0
    try:
        with archive.open("rb") as file:
            start = file.read(3)
            file.seek(0)
            opener = next((opener for magic, opener in _OPENERS if start.startswith(magic)), None)
            stream = opener(file) if opener else file
            with tarfile.TarFile(fileobj=cast(Any, _LimitedReader(stream))) as tar:
                for number, member in enumerate(tar, start=1):
                    total += max(0, member.size)
                    if total > room or number > MAX_MEMBERS:
                        raise JobError(
                            f"the archive {archive.name} unpacks to more than {max(0, room)} bytes or {MAX_MEMBERS} members; "
                            "local_aws refuses it"
                        )
                    _check_member(member)
                    _extract(tar, member, target)
    except (
        tarfile.TarError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        RecursionError,
        zlib.error,
    ) as error:  # KeyError: a link to no member; RecursionError: links that lead to each other
        raise JobError(f"the archive {archive.name} cannot be unpacked: {error}") from error


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        tar.extract(member, target, filter="data")
        return
    # Python 3.11 before its fourth patch has no filters. Of what ``data`` does beyond _check_member, this is what an archive needs:
    # nothing but files, folders and links, and the files are of who unpacks them, who may write them.
    if not (member.isreg() or member.isdir() or member.islnk() or member.issym()):
        raise tarfile.ReadError(f"the member {member.name!r} is a device or a pipe")
    member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
    member.mode = 0o755 if member.isdir() else member.mode & 0o755 | 0o600
    tar.extract(member, target)


def _check_member(member: tarfile.TarInfo) -> None:
    """Refuse what the ``data`` filter would mend silently or, in some releases, miss."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise tarfile.ReadError(f"the member {member.name!r} points outside of its folder")
    if member.islnk() or member.issym():
        link = PurePosixPath(member.linkname)
        if link.is_absolute() or ".." in link.parts:
            raise tarfile.ReadError(f"the link {member.name!r} points to {member.linkname!r}, outside of its folder")
