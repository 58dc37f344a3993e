"""What the columns of rows hold, counted by Spark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from glue_scripts.merge.by_spark.session import literal
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.profile import QUANTILES, WITHOUT_ENDS, document
from retraining.contract.profiling.version_profile import (
    LONGEST_NAME,
    OUTERMOST,
    STEPS,
    TOP,
    Grid,
    grid_of,
    place_of,
)
from retraining.contract.rules import Column, Contract

KINDS = {"int": "bigint"}  # of the data set's files; other types have the contract's name
ACCURACY = 1000


def of_batches(
    spark: SparkSession, manifest: Manifest, batches: Sequence[str], known: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the profile of the rows of batches as they were written, numbers in the bins of a known one."""
    return profile_of(_rows(spark, manifest, batches), manifest.contract, known)


def _rows(spark: SparkSession, manifest: Manifest, batches: Sequence[str]) -> DataFrame:
    """Return the rows of batches as they were written, a column that an older one lacks without a value."""
    columns = ", ".join(
        f"`{column.name}` {KINDS.get(column.type, column.type)}" for column in manifest.contract.columns
    )
    root = f"{manifest.output}data"
    reader = spark.read.schema(f"{columns}, batch string, split string").option("basePath", root)
    if len(batches) == 1:
        return reader.parquet(f"{root}/batch={batches[0]}")
    return reader.parquet(root).where(f"batch IN ({', '.join(map(literal, batches))})")


def profile_of(rows: DataFrame, contract: Contract, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the profile of rows, numbers in the bins of a known one.

    Args:
        rows: columns of the contract by name, and ``split``.
        contract: says what they are.
        known: profile of the version before.

    """
    before = known["columns"] if known else {}
    grids = {name: grid for name, column in before.items() if (grid := place_of(column))}
    numbers = [column for column in contract.columns if column.numeric]
    grids |= _grids(rows, [column for column in numbers if column.name not in grids])
    with ThreadPoolExecutor(2) as pool:  # Spark runs both side by side
        jobs = pool.submit(_ends, rows, contract), pool.submit(_counts, rows, contract, grids)
    return document(contract, grids, jobs[0].result(), jobs[1].result())


def _grids(rows: DataFrame, columns: Sequence[Column]) -> dict[str, Grid]:
    if not columns:
        return {}
    shares = ", ".join(f"{share}D" for share in QUANTILES)
    wanted = (
        f"percentile_approx(CAST(`{column.name}` AS double), array({shares}), {ACCURACY}) AS q_{at}"
        for at, column in enumerate(columns)
    )
    [found] = rows.selectExpr(*wanted).collect()
    return {column.name: grid_of(found[at]) for at, column in enumerate(columns) if found[at]}


def _ends(rows: DataFrame, contract: Contract) -> dict[str, dict[str, Any]]:
    """Return by split the number of rows, and of each column of those with a value, its ends and its sum."""
    wanted = ["count(1) AS n"]
    for at, column in enumerate(contract.columns):
        name = f"`{column.name}`"
        wanted.append(f"count({name}) AS present_{at}")
        if column.type not in WITHOUT_ENDS:
            shown = "{}" if column.numeric else "CAST({} AS string)"
            wanted += [f"{shown.format(f'{end}({name})')} AS {end}_{at}" for end in ("min", "max")]
        if column.numeric:
            wanted.append(f"sum(CAST({name} AS double)) AS sum_{at}")
    found = rows.groupBy("split").agg(*map(F.expr, wanted)).collect()
    return {row["split"]: row.asDict() for row in sorted(found, key=lambda row: row["split"])}


def _counts(rows: DataFrame, contract: Contract, grids: Mapping[str, Grid]) -> dict[tuple[str, int], Counter[str]]:
    """Return by split and place of a column how often each bin, or each of the most frequent texts, comes."""
    cells, texts = [], []
    for at, column in enumerate(contract.columns):
        name = f"`{column.name}`"
        if column.numeric:
            if grid := grids.get(column.name):
                cells.append(f"{at}, {_bin(name, grid)}")
            continue
        texts.append(at)
        month = column.type in ("date", "timestamp")
        text = f"date_format({name}, 'yyyy-MM')" if month else f"substring(CAST({name} AS string), 1, {LONGEST_NAME})"
        cells.append(f"{at}, {text}")
    if not cells:
        return {}
    cell = rows.selectExpr("split", f"stack({len(cells)}, {', '.join(cells)}) AS (place, cell)")
    counted = cell.where("cell IS NOT NULL").groupBy("split", "place", "cell").count()
    if texts:
        ranked = counted.selectExpr(
            "*", "row_number() OVER (PARTITION BY split, place ORDER BY count DESC, cell) AS rank"
        )
        counted = ranked.where(f"rank <= {TOP} OR place NOT IN ({', '.join(map(str, texts))})")
    found: dict[tuple[str, int], Counter[str]] = {}
    for row in counted.collect():
        found.setdefault((row["split"], row["place"]), Counter())[row["cell"]] = row["count"]
    return found


def _bin(name: str, grid: Grid) -> str:
    """Return the number of a value's bin as text: the inverse of ``Grid.edge``."""
    distance = f"((CAST({name} AS double) - {literal(grid.middle)}) / {literal(grid.scale)})"
    height = f"{STEPS}D * sign({distance}) * ln(abs({distance}) + sqrt({distance} * {distance} + 1D))"
    inside = f"greatest({-OUTERMOST}D, least({OUTERMOST}D, {height}))"
    return f"IF({name} IS NULL, NULL, CAST(CAST(ceil({inside}) AS int) AS string))"
