"""Where a frame comes from and goes to: objects in S3 and tables of the Glue catalog."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

import boto3
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from glue_rows.bookmarks import Bookmarks
from glue_rows.choices import typed
from glue_rows.purging import purge

Options = Mapping[str, Any]

_READABLE = ("csv", "json", "parquet", "orc", "xml")
_WRITABLE = ("csv", "json", "parquet", "glueparquet", "orc")
_INFERENCE = "spark.sql.sources.partitionColumnTypeInference.enabled"
#: A separator that stands in no value.
_NEVER = "\x01"
_SERDES = {"parquet": "parquet", "json": "json", "orc": "orc", "opencsv": "csv", "lazysimple": "csv"}


class Read:
    """What was read: a frame, and the names of its columns with more than one type."""

    def __init__(self, frame: DataFrame, choices: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.frame = frame
        self.choices = set(choices)


class Sources:
    """Reads and writes for one session; the bookmarks decide which objects are new."""

    def __init__(self, spark: SparkSession, bookmarks: Bookmarks) -> None:
        self._spark = spark
        self._bookmarks = bookmarks

    # -- objects ---------------------------------------------------------------------------------------------------

    def read(
        self, connection_type: str, options: Options, kind: str | None, format_options: Options, context: str
    ) -> Read:
        """Return the rows of the objects below some paths.

        Raises:
            NotImplementedError: of a connection or a format that local_aws does not read.

        """
        _refuse_others("connection_type", connection_type, ("s3", *_READABLE))
        kind = (kind or connection_type).lower()
        _refuse_others("format", kind, _READABLE)
        paths = options.get("paths") or options.get("path") or []
        paths = [paths] if isinstance(paths, str) else list(paths)
        objects: dict[str, str] = {}
        for path in paths:
            objects |= list_objects(path, _exclusions(options), recurse=_true(options.get("recurse", True)))
        chosen = sorted(self._bookmarks.new_of(context, objects))
        if not chosen:
            return Read(self._empty())
        folders = [path for path in paths if path not in objects]
        base = folders[0] if len(folders) == 1 and len(paths) == 1 else None
        return self._load(kind, chosen, format_options, base)

    def _empty(self) -> DataFrame:
        return self._spark.createDataFrame([], StructType([]))

    def _load(self, kind: str, uris: list[str], options: Options, base: str | None) -> Read:
        """Read objects; the values of partition folders below `base` are text: a month stays 01."""
        before = self._spark.conf.get(_INFERENCE)
        self._spark.conf.set(_INFERENCE, "false")
        try:
            return self._load_objects(kind, uris, options, base)
        finally:
            self._spark.conf.set(_INFERENCE, str(before))

    def _load_objects(self, kind: str, uris: list[str], options: Options, base: str | None) -> Read:
        reader = self._spark.read.option("mode", "PERMISSIVE")
        if base:
            reader = reader.option("basePath", base if base.endswith("/") else f"{base}/")
        if kind == "csv":
            frame = _csv_options(reader, options).csv(uris)
            if not _true(options.get("withHeader", False)):
                numbered = [f"col{name[2:]}" if name.startswith("_c") else name for name in frame.columns]
                frame = frame.toDF(*numbered)
            # A field that is empty is an empty text, as Glue's reader has it.
            return Read(frame.fillna(""))
        if kind == "json":
            whole = _true(options.get("multiline", False)) or options.get("jsonPath") in ("$[*]", "$")
            if options.get("jsonPath") not in (None, "", "$", "$[*]"):
                raise NotImplementedError(f"jsonPath {options['jsonPath']!r}: local_aws reads '$[*]' only")
            frame = reader.option("multiLine", whole).json(uris)
            return Read(frame)
        if kind == "xml":
            return Read(reader.option("rowTag", options["rowTag"]).format("xml").load(",".join(uris)))
        return Read(reader.format(kind).load(uris))

    def write(self, frame: DataFrame, options: Options, kind: str | None, format_options: Options) -> None:
        """Add the rows to the objects below ``options["path"]``; a frame without rows or columns leaves nothing.

        Raises:
            NotImplementedError: of a format that local_aws does not write.

        """
        kind = (kind or "json").lower()
        _refuse_others("format", kind, _WRITABLE)
        if not frame.columns or frame.isEmpty():
            return
        quoted = format_options.get("quoteChar", '"') not in (-1, "-1")
        if kind == "csv" and not quoted:
            frame = _as_lines(frame, str(format_options.get("separator", ",")), options.get("partitionKeys") or [])
        writer = frame.write.mode("append").option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
        if options.get("partitionKeys"):
            writer = writer.partitionBy(*options["partitionKeys"])
        if options.get("compression") or format_options.get("compression"):
            writer = writer.option("compression", options.get("compression") or format_options["compression"])
        if kind == "csv":
            writer = writer.option("header", _true(format_options.get("writeHeader", True)))
            writer = writer.option("sep", format_options.get("separator", ",") if quoted else _NEVER)
            writer = writer.option("quote", format_options.get("quoteChar", '"') if quoted else "").option(
                "escape", '"'
            )
            writer = writer.option("emptyValue", "")
            writer = writer.option("ignoreLeadingWhiteSpace", False).option("ignoreTrailingWhiteSpace", False)
        writer.format("parquet" if kind == "glueparquet" else kind).save(options["path"])

    # -- tables ----------------------------------------------------------------------------------------------------

    def read_table(self, database: str, name: str, predicate: str, options: Options, context: str) -> Read:
        """Return the rows of a table's registered partitions, or of its location.

        Raises:
            NotImplementedError: the table is of a format that local_aws does not read.

        """
        table = find_table(database, name)
        keys = {key["Name"]: key.get("Type", "string") for key in table.get("PartitionKeys", [])}
        exclusions = _exclusions(options) or _exclusions(table.get("Parameters", {}))
        whole = [((), table["StorageDescriptor"]["Location"])]
        parts = self._partitions(database, table, keys, predicate) if keys else whole
        loaded: Read | None = None
        for values, location in parts:
            found = self._bookmarks.new_of(context, list_objects(location, exclusions))
            if not found:
                continue
            one = self._load_table(table, sorted(found))
            for (key, kind), value in zip(keys.items(), values, strict=True):
                one.frame = one.frame.withColumn(key, F.lit(value).cast(kind))
            loaded = one if loaded is None else _union(loaded, one)
        return loaded or Read(self._empty())

    def purge_table(self, database: str, name: str, options: Options) -> None:
        """Delete old objects of a table, of the partitions that fulfil ``partitionPredicate``; a partition without objects ends."""
        table = find_table(database, name)
        keys = {key["Name"]: key.get("Type", "string") for key in table.get("PartitionKeys", [])}
        if not keys:
            purge(table["StorageDescriptor"]["Location"], options)
            return
        for values, location in self._partitions(database, table, keys, options.get("partitionPredicate", "")):
            if purge(location, options):
                gone = [{"Values": list(values)}]
                glue().batch_delete_partition(DatabaseName=database, TableName=name, PartitionsToDelete=gone)

    def _partitions(
        self, database: str, table: Options, keys: Mapping[str, str], predicate: str
    ) -> list[tuple[tuple[str, ...], str]]:
        found = [(*values, location) for values, location in registered(database, table).items()]
        if predicate and found:
            schema = StructType([StructField(column, StringType()) for column in (*keys, "location of the partition")])
            rows = self._spark.createDataFrame(found, schema)
            for key, kind in keys.items():
                rows = rows.withColumn(f"{key} as text", F.col(f"`{key}`"))
                rows = rows.withColumn(key, F.col(f"`{key}`").cast(kind))
            texts = [F.col(f"`{key} as text`") for key in keys]
            found = [tuple(row) for row in rows.where(predicate).select(*texts, "location of the partition").collect()]
        return [(tuple(values), location) for *values, location in found]

    def _load_table(self, table: Options, uris: list[str]) -> Read:
        kind, options = format_of(table)
        if kind != "csv":
            return self._load(kind, uris, options, None)
        columns = {column["Name"]: column["Type"] for column in table["StorageDescriptor"]["Columns"]}
        schema = StructType([StructField(column, StringType()) for column in columns])
        reader = _csv_options(self._spark.read.schema(schema), options)
        frame = reader.option("enforceSchema", True).csv(uris)
        frame, choices = typed(frame, columns)
        return Read(frame.fillna(""), choices)


def _as_lines(frame: DataFrame, separator: str, keys: list[str]) -> DataFrame:
    """Return the frame with all its columns but the keys in one, as they stand in a file without quotes; its name is the header."""
    names = [name for name in frame.columns if name not in keys]
    texts = [F.coalesce(F.col(f"`{name}`").cast("string"), F.lit("")) for name in names]
    return frame.select(F.concat_ws(separator, *texts).alias(separator.join(names)), *[f"`{key}`" for key in keys])


def _union(one: Read, other: Read) -> Read:
    """Put the partitions of a table together; where one has a choice and the other does not, both are text."""
    for name in one.choices ^ other.choices:
        for read in (one, other):
            if name in read.choices:
                fields = [F.col(f"`{name}`").getField(part) for part in read.frame.schema[name].dataType.fieldNames()]  # type: ignore[attr-defined]
                read.frame = read.frame.withColumn(name, F.coalesce(*[field.cast("string") for field in fields]))
            elif name in read.frame.columns:
                read.frame = read.frame.withColumn(name, F.col(f"`{name}`").cast("string"))
    frame = one.frame.unionByName(other.frame, allowMissingColumns=True)
    return Read(frame, one.choices & other.choices)


@functools.cache
def glue() -> Any:
    """Return the client of the Glue catalog."""
    return boto3.client("glue")


@functools.cache
def _s3() -> Any:
    return boto3.client("s3")


def find_table(database: str, name: str) -> dict[str, Any]:
    """Return a table of the catalog; its EntityNotFoundException when there is none."""
    return dict(glue().get_table(DatabaseName=database.lower(), Name=name.lower())["Table"])


def registered(database: str, table: Options) -> dict[tuple[str, ...], str]:
    """Return where the registered partitions of a table lie, by their values; one without a location lies below the table's."""
    names = [key["Name"] for key in table.get("PartitionKeys", [])]
    base = table["StorageDescriptor"].get("Location", "").rstrip("/")
    found = {}
    for page in glue().get_paginator("get_partitions").paginate(DatabaseName=database, TableName=table["Name"]):
        for part in page["Partitions"]:
            values = tuple(part["Values"])
            folder = "/".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
            found[values] = part.get("StorageDescriptor", {}).get("Location") or f"{base}/{folder}/"
    return found


