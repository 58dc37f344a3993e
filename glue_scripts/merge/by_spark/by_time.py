"""The split by time in Spark: boundaries from the rows of a data set that begins, and the split of each row by them.

The boundaries are exact and the same however rows are distributed. The times of few rows are sorted by the driver. Of many, the one at a
place in the order is found by counting rows per range of times, each round inside one range of the round before.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from glue_scripts.merge.by_spark.counting import split_anew
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.tally import Tally
from retraining.contract.rules import TRAIN, Column
from retraining.contract.splitting.by_time import TEST, VALIDATION, Boundaries, boundaries_of, boundaries_of_times

IN_MEMORY = 200_000  # times that the driver sorts
RANGES = 1 << 16  # of times that are counted at once


def split_by_time(manifest: Manifest, boundaries: Boundaries | None) -> str:
    """Index of a row's split by its time; train for all while there are no boundaries. NULL for what is no row."""
    names = [name for name, _ in manifest.split]
    train = names.index(TRAIN)
    cases = ""
    if boundaries is not None and manifest.time is not None:
        time = _number_of(manifest.time, manifest.contract.position[manifest.time.name])
        cases = (
            f"WHEN synthetic THEN {train} WHEN {time} >= {boundaries.test}L THEN {names.index(TEST)} "
            f"WHEN {time} >= {boundaries.validation}L THEN {names.index(VALIDATION)} "
        )
    return f"CASE WHEN key IS NULL THEN NULL {cases}ELSE {train} END"


def begun(rows: DataFrame, manifest: Manifest, found: Tally) -> tuple[DataFrame, Boundaries | None]:
    """Find the boundaries of the accepted rows of a data set that begins, and split the rows by them; the tally is counted anew.

    The standing boundaries, if the data set began before, are the earliest possible. None when there is no measured row.
    """
    assert manifest.time is not None
    number = _number_of(manifest.time, manifest.contract.position[manifest.time.name])
    times = rows.where("NOT synthetic").selectExpr(f"{number} AS time").persist()
    try:
        count = times.count()
        if not count:
            return rows, manifest.boundaries
        shares, standing = dict(manifest.split), manifest.boundaries
        if count <= IN_MEMORY:
            boundaries = boundaries_of_times([row.time for row in times.collect()], shares, standing)
        else:
            boundaries = boundaries_of(
                count, shares, lambda place: _nth(times, place), lambda time: _before(times, time), standing
            )
    finally:
        times.unpersist()
    placed = rows.withColumn("split", F.expr(split_by_time(manifest, boundaries)))
    split_anew(found, placed, manifest.contract)
    return placed, boundaries


def _number_of(column: Column, n: int) -> str:
    kinds = {"date": f"CAST(unix_date(value_{n}) AS bigint)", "timestamp": f"unix_micros(value_{n})"}
    return kinds.get(column.type, f"value_{n}")


def _nth(times: DataFrame, place: int) -> int:
    """Return the time at a place in the order, from 0."""
    low, high = times.selectExpr("min(time)", "max(time)").first() or (0, 0)
    while low < high:
        width = -(-(high - low + 1) // RANGES)
        # Decimals: the difference of two whole numbers of 64 bits may need one more.
        distance = f"(CAST(time AS decimal(20, 0)) - {low}BD) div {width}BD"
        inside = times.where(f"CAST(time AS decimal(20, 0)) BETWEEN {low}BD AND {high}BD")
        counts = inside.groupBy(F.expr(distance).alias("range")).count().collect()
        for at, count in sorted((int(row["range"]), row["count"]) for row in counts):
            if place < count:
                low, high = low + at * width, min(high, low + (at + 1) * width - 1)
                break
            place -= count
    return int(low)


def _before(times: DataFrame, time: int) -> int | None:
    row = times.where(f"CAST(time AS decimal(20, 0)) < {time}BD").selectExpr("max(time)").first()
    return None if row is None or row[0] is None else int(row[0])
