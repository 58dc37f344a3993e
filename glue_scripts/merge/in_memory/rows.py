"""The rows of a batch in memory, if they fit: the good ones, the quarantine records of the others, and their counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from glue_scripts.merge.in_memory.plain_lines import PlainLines
from glue_scripts.merge.in_memory.table import of_lines, schema_of
from glue_scripts.merge.inputs import Inspected
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.storage import FILES_AT_ONCE, Storage
from glue_scripts.merge.tally import Tally
from retraining.contract.headings import known_headings
from retraining.contract.reader import Line, is_skipped, judge, read
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import SYNTHETIC, Contract
from retraining.contract.splitting.by_time import BY_TIME, as_document
from retraining.contract.unpacking import decoded, unpacked, whole_lines

# Plain lines take a few microseconds and some ten times their text. Beyond this Spark, which uses every processor, is about as fast,
# and memory stays small whatever the files hold.
MOST_PLAIN_TEXT = 64 << 20  # bytes of all files
# A line that is judged by itself takes 0.1 ms and about 1 KB.
MOST_TEXT = 4 << 20  # characters of those lines in all files
MOST_ROWS = 50_000
PIECE = 4 << 20  # bytes that are judged at once
RAW_CHARACTERS = 4096  # of a rejected line that quarantine keeps


@dataclass
class Rows:
    """Rows of a batch.

    Attributes:
        good: in the order of files and lines; columns as `table.schema_of` says.
        bad: quarantine records by file.
        found: counts of the bad ones.

    """

    good: pa.Table
    bad: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    found: Tally = field(default_factory=Tally)


class _TooMany(Exception):
    """The rows do not fit."""


class _Room:
    """What memory and time are left for lines that are judged by themselves; files that are read side by side share it."""

    def __init__(self) -> None:
        self._rows, self._text = MOST_ROWS, MOST_TEXT

    def take(self, rows: int, text: int) -> None:
        self._rows -= rows
        self._text -= text
        if self._rows < 0 or self._text < 0:
            raise _TooMany


@dataclass(frozen=True)
class _Batch:
    """What reading a file needs."""

    manifest: Manifest
    inspected: Inspected
    storage: Storage
    split: Mapping[str, Any]
    room: _Room


def read_rows(manifest: Manifest, inspected: Inspected, storage: Storage) -> Rows | None:
    """Read the files that were let pass; one that cannot be read to its end is refused now. None when they are too large.

    Which it is depends on the files alone, because it decides the bytes that are written.
    """
    layouts = inspected.layouts.values()
    by_time = manifest.time is not None
    text = [layout.text_bytes for layout in layouts]
    careful = [layout.text_bytes for layout in layouts if not PlainLines.of_any(manifest.contract, layout, by_time)]
    if sum(text) > MOST_PLAIN_TEXT or sum(careful) > MOST_TEXT:
        return None
    batch = _Batch(manifest, inspected, storage, _split_of(manifest), _Room())
    numbers = sorted(inspected.layouts)
    try:
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            files = list(pool.map(lambda number: _read(number, batch), numbers))
    except _TooMany:
        return None
    rows = Rows(schema_of(manifest.contract).empty_table())
    tables = [rows.good]
    for number, told in zip(numbers, files, strict=True):
        if isinstance(told, FileRefused):
            inspected.refused[number] = told
            del inspected.layouts[number]
            continue
        good, bad = told
        tables.append(good)
        rows.bad[number] = [_record(manifest.files[number].key, line, manifest.contract) for line in bad]
        rows.found.files[number]["bad"] = len(bad)
        for line in bad:
            rows.found.reasons[number].update(line.reasons)
    rows.good = pa.concat_tables(tables).combine_chunks()  # bytes written do not depend on how a file was read
    return rows


def _read(number: int, batch: _Batch) -> tuple[pa.Table, list[Line]] | FileRefused:
    """Return the good rows of a file as a table in the order of lines, and its bad lines; or why it is refused."""
    manifest, layout = batch.manifest, batch.inspected.layouts[number]
    names = [name for name, _ in manifest.split]
    try:
        if layout.empty:
            return of_lines([], number, names, manifest.contract), []
        if PlainLines.of_any(manifest.contract, layout, manifest.time is not None):
            tables, lines = _plainly(number, batch)
        else:
            tables, lines = [], list(_one_by_one(number, batch))
    except FileRefused as refusal:
        return refusal
    good = of_lines([line for line in lines if not line.reasons], number, names, manifest.contract)
    together = pa.concat_tables([*tables, good])
    if tables and good.num_rows:
        together = together.sort_by("line")
    return together, [line for line in lines if line.reasons]


def _one_by_one(number: int, batch: _Batch) -> Iterator[Line]:
    file, layout, storage = batch.manifest.files[number], batch.inspected.layouts[number], batch.storage
    for line in read(lambda: storage.stream(file), file.key, batch.manifest.contract, layout, batch.split, file.source):
        batch.room.take(1, len(line.raw))
        yield line


def _plainly(number: int, batch: _Batch) -> tuple[list[pa.Table], list[Line]]:
    """Return the plain rows of a file, and its other lines as `read` gives them."""
    manifest, layout = batch.manifest, batch.inspected.layouts[number]
    file, contract = manifest.files[number], manifest.contract
    plain = PlainLines(contract, layout, manifest.split, number, file.source == SYNTHETIC)
    known = known_headings(contract)
    tables, lines = [], []
    first = 1
    with batch.storage.stream(file) as stream:
        for piece in _pieces(whole_lines(unpacked(stream, file.key))):
            table, others = plain.judge(piece, first)
            first += piece.count(b"\n")
            tables.append(table)
            batch.room.take(len(others), sum(len(text) for _, text in others))
            for at, raw in others:
                text = decoded(raw, at)
                line = judge(at, text, contract, layout, batch.split, file.source)
                if not (line.reasons and is_skipped(text, at, layout, known)):
                    lines.append(line)
    return tables, lines


def _pieces(texts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole lines in larger pieces."""
    held: list[bytes] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size >= PIECE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _split_of(manifest: Manifest) -> Mapping[str, Any]:
    """Return the split as the reader asks for it; by time with the boundaries that stand."""
    shares = dict(manifest.split)
    if manifest.time is None:
        return shares
    known = {} if manifest.begins or manifest.boundaries is None else as_document(manifest.time, manifest.boundaries)
    return {**shares, "by": BY_TIME, "column": manifest.time.name, **known}


def _record(key: str, line: Line, contract: Contract) -> dict[str, Any]:
    """Make a quarantine record; docs/data-contract.md describes it."""
    return {
        "file": key,
        "line": line.number,
        "column": line.subject,
        "value": line.value_of(contract),
        "reason": line.reasons[0],
        "reasons": list(line.reasons),
        "raw": line.raw[:RAW_CHARACTERS],
    }
