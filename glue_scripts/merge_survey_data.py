"""Merge one batch of survey files into the dataset: the Glue job of the task `preprocess_data`.

The manifest names the files, the data contract and the batches that are already committed. The job checks every row
against the contract, drops rows that the batch or the history holds already, splits what is left by row hash and writes
it as Parquet and as training CSV. Rejected rows go to quarantine with file, line, column, value and reason. Nothing is
visible to readers before the dataset log names the batch, so the job may die anywhere and be run again: the same
manifest gives the same bytes in the same places.

Runs on Glue 5.1 (Spark 3.5) and 6.0 (Spark 4.1), with ANSI mode on or off, as a single file that needs only pyspark and,
for s3:// URIs, boto3:

    merge_survey_data.py --manifest s3://BUCKET/MODEL/runs/RUN_KEY/manifest.json

Glue's own arguments are ignored. docs/data-contract.md describes the contract, the canonical row, the formats accepted
and the layout of the quarantine.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import sys
import time
import uuid
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, DataFrameWriter, SparkSession
from pyspark.sql import functions as F

SYNTHETIC = "synthetic"
PARTS = ("data", "training", "hashes")  # of the dataset, each in a folder of its own
TRAIN = "train"
ROW, BAD, SKIP, ENCODING = range(4)  # what a line is: a good row, one for quarantine, header or blank, not UTF-8
SOURCES = ("survey", SYNTHETIC)
DECIMALS = 9  # numbers are compared and stored with this many decimals
SEPARATOR = "\u001f"  # between the values of a canonical row; contract strings cannot hold it
KEY_DIGITS = (
    15  # leading hex digits of the row hash that make the 60-bit look-up key: always positive as a Spark bigint
)
KEY_BITS = 4 * KEY_DIGITS
MAX_LINE = 4096  # characters; a longer line is no survey row and would flood the quarantine
HEAD_BYTES = 64 * 1024
BYTES_PER_TASK = 8 * 1024 * 1024  # of input text
GZIP_RATIO = 4  # what survey text usually compresses by; only sizes partitions
# Up to this many row keys are looked up page by page in the history, more are joined. Parquet evaluates the list as nested ORs: 764 of them
# overflowed the stack of an executor thread with default settings.
POINT_LOOKUPS = 200
BROADCAST_ROWS = 200_000  # row positions (8 bytes each) that are sent to every worker
PAGE_ROWS = 1024  # rows of a Parquet page of the hash files: what one point look-up reads
STALE_STAGING_SECONDS = (
    6 * 3600
)  # older staging folders belong to attempts that died; younger ones may still be running
FILES_AT_ONCE = 16
ABOUT_FILE = "file int, header string, columns array<int>, width int, source_at int, synthetic boolean"
ROWS_PER_QUARANTINE_FILE = 500_000
ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\0"}  # in SQL string literals


class ManifestError(ValueError):
    """The manifest cannot be merged as it stands; the message says what to do."""


# ---------------------------------------------------------------------------------------------------------------- contract and manifest


@dataclass(frozen=True)
class ColumnRule:
    """One contract column: its type and what a value must satisfy."""

    name: str
    type: str
    nullable: bool = False
    allowed: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    exclusive_min: bool = False
    exclusive_max: bool = False

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> ColumnRule:
        """Build from a contract entry; keys that only document (unit, description) are ignored."""
        known = {key: value for key, value in spec.items() if key in cls.__dataclass_fields__ and value is not None}
        known["allowed"] = tuple(str(value) for value in known.get("allowed", ()))
        rule = cls(**known)
        if rule.type not in ("string", "double", "int"):
            raise ManifestError(f"contract column {rule.name}: type {rule.type!r} is not one of string, double, int")
        return rule

    @property
    def scale(self) -> float:
        """Factor that turns a number into its canonical whole number."""
        return 10.0**DECIMALS if self.type == "double" else 1.0

    @property
    def largest(self) -> int:
        """Largest canonical whole number: what a double holds without gaps of more than half a rounding step, or an int."""
        return 2**62 if self.type == "double" else 2**31 - 1


@dataclass(frozen=True)
class SumRule:
    """Cross-column rule: the sum of some columns is at most `tolerance` times another."""

    name: str
    sum: tuple[str, ...]
    at_most: str
    tolerance: float = 1.0

    @property
    def reason(self) -> str:
        """What quarantine says about a row that breaks the rule."""
        factor = "" if self.tolerance == 1 else f"{self.tolerance:g} x "
        return f"{self.name}: {' + '.join(self.sum)} above {factor}{self.at_most}"


@dataclass(frozen=True)
class Contract:
    """The data contract: columns in file order, cross-column rules, target, identity and budget of bad rows."""

    columns: tuple[ColumnRule, ...]
    target: str
    rules: tuple[SumRule, ...]
    identity: tuple[str, ...]
    max_share: float

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Contract:
        """Build from the manifest's `contract`.

        Raises:
            ManifestError: a name is used that is not a column.

        """
        columns = tuple(ColumnRule.of(column) for column in spec["columns"])
        names = [column.name for column in columns]
        rules = tuple(
            SumRule(rule["name"], tuple(rule["sum"]), rule["at_most"], float(rule.get("tolerance", 1.0)))
            for rule in spec.get("rules") or ()
        )
        identity = tuple(spec.get("identity") or names)
        used = [spec["target"], *identity, *(name for rule in rules for name in (*rule.sum, rule.at_most))]
        unknown = sorted(set(used) - set(names))
        if unknown:
            raise ManifestError(
                f"contract names {', '.join(unknown)}, which are not among its columns {', '.join(names)}"
            )
        if columns[names.index(spec["target"])].nullable:
            raise ManifestError(f"contract column {spec['target']} is the target and cannot be nullable")
        taken = sorted({"row_hash", "source", "split"} & set(names))
        if taken:
            raise ManifestError(f"contract column {', '.join(taken)}: the dataset has a column of that name already")
        return cls(columns, spec["target"], rules, identity, float(spec.get("bad_rows", {}).get("max_share", 0.05)))

    def at(self, name: str) -> int:
        """Position of a column."""
        return self.names.index(name)

    def named(self, names: Iterable[str]) -> list[str]:
        """Select typed values under their column names; inside the job they go by number, free of clashes."""
        return [f"value_{self.at(name)} AS `{name}`" for name in names]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in file order."""
        return tuple(column.name for column in self.columns)

    @property
    def training_order(self) -> tuple[str, ...]:
        """Column names of the training CSV: the target first."""
        return (self.target, *(name for name in self.names if name != self.target))


