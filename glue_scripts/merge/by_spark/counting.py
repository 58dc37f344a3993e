"""Rows of a data frame, counted."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from glue_scripts.merge.by_spark.parsing import BAD, HEADER, ROW
from glue_scripts.merge.tally import Tally
from retraining.contract.rules import Contract


def tally(rows: DataFrame, contract: Contract) -> tuple[Tally, list[Any]]:
    """Count the rows; returns the counts of bad rows, and the groups of good ones: they count once their files are known to be merged.

    The groups are few: reasons hold no values.
    """
    groups = rows.groupBy("file", "block", "kind", "reasons", "split", "synthetic").agg(
        F.expr("count(1) AS n"), F.expr("min(position) AS start"), target_sum(contract)
    )
    found = Tally()
    good = []
    for group in sorted(groups.collect(), key=lambda group: (group.file, group.block, group.kind)):
        block = found.blocks.setdefault((group.file, group.block), [group.start, 0])
        block[0] = min(block[0], group.start)
        block[1] += group.n
        if group.kind == HEADER:
            found.headers[group.file] = min(
                found.headers.get(group.file, (group.block, group.start)), (group.block, group.start)
            )
        elif group.kind == BAD:
            found.files[group.file]["bad"] += group.n
            for reason in group.reasons.split("\n"):
                found.reasons[group.file][reason] += group.n
        elif group.kind == ROW:
            good.append(group)
    return found, good


def split_anew(found: Tally, rows: DataFrame, contract: Contract) -> None:
    """Count the accepted rows per split once more, after they were put into other ones."""
    found.split_anew(rows.groupBy("split").agg(F.expr("count(1) AS n"), target_sum(contract)).collect())


def target_sum(contract: Contract) -> Column:
    """Sum the target over a group, 0 when it is a text."""
    if not contract.column(contract.target).numeric:
        return F.lit(0.0).alias("target")
    return F.expr(f"sum(CAST(value_{contract.position[contract.target]} AS double)) AS target")
