"""From the bytes of a stored file to those of its text, in constant memory: plain, gzip, bzip2, and zstd where Python reads it."""

from __future__ import annotations

import bz2
import importlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from retraining.contract.refusal import FileRefused

Open = Callable[[], AbstractContextManager[BinaryIO]]

BLOCK = 1 << 20
MAX_RATIO = 100  # an archive may unpack to this many times its size ...
FREE_BYTES = 256 << 20  # ... and any archive to this many bytes
MAX_LINE_BYTES = 16 << 20  # a longer line is no row of anything; shorter ones are judged one by one
_GZIP, _BZIP2, _ZSTD = b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd"
_ENDINGS = {".gz": _GZIP, ".bz2": _BZIP2, ".zst": _ZSTD}


class Packed:
    """How a file is packed: known after it was unpacked to its end.

    Attributes:
        kind: "", "gzip", "bzip2" or "zstd".
        members: concatenated archives in the file.
        size: bytes of text so far.

    """

    def __init__(self) -> None:
        self.kind = ""
        self.members = 0
        self.size = 0


def unpacked(stream: BinaryIO, key: str, packed: Packed | None = None) -> Iterator[bytes]:
    """Yield the text of a file in blocks.

    Raises:
        FileRefused: the archive is damaged, cut short, of an unknown kind, or unpacks to far more than its size.

    """
    packed = packed or Packed()
    first = stream.read(BLOCK)
    refuse_misnamed(first, key)
    blocks = _blocks(first, stream)
    if first.startswith(_GZIP):
        packed.kind = "gzip"
        source = _inflated(blocks, lambda: zlib.decompressobj(wbits=31), "gzip", packed)
    elif first.startswith(_BZIP2):
        packed.kind = "bzip2"
        source = _inflated(blocks, bz2.BZ2Decompressor, "bzip2", packed)
    elif first.startswith(_ZSTD):
        packed.kind = "zstd"
        source = _inflated(blocks, _zstd(), "zstd", packed)
    else:
        source = blocks
    for block in source:
        packed.size += len(block)
        yield block


def refuse_misnamed(first: bytes, key: str) -> None:
    """Refuse a file whose ending and content disagree about how it is packed: Spark goes by the ending."""
    name = key.rsplit("/", 1)[-1].lower()
    for ending, magic in _ENDINGS.items():
        kind = {"gz": "gzip", "bz2": "bzip2", "zst": "zstd"}[ending[1:]]
        if name.endswith(ending) and first and not first.startswith(magic):
            raise FileRefused(f"named {ending} but is not {kind}", f"name it without {ending}, or pack it")
        if not name.endswith(ending) and first.startswith(magic):
            raise FileRefused(f"{kind} content, but the name does not end in {ending}", f"name it ...{ending}")


def _zstd() -> Callable[[], Any]:
    for module in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(module).ZstdDecompressor
        except ImportError:
            continue
    raise FileRefused("zstd, which this platform does not read", "pack it with gzip instead")


def _blocks(first: bytes, stream: BinaryIO) -> Iterator[bytes]:
    while first:
        yield first
        first = stream.read(BLOCK)


def _inflated(blocks: Iterator[bytes], make: Callable[[], Any], kind: str, packed: Packed) -> Iterator[bytes]:
    taken = given = 0
    inflate = make()
    open_member = False
    for block in blocks:
        taken += len(block)
        while block:
            if inflate.eof:
                block = block.lstrip(b"\0")  # padding after a member
                if not block:
                    break
                inflate = make()
            if not open_member:
                packed.members += 1
                open_member = True
            try:
                text = inflate.decompress(block, BLOCK)
                block = _rest(inflate)
                while text or (block and not inflate.eof):
                    given += len(text)
                    if given > FREE_BYTES and given > MAX_RATIO * taken:
                        raise FileRefused(
                            f"unpacks to more than {MAX_RATIO} times its size and {FREE_BYTES >> 20} MB",
                            "upload it unpacked, or in parts",
                        )
                    if text:
                        yield text
                    if inflate.eof or (not block and getattr(inflate, "needs_input", True)):
                        break
                    text = inflate.decompress(block, BLOCK)
                    block = _rest(inflate)
            except (zlib.error, OSError, EOFError) as error:
                raise FileRefused(f"corrupt {kind}: {error}", "pack and upload it again") from error
            if inflate.eof:
                open_member = False
                block = inflate.unused_data
    if open_member or not packed.members:
        raise FileRefused(f"corrupt {kind}: the file ends before its data does", "upload it again")


def _rest(inflate: Any) -> bytes:
    """Bytes that still have to be given to the decompressor; those of bz2 and zstd keep them themselves."""
    return bytes(getattr(inflate, "unconsumed_tail", b""))


def lines_of(blocks: Iterator[bytes]) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 text without line ends (``\n``, ``\r\n``, ``\r``) and byte order mark, as Spark's text reader does.

    Raises:
        FileRefused: a line is longer than 16 MB, or no UTF-8.

    """
    number = 0
    for text in whole_lines(blocks):
        for line in text[:-1].split(b"\n"):
            number += 1
            yield decoded(line, number)


def whole_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    r"""Yield a text in pieces of whole lines, each with ``\n`` at its end, without byte order mark.

    Raises:
        FileRefused: a line is longer than 16 MB.

    """
    number, rest, first = 0, b"", True
    for block in blocks:
        if first:
            block = block.removeprefix(b"\xef\xbb\xbf")
            first = False
        rest += block
        held = b"\r" if rest.endswith(b"\r") else b""  # perhaps the first half of a line end
        text = rest[: len(rest) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = text.rfind(b"\n") + 1
        rest = text[end:] + held
        number += text.count(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise FileRefused(f"line {number + 1:,} is longer than {MAX_LINE_BYTES >> 20} MB", "is it CSV?")
        if end:
            yield text[:end]
    if rest:
        yield rest.removesuffix(b"\r") + b"\n"


def decoded(line: bytes, number: int) -> str:
    """Decode a line; FileRefused names the line that is no UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileRefused(f"encoding is not UTF-8 in line {number:,}", "save as UTF-8") from error
