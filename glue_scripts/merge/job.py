"""The merge of one batch from manifest to report: few rows in memory, many by Spark."""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

from glue_scripts.merge.inputs import Inspected, inspect_files
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.report import SESSION, Clock, Merged, report_of
from glue_scripts.merge.storage import FILES_AT_ONCE, Storage
from retraining.contract.reader import read
from retraining.contract.splitting.by_time import as_document
from retraining.contract.verdict import UnitGuess, mending

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SAMPLE_ROWS = 1000  # of a file over its budget, in which a unit mistake is looked for


def merge(manifest: Manifest, storage: Storage, start: Callable[[], SparkSession]) -> dict[str, Any]:
    """Merge the batch and return the report.

    Args:
        manifest: what to merge and where to.
        storage: to read and write by.
        start: starts Spark. It is called when the batch does not fit in memory, or rows of the history have to be read.

    Raises:
        ManifestError: a listed file is gone or changed, or the batch is committed already.

    """
    clock = Clock()
    inspected = inspect_files(manifest, storage)
    clock.lap("inspect")

    def mend(number: int) -> str:
        return _mending(number, manifest, inspected, storage)

    version = None
    if (merged := _in_memory(manifest, inspected, storage, mend, clock, start)) is None:
        # Spark is imported for those batches only that need it.
        from glue_scripts.merge.by_spark.merge import merge_by_spark

        spark = start()
        version = spark.version
        clock.lap(SESSION)
        merged = merge_by_spark(spark, manifest, inspected, storage, mend, clock)
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        list(pool.map(storage.confirm, manifest.files))
    clock.lap("confirm")
    boundaries = as_document(manifest.time, merged.boundaries) if manifest.time and merged.boundaries else {}
    return {
        **report_of(manifest, merged),
        "boundaries": boundaries,
        "outputs": merged.outputs,
        "bytes_written": merged.bytes_written,
        "spark_version": version,
        "seconds": {**clock.seconds, "merge": clock.total},
    }


def _in_memory(
    manifest: Manifest,
    inspected: Inspected,
    storage: Storage,
    mending: Callable[[int], str],
    clock: Clock,
    start: Callable[[], SparkSession],
) -> Merged | None:
    """Merge the batch without Spark; None when it is too large, or the platform lacks a library."""
    if not all(map(importlib.util.find_spec, ("numpy", "pyarrow"))):
        return None
    from glue_scripts.merge.in_memory.merge import merge_in_memory
    from glue_scripts.merge.in_memory.rows import read_rows

    rows = read_rows(manifest, inspected, storage)
    return None if rows is None else merge_in_memory(manifest, inspected, storage, rows, mending, clock, start)


def _mending(number: int, manifest: Manifest, inspected: Inspected, storage: Storage) -> str:
    """Say what to do about a file that is over its budget; its first rows may show a unit mistake."""
    file, contract = manifest.files[number], manifest.contract
    guess = UnitGuess(contract)
    layout = inspected.layouts[number]
    lines = read(lambda: storage.stream(file), file.key, contract, layout, dict(manifest.split))
    for line in islice(lines, SAMPLE_ROWS):
        guess.see(line)
    lines.close()  # type: ignore[attr-defined]
    return mending(contract, guess)


def start_spark() -> SparkSession:
    """Start Spark as the job does."""
    from glue_scripts.merge.by_spark import session

    return session.start_spark()


def main(argv: Sequence[str]) -> None:
    """Command line of the Glue job."""
    parser = argparse.ArgumentParser(description="Merge one batch of files into the data set.", allow_abbrev=False)
    parser.add_argument("--manifest", required=True, help="s3:// URI (or file) of the manifest JSON")
    arguments, _ = parser.parse_known_args(argv)
    storage = Storage()
    manifest = Manifest.of(json.loads(storage.read(arguments.manifest)))
    print(
        f"batch {manifest.batch}: {len(manifest.files)} files, {sum(file.size for file in manifest.files)} bytes",
        flush=True,
    )
    report = merge(manifest, storage, start_spark)
    storage.write(manifest.report, json.dumps(report, indent=1, ensure_ascii=False).encode())
    summary = ("rows_new", "rows_accepted", "rows_duplicate", "rows_quarantined")
    print(", ".join(f"{name} {report[name]}" for name in summary), flush=True)
    for file in report["files"]:
        if file["outcome"] == "refused":
            print(f"refused: {file['key']!r}: {file['reason']}. {file['remedy']}", flush=True)
