"""What a merge in memory writes, file by file: the names and columns are those of Spark's."""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from glue_scripts.merge.in_memory.rows import Row
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.storage import Storage
from retraining.contract.notation.training_format import CSV_WITH_HEADER, PARQUET
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import SOURCES, SYNTHETIC
from retraining.contract.values import Value


def write_dataset(rows: Sequence[Row], manifest: Manifest, storage: Storage) -> tuple[dict[str, list[str]], int]:
    """Write data, training CSV (unless training reads Parquet) and hashes of the accepted rows.

    Returns:
        The training CSV files by split, and the bytes written.

    """
    here = f"batch={manifest.batch}"
    splits = [(name, [row for row in rows if row.split == n]) for n, (name, _) in enumerate(manifest.split)]
    parts = {
        "data": {f"split={name}/part-00000.parquet": _data(some, manifest) for name, some in splits if some},
        "training": {f"split={name}/part-00000.csv": _training(some, manifest) for name, some in splits if some},
        "hashes": {"part-00000.parquet": _hashes(rows)},
    }
    outputs: dict[str, list[str]] = {name: [] for name, _ in splits}
    if manifest.training_format == PARQUET:  # the data set itself is what training reads
        del parts["training"]
    else:
        folder = manifest.output.rstrip("/").rsplit("/", 1)[-1]
        for name, some in splits:
            outputs[name] = [f"{folder}/training/{here}/split={name}/part-00000.csv"] if some else []
    for part, files in parts.items():
        storage.replace_folder(f"{manifest.output}{part}/{here}", files)
    return outputs, sum(len(body) for files in parts.values() for body in files.values())


def write_quarantine(
    records: Mapping[int, Sequence[Mapping[str, Any]]],
    refused: Mapping[int, FileRefused],
    manifest: Manifest,
    storage: Storage,
) -> int:
    """Write rejected rows and refused files as JSON lines in the order of files and lines; returns the bytes written."""
    lines: list[Mapping[str, Any]] = []
    for number, file in enumerate(manifest.files):
        if number in refused:
            reason = f"file refused: {refused[number].reason}"
            whole = dict.fromkeys(("line", "column", "value"))
            lines.append({"file": file.key, **whole, "reason": reason, "reasons": [reason], "raw": None})
        lines += records.get(number, ())
    body = "".join(f"{json.dumps(line, ensure_ascii=False, separators=(',', ':'))}\n" for line in lines).encode()
    storage.replace_folder(f"{manifest.quarantine}batch={manifest.batch}", {"part-00000.json": body} if lines else {})
    return len(body)


def _data(rows: Sequence[Row], manifest: Manifest) -> bytes:
    columns = {
        column.name: (column.type, [row.values[at] for row in rows])
        for at, column in enumerate(manifest.contract.columns)
    }
    columns["row_hash"] = ("string", [row.row_hash for row in rows])
    columns["source"] = ("string", [SYNTHETIC if row.synthetic else SOURCES[0] for row in rows])
    return _parquet(columns)


def _hashes(rows: Sequence[Row]) -> bytes:
    ordered = sorted(rows, key=lambda row: row.row_hash)  # the key is its beginning
    return _parquet(
        {"key": ("int", [row.key for row in ordered]), "row_hash": ("string", [row.row_hash for row in ordered])}
    )


def _parquet(columns: Mapping[str, tuple[str, list[Any]]]) -> bytes:
    """Write columns of a type of the contract, in one encoding, as Spark does."""
    arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    types = {
        "string": arrow.string(),
        "double": arrow.float64(),
        "int": arrow.int64(),
        "boolean": arrow.bool_(),
        "date": arrow.date32(),
        "timestamp": arrow.timestamp("us", tz="UTC"),
    }
    schema = arrow.schema([(name, types[kind]) for name, (kind, _) in columns.items()])
    table = arrow.table([values for _, values in columns.values()], schema=schema)
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="snappy", use_dictionary=False, write_page_index=True)
    return sink.getvalue()


def _training(rows: Sequence[Row], manifest: Manifest) -> bytes:
    names = manifest.contract.training_columns
    places = [manifest.contract.position[name] for name in names]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if manifest.training_format == CSV_WITH_HEADER:
        writer.writerow(names)
    writer.writerows([_cell(row.values[place]) for place in places] for row in rows)
    return text.getvalue().encode()


def _cell(value: Value | None) -> str:
    """Write a value as every reader of CSV expects; a missing one is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return str(value)
