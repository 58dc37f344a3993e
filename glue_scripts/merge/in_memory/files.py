"""What a merge in memory writes, file by file: the names and columns are those of Spark's."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from glue_scripts.merge.in_memory.table import numbers_of, value_name
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.storage import Storage
from retraining.contract.notation.training_format import CSV_WITH_HEADER, PARQUET
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import SOURCES, SYNTHETIC

PAGE_BYTES = 64 << 10  # of a Parquet page of the hash files: what one point look-up reads
_WHOLE = r"^-?[0-9]+\z"
_SPECIAL = r'[",\r\n]'
_ISO = "%Y-%m-%dT%H:%M:%SZ"


def write_dataset(rows: pa.Table, manifest: Manifest, storage: Storage) -> tuple[dict[str, list[str]], int]:
    """Write data, training CSV (unless training reads Parquet) and hashes of the accepted rows.

    Returns:
        The training CSV files by split, and the bytes written.

    """
    here = f"batch={manifest.batch}"
    places = numbers_of(rows, "split")
    splits = [(name, rows.filter(pa.array(places == n))) for n, (name, _) in enumerate(manifest.split)]
    some = {name: table for name, table in splits if table.num_rows}
    parts = {
        "data": {f"split={name}/part-00000.parquet": _data(table, manifest) for name, table in some.items()},
        "hashes": {"part-00000.parquet": _hashes(rows)},
    }
    outputs: dict[str, list[str]] = {name: [] for name, _ in splits}
    if manifest.training_format != PARQUET:  # which is the data set itself
        folder = manifest.output.rstrip("/").rsplit("/", 1)[-1]
        parts["training"] = {f"split={name}/part-00000.csv": _training(table, manifest) for name, table in some.items()}
        outputs |= {name: [f"{folder}/training/{here}/split={name}/part-00000.csv"] for name in some}
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


def _data(rows: pa.Table, manifest: Manifest) -> bytes:
    columns = {name: rows.column(value_name(place)) for place, name in enumerate(manifest.contract.names)}
    source = pc.if_else(rows.column("synthetic"), SYNTHETIC, SOURCES[0])
    return _parquet({**columns, "row_hash": rows.column("row_hash"), "source": source})


def _hashes(rows: pa.Table) -> bytes:
    ordered = rows.take(pa.array(np.argsort(numbers_of(rows, "key"), kind="stable")))
    return _parquet({name: ordered.column(name) for name in ("key", "row_hash")}, PAGE_BYTES)


def _parquet(columns: Mapping[str, pa.ChunkedArray], page: int | None = None) -> bytes:
    """Write columns in one encoding, as Spark does."""
    sink = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        sink,
        compression="snappy",
        use_dictionary=False,
        write_page_index=True,
        data_page_size=page,
    )
    return sink.getvalue()


def _training(rows: pa.Table, manifest: Manifest) -> bytes:
    """Write rows as every reader of CSV expects; a missing value is empty."""
    names = manifest.contract.training_columns
    columns = [_printed(rows.column(value_name(manifest.contract.position[name])).combine_chunks()) for name in names]
    lines = pc.binary_join_element_wise(*columns, ",", null_handling="replace", null_replacement="")
    body = pc.binary_join(pa.ListArray.from_arrays([0, rows.num_rows], lines), "\n")[0].as_buffer().to_pybytes() + b"\n"
    return (",".join(names) + "\n").encode() + body if manifest.training_format == CSV_WITH_HEADER else body


def _printed(values: pa.Array) -> pa.Array:
    """Write values as cells of CSV; numbers with the digits that they need, doubles as such."""
    if pa.types.is_timestamp(values.type):
        return pc.strftime(values, _ISO)
    texts = values.cast(pa.string())
    if pa.types.is_floating(values.type):
        whole = pc.match_substring_regex(texts, _WHOLE)
        return pc.if_else(whole, pc.binary_join_element_wise(texts, "0", "."), texts)
    if pa.types.is_string(values.type):
        special = pc.match_substring_regex(texts, _SPECIAL)
        if pc.any(special).as_py():
            doubled = pc.replace_substring(texts, '"', '""')
            return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), texts)
    return texts