def format_of(table: Options) -> tuple[str, dict[str, Any]]:
    """Return the format of a table's objects and the options with which they are read.

    Raises:
        NotImplementedError: it is none that local_aws reads.

    """
    storage = table["StorageDescriptor"]
    serde = storage.get("SerdeInfo", {})
    parameters = {**storage.get("Parameters", {}), **table.get("Parameters", {}), **serde.get("Parameters", {})}
    library = serde.get("SerializationLibrary", "").lower()
    kind = parameters.get("classification", "").lower()
    if kind not in _READABLE:
        kind = next((kind for part, kind in _SERDES.items() if part in library), kind or library)
    _refuse_others(f"the format of table {table['Name']}", kind, _READABLE)
    options: dict[str, Any] = {"rowTag": parameters.get("rowTag", "row")}
    if kind == "csv":
        options["separator"] = (
            parameters.get("separatorChar") or parameters.get("delimiter") or parameters.get("field.delim") or ","
        )
        options["quoteChar"] = parameters.get("quoteChar", '"')
        options["withHeader"] = parameters.get("skip.header.line.count", "0") != "0"
    elif parameters.get("multiline"):
        options["multiline"] = parameters["multiline"]
    return kind, options


def list_objects(uri: str, exclusions: list[str], recurse: bool = True) -> dict[str, str]:
    """Return the ETags of the objects at or below an S3 URI, markers and hidden ones left out."""
    match = re.fullmatch(r"s3[an]?://([^/]+)/?(.*)", uri)
    if not match:
        raise ValueError(f"{uri} is not an S3 URI of the form s3://bucket/key")
    bucket, prefix = match.groups()
    found = {}
    for page in _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            key = item["Key"]
            rest = key[len(prefix) :]
            if rest and not (prefix.endswith("/") or rest.startswith("/") or not prefix):
                continue  # another name with the same beginning
            hidden = any(part.startswith(("_", ".")) for part in rest.split("/"))
            below = "/" in rest.lstrip("/")
            if (
                item["Size"]
                and not hidden
                and (recurse or not below)
                and not any(_glob(g, f"s3://{bucket}/{key}") for g in exclusions)
            ):
                found[f"s3://{bucket}/{key}"] = item["ETag"]
    return found


def _glob(pattern: str, uri: str) -> bool:
    expression = re.escape(pattern).replace(r"\*\*", "\0").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    expression = expression.replace("\0", ".*")
    return re.fullmatch(expression if "://" in pattern else f".*{expression}", uri) is not None


def _exclusions(options: Options) -> list[str]:
    given = options.get("exclusions") or []
    return json.loads(given) if isinstance(given, str) else list(given)


def _csv_options(reader: Any, options: Options) -> Any:
    quote = options.get("quoteChar", '"')
    return (
        reader.option("header", _true(options.get("withHeader", False)) or _true(options.get("skipFirst", False)))
        .option("sep", options.get("separator", ","))
        .option("quote", "" if quote in (-1, "-1") else quote)
        .option("escape", options.get("escaper", '"'))
        .option("multiLine", _true(options.get("multiline", options.get("multiLine", False))))
    )


def _true(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).lower() == "true"


def _refuse_others(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise NotImplementedError(f"{what} {given!r} is not available in local_aws, which knows {', '.join(known)}")
