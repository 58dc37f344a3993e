"""Rows that come more than once, in memory: in the batch, or in the history."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from glue_scripts.merge.in_memory.table import groups_of, numbers_of
from glue_scripts.merge.manifest import Manifest, ManifestError
from glue_scripts.merge.storage import FILES_AT_ONCE, Storage
from glue_scripts.merge.tally import Tally


def drop_repeated(rows: pa.Table, manifest: Manifest, found: Tally) -> pa.Table:
    """Keep one row of each hash: a real row before a synthetic one, then the first by file and line.

    With `duplicates: keep` all those stay that the file of this one holds beside it. With a `key` the newest stays instead of the first.
    """
    places = _suspects(rows)
    if not len(places):
        return rows
    contract = manifest.contract
    ages = {number: age for age, number in enumerate(manifest.newest_first)}
    suspects = rows.take(pa.array(places)).select(["row_hash", "file", "line", "synthetic"]).to_pylist()

    def order(row: dict[str, Any]) -> tuple[bool, int, int]:
        if contract.key:
            return row["synthetic"], ages[row["file"]], -row["line"]
        return row["synthetic"], row["file"], row["line"]

    first: dict[str, dict[str, Any]] = {}
    for row in suspects:
        best = first.setdefault(row["row_hash"], row)
        if order(row) < order(best):
            first[row["row_hash"]] = row
    lost = np.zeros(rows.num_rows, bool)
    for place, row in zip(places, suspects, strict=True):
        best = first[row["row_hash"]]
        beside = row["file"] == best["file"]
        kept = contract.keep_duplicates and not contract.key and beside and row["synthetic"] == best["synthetic"]
        if row is not best and not kept:
            found.files[row["file"]]["repeated"] += beside
            lost[place] = True
    return _without(rows, lost, "in_batch", found)


def _suspects(rows: pa.Table) -> np.ndarray:
    """Return the places of rows whose key others have, too."""
    keys = numbers_of(rows, "key")
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    again = np.zeros(len(keys), bool)
    again[order[1:][same]] = again[order[:-1][same]] = True
    return np.flatnonzero(again)


def drop_known(rows: pa.Table, manifest: Manifest, found: Tally, storage: Storage) -> pa.Table:
    """Remove rows that a committed batch holds. Of the history only the keys are read, and the hashes of files with one of them.

    Raises:
        ManifestError: a batch of the history has no hashes.

    """
    if not manifest.history or not rows.num_rows:
        return rows
    known = _known(manifest, storage, rows.column("key"))
    return _without(rows, np.asarray(pc.is_in(rows.column("row_hash"), value_set=known)), "in_history", found)


def _without(rows: pa.Table, lost: np.ndarray, why: str, found: Tally) -> pa.Table:
    for group in groups_of(rows.filter(pa.array(lost))):
        found.move(group, "accepted", why)
    return rows.filter(pa.array(~lost))


def _known(manifest: Manifest, storage: Storage, keys: pa.ChunkedArray) -> pa.Array:
    """Return the hashes of the history that have one of the keys."""
    wanted = np.unique(keys.to_numpy())
    root = f"{manifest.output}hashes/"
    listed = storage.listed(root)
    batches = {f"batch={batch}" for batch in manifest.history}
    if lost := batches - {name.split("/")[0] for name in listed}:
        raise ManifestError(f"{root}{min(lost)} has no file, so nobody can tell which rows are known: restore it")

    def look(name: str) -> pa.ChunkedArray:
        with storage.opened(f"{root}{name}", listed[name]) as source, pq.ParquetFile(source) as file:
            places = _places(file.read(["key"]).column("key").to_numpy(), wanted)
            if not len(places):
                return pa.chunked_array([], pa.string())
            return file.read(["row_hash"]).column("row_hash").take(pa.array(places))

    names = [name for name in sorted(listed) if name.split("/")[0] in batches and name.endswith(".parquet")]
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        hashes = [chunk for found in pool.map(look, names) for chunk in found.chunks]
    return pa.chunked_array(hashes, pa.string()).combine_chunks()


def _places(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the places of the wanted keys, which are in order, among those of a file, which a merge has written in order."""
    if (keys[1:] < keys[:-1]).any():
        return np.flatnonzero(np.isin(keys, wanted))
    first, last = (np.searchsorted(keys, wanted, side) for side in ("left", "right"))
    counts = last - first
    return np.repeat(last - np.cumsum(counts), counts) + np.arange(counts.sum())
