"""The Spark session, and Python values as SQL: foreign text never becomes SQL text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession

# Up to this many row keys are looked up page by page in the history, more are joined. Parquet evaluates the list as nested ORs: 764 of them
# overflowed the stack of an executor thread with default settings.
POINT_LOOKUPS = 200
_HARMLESS = re.compile(r"[A-Za-z0-9 _.,:+<>=()-]*")


def start_spark() -> SparkSession:
    """Start Spark. Only what the result and a short start depend on is set; the rest is the platform's."""
    return (
        SparkSession.builder.appName("merge_survey_data")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        # Spark would replace ${env:...} in SQL text by what it finds there.
        .config("spark.sql.variable.substitute", "false")
        .getOrCreate()
    )


def tune(spark: SparkSession, tasks: int, splits: int) -> None:
    """Apply the settings that depend on the batch.

    Args:
        spark: the session.
        tasks: number of partitions.
        splits: number of splits of the data set.

    """
    settings = {
        "spark.sql.shuffle.partitions": tasks,
        # Splits of the input decide the line arithmetic, so they follow the manifest and not the size of the cluster.
        "spark.sql.files.minPartitionNum": tasks,
        "spark.sql.files.openCostInBytes": 64 * 1024,
        # Files are looked up by a few tasks, not by a task for each.
        "spark.sql.sources.parallelPartitionDiscovery.threshold": 200,
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": 32,
        "spark.sql.parquet.pushdown.inFilterThreshold": POINT_LOOKUPS,
        "spark.sql.sources.partitionOverwriteMode": "static",
        "spark.sql.parquet.compression.codec": "snappy",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # The JVM never compiles methods above 8000 bytes; without this Spark fuses all steps of parse() into one that large.
        "spark.sql.codegen.hugeMethodLimit": 8000,
        # One open file per split: rows are written in their order instead of being sorted by split.
        "spark.sql.maxConcurrentOutputFileWriters": splits + 1,
        "spark.sql.inMemoryColumnarStorage.compressed": "false",  # read a few times only: not worth its cost
    }
    for name, value in settings.items():
        spark.conf.set(name, str(value))


def fields_of(schema: str) -> list[tuple[str, str]]:
    """Take a schema string apart into names and types."""
    return [(field.split(" ")[0], field.split(" ")[1]) for field in schema.split(", ")]


def local_table(spark: SparkSession, schema: str, rows: Iterable[Sequence[Any]]) -> DataFrame:
    """Make a small table that lives in the plan: unlike createDataFrame it needs no job of its own."""
    fields = fields_of(schema)
    values = ", ".join(f"({', '.join(literal(value) for value in row)})" for row in rows)
    names = ", ".join(name for name, _ in fields)
    typed = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in fields)
    return spark.sql(f"SELECT {typed} FROM VALUES {values} AS t({names})")


def literal(value: Any) -> str:
    """Write a Python value as SQL; text with anything but letters, digits and plain signs as the hexadecimal digits of its bytes."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        if _HARMLESS.fullmatch(value):
            return f"'{value}'"
        return f"CAST(X'{value.encode('utf-8', 'surrogatepass').hex()}' AS STRING)"
    if isinstance(value, float):
        return f"{value!r}D"
    if isinstance(value, int):
        return f"{value}" if abs(value) < 2**31 else f"{value}L"
    return f"array({', '.join(literal(item) for item in value)})"
