"""What a merge writes: the data set's files and the quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from glue_scripts.merge.by_spark.duplicates import spread
from glue_scripts.merge.by_spark.parsing import BAD
from glue_scripts.merge.by_spark.publisher import Publisher
from glue_scripts.merge.by_spark.session import literal, local_table
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.tally import Tally
from retraining.contract.notation.training_format import CSV_WITH_HEADER, PARQUET
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import SOURCES, SYNTHETIC, Contract

PARTS = ("data", "training", "hashes")  # of the dataset, each in a folder of its own
PAGE_ROWS = 1024  # rows of a Parquet page of the hash files: what one point look-up reads
ROWS_PER_QUARANTINE_FILE = 500_000


def write_dataset(
    publisher: Publisher, rows: DataFrame, manifest: Manifest, tasks: int, parts: Sequence[str] = PARTS
) -> tuple[dict[str, list[str]], int]:
    """Write data, training CSV (unless training reads Parquet) and hashes of the accepted rows.

    Returns:
        The training CSV files by split, and the bytes written.

    """
    contract = manifest.contract
    names = literal([name for name, _ in manifest.split])
    source = f"CASE WHEN synthetic THEN '{SYNTHETIC}' ELSE '{SOURCES[0]}' END AS source"
    data = rows.selectExpr(*_named(contract, contract.names), "row_hash", source, f"{names}[split] AS split")
    training = rows.selectExpr(*_named(contract, contract.training_columns), f"{names}[split] AS split")
    hashes = spread(rows.select("key", "row_hash"), tasks)
    # One encoding per column: the footer lists a column's encodings in an order that differs from one Java process to the next, and format
    # version 1 and dictionaries use several. Both Parquet jobs get the same settings: they run side by side, and parquet-mr keeps those of
    # the writer made last for all writers of the process.
    parquet = {"parquet.enable.dictionary": "false", "parquet.writer.version": "v2"}
    pages = {"parquet.page.row.count.limit": str(PAGE_ROWS)}
    # Quotes are doubled, not escaped: what every reader of CSV expects. Text stays as it is.
    text = {
        "header": "true" if manifest.training_format == CSV_WITH_HEADER else "false",
        "emptyValue": "",
        "nullValue": "",
        "escape": '"',
        "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    }
    text |= {"ignoreLeadingWhiteSpace": "false", "ignoreTrailingWhiteSpace": "false"}
    writers = {
        "data": data.write.format("parquet").options(**parquet).partitionBy("split"),
        "training": training.write.format("csv").options(**text).partitionBy("split"),
        "hashes": hashes.write.format("parquet").options(**parquet, **pages),
    }
    here = f"batch={manifest.batch}"
    if manifest.training_format == PARQUET:  # the data set itself is what training reads
        parts = [part for part in parts if part != "training"]
    publisher.stage({part: writers[part] for part in parts})
    written = {part: publisher.publish(part, f"{manifest.output}{part}/{here}") for part in parts}
    folder = manifest.output.rstrip("/").rsplit("/", 1)[-1]
    outputs: dict[str, list[str]] = {name: [] for name, _ in manifest.split}
    for name in written.get("training", ()):
        outputs[name.split("/")[0].removeprefix("split=")].append(f"{folder}/training/{here}/{name}")
    return outputs, sum(length for files in written.values() for length in files.values())


def _named(contract: Contract, names: Sequence[str]) -> list[str]:
    """Select typed values under their column names; inside the job they go by number, free of clashes."""
    return [f"value_{contract.position[name]} AS `{name}`" for name in names]


def write_quarantine(
    spark: SparkSession, rows: DataFrame, manifest: Manifest, found: Tally, refused: Mapping[int, FileRefused]
) -> int:
    """Write rejected rows and refused files as JSON lines in the order of files and lines; returns the bytes written."""
    publisher = Publisher(spark, manifest.quarantine, manifest.batch)
    place = f"{manifest.quarantine}batch={manifest.batch}"
    bad = found.total("bad")
    if not bad and not refused:
        publisher.publish("", place)
        return 0
    schema = "file string, line bigint, column string, value string, reason string, reasons array<string>, raw string"
    records = []
    if bad:
        with_headers = [number for number in found.headers if number in refused]
        kept = rows.where(f"kind = {BAD}")
        if with_headers:
            kept = kept.where(f"file NOT IN ({', '.join(map(str, with_headers))})")
        records.append(describe(spark, kept, manifest, found))
    if refused:
        whole = [
            (manifest.files[number].key, None, None, None, reason, [reason], None)
            for number, refusal in sorted(refused.items())
            for reason in [f"file refused: {refusal.reason}"]
        ]
        records.append(local_table(spark, schema, whole))
    record = records[0].unionByName(records[1]) if len(records) == 2 else records[0]
    files = 1 + bad // ROWS_PER_QUARANTINE_FILE
    gathered = record.coalesce(1) if files == 1 else record.repartition(files, "file")
    record = gathered.sortWithinPartitions("file", F.col("line").asc_nulls_first())
    try:
        publisher.stage({"records": record.write.format("json").option("ignoreNullFields", "false")})
        return sum(publisher.publish("records", place).values())
    finally:
        publisher.clean()


def describe(spark: SparkSession, bad: DataFrame, manifest: Manifest, found: Tally) -> DataFrame:
    """Make quarantine records: file, line, first broken column or rule, its cell, first reason, all reasons, raw line."""
    contract = manifest.contract
    places = [
        (file, block, manifest.files[file].key, offset) for (file, block), offset in sorted(found.offsets.items())
    ]
    table = local_table(spark, "file int, block bigint, name string, offset bigint", places)
    subjects = [f"WHEN {literal(name)} THEN cells[{n}]" for n, name in enumerate(contract.names)]
    for rule in contract.rules:
        parts = ", ".join(f"cells[{contract.position[name]}]" for name in rule.sum)
        whole = f"cells[{contract.position[rule.at_most]}]"
        subjects.append(f"WHEN {literal(rule.name)} THEN concat(concat_ws(' + ', {parts}), ' > ', {whole})")
    line = "substring_index(reasons[0], ':', 1)"
    # The cells of a line that is no row mean nothing.
    return (
        bad.join(F.broadcast(table), ["file", "block"])
        .selectExpr("name", "position + offset AS line", "split(reasons, '\\n') AS reasons", "raw", "cells")
        .selectExpr("*", f"nullif({line}, 'line') AS subject")
        .selectExpr(
            "name AS file",
            "line",
            "subject AS column",
            f"CASE subject {' '.join(subjects)} END AS value",
            "reasons[0] AS reason",
            "reasons",
            "raw",
        )
    )
