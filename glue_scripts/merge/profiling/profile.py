"""Counts what the columns of the new rows hold, and adds it to the profile of the version before."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.session import literal
from glue_scripts.merge.storage import Storage
from retraining.contract.profiling.version_profile import (
    LONGEST_NAME,
    OTHER,
    OUTERMOST,
    STEPS,
    TOP,
    Grid,
    added,
    grid_of,
    most_frequent,
    place_of,
)
from retraining.contract.rules import Column, Contract

KINDS = {"int": "bigint"}  # of the data set's files; other types have the contract's name
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ACCURACY = 1000
DIGITS = 12  # of a sum: the last ones depend on the order in which Spark adds


def write_profile(spark: SparkSession, manifest: Manifest, storage: Storage, accepted: int) -> int:
    """Write the profile of the version that the batch makes beside its data; returns the bytes written.

    A merge does not fail because of it: it says why there is no profile.

    Where the version before has none, the files of all its batches are read.

    Args:
        spark: the session.
        manifest: of the batch, whose data files are written.
        storage: to read and write by.
        accepted: rows that the batch adds.

    """
    try:
        known = _stored(storage, manifest.output, manifest.history[-1]) if manifest.history else None
        batches = [manifest.batch] if known or not manifest.history else [*manifest.history, manifest.batch]
        if accepted or len(batches) > 1:
            rows = _rows(spark, manifest, batches)
            found = profile_of(rows, manifest.contract, known)
            known = added(known, found) if known else found
        if known is None:
            return 0
        body = (json.dumps(known, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n").encode()
        if _stored(storage, manifest.output, manifest.batch) != known:
            storage.write(_place(manifest.output, manifest.batch), body)
        return len(body)
    except Exception as error:  # whatever it is: the rows are merged, and a profile can be computed later
        print(f"the version gets no profile: {type(error).__name__}: {str(error)[:500]}", flush=True)
        return 0


def _place(output: str, batch: str) -> str:
    return f"{output}profiles/batch={batch}/profile.json"


def _stored(storage: Storage, output: str, batch: str) -> dict[str, Any] | None:
    """Return the profile that a batch has left; None when it cannot be read."""
    try:
        found = json.loads(storage.read(_place(output, batch)))
    except Exception:  # boto3 is not imported here, so its errors have no name
        return None
    return dict(found) if found.get("schema_version") == 1 else None


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
    ends, counts = jobs[0].result(), jobs[1].result()
    columns = {}
    for at, column in enumerate(contract.columns):
        grid = grids.get(column.name) if column.numeric else None
        splits = {}
        for split, row in ends.items():
            part: dict[str, Any] = {"n": row["n"], "missing": row["n"] - row[f"present_{at}"]}
            if f"min_{at}" in row:
                part |= {name: row[f"{name}_{at}"] for name in ("min", "max")}
            mine = counts.get((split, at), Counter())
            if column.numeric:
                part["sum"] = float(f"{row[f'sum_{at}'] or 0.0:.{DIGITS}g}")
                part["bins"] = dict(sorted(mine.items(), key=lambda item: int(item[0])))
            else:
                rest = row[f"present_{at}"] - sum(mine.values())
                part["counts"] = most_frequent(mine + Counter({OTHER: rest}))
            splits[split] = part
        bins = {"middle": grid.middle, "scale": grid.scale} if grid else {}
        columns[column.name] = {"type": column.type, **bins, "splits": splits}
    return {"schema_version": 1, "rows": {split: row["n"] for split, row in ends.items()}, "columns": columns}


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
        if column.type not in ("string", "boolean"):
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
