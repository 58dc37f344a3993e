"""The merge by Spark, for batches of any size."""

from __future__ import annotations

from collections.abc import Callable

from pyspark import StorageLevel
from pyspark.sql import SparkSession

from glue_scripts.merge.by_spark import profile
from glue_scripts.merge.by_spark.by_time import begun, split_by_time
from glue_scripts.merge.by_spark.counting import tally
from glue_scripts.merge.by_spark.duplicates import drop_known, drop_repeated
from glue_scripts.merge.by_spark.lines import read_lines
from glue_scripts.merge.by_spark.outputs import write_dataset, write_quarantine
from glue_scripts.merge.by_spark.parsing import ROW, parse
from glue_scripts.merge.by_spark.publisher import Publisher
from glue_scripts.merge.by_spark.session import tune
from glue_scripts.merge.inputs import Inspected
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.profile import write_profile
from glue_scripts.merge.report import Clock, Merged
from glue_scripts.merge.storage import Storage
from glue_scripts.merge.tally import outcomes_of


def merge_by_spark(
    spark: SparkSession,
    manifest: Manifest,
    inspected: Inspected,
    storage: Storage,
    mending: Callable[[int], str],
    clock: Clock,
) -> Merged:
    """Merge the files that were let pass.

    Args:
        spark: the session.
        manifest: what to merge and where to.
        inspected: the files; one whose content cannot be read is refused here.
        storage: to read and write by.
        mending: what to do about a file that is over its budget.
        clock: takes the time of each phase.

    """
    tasks = inspected.tasks
    tune(spark, tasks, len(manifest.split))
    publisher = Publisher(spark, manifest.output, manifest.batch)
    try:
        lines = read_lines(spark, manifest, inspected, storage, publisher.staging)
        boundaries = None if manifest.begins else manifest.boundaries
        placed = split_by_time(manifest, boundaries) if manifest.time else None
        rows = parse(lines, manifest.contract, manifest.split, placed).persist(StorageLevel.MEMORY_AND_DISK)
        found, good = tally(rows, manifest.contract)
        outcomes = outcomes_of(found, good, manifest, inspected, mending)
        if outcomes.gone:
            rows = rows.where(f"file NOT IN ({', '.join(map(str, sorted(outcomes.gone)))})")
        clock.lap("parse")
        kept = rows.where(f"kind = {ROW}")
        if by_rows := outcomes.left_out & inspected.layouts.keys():
            kept = kept.where(f"file NOT IN ({', '.join(map(str, sorted(by_rows)))})")
        kept = drop_repeated(spark, kept, manifest, found, tasks)
        clock.lap("deduplicate")
        kept = drop_known(spark, kept, manifest, found, tasks)
        clock.lap("history")
        if manifest.begins:
            kept, boundaries = begun(kept, manifest, found)
            clock.lap("boundaries")
        outputs, bytes_written = write_dataset(publisher, kept, manifest, tasks)
        clock.lap("write")
        bytes_written += write_quarantine(spark, rows, manifest, found, outcomes.refused)
        clock.lap("quarantine")
        bytes_written += write_profile(
            manifest,
            storage,
            found.total("accepted"),
            lambda batches, known: profile.of_batches(spark, manifest, batches, known),
        )
        clock.lap("profile")
    finally:
        publisher.clean()
    spark.catalog.clearCache()
    return Merged(found, outcomes, outputs, bytes_written, boundaries)
