"""The merge of one batch from manifest to report."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import SparkSession

from glue_scripts.merge.duplicates import drop_known, drop_repeated
from glue_scripts.merge.inputs import FILES_AT_ONCE, Inspected, inspect_files, read_lines
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.outputs import write_dataset, write_quarantine
from glue_scripts.merge.parsing import ROW, parse
from glue_scripts.merge.profiling.profile import write_profile
from glue_scripts.merge.publisher import Publisher
from glue_scripts.merge.report import Clock, report_of
from glue_scripts.merge.session import start_spark, tune
from glue_scripts.merge.splitting.by_time import begun, split_by_time
from glue_scripts.merge.storage import Storage
from glue_scripts.merge.tally import judge_files, tally
from retraining.contract.reader import read
from retraining.contract.splitting.by_time import as_document
from retraining.contract.verdict import UnitGuess, mending

SAMPLE_ROWS = 1000  # of a file over its budget, in which a unit mistake is looked for


def merge(spark: SparkSession, manifest: Manifest, storage: Storage) -> dict[str, Any]:
    """Merge the batch and return the report.

    Raises:
        ManifestError: a listed file is gone or changed, or the batch is committed already.

    """
    clock = Clock()
    inspected = inspect_files(manifest, storage)
    tasks = inspected.tasks
    tune(spark, tasks, len(manifest.split))
    clock.lap("inspect")
    publisher = Publisher(spark, manifest.output, manifest.batch)
    try:
        lines = read_lines(spark, manifest, inspected, storage, publisher.staging)
        boundaries = None if manifest.begins else manifest.boundaries
        placed = split_by_time(manifest, boundaries) if manifest.time else None
        rows = parse(lines, manifest.contract, manifest.split, placed).persist(StorageLevel.MEMORY_AND_DISK)
        found, good = tally(rows, manifest.contract)
        files = {number: manifest.files[number] for number in inspected.layouts}
        by_rows, gone = judge_files(
            found,
            good,
            files,
            manifest.contract,
            lambda number: _mending(number, manifest, inspected, storage),
            manifest.replacements,
        )
        refused = {number: why for number, why in {**inspected.refused, **by_rows}.items() if number not in gone}
        ignored = {**inspected.ignored, **dict.fromkeys(gone, "a newer upload of this key takes its place")}
        if gone:
            rows = rows.where(f"file NOT IN ({', '.join(map(str, sorted(gone)))})")
        clock.lap("parse")
        kept = rows.where(f"kind = {ROW}")
        if by_rows:
            kept = kept.where(f"file NOT IN ({', '.join(map(str, by_rows))})")
        kept = drop_repeated(spark, kept, manifest, found, tasks)
        clock.lap("deduplicate")
        kept = drop_known(spark, kept, manifest, found, tasks)
        clock.lap("history")
        if manifest.begins:
            kept, boundaries = begun(kept, manifest, found)
            clock.lap("boundaries")
        outputs, bytes_written = write_dataset(publisher, kept, manifest, tasks)
        clock.lap("write")
        bytes_written += write_quarantine(spark, rows, manifest, found, refused)
        clock.lap("quarantine")
        bytes_written += write_profile(spark, manifest, storage, found.total("accepted"))
        clock.lap("profile")
    finally:
        publisher.clean()
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        list(pool.map(storage.confirm, manifest.files))
    clock.lap("confirm")
    spark.catalog.clearCache()
    return {
        **report_of(manifest, found, refused, ignored),
        "boundaries": as_document(manifest.time, boundaries) if manifest.time and boundaries else {},
        "outputs": outputs,
        "bytes_written": bytes_written,
        "spark_version": spark.version,
        "seconds": {**clock.seconds, "merge": clock.total},
    }


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
    started = time.perf_counter()
    spark = start_spark()
    session = round(time.perf_counter() - started, 3)
    report = merge(spark, manifest, storage)
    report["seconds"] = {"session": session, **report["seconds"]}
    storage.write(manifest.report, json.dumps(report, indent=1, ensure_ascii=False).encode())
    summary = ("rows_new", "rows_accepted", "rows_duplicate", "rows_quarantined")
    print(", ".join(f"{name} {report[name]}" for name in summary), flush=True)
    for file in report["files"]:
        if file["outcome"] == "refused":
            print(f"refused: {file['key']!r}: {file['reason']}. {file['remedy']}", flush=True)
