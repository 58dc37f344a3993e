"""Good rows as an Arrow table, and their counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from retraining.contract.reader import Line
from retraining.contract.rules import HASH_DIGITS, KEY_DIGITS, TRAIN, Contract

TYPES = {
    "string": pa.string(),
    "double": pa.float64(),
    "int": pa.int64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
ABOUT = pa.schema(
    [
        ("file", pa.int32()),  # number in the manifest
        ("line", pa.int64()),  # in the file, from 1
        ("split", pa.int8()),  # index into the manifest's split
        ("synthetic", pa.bool_()),  # made, not measured
        ("key", pa.int64()),  # the first 60 bits of the hash
        ("row_hash", pa.string()),  # identity, 32 hex digits
        ("target", pa.float64()),  # its value as a number, 0 when it is none
    ]
)
"""What is known of a good row, beside its values."""


class Group(NamedTuple):
    """So many rows of a file, a split and a source; `target` is the sum of their targets."""

    file: int
    split: int
    synthetic: bool
    n: int
    target: float


def value_name(place: int) -> str:
    """Return the name of the column that holds the values of the contract's column at a place: free of clashes."""
    return f"value_{place}"


def schema_of(contract: Contract) -> pa.Schema:
    """Return the columns of good rows."""
    values = [pa.field(value_name(place), TYPES[column.type]) for place, column in enumerate(contract.columns)]
    return pa.schema([*ABOUT, *values])


def of_lines(lines: Sequence[Line], file: int, splits: Sequence[str], contract: Contract) -> pa.Table:
    """Return good lines of one file as a table."""
    at = contract.position[contract.target]
    numeric = contract.column(contract.target).numeric
    hashes = [str(line.row_hash) for line in lines]
    columns: list[list[Any]] = [
        [file] * len(lines),
        [line.number for line in lines],
        [splits.index(line.split or TRAIN) for line in lines],
        [line.synthetic for line in lines],
        [int(row_hash[:KEY_DIGITS], 16) for row_hash in hashes],
        hashes,
        [float(line.values[at]) if numeric else 0.0 for line in lines],  # type: ignore[arg-type]
        *([line.values[place] for line in lines] for place in range(len(contract.columns))),
    ]
    schema = schema_of(contract)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def numbers_of(table: pa.Table, name: str) -> np.ndarray:
    """Return a column without missing values as a numpy array."""
    return np.asarray(table.column(name).to_numpy())


def groups_of(table: pa.Table) -> list[Group]:
    """Count rows by file, split and source. The sums do not depend on how the table is chunked."""
    if not table.num_rows:
        return []
    file, split, synthetic, target = (numbers_of(table, name) for name in ("file", "split", "synthetic", "target"))
    codes, places = np.unique(
        (file.astype(np.int64) << 9) | (split.astype(np.int64) << 1) | synthetic, return_inverse=True
    )
    counts, sums = np.bincount(places), np.bincount(places, weights=target)
    return [
        Group(int(code) >> 9, (int(code) >> 1) & 255, bool(code & 1), int(n), float(total))
        for code, n, total in zip(codes, counts, sums, strict=True)
    ]


def hex_hashes(digests: np.ndarray) -> pa.Array:
    """Return hashes, given as rows of bytes, as hex digits."""
    rows = len(digests)
    offsets = np.arange(rows + 1, dtype=np.int32) * HASH_DIGITS
    digits = digests.tobytes().hex().encode()
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets.tobytes()), pa.py_buffer(digits))