@dataclass(frozen=True)
class SourceFile:
    """One file of the batch."""

    key: str
    uri: str
    size: int
    etag: str | None
    source: str


@dataclass(frozen=True)
class Manifest:
    """What to merge and where to; see the `runs/RUN_KEY/manifest.json` of a run."""

    batch: str
    files: tuple[SourceFile, ...]
    contract: Contract
    split: tuple[tuple[str, int], ...]
    history: tuple[str, ...]
    output: str
    quarantine: str
    report: str

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Manifest:
        """Build from the manifest's JSON. Files are put in key order, so the order of listing cannot matter.

        Raises:
            ManifestError: the batch is committed already, the split is not 100 %, a file is listed twice.

        """
        bucket = spec["bucket"]
        root = bucket.rstrip("/") if "://" in bucket or bucket.startswith("file:") else f"s3://{bucket}"
        files = tuple(
            SourceFile(
                entry["key"],
                f"{root}/{entry['key']}",
                int(entry["size"]),
                entry.get("etag"),
                entry.get("source") or SOURCES[0],
            )
            for entry in sorted(spec["files"], key=lambda entry: entry["key"])
        )
        twice = [key for key, times in Counter(file.key for file in files).items() if times > 1]
        if twice:
            raise ManifestError(f"the manifest lists {', '.join(twice)} more than once")
        unknown = sorted({file.source for file in files} - set(SOURCES))
        if unknown:
            raise ManifestError(f"unknown source {', '.join(unknown)}: use one of {', '.join(SOURCES)}")
        split = tuple((name, int(share)) for name, share in spec["split"].items())
        if TRAIN not in spec["split"]:
            raise ManifestError(f"the split has no {TRAIN!r}, where synthetic rows go: {dict(split)}")
        if sum(share for _, share in split) != 100 or any(share < 0 for _, share in split):
            raise ManifestError(f"the split must add up to 100 percent, got {dict(split)}")
        if spec["batch"] in spec["history"]:
            raise ManifestError(f"batch {spec['batch']} is committed already: merging it again would empty it")
        return cls(
            batch=spec["batch"],
            files=files,
            contract=Contract.of(spec["contract"]),
            split=split,
            history=tuple(dict.fromkeys(spec["history"])),
            output=spec["output"].rstrip("/") + "/",
            quarantine=spec["quarantine"].rstrip("/") + "/",
            report=spec["report"],
        )

    @property
    def tasks(self) -> int:
        """Number of partitions: a function of the manifest alone, because it decides the names of the files written."""
        text = sum(file.size * (GZIP_RATIO if file.key.lower().endswith(".gz") else 1) for file in self.files)
        return max(1, math.ceil(text / BYTES_PER_TASK))


# ------------------------------------------------------------------------------------------------------------------ one file's layout


@dataclass(frozen=True)
class Layout:
    """How one file is laid out, seen from its first bytes."""

    refused: str | None = None
    header: str | None = None
    order: tuple[int, ...] = ()  # position in the file of each contract column
    width: int = 0
    source_at: int | None = None


def split_line(line: str) -> list[str]:
    """Cells of a CSV line, trimmed. The Spark expression in `cells_of` does the same for every row."""
    return [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True), [])]


def layout_of(head: bytes, key: str, contract: Contract) -> Layout:
    """Judge a file by its first bytes: encoding, separator, header or none.

    Args:
        head: the first 64 KiB of the file as stored, so compressed if the file is.
        key: S3 key, whose ending says whether Spark will decompress.
        contract: the columns to expect.

    A header names contract columns, in any order and case, and may add a column `source`. A first line that names none of them is data.

    """
    name = key.rsplit("/", 1)[-1]
    complaint = name_defect(key)
    if complaint:
        return Layout(complaint)
    if name.lower().endswith(".gz"):
        if head and not head.startswith(b"\x1f\x8b"):
            return Layout("named .gz but is not gzip")
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
        except zlib.error as error:
            return Layout(f"corrupt gzip: {error}")
    elif head.startswith(b"\x1f\x8b"):
        return Layout("gzip content, but the name does not end in .gz")
    elif head.startswith(b"PK\x03\x04"):
        return Layout("zip archive: upload the CSV itself, or gzip it")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Layout("encoding is UTF-16: save as UTF-8")
    if b"\0" in head:
        return Layout("contains NUL bytes: not a UTF-8 text file")
    lines = re.split(rb"\r\n|\n|\r", head.removeprefix(b"\xef\xbb\xbf"))
    if len(lines) == 1 and len(head) >= HEAD_BYTES:
        return Layout("the first line is longer than 64 KiB: not a CSV file")
    names = contract.names
    plain = Layout(order=tuple(range(len(names))), width=len(names))
    first = next((line for line in lines if line.strip()), b"")
    try:
        text = first.decode("utf-8")
    except UnicodeDecodeError:
        return Layout("encoding is not UTF-8 in line 1: save as UTF-8")
    for other in (";", "\t", "|"):
        if len(names) > 1 and text.count(other) >= len(names) - 1:
            return Layout(f"columns are separated by {other!r}, expected ','")
    cells = [cell.lower() for cell in split_line(text)]
    wanted = [name.lower() for name in names]
    if not set(cells) & set(wanted):
        unlike_data = len(cells) > 1 and all(cell and not re.search(r"\d", cell) for cell in cells)
        numeric = any(column.type != "string" for column in contract.columns)
        if unlike_data and numeric and not any(cell.lstrip("+-") in ("nan", "inf", "infinity") for cell in cells):
            return Layout(f"the header names no contract column: {', '.join(cells)}")
        return plain
    missing = [name for name in wanted if name not in cells]
    extra = [cell for cell in cells if cell not in wanted and cell != "source"]
    repeated = [cell for cell, times in Counter(cells).items() if times > 1]
    if missing or extra or repeated:
        parts = [("lacks", missing), ("has unknown", extra), ("repeats", repeated)]
        return Layout("the header " + ", ".join(f"{verb} {', '.join(which)}" for verb, which in parts if which))
    source_at = cells.index("source") if "source" in cells and "source" not in wanted else None
    return Layout(header=text, order=tuple(cells.index(name) for name in wanted), width=len(cells), source_at=source_at)


