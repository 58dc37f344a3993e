"""Rows that come more than once, in memory: in the batch, or in the history."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from glue_scripts.merge.in_memory.rows import Row
from glue_scripts.merge.manifest import Manifest, ManifestError
from glue_scripts.merge.storage import FILES_AT_ONCE, Storage
from glue_scripts.merge.tally import Tally


def drop_repeated(rows: Sequence[Row], manifest: Manifest, found: Tally) -> list[Row]:
    """Keep one row of each hash: a real row before a synthetic one, then the first by file and line.

    With `duplicates: keep` all those stay that the file of this one holds beside it. With a `key` the newest stays instead of the first.
    """
    contract = manifest.contract
    ages = {number: age for age, number in enumerate(manifest.newest_first)}

    def place(row: Row) -> tuple[bool, int, int]:
        if contract.key:
            return row.synthetic, ages[row.file], -row.line
        return row.synthetic, row.file, row.line

    first: dict[str, Row] = {}
    for row in rows:
        if row.row_hash not in first or place(row) < place(first[row.row_hash]):
            first[row.row_hash] = row
    kept = []
    for row in rows:
        best = first[row.row_hash]
        beside = row.file == best.file
        if row is best or (
            contract.keep_duplicates and not contract.key and beside and row.synthetic == best.synthetic
        ):
            kept.append(row)
            continue
        found.files[row.file]["repeated"] += beside
        found.move(row, "accepted", "in_batch")
    return kept


def drop_known(rows: list[Row], manifest: Manifest, found: Tally, storage: Storage) -> list[Row]:
    """Remove rows that a committed batch holds. Of the history only the keys are read, and the hashes of files with one of them.

    Raises:
        ManifestError: a batch of the history has no hashes.

    """
    if not manifest.history or not rows:
        return rows
    known = _known(manifest, storage, {row.key for row in rows})
    for row in rows:
        if row.row_hash in known:
            found.move(row, "accepted", "in_history")
    return [row for row in rows if row.row_hash not in known]


def _known(manifest: Manifest, storage: Storage, keys: Iterable[int]) -> set[str]:
    arrow, compute, parquet = (importlib.import_module(f"pyarrow{part}") for part in ("", ".compute", ".parquet"))
    wanted = arrow.array(sorted(keys), arrow.int64())
    root = f"{manifest.output}hashes/"
    listed = storage.listed(root)
    batches = {f"batch={batch}" for batch in manifest.history}
    if lost := batches - {name.split("/")[0] for name in listed}:
        raise ManifestError(f"{root}{min(lost)} has no file, so nobody can tell which rows are known: restore it")

    def look(name: str) -> list[Any]:
        with storage.opened(f"{root}{name}", listed[name]) as source, parquet.ParquetFile(source) as file:
            inside = compute.is_in(file.read(["key"]).column("key"), value_set=wanted)
            if not compute.any(inside).as_py():
                return []
            return list(file.read(["row_hash"]).filter(inside).column("row_hash").to_pylist())

    names = [name for name in sorted(listed) if name.split("/")[0] in batches and name.endswith(".parquet")]
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        return {row_hash for hashes in pool.map(look, names) for row_hash in hashes}
