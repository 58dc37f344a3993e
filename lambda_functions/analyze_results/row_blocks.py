"""The rows of an evaluation as a stream of blocks of columns; a malformed line is an error that names it."""

from __future__ import annotations

import codecs
import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NoReturn, Protocol

REQUIRED = ("row", "truth", "challenger", "champion")
LOSSES = ("loss_challenger", "loss_champion")
PROBABILITIES = ("probability_challenger", "probability_champion")
KNOWN = (*REQUIRED, "group", *LOSSES, *PROBABILITIES, "file")
CHUNK_BYTES = 1 << 20
BLOCK_ROWS = 4096
MAX_LINE_CHARACTERS = 1 << 16

Block = Mapping[str, Sequence[Any]]


class Readable(Protocol):
    """What a body must offer: ``read(size)``, as files and botocore's ``StreamingBody`` do."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


class Rows:
    """The rows of one CSV file; its first line names the columns, in any order, and may name further ones.

    Args:
        body: the file.
        name: stands for it in error messages.
        classes: classes of the target in order; None when it is a number.

    """

    def __init__(self, body: Readable, name: str, classes: Sequence[str] | None) -> None:
        self._name, self._classes = name, classes
        self._numbers = {text: number for number, text in enumerate(classes or ())}
        self._reader = csv.reader(_lines(body, name), strict=True)
        self._champion: bool | None = None
        self._read = 0

    def blocks(self) -> Iterator[Block]:
        """Yield columns by name, for up to ``BLOCK_ROWS`` rows at a time.

        Numbers are floats. Of classes, labels are their numbers; a probability is that of the second of two, else a list of all.
        The champion's columns are missing when there is none; ``group`` and ``file`` when the file has no such column.

        Raises:
            ValueError: wrong header, no rows, wrong number of fields, a value that is no finite number or class, or a champion in some
                rows only.

        """
        try:
            header = next(self._reader, None)
            missing = [column for column in self._needed() if column not in (header or ())]
            if missing:
                raise ValueError(f"{self._name}: the header is {header}, it lacks {', '.join(missing)}")
            self._at = {column: header.index(column) for column in KNOWN if column in header}
            self._header = header
            while lines := list(islice(self._reader, BLOCK_ROWS)):
                try:
                    block = self._block(lines)
                except (ValueError, OverflowError) as error:
                    self._explain(lines, error)
                yield block
                self._read += len(lines)
        except csv.Error as error:
            raise ValueError(f"{self._name}, line {self._reader.line_num}: {error}") from error
        if not self._read:
            raise ValueError(f"{self._name} has no rows below its header: the evaluation scored nothing")

    def place(self, block_rows: int) -> str:
        """Return where the newest block stands, for an error about it."""
        return f"{self._name}, lines {self._read + 2} to {self._read + 1 + block_rows}"

    def _needed(self) -> tuple[str, ...]:
        return (*REQUIRED, *LOSSES, *PROBABILITIES) if self._classes else REQUIRED

    def _block(self, lines: list[list[str]]) -> dict[str, Sequence[Any]]:
        if len(lines[0]) != len(self._header):  # rows of unequal length are found by zip
            raise ValueError(f"{len(lines[0])} fields")
        columns = list(zip(*lines, strict=True))
        texts = {column: columns[at] for column, at in self._at.items()}
        with_champion = any(texts["champion"])
        if self._champion not in (None, with_champion) or (with_champion and not all(texts["champion"])):
            raise ValueError("the champion's prediction is there in some rows only")
        block: dict[str, Sequence[Any]] = {}
        for column, values in texts.items():
            if column == "row" or (not with_champion and column.endswith("champion")):
                continue
            if column == "group":
                block[column] = values
            elif column == "file":
                block[column] = list(map(int, values))
            else:
                block[column] = self._parsed(column, values)
        self._champion = with_champion
        return block

    def _parsed(self, column: str, values: Sequence[str]) -> Sequence[Any]:
        if self._classes is None or column in LOSSES:
            return _finite(values)
        if column in PROBABILITIES:
            return self._probabilities(values)
        try:
            return [self._numbers[value] for value in values]
        except KeyError as error:
            raise ValueError(f"no such class: {error}") from error

    def _probabilities(self, values: Sequence[str]) -> Sequence[Any]:
        classes = len(self._classes or ())
        if classes == 2:
            found = _finite(values)
            if min(found) < 0.0 or max(found) > 1.0:
                raise ValueError("a probability is not between 0 and 1")
            return found
        rows = [_finite(value.split(" ")) for value in values]
        for row in rows:
            if len(row) != classes or min(row) < 0.0 or abs(math.fsum(row) - 1.0) > 1e-3:
                raise ValueError(f"{len(row)} probabilities of {classes} classes that add up to {math.fsum(row):g}")
        return rows

    def _explain(self, lines: list[list[str]], cause: Exception) -> NoReturn:
        """Find the line that made a block fail and raise a ``ValueError`` that names it.

        Blocks are taken in whole for speed; only when one fails are its rows looked at one by one.
        """
        champion = self._champion
        for line, row in enumerate(lines, start=self._read + 2):  # line 1 is the header
            where = f"{self._name}, line {line}"
            if len(row) != len(self._header):
                names = ",".join(self._header)
                raise ValueError(f"{where}: {len(row)} fields, expected {len(self._header)} ({names})") from cause
            texts = {column: row[at] for column, at in self._at.items()}
            champion = bool(texts["champion"]) if champion is None else champion
            if bool(texts["champion"]) != champion:
                state = "is missing" if champion else f"is {texts['champion']!r}"
                others = "other rows have one" if champion else "earlier rows have none"
                raise ValueError(f"{where}: the champion's prediction {state}, but {others}") from cause
            for column, text in texts.items():
                if column in ("row", "group") or (not champion and column.endswith("champion")):
                    continue
                if problem := self._problem(column, text):
                    raise ValueError(f"{where}: {column} is {text!r}, {problem}") from cause
        raise ValueError(f"{self.place(len(lines))}: {cause}") from cause

    def _problem(self, column: str, text: str) -> str:
        try:
            if column == "file":
                int(text)
            else:
                self._parsed(column, [text])
        except (ValueError, OverflowError) as error:
            if column == "file":
                return "not the number of a file"
            if column in LOSSES or self._classes is None:
                return "not a finite number"
            return str(error) if column in PROBABILITIES else f"not a class: {', '.join(self._classes)}"
        return ""


def _finite(texts: Iterable[str]) -> list[float]:
    texts = list(texts)
    if "_" in "".join(texts):
        raise ValueError("an underscore in a number")  # float() would read 1_5 as 15
    values = list(map(float, texts))
    if not all(map(math.isfinite, values)):
        raise ValueError("a number is not finite")
    return values


def _lines(body: Readable, name: str) -> Iterator[str]:
    """Yield the lines of a UTF-8 body without their line ends, one chunk in memory at a time."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest, number = "", 0
    while True:
        chunk = body.read(CHUNK_BYTES)
        try:
            lines = (rest + decoder.decode(chunk, final=not chunk)).split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}, near line {number + 1}: not UTF-8 ({error.reason})") from error
        rest = lines.pop()
        yield from lines
        number += len(lines)
        if len(rest) > MAX_LINE_CHARACTERS:
            raise ValueError(f"{name}, line {number + 1}: longer than {MAX_LINE_CHARACTERS} characters")
        if not chunk:
            break
    if rest:
        yield rest