def name_defect(key: str) -> str | None:
    """Why Spark could not address or would misread an object of this name, or None."""
    name = key.rsplit("/", 1)[-1]
    if name.startswith(("_", ".")):
        return "the name begins with '_' or '.', which Spark treats as hidden: rename the file"
    if "//" in key or key.startswith("/") or any(part in (".", "..") for part in key.split("/")):
        return "the key has empty or relative path segments, which Hadoop cannot address: rename the file"
    if re.search(r"\.(bz2|deflate|lz4|snappy|zst|zip|xz|7z|xlsx?|parquet)$", name.lower()):
        return f"{name.rsplit('.', 1)[-1]} files are not accepted: upload CSV or CSV.gz"
    if name.lower().endswith(".gz") and not name.endswith(".gz"):
        return "the name must end in lower-case .gz"
    return None


def gunzip_defect(stream: BinaryIO) -> str | None:
    """Read a gzip stream to its end in constant memory and say what is wrong with it, or None."""
    inflate = zlib.decompressobj(wbits=31)
    seen = False
    try:
        while block := stream.read(1 << 20):
            while block:
                if inflate.eof:
                    inflate = zlib.decompressobj(wbits=31)  # the next member of a concatenated file
                inflate.decompress(block, 1 << 20)
                seen = True
                block = inflate.unconsumed_tail or inflate.unused_data
    except zlib.error as error:
        return f"corrupt gzip: {error}"
    return None if inflate.eof or not seen else "corrupt gzip: the file ends before its data does"


# -------------------------------------------------------------------------------------------------------------------- storage, by URI


class Storage:
    """Reads and writes small objects by URI: s3:// through boto3, everything else as a local file."""

    def __init__(self) -> None:
        self._client: Any = None

    @property
    def s3(self) -> Any:
        """The boto3 client, made when it is first needed."""
        if self._client is None:
            import boto3

            self._client = boto3.client("s3")
        return self._client

    def read(self, uri: str) -> bytes:
        """Read the whole object."""
        bucket, key = locate(uri)
        if bucket is None:
            return Path(key).read_bytes()
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def write(self, uri: str, body: bytes) -> None:
        """Replace the object."""
        bucket, key = locate(uri)
        if bucket is not None:
            self.s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
            return
        Path(key).parent.mkdir(parents=True, exist_ok=True)
        partial = Path(f"{key}.{uuid.uuid4().hex}")
        partial.write_bytes(body)
        partial.replace(key)

    def head(self, file: SourceFile) -> bytes:
        """Read the first bytes of a source file, provided it is still the one the manifest lists.

        Raises:
            ManifestError: the file is gone or was replaced.

        """
        bucket, key = locate(file.uri)
        if bucket is None:
            path = Path(key)
            if not path.is_file() or path.stat().st_size != file.size:
                raise ManifestError(changed(file))
            with path.open("rb") as stream:
                return stream.read(HEAD_BYTES)
        if file.size == 0:
            return b""
        from botocore.exceptions import ClientError

        match = {"IfMatch": f'"{file.etag.strip(chr(34))}"'} if file.etag else {}
        try:
            answer = self.s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{HEAD_BYTES - 1}", **match)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "412", "NoSuchKey", "404", "InvalidRange"):
                raise ManifestError(changed(file)) from error
            raise
        return bytes(answer["Body"].read())

    def confirm(self, file: SourceFile) -> None:
        """Look again at a source file after it was read: Spark read whatever was there at that moment.

        Raises:
            ManifestError: the file is gone or was replaced meanwhile.

        """
        bucket, key = locate(file.uri)
        if bucket is None:
            if not Path(key).is_file() or Path(key).stat().st_size != file.size:
                raise ManifestError(changed(file))
            return
        from botocore.exceptions import ClientError

        try:
            etag = self.s3.head_object(Bucket=bucket, Key=key)["ETag"]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise ManifestError(changed(file)) from error
            raise
        if file.etag and etag.strip('"') != file.etag.strip('"'):
            raise ManifestError(changed(file))

    @contextmanager
    def stream(self, file: SourceFile) -> Iterator[BinaryIO]:
        """Open a source file as a stream."""
        bucket, key = locate(file.uri)
        if bucket is None:
            with Path(key).open("rb") as stream:
                yield stream
        else:
            yield self.s3.get_object(Bucket=bucket, Key=key)["Body"]


def changed(file: SourceFile) -> str:
    """Message for a file that no longer is what the manifest lists."""
    return f"{file.uri} was removed or replaced after it was listed (etag {file.etag}): start a new run, which lists it again"


def locate(uri: str) -> tuple[str | None, str]:
    """(bucket, key) of an s3:// URI, (None, local path) of a file: URI or a plain path."""
    if uri.startswith("s3://"):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bucket, key
    return None, re.sub(r"^file:/*", "/", uri)


# --------------------------------------------------------------------------------------------------------------------- Spark: parsing


def start_spark() -> SparkSession:
    """Start Spark. Only what the result and a short start depend on is set; the rest is the platform's."""
    return (
        SparkSession.builder.appName("merge_survey_data")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )


def tune(spark: SparkSession, manifest: Manifest) -> None:
    """Apply the settings that depend on the batch."""
    settings = {
        "spark.sql.shuffle.partitions": manifest.tasks,
        # Splits of the input decide the line arithmetic, so they follow the manifest and not the size of the cluster.
        "spark.sql.files.minPartitionNum": manifest.tasks,
        "spark.sql.files.openCostInBytes": 64 * 1024,
        "spark.sql.parquet.pushdown.inFilterThreshold": POINT_LOOKUPS,
        "spark.sql.sources.partitionOverwriteMode": "static",
        "spark.sql.parquet.compression.codec": "snappy",
        # The JVM never compiles methods above 8000 bytes; without this Spark fuses all steps of parse() into one that large.
        "spark.sql.codegen.hugeMethodLimit": 8000,
        # One open file per split: rows are written in their order instead of being sorted by split.
        "spark.sql.maxConcurrentOutputFileWriters": len(manifest.split) + 1,
        "spark.sql.inMemoryColumnarStorage.compressed": "false",  # read a few times only: not worth its cost
    }
    for name, value in settings.items():
        spark.conf.set(name, str(value))


