"""Parquet: rows by the names of its schema, read with pyarrow where the platform has it. Numbers are written so that none is rounded."""

from __future__ import annotations

import importlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, BinaryIO

from retraining.contract.headings import Named, by_name
from retraining.contract.notation.lines import line_of
from retraining.contract.plain_text import plain
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Column, Contract
from retraining.contract.unpacking import FREE_BYTES, MAX_RATIO

CELL_BYTES = 8  # of a cell, about
ROWS_AT_ONCE = 10_000
_INDEX = re.compile(r"__index_level_\d+__")  # the row labels of pandas: no column
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def opened(stream: BinaryIO, key: str) -> Iterator[Any]:
    """Open a file; one that comes as a stream is kept on disk meanwhile.

    Raises:
        FileRefused: it is damaged, holds far more rows than its size lets expect, or the platform has no pyarrow.

    """
    try:
        pyarrow = importlib.import_module("pyarrow")
        module = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise FileRefused("Parquet, and this Python has no pyarrow to read it", "upload CSV or JSON Lines") from error
    if key.lower().endswith((".gz", ".bz2", ".zst")):
        raise FileRefused("Parquet in an archive", "upload it as it was before: its columns are packed already")
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
        size = copy.tell()
        copy.seek(0)
        if copy.read(4) != b"PAR1":
            raise FileRefused("named .parquet but is not Parquet", "name it by what it is")
        copy.seek(0)
        try:
            file = module.ParquetFile(copy)
            cells = file.metadata.num_rows * max(1, len(file.schema_arrow.names))
            if cells * CELL_BYTES > max(FREE_BYTES, MAX_RATIO * size):
                raise FileRefused(
                    f"unpacks to more than {MAX_RATIO} times its size and {FREE_BYTES >> 20} MB", "upload it in parts"
                )
            yield file
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise FileRefused(f"damaged Parquet: {plain(error, 200)}", "write and upload it again") from error


def columns_of(file: Any, contract: Contract) -> Named:
    """Return which field each contract column is.

    Raises:
        FileRefused: the names are not those of the contract, or a column holds lists or objects.

    """
    names = [name for name in file.schema_arrow.names if not _INDEX.fullmatch(name)]
    named = by_name(names, contract, "the schema")
    for name in _fields(names, named):
        kind = file.schema_arrow.field(name).type
        if kind.num_fields:
            raise FileRefused(f"the column {name} holds {kind}, not single values", "write a column per value")
    return named


def rows_of(stream: BinaryIO, key: str, contract: Contract, source: bool) -> Iterator[str]:
    """Yield the rows as lines of cells in contract order, followed by the source where the file has one.

    Raises:
        FileRefused: the file is damaged.

    """
    with opened(stream, key) as file:
        names = [name for name in file.schema_arrow.names if not _INDEX.fullmatch(name)]
        named = by_name(names, contract, "the schema")
        wanted: list[Column | None] = [*contract.columns, *([None] if source else [])]
        places = [*named.order, *([named.source_at] if source else [])]
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=_fields(names, named)):
            missing = [""] * batch.num_rows
            cells = [
                missing if place is None or place < 0 else _texts(batch.column(names[place]), column, contract.decimal)
                for column, place in zip(wanted, places, strict=True)
            ]
            for row in zip(*cells, strict=True):
                yield line_of(row)


def _fields(names: list[str], named: Named) -> list[str]:
    places = [place for place in (*named.order, named.source_at) if place is not None and place >= 0]
    return [names[place] for place in places]


def _texts(values: Any, column: Column | None, decimal: str) -> list[str]:
    """Write the values of one column; a missing one is empty."""
    types = importlib.import_module("pyarrow").types
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    point = decimal if column is not None and column.numeric else "."
    if types.is_timestamp(kind):
        days = column is not None and column.type == "date"
        return _each(values.cast("int64"), _instant(kind.unit, kind.tz is not None, days))
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        values = values.cast("string")
    if types.is_boolean(kind):
        return _each(values, lambda value: "true" if value else "false")
    if types.is_floating(kind) or types.is_decimal(kind):
        return _each(values, lambda value: _number(value).replace(".", point))
    return _each(values, lambda value: value.isoformat() if isinstance(value, date) else str(value))


def _each(values: Any, written: Callable[[Any], str]) -> list[str]:
    return ["" if value is None else written(value) for value in values.to_pylist()]


def _number(value: float | Decimal) -> str:
    return format(value, "f") if isinstance(value, Decimal) else repr(float(value))


def _instant(unit: str, zoned: bool, days: bool) -> Callable[[int], str]:
    """Return what writes an instant since 1970 in this unit: with all its digits, with a zone only where there is one, a day as a date."""
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    digits = len(str(per_second)) - 1

    def written(value: int) -> str:
        seconds, rest = divmod(value, per_second)
        try:
            moment = _EPOCH + timedelta(seconds=seconds)
        except OverflowError:
            return str(value)
        if days and not zoned and not rest and moment.time() == _EPOCH.time():
            return moment.date().isoformat()
        fraction = f".{rest:0{digits}}".rstrip("0") if rest else ""
        return f"{moment.replace(tzinfo=None).isoformat()}{fraction}{'Z' if zoned else ''}"

    return written
