"""Rows that come more than once: in the batch, or in the history."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from glue_scripts.merge.by_spark import session
from glue_scripts.merge.by_spark.counting import target_sum
from glue_scripts.merge.by_spark.session import literal, local_table
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.tally import Tally

BROADCAST_ROWS = 200_000  # row positions (8 bytes each) that are sent to every worker


def drop_repeated(spark: SparkSession, rows: DataFrame, manifest: Manifest, found: Tally, tasks: int) -> DataFrame:
    """Keep one row of each hash: a real row before a synthetic one, then the first by file and line.

    With `duplicates: keep` all those stay that the file of this one holds beside it. With a `key` the newest stays instead of the first.
    """
    suspects = rows.groupBy("key").agg(F.expr("count(1) AS n")).where("n > 1").select("key").persist()
    if not suspects.count():
        return rows
    repeated = rows.join(suspects, "key", "left_semi")
    order = "OVER (PARTITION BY row_hash ORDER BY synthetic, file, block, position)"
    rank = f"row_number() {order} > 1"
    if manifest.contract.key:
        ages = [(number, age) for age, number in enumerate(manifest.newest_first)]
        repeated = repeated.join(F.broadcast(local_table(spark, "file int, age int", ages)), "file")
        order = "OVER (PARTITION BY row_hash ORDER BY synthetic, age, block DESC, position DESC)"
        rank = f"row_number() {order} > 1"
    elif manifest.contract.keep_duplicates:
        rank = "dense_rank() OVER (PARTITION BY row_hash ORDER BY synthetic, file) > 1"
    ranked = repeated.selectExpr("*", f"{rank} AS loses", f"file = first_value(file) {order} AS beside")
    losers = ranked.where("loses")
    for group in losers.where("beside").groupBy("file").agg(F.expr("count(1) AS n")).collect():
        found.files[group.file]["repeated"] += group.n
    return without(rows, losers, manifest, found, "in_batch", tasks)


def drop_known(spark: SparkSession, rows: DataFrame, manifest: Manifest, found: Tally, tasks: int) -> DataFrame:
    """Remove rows that a committed batch holds. Only hash files are read: for few rows, only the pages that can hold them."""
    if not manifest.history or not found.total("accepted"):
        return rows
    paths = [f"{manifest.output}hashes/batch={batch}" for batch in manifest.history]
    known = spark.read.schema("key bigint, row_hash string").parquet(*paths)
    if found.total("accepted") <= session.POINT_LOOKUPS:
        keys = ", ".join(f"{row.key}L" for row in rows.select("key").collect())
        hashes = [row.row_hash for row in known.where(f"key IN ({keys})").collect()]
        if not hashes:
            return rows
        repeated = rows.where(f"row_hash IN ({', '.join(map(literal, hashes))})")
    else:
        seen = known.join(rows.select("key", "row_hash"), ["key", "row_hash"], "left_semi").distinct().persist()
        if not seen.count():
            return rows
        repeated = rows.join(seen, ["key", "row_hash"], "left_semi")
    return without(rows, repeated, manifest, found, "in_history", tasks)


def without(rows: DataFrame, losers: DataFrame, manifest: Manifest, found: Tally, why: str, tasks: int) -> DataFrame:
    """Take rows out and count them under `why`. The rest keeps an order that the files alone decide."""
    target = f"value_{manifest.contract.position[manifest.contract.target]}"
    losers = losers.select("position", "file", "split", "synthetic", target).persist()
    counts = losers.groupBy("file", "split", "synthetic").agg(F.expr("count(1) AS n"), target_sum(manifest.contract))
    lost = 0
    for group in counts.collect():
        found.move(group, "accepted", why)
        lost += group.n
    if lost <= BROADCAST_ROWS:  # every partition stays where it is and as it is
        return rows.join(F.broadcast(losers.select("position")), "position", "left_anti")
    return spread(rows.join(losers.select("position"), "position", "left_anti"), tasks)


def spread(rows: DataFrame, tasks: int) -> DataFrame:
    """Distribute and sort rows by hash."""
    return rows.repartition(tasks, F.expr(f"shiftright(key, 20) % {tasks}")).sortWithinPartitions("key", "row_hash")