def read_lines(spark: SparkSession, files: Mapping[int, SourceFile], layouts: Mapping[str, Layout]) -> DataFrame:
    """Read every line of the files, with what is known about its file.

    Columns: value, plain, block (start of the input split), position (increases along the split), file (its number in `files`),
    header, columns (position in the file of each contract column), width, source_at, synthetic.
    """
    # Spark reads {}[]*? in a path as a pattern. Its option __globPaths__=false is no way out: beside such a path it
    # reads the other files twice.
    text = spark.read.format("text").load([re.sub(r"([{}\[\]*?\\])", r"\\\1", file.uri) for file in files.values()])
    index = {normal(file.uri): number for number, file in files.items()}
    listed = {path: index.get(normal(unquote(path)), -1) for path in text.inputFiles()}
    if set(listed.values()) != set(files):
        raise ManifestError(
            f"Spark lists other files than the manifest: {sorted(listed)[:5]} ... for {list(index)[:5]} ..."
        )
    rows = []
    for path, number in listed.items():
        file = files[number]
        layout = layouts[file.key]
        rows.append(
            (path, number, layout.header, layout.order, layout.width, layout.source_at, file.source == SYNTHETIC)
        )
    about = local_table(spark, f"path string, {ABOUT_FILE}", rows)
    lines = text.selectExpr(
        "value",
        # Nearly every line is printable ASCII without blanks, quotes and x: cut at its commas it is ready to be parsed.
        "value RLIKE '^[!#-WYZ\\\\[-wy-~]+$' AS plain",
        "input_file_name() AS path",
        "input_file_block_start() AS block",
        "monotonically_increasing_id() AS position",
    )
    return lines.join(F.broadcast(about), "path").drop("path")


