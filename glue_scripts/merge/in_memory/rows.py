"""The rows of a batch in memory, if they fit: the good ones, the quarantine records of the others, and their counts."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from glue_scripts.merge.inputs import Inspected
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.storage import FILES_AT_ONCE, Storage
from glue_scripts.merge.tally import Tally
from retraining.contract.reader import Line, read
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import KEY_DIGITS, TRAIN, Contract
from retraining.contract.splitting.by_time import BY_TIME, as_document
from retraining.contract.values import Value

# A row takes about 1 KB of memory and 0.1 ms. Beyond these limits Spark is as fast, and memory stays small whatever the files hold.
MOST_TEXT = 4 << 20  # characters of all files
MOST_ROWS = 50_000
RAW_CHARACTERS = 4096  # of a rejected line that quarantine keeps


class Row(NamedTuple):
    """A good row, which a tally takes for a group of one.

    Attributes:
        file: number in the manifest.
        line: in the file, from 1.
        split: index into the manifest's split.
        synthetic: made, not measured.
        values: typed, in contract order.
        row_hash: identity, 32 hex digits.
        target: its value as a number, 0 when it is none.

    """

    file: int
    line: int
    split: int
    synthetic: bool
    values: tuple[Value | None, ...]
    row_hash: str
    target: float
    n: int = 1

    @property
    def key(self) -> int:
        """The first 60 bits of the hash."""
        return int(self.row_hash[:KEY_DIGITS], 16)


@dataclass
class Rows:
    """Rows of a batch in the order of files and lines; records of the bad ones by file; counts of the bad ones."""

    good: list[Row] = field(default_factory=list)
    bad: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    found: Tally = field(default_factory=Tally)


class _TooMany(Exception):
    """The rows do not fit."""


class _Room:
    """What memory is left for; files that are read side by side share it."""

    def __init__(self) -> None:
        self._rows, self._text = MOST_ROWS, MOST_TEXT

    def take(self, line: Line) -> None:
        self._rows -= 1
        self._text -= len(line.raw)
        if self._rows < 0 or self._text < 0:
            raise _TooMany


def read_rows(manifest: Manifest, inspected: Inspected, storage: Storage) -> Rows | None:
    """Read the files that were let pass; one that cannot be read to its end is refused now. None when they are too large.

    Which it is depends on the files alone, because it decides the bytes that are written.
    """
    text = sum(layout.text_bytes for layout in inspected.layouts.values())
    if text > MOST_TEXT or not importlib.util.find_spec("pyarrow"):
        return None
    split = _split_of(manifest)
    room = _Room()

    def of_file(number: int) -> tuple[list[Row], list[Line]] | FileRefused:
        file, layout = manifest.files[number], inspected.layouts[number]
        good, bad = [], []
        try:
            opened = read(lambda: storage.stream(file), file.key, manifest.contract, layout, split, file.source)
            for line in () if layout.empty else opened:
                room.take(line)
                if line.reasons:
                    bad.append(line)
                else:
                    good.append(_row(number, line, manifest))
        except FileRefused as refusal:
            return refusal
        return good, bad

    numbers = sorted(inspected.layouts)
    try:
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            files = list(pool.map(of_file, numbers))
    except _TooMany:
        return None
    rows = Rows()
    for number, told in zip(numbers, files, strict=True):
        if isinstance(told, FileRefused):
            inspected.refused[number] = told
            del inspected.layouts[number]
            continue
        good, bad = told
        rows.good += good
        rows.bad[number] = [_record(manifest.files[number].key, line, manifest.contract) for line in bad]
        rows.found.files[number]["bad"] = len(bad)
        for line in bad:
            rows.found.reasons[number].update(line.reasons)
    return rows


def _split_of(manifest: Manifest) -> Mapping[str, Any]:
    """Return the split as the reader asks for it; by time with the boundaries that stand."""
    shares = dict(manifest.split)
    if manifest.time is None:
        return shares
    known = {} if manifest.begins or manifest.boundaries is None else as_document(manifest.time, manifest.boundaries)
    return {**shares, "by": BY_TIME, "column": manifest.time.name, **known}


def _row(file: int, line: Line, manifest: Manifest) -> Row:
    contract = manifest.contract
    names = [name for name, _ in manifest.split]
    target = line.values[contract.position[contract.target]]
    number = float(target) if contract.column(contract.target).numeric else 0.0  # type: ignore[arg-type]
    split = names.index(line.split or TRAIN)
    return Row(file, line.number, split, line.synthetic, line.values, str(line.row_hash), number)


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