def no_lines(spark: SparkSession) -> DataFrame:
    """Make the frame of `read_lines` for a batch whose files hold nothing that can be read."""
    schema = f"value string, plain boolean, block bigint, position bigint, {ABOUT_FILE}"
    return spark.range(0).selectExpr(*(f"CAST(NULL AS {kind}) AS {name}" for name, kind in fields_of(schema)))


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
    """Write a Python value as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return "'" + "".join(ESCAPES.get(character, character) for character in value) + "'"
    if isinstance(value, float):
        return f"{value!r}D"
    if isinstance(value, int):
        return f"{value}" if abs(value) < 2**31 else f"{value}L"
    return f"array({', '.join(literal(item) for item in value)})"


def normal(uri: str) -> str:
    """Bring the slashes after a scheme into one form (Hadoop prints file:/x and file:///x)."""
    return re.sub(r"^file:/*", "file:/", uri)


def parse(lines: DataFrame, contract: Contract, split: Sequence[tuple[str, int]]) -> DataFrame:
    """Turn lines into typed, judged and hashed rows.

    Each step is a projection of its own: Spark then computes what several later expressions use only once. The
    expressions are SQL text because building them as Column objects takes longer than a small merge.

    Columns: file, block, position, kind (ROW, BAD, SKIP or ENCODING), reasons (of bad rows, joined by line feeds), raw
    and cells (of bad rows), synthetic, value_N for each contract column, row_hash (32 hex digits), key (its first 60
    bits), split (index into `split`).
    """
    columns = list(enumerate(contract.columns))
    line = ["file", "block", "position", "value", "synthetic", "plain", "width"]
    rows = lines.selectExpr(
        *line,
        "columns",
        "source_at",
        rf"""CASE WHEN value = header THEN {SKIP} WHEN plain THEN {ROW} WHEN value RLIKE r'^\s*$' THEN {SKIP}
            WHEN {not_utf8()} THEN {ENCODING} ELSE {ROW} END AS kind""",
        f"""CASE WHEN length(value) > {MAX_LINE} THEN NULL WHEN plain THEN split(value, ',', -1)
            ELSE {careful_cells("value")} END AS cells""",
    )
    line += ["kind"]
    rows = rows.selectExpr(
        *line,
        "size(cells) AS size",
        "CASE WHEN source_at IS NOT NULL THEN lower(get(cells, source_at)) END AS row_source",
        *(f"get(cells, get(columns, {n})) AS text_{n}" for n, _ in columns),
    )
    line += ["size", "row_source"]
    texts = [f"text_{n}" for n, _ in columns]
    forms = [f"form_{n}" for n, _ in columns]
    rows = rows.selectExpr(*line, *texts, *(f"{canonical(column, n)} AS form_{n}" for n, column in columns))
    identity = ", ".join(f"coalesce(CAST(form_{contract.at(name)} AS string), '')" for name in contract.identity)
    rows = rows.selectExpr(
        *line,
        *texts,
        *forms,
        f"CASE WHEN kind = {ROW} THEN {reasons_of(contract)} END AS reasons",
        f"substring(sha2(concat_ws('{SEPARATOR}', {identity}), 256), 1, 32) AS hash",
    )
    rows = rows.selectExpr(
        "file",
        "block",
        "position",
        f"CASE WHEN reasons != '' THEN {BAD} ELSE kind END AS kind",
        "nullif(reasons, '') AS reasons",
        f"CASE WHEN reasons != '' THEN substring(value, 1, {MAX_LINE}) END AS raw",
        f"CASE WHEN reasons != '' THEN array({', '.join(texts)}) END AS cells",
        f"(synthetic OR coalesce(row_source = '{SYNTHETIC}', FALSE)) AS synthetic",
        *(f"CASE WHEN reasons = '' THEN {typed(column, n)} END AS value_{n}" for n, column in columns),
        "CASE WHEN reasons = '' THEN hash END AS row_hash",
        f"CASE WHEN reasons = '' THEN CAST(conv(substring(hash, 1, {KEY_DIGITS}), 16, 10) AS bigint) END AS key",
    )
    return rows.selectExpr("*", f"{split_of(split)} AS split")


def reasons_of(contract: Contract) -> str:
    """Give all reasons why a row is rejected, joined by line feeds; '' for a good row.

    Nearly all rows are good: one test that a plain row meets every condition saves asking for each reason.
    """
    columns = list(enumerate(contract.columns))
    good = ["plain", "size = width", "row_source IS NULL", f"length(value) <= {MAX_LINE}"]
    good += [f"NOT ({test})" for n, column in columns for test, _ in bounds(column, n)]
    good += [f"form_{n} IS NOT NULL" for n, _ in columns]
    good += [f"NOT ({breaks(rule, contract)})" for rule in contract.rules]
    known = ", ".join(literal(name) for name in ("", *SOURCES))
    reasons = [judge(column, n) for n, column in columns]
    reasons += [f"CASE WHEN {breaks(rule, contract)} THEN {literal(rule.reason)} END" for rule in contract.rules]
    reasons += [f"CASE WHEN row_source NOT IN ({known}) THEN 'source: not one of {', '.join(SOURCES)}' END"]
    every = f"coalesce({line_reason()}, concat_ws('\\n', {', '.join(reasons)}))"
    return f"CASE WHEN {' AND '.join(good)} THEN '' ELSE {every} END"


def careful_cells(line: str) -> str:
    """Cut a line that holds blanks, quotes or other than ASCII at commas outside quotes; trim and unquote its cells."""
    blanks = r"r'^[\s\u00a0]+|[\s\u00a0]+$'"
    cells = f"""split({line}, r',(?=(?:[^"]*"[^"]*")*[^"]*$)', -1)"""
    trimmed = f"transform({cells}, cell -> regexp_replace(cell, {blanks}, ''))"
    inner = f"""regexp_replace(regexp_replace(regexp_extract(cell, r'(?s)^"(.*)"$', 1), '""', '"'), {blanks}, '')"""
    return f"""transform({trimmed}, cell -> CASE WHEN cell RLIKE r'(?s)^".*"$' THEN {inner} ELSE cell END)"""


def line_reason() -> str:
    """Why a line as a whole is no row, or NULL."""
    return f"""CASE WHEN length(value) > {MAX_LINE} THEN 'line: longer than {MAX_LINE} characters'
        WHEN contains(value, '"') AND length(regexp_replace(value, '[^"]', '')) % 2 = 1 THEN 'line: unbalanced quotes'
        WHEN size < width THEN 'line: too few columns' WHEN size > width THEN 'line: too many columns' END"""


def not_utf8() -> str:
    """Whether a line holds NUL or bytes that are no UTF-8, which Spark's text reader passes through unseen."""
    # Spark 4 raises on what it cannot decode, Spark 3 replaces it and has no other test.
    spark_4 = hasattr(F, "is_valid_utf8")
    encoded = "encode(decode(CAST(value AS binary), 'UTF-8'), 'UTF-8')"
    valid = "is_valid_utf8(value)" if spark_4 else f"{encoded} = CAST(value AS binary)"
    return f"(contains(value, chr(0)) OR NOT {valid})"


def canonical(column: ColumnRule, number: int) -> str:
    """Form the canonical value: trimmed text, or the whole number of 10^-9 (of 1 for int) nearest to it, halves up.

    NULL if the cell is empty or writes no such number.
    """
    text = f"text_{number}"
    if column.type == "string":
        return f"nullif({text}, '')"
    # A number too large saturates here and is found out by `judge`.
    whole = f"floor({number_in(text)} * {literal(column.scale)} + 0.5D)"
    if column.type == "double":
        return whole
    return f"coalesce(CAST(try_cast({text} AS int) AS bigint), CASE WHEN {number_in(text)} % 1 = 0 THEN {whole} END)"


def number_in(text: str) -> str:
    """Parse the number that a cell writes, or NULL. Java would also take 1d, 0x1p3 and NaN: a survey may not."""
    return f"""CASE WHEN substring({text}, -1, 1) <= '9' AND (plain OR NOT (contains({text}, 'x') OR contains({text}, 'X')))
        THEN try_cast({text} AS double) END"""


def typed(column: ColumnRule, number: int) -> str:
    """Compute the stored value from the canonical one, so that equal hashes mean equal values."""
    if column.type == "double":
        return f"(form_{number} / {literal(column.scale)})"
    return f"CAST(form_{number} AS int)" if column.type == "int" else f"form_{number}"


def bounds(column: ColumnRule, number: int) -> list[tuple[str, str]]:
    """List the tests that a present value must not meet, with the reason each gives."""
    if column.type == "string":
        if column.allowed:
            allowed = ", ".join(literal(value) for value in column.allowed)
            return [(f"form_{number} NOT IN ({allowed})", f"not one of {', '.join(column.allowed)}")]
        return [(rf"form_{number} RLIKE r'\p{{Cntrl}}'", "control character")]
    tests, value = [], f"form_{number} / {literal(column.scale)}"
    tests.append((f"form_{number} NOT BETWEEN -{column.largest}L AND {column.largest}L", "out of range of its type"))
    if column.min is not None:
        sign, word = ("<=", "not above") if column.exclusive_min else ("<", "below")
        tests.append((f"{value} {sign} {literal(float(column.min))}", f"{word} {column.min:g}"))
    if column.max is not None:
        sign, word = (">=", "not below") if column.exclusive_max else (">", "above")
        tests.append((f"{value} {sign} {literal(float(column.max))}", f"{word} {column.max:g}"))
    return tests


def judge(column: ColumnRule, number: int) -> str:
    """Give the first reason why a cell breaks its column's contract, or NULL. Reasons hold no values: they are counted."""
    text, form = f"text_{number}", f"form_{number}"
    tests = [(f"coalesce({text}, '') = ''", None if column.nullable else "missing")]
    if column.type != "string":
        value = number_in(text)
        tests.append((f"{form} IS NULL AND lower({text}) RLIKE '^[+-]?(nan|inf|infinity)$'", "not finite"))
        tests.append((f"{form} IS NULL AND contains({text}, ',')", "decimal comma"))
        tests.append((f"{form} IS NULL AND {value} IS NULL", "not a number"))
        tests.append((f"{form} IS NULL", "not a whole number"))
    tests += bounds(column, number)
    cases = (f"WHEN {test} THEN {literal(reason and f'{column.name}: {reason}')}" for test, reason in tests)
    return f"CASE {' '.join(cases)} END"


def breaks(rule: SumRule, contract: Contract) -> str:
    """Test a sum rule; NULL when a value is missing. The slack absorbs the rounding of binary sums."""

    def value(name: str) -> str:
        number = contract.at(name)
        return f"form_{number} / {literal(contract.columns[number].scale)}"

    return f"{' + '.join(map(value, rule.sum))} > {value(rule.at_most)} * {literal(rule.tolerance)} + 1e-9D"


def split_of(split: Sequence[tuple[str, int]]) -> str:
    """Index of a row's split: its key mod 100 against the cumulated shares; synthetic rows only train."""
    train = next(number for number, (name, _) in enumerate(split) if name == TRAIN)
    edges = [sum(share for _, share in split[: number + 1]) for number in range(len(split))]
    cases = " ".join(f"WHEN key % 100 < {edge} THEN {number}" for number, edge in enumerate(edges))
    return f"CASE WHEN key IS NULL THEN NULL WHEN synthetic THEN {train} {cases} END"


# ------------------------------------------------------------------------------------------------------------------- Spark: the merge


@dataclass
class Tally:
    """What the rows of a batch came to."""

    files: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: Counter[str] = field(default_factory=Counter)
    blocks: dict[tuple[int, int], list[int]] = field(default_factory=dict)  # (file, block): [first position, lines]
    splits: Counter[int] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    targets: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    encoding: set[int] = field(default_factory=set)

    def move(self, group: Any, start: str | None, end: str) -> None:
        """Count a group of rows as `end`, no longer as `start`."""
        self.files[group.file][end] += group.n
        if start:
            self.files[group.file][start] -= group.n
        sign = 1 if end == "accepted" else -1
        self.splits[group.split] += sign * group.n
        self.sources[SYNTHETIC if group.synthetic else SOURCES[0]] += sign * group.n
        self.targets[group.split] += sign * group.target

    @property
    def rows(self) -> int:
        """All rows: headers and blank lines are none."""
        return sum(
            counts[kind] for counts in self.files.values() for kind in ("accepted", "in_batch", "in_history", "bad")
        )

    def total(self, kind: str) -> int:
        """Rows of one kind over all files."""
        return sum(counts[kind] for counts in self.files.values())


def tally(rows: DataFrame, contract: Contract) -> Tally:
    """Count rows per file, split, source and reason. The groups are few: reasons hold no values."""
    groups = rows.groupBy("file", "block", "kind", "reasons", "split", "synthetic").agg(
        F.expr("count(1) AS n"), F.expr("min(position) AS start"), target_sum(contract)
    )
    found = Tally()
    for group in groups.collect():
        block = found.blocks.setdefault((group.file, group.block), [group.start, 0])
        block[0] = min(block[0], group.start)
        block[1] += group.n
        if group.kind == ENCODING:
            found.encoding.add(group.file)
        elif group.kind == BAD:
            found.files[group.file]["bad"] += group.n
            for reason in group.reasons.split("\n"):
                found.reasons[reason] += group.n
        elif group.kind == ROW:
            found.move(group, None, "accepted")
    return found


def target_sum(contract: Contract) -> Column:
    """Sum the target over a group."""
    return F.expr(f"sum(CAST(value_{contract.at(contract.target)} AS double)) AS target")


def drop_repeated(rows: DataFrame, manifest: Manifest, found: Tally) -> DataFrame:
    """Keep one row of each hash: a real row before a synthetic one, then the first by file and line."""
    suspects = rows.groupBy("key").agg(F.expr("count(1) AS n")).where("n > 1").select("key").persist()
    if not suspects.count():
        return rows
    rank = "row_number() OVER (PARTITION BY row_hash ORDER BY synthetic, file, block, position)"
    ranked = rows.join(suspects, "key", "left_semi").selectExpr("*", f"{rank} AS rank")
    return without(rows, ranked.where("rank > 1"), manifest, found, "in_batch")


def drop_known(spark: SparkSession, rows: DataFrame, manifest: Manifest, found: Tally) -> DataFrame:
    """Remove rows that a committed batch holds. Only hash files are read: for few rows, only the pages that can hold them."""
    if not manifest.history or not found.total("accepted"):
        return rows
    paths = [f"{manifest.output}hashes/batch={batch}" for batch in manifest.history]
    known = spark.read.schema("key bigint, row_hash string").parquet(*paths)
    if found.total("accepted") <= POINT_LOOKUPS:
        keys = ", ".join(f"{row.key}L" for row in rows.select("key").collect())
        hashes = [row.row_hash for row in known.where(f"key IN ({keys})").collect()]
        if not hashes:
            return rows
        repeated = rows.where(f"row_hash IN ({', '.join(map(literal, hashes))})")
    else:
        keys = rows.select("key", "row_hash")
        seen = known.join(keys, ["key", "row_hash"], "left_semi").distinct().persist()
        if not seen.count():
            return rows
        repeated = rows.join(seen, ["key", "row_hash"], "left_semi")
    return without(rows, repeated, manifest, found, "in_history")


def without(rows: DataFrame, losers: DataFrame, manifest: Manifest, found: Tally, why: str) -> DataFrame:
    """Take rows out and count them under `why`. The rest keeps an order that the manifest alone decides."""
    columns = ["position", "file", "split", "synthetic", f"value_{manifest.contract.at(manifest.contract.target)}"]
    losers = losers.select(columns).persist()
    counts = losers.groupBy("file", "split", "synthetic").agg(F.expr("count(1) AS n"), target_sum(manifest.contract))
    lost = 0
    for group in counts.collect():
        found.move(group, "accepted", why)
        lost += group.n
    if lost <= BROADCAST_ROWS:  # every partition stays where it is and as it is
        return rows.join(F.broadcast(losers.select("position")), "position", "left_anti")
    return spread(rows.join(losers.select("position"), "position", "left_anti"), manifest.tasks)


def spread(rows: DataFrame, tasks: int) -> DataFrame:
    """Distribute and sort rows by hash."""
    return rows.repartition(tasks, F.expr(f"shiftright(key, 20) % {tasks}")).sortWithinPartitions("key", "row_hash")


# --------------------------------------------------------------------------------------------------------------------- Spark: writing


class Publisher:
    """Writes frames to a private staging folder and moves them into place under names that do not depend on the attempt.

    Spark puts a random id into file names and leaves partial files behind when it dies. Here readers only ever find whole files under fixed
    names; files of the batch that this attempt did not write are removed.
    """

    def __init__(self, spark: SparkSession, root: str, batch: str) -> None:
        self._hadoop = spark._jvm.org.apache.hadoop.fs
        self._io = spark._jvm.org.apache.commons.io.IOUtils
        self._root = root
        self._batch = batch
        self._stages = f"{root}staging/batch={batch}"
        self.staging = f"{self._stages}/attempt={uuid.uuid4().hex}"
        self._fs = self._path(root).getFileSystem(spark._jsc.hadoopConfiguration())

    def stage(self, writers: Mapping[str, DataFrameWriter]) -> None:
        """Write parts into the staging folder, side by side; raises the first failure after all have ended."""
        quiet = {
            "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
            "mapreduce.fileoutputcommitter.algorithm.version": "2",  # one rename less: nothing reads the staging folder
        }
        with ThreadPoolExecutor(len(writers)) as pool:
            jobs = [
                pool.submit(writer.options(**quiet).save, f"{self.staging}/{part}") for part, writer in writers.items()
            ]
        for job in jobs:
            job.result()

    def _path(self, uri: str) -> Any:
        return self._hadoop.Path(uri)

    def _files(self, folder: str) -> dict[str, tuple[Any, int]]:
        """Files below a folder: relative name to (path, length)."""
        path = self._path(folder)
        if not self._fs.exists(path):
            return {}
        base = self._fs.makeQualified(path).toUri().getPath().rstrip("/") + "/"
        found, walk = {}, self._fs.listFiles(path, True)
        while walk.hasNext():
            status = walk.next()
            found[status.getPath().toUri().getPath().removeprefix(base)] = (status.getPath(), status.getLen())
        return found

    def publish(self, part: str, into: str) -> dict[str, int]:
        """Move staged files to their place; returns relative name to length. An empty `part` clears the place."""
        staged = (
            {fixed_name(name): found for name, found in self._files(f"{self.staging}/{part}").items() if is_data(name)}
            if part
            else {}
        )
        present = self._files(into)
        for name, (path, length) in staged.items():
            self._move(path, length, f"{into}/{name}", present.get(name))
        for name in set(present) - set(staged):
            self._fs.delete(present[name][0], False)
        if not staged and present:
            self._fs.delete(self._path(into), True)
        return {name: length for name, (_, length) in sorted(staged.items())}

    def _move(self, source: Any, length: int, target: str, present: tuple[Any, int] | None) -> None:
        """Rename one file. A target with the same bytes is left alone: another attempt may have published it, and readers may use it."""
        path = self._path(target)
        if present and present[1] == length and self._same(source, path):
            return
        if present:
            self._fs.delete(path, False)
        self._fs.mkdirs(path.getParent())
        if not self._fs.rename(source, path) and not (self._fs.exists(path) and self._same(source, path)):
            raise RuntimeError(f"cannot move {source.toString()} to {target}: run the job again")

    def _same(self, one: Any, other: Any) -> bool:
        left, right = self._fs.open(one), self._fs.open(other)
        try:
            return bool(self._io.contentEquals(left, right))
        finally:
            left.close()
            right.close()

    def clean(self) -> None:
        """Remove this attempt's staging folder and those that dead attempts at the batch left."""
        self._fs.delete(self._path(self.staging), True)
        stages = self._path(self._stages)
        if not self._fs.exists(stages):
            return
        attempts = self._fs.listStatus(stages)
        stale = (time.time() - STALE_STAGING_SECONDS) * 1000
        for status in attempts:
            if status.getModificationTime() < stale:
                self._fs.delete(status.getPath(), True)
        if not self._fs.listStatus(stages):
            self._fs.delete(stages, True)


def fixed_name(name: str) -> str:
    """Name of a published file: Spark's own without the random id."""
    return re.sub(
        r"part-(\d+)-[0-9a-f-]{36}[^/]*?(\.[a-z]+)$", r"part-\1\2", name.replace(".snappy.parquet", ".parquet")
    )


def is_data(name: str) -> bool:
    """Whether a staged file is data, not a marker or checksum."""
    return not name.rsplit("/", 1)[-1].startswith(("_", "."))


def write_dataset(
    spark: SparkSession, rows: DataFrame, manifest: Manifest, parts: Sequence[str] = PARTS
) -> tuple[dict[str, list[str]], int]:
    """Write data, training CSV and hashes of the accepted rows; returns the training files by split and the bytes written."""
    contract = manifest.contract
    publisher = Publisher(spark, manifest.output, manifest.batch)
    names = literal([name for name, _ in manifest.split])
    source = f"CASE WHEN synthetic THEN '{SYNTHETIC}' ELSE '{SOURCES[0]}' END AS source"
    data = rows.selectExpr(*contract.named(contract.names), "row_hash", source, f"{names}[split] AS split")
    training = rows.selectExpr(*contract.named(contract.training_order), f"{names}[split] AS split")
    hashes = spread(rows.select("key", "row_hash"), manifest.tasks)
    # One encoding per column: the footer lists a column's encodings in an order that differs from one Java process to the next, and format
    # version 1 and dictionaries use several. Both Parquet jobs get the same settings: they run side by side, and parquet-mr keeps those of
    # the writer made last for all writers of the process.
    parquet = {"parquet.enable.dictionary": "false", "parquet.writer.version": "v2"}
    pages = {"parquet.page.row.count.limit": str(PAGE_ROWS)}
    text = {"header": "false", "emptyValue": "", "nullValue": ""}
    writers = {
        "data": data.write.format("parquet").options(**parquet).partitionBy("split"),
        "training": training.write.format("csv").options(**text).partitionBy("split"),
        "hashes": hashes.write.format("parquet").options(**parquet, **pages),
    }
    here = f"batch={manifest.batch}"
    try:
        publisher.stage({part: writers[part] for part in parts})
        written = {part: publisher.publish(part, f"{manifest.output}{part}/{here}") for part in parts}
    finally:
        publisher.clean()
    folder = manifest.output.rstrip("/").rsplit("/", 1)[-1]
    outputs: dict[str, list[str]] = {name: [] for name, _ in manifest.split}
    for name in written.get("training", ()):
        outputs[name.split("/")[0].removeprefix("split=")].append(f"{folder}/training/{here}/{name}")
    return outputs, sum(length for files in written.values() for length in files.values())


def clear_dataset(spark: SparkSession, manifest: Manifest) -> None:
    """Remove what an earlier attempt at this batch left in the dataset."""
    publisher = Publisher(spark, manifest.output, manifest.batch)
    for part in PARTS:
        publisher.publish("", f"{manifest.output}{part}/batch={manifest.batch}")
    publisher.clean()


def write_quarantine(
    spark: SparkSession, rows: DataFrame, manifest: Manifest, found: Tally, refused: Mapping[str, str]
) -> int:
    """Write rejected rows as JSON lines in the order of files and lines; returns the bytes written."""
    publisher = Publisher(spark, manifest.quarantine, manifest.batch)
    place = f"{manifest.quarantine}batch={manifest.batch}"
    if not found.total("bad"):
        publisher.publish("", place)
        return 0
    schema = "file string, line bigint, column string, value string, reason string, reasons array<string>, raw string"
    records = []
    if found.total("bad") > len(refused):
        records.append(describe(spark, rows.where(f"kind = {BAD}"), manifest, found))
    if refused:
        whole = [
            (key, None, None, None, f"file refused: {why}", [f"file refused: {why}"], None)
            for key, why in refused.items()
        ]
        records.append(local_table(spark, schema, whole))
    record = records[0].unionByName(records[1]) if len(records) == 2 else records[0]
    files = 1 + found.total("bad") // ROWS_PER_QUARANTINE_FILE
    gathered = record.coalesce(1) if files == 1 else record.repartition(files, "file")
    record = gathered.sortWithinPartitions("file", F.col("line").asc_nulls_first())
    try:
        publisher.stage({"records": record.write.format("json").option("ignoreNullFields", "false")})
        return sum(publisher.publish("records", place).values())
    finally:
        publisher.clean()


def describe(spark: SparkSession, bad: DataFrame, manifest: Manifest, found: Tally) -> DataFrame:
    """Make quarantine records: file, line, first broken column or rule, its cell, first reason, all reasons, raw line."""
    places = []
    before: Counter[int] = Counter()
    for (file, block), (start, count) in sorted(found.blocks.items()):
        places.append((file, block, manifest.files[file].key, before[file] + 1 - start))
        before[file] += count
    table = local_table(spark, "file int, block bigint, name string, offset bigint", places)
    subjects = [f"WHEN {literal(name)} THEN cells[{n}]" for n, name in enumerate(manifest.contract.names)]
    for rule in manifest.contract.rules:
        parts = ", ".join(f"cells[{manifest.contract.at(name)}]" for name in rule.sum)
        whole = f"cells[{manifest.contract.at(rule.at_most)}]"
        subjects.append(f"WHEN {literal(rule.name)} THEN concat(concat_ws(' + ', {parts}), ' > ', {whole})")
    return (
        bad.join(F.broadcast(table), ["file", "block"])
        .selectExpr("name", "position + offset AS line", "split(reasons, '\\n') AS reasons", "raw", "cells")
        .selectExpr("*", "nullif(substring_index(reasons[0], ':', 1), 'line') AS subject")
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


# ------------------------------------------------------------------------------------------------------------------------------- job


def merge(spark: SparkSession, manifest: Manifest, storage: Storage) -> dict[str, Any]:
    """Merge the batch and return the report.

    Raises:
        ManifestError: a listed file is gone or changed, or the batch is committed already.

    """
    clock = Clock()
    tune(spark, manifest)
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        heads = list(pool.map(storage.head, manifest.files))
    layouts = {
        file.key: layout_of(head, file.key, manifest.contract) for file, head in zip(manifest.files, heads, strict=True)
    }
    refused = {key: layout.refused for key, layout in layouts.items() if layout.refused}
    clock.lap("inspect")

    while True:
        files = {n: file for n, file in enumerate(manifest.files) if file.key not in refused and file.size}
        lines = read_lines(spark, files, layouts) if files else no_lines(spark)
        rows = parse(lines, manifest.contract, manifest.split).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            found = tally(rows, manifest.contract)
            late = {files[number].key: "encoding is not UTF-8: save as UTF-8" for number in found.encoding}
        except Exception:
            late = corrupt_files(files.values(), storage)
            if not late:
                raise
        if not late:
            break
        rows.unpersist()
        refused.update(late)
    for number, file in enumerate(manifest.files):
        if file.key in refused:
            found.files[number]["bad"] += 1
            found.reasons[f"file refused: {refused[file.key]}"] += 1
    clock.lap("parse")

    accepted_files: dict[str, list[str]] = {name: [] for name, _ in manifest.split}
    bytes_written = 0
    over_budget = found.rows > 0 and found.total("bad") / found.rows > manifest.contract.max_share
    if not over_budget:
        kept = drop_repeated(rows.where(f"kind = {ROW}"), manifest, found)
        clock.lap("deduplicate")
        kept = drop_known(spark, kept, manifest, found)
        clock.lap("history")
        accepted_files, bytes_written = write_dataset(spark, kept, manifest)
    else:
        clear_dataset(spark, manifest)
    clock.lap("write")
    bytes_written += write_quarantine(spark, rows, manifest, found, refused)
    clock.lap("quarantine")
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        list(pool.map(storage.confirm, manifest.files))
    clock.lap("confirm")
    spark.catalog.clearCache()
    return {
        **report_of(manifest, found, refused, over_budget),
        "outputs": accepted_files,
        "bytes_written": bytes_written,
        "spark_version": spark.version,
        "seconds": {**clock.seconds, "merge": clock.total},
    }


def corrupt_files(files: Iterable[SourceFile], storage: Storage) -> dict[str, str]:
    """Compressed files that cannot be read to their end, with the reason."""
    late = {}
    for file in files:
        if file.key.endswith(".gz"):
            with storage.stream(file) as stream:
                defect = gunzip_defect(stream)
            if defect:
                late[file.key] = defect
    return late


class Clock:
    """Seconds per phase."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """End a phase and print it."""
        now = time.perf_counter()
        self.seconds[phase] = round(now - self._last, 3)
        self._last = now
        print(f"{phase}: {self.seconds[phase]:.2f} s", flush=True)

    @property
    def total(self) -> float:
        """Seconds since the clock was made."""
        return round(time.perf_counter() - self._started, 3)


def report_of(manifest: Manifest, found: Tally, refused: Mapping[str, str], over_budget: bool) -> dict[str, Any]:
    """Build the report of the rows; docs/data-contract.md describes it."""
    in_batch, in_history = found.total("in_batch"), found.total("in_history")
    files = []
    for number, file in enumerate(manifest.files):
        counts = found.files[number]
        duplicate = counts["in_batch"] + counts["in_history"]
        files.append(
            {
                "key": file.key,
                "etag": file.etag,
                "rows": counts["accepted"] + duplicate + counts["bad"],
                "accepted": counts["accepted"],
                "duplicate": duplicate,
                "quarantined": counts["bad"],
                "refused": refused.get(file.key),
            }
        )
    return {
        "schema_version": 1,
        "batch": manifest.batch,
        "rows_new": found.rows,
        "rows_accepted": found.total("accepted"),
        "rows_duplicate": in_batch + in_history,
        "rows_quarantined": found.total("bad"),
        "rows_duplicate_in_batch": in_batch,
        "rows_duplicate_in_history": in_history,
        "rows_by_split": {name: found.splits[n] for n, (name, _) in enumerate(manifest.split)},
        "rows_by_source": {name: found.sources[name] for name in SOURCES},
        "over_budget": over_budget,
        "max_share": manifest.contract.max_share,
        "files": files,
        "reasons": dict(found.reasons.most_common()),
        "target_mean_by_split": {
            name: found.targets[n] / found.splits[n] if found.splits[n] else None
            for n, (name, _) in enumerate(manifest.split)
        },
    }


def main(argv: Sequence[str]) -> int:
    """Command line of the Glue job."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
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
    summary = ("rows_new", "rows_accepted", "rows_duplicate", "rows_quarantined", "over_budget")
    print(", ".join(f"{name} {report[name]}" for name in summary), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
