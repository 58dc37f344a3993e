"""Where a frame is written: objects below a path, and the table of the catalog that tells of them."""

from __future__ import annotations

import re
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from glue_rows.sources import Options, Sources, find_table, format_of, glue

_SPECIAL = re.compile(r"[\x01-\x1f\x7f\"#%'*/:=?\\{\[\]^]")
_SERDES = {
    "parquet": (
        "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
        "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
    ),
    "json": (
        "org.apache.hadoop.mapred.TextInputFormat",
        "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        "org.openx.data.jsonserde.JsonSerDe",
    ),
    "csv": (
        "org.apache.hadoop.mapred.TextInputFormat",
        "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
    ),
    "orc": (
        "org.apache.hadoop.hive.ql.io.orc.OrcInputFormat",
        "org.apache.hadoop.hive.ql.io.orc.OrcOutputFormat",
        "org.apache.hadoop.hive.ql.io.orc.OrcSerde",
    ),
}


class Sink:
    """``getSink``: ``setFormat``, ``setCatalogInfo``, ``writeFrame``."""

    def __init__(self, sources: Sources, connection_type: str, options: Options) -> None:
        if connection_type != "s3":
            raise NotImplementedError(f"connection_type {connection_type!r}: local_aws writes to s3 only")
        self._sources = sources
        self._options = dict(options)
        self._format = "json"
        self._format_options: dict[str, Any] = {}
        self._table: tuple[str, str] | None = None
        self._updates = str(options.get("enableUpdateCatalog", False)).lower() == "true"

    @classmethod
    def of_table(cls, sources: Sources, database: str, name: str, options: Options) -> Sink:
        """Return the sink of a table that exists."""
        table = find_table(database, name)
        keys = [key["Name"] for key in table.get("PartitionKeys", [])]
        sink = cls(sources, "s3", {"partitionKeys": keys, **options, "path": table["StorageDescriptor"]["Location"]})
        kind, read_options = format_of(table)
        header = {"writeHeader": read_options["withHeader"]} if kind == "csv" else {}
        sink.setFormat(kind, **header, **{key: value for key, value in read_options.items() if key == "separator"})
        sink._table = (database, name)
        return sink

    def setFormat(self, format: str, **options: Any) -> None:
        """Name the format of the objects."""
        self._format, self._format_options = format, options

    def setCatalogInfo(self, catalogDatabase: str, catalogTableName: str, catalogId: str = "") -> None:
        """Name the table that is made or brought up to date."""
        self._table = (catalogDatabase, catalogTableName)

    def writeFrame(self, frame: Any, info: str = "") -> Any:
        """Write a frame; return it."""
        rows: DataFrame = frame if isinstance(frame, DataFrame) else frame.toDF()
        self._sources.write(rows, self._options, self._format, self._format_options)
        if self._table and self._updates and rows.columns:
            keep_table(*self._table, rows, self._format, self._options, self._format_options)
        return frame


def keep_table(database: str, name: str, rows: DataFrame, kind: str, options: Options, format_options: Options) -> None:
    """Make the table of what was written, or add its new columns; register its new partitions."""
    kind = "parquet" if kind == "glueparquet" else kind
    keys = list(options.get("partitionKeys") or [])
    location = options["path"].rstrip("/") + "/"
    columns = [
        {"Name": field.name, "Type": field.dataType.simpleString()} for field in rows.schema if field.name not in keys
    ]
    reads, writes, library = _SERDES[kind]
    parameters = {"classification": kind}
    serde: dict[str, Any] = {"SerializationLibrary": library, "Parameters": {}}
    if kind == "csv":
        separator = str(format_options.get("separator", ","))
        serde["Parameters"] = {"field.delim": separator}
        parameters["delimiter"] = separator
        if str(format_options.get("writeHeader", True)).lower() == "true":
            parameters["skip.header.line.count"] = "1"
    storage = {
        "Columns": columns,
        "Location": location,
        "InputFormat": reads,
        "OutputFormat": writes,
        "SerdeInfo": serde,
    }
    client = glue()
    try:
        table = find_table(database, name)
    except client.exceptions.EntityNotFoundException:
        types = {field.name: field.dataType.simpleString() for field in rows.schema}
        made = {
            "Name": name.lower(),
            "TableType": "EXTERNAL_TABLE",
            "Parameters": parameters,
            "StorageDescriptor": storage,
            "PartitionKeys": [{"Name": key, "Type": types[key]} for key in keys],
        }
        client.create_table(DatabaseName=database, TableInput=made)
    else:
        if options.get("updateBehavior", "UPDATE_IN_DATABASE") == "UPDATE_IN_DATABASE":
            _add_columns(database, table, columns)
    if keys:
        register_partitions(database, name, rows, keys, storage)


def add_columns(database: str, name: str, schema: StructType) -> None:
    """Tell the catalog of those columns of a table that it does not know."""
    table = find_table(database, name)
    keys = {key["Name"] for key in table.get("PartitionKeys", [])}
    columns = [
        {"Name": field.name, "Type": field.dataType.simpleString()} for field in schema if field.name not in keys
    ]
    _add_columns(database, table, columns)


def _add_columns(database: str, table: dict[str, Any], columns: list[dict[str, str]]) -> None:
    known = {column["Name"] for column in table["StorageDescriptor"]["Columns"]}
    new = [column for column in columns if column["Name"] not in known]
    if not new:
        return
    kept = (
        "Name",
        "Description",
        "Owner",
        "Retention",
        "StorageDescriptor",
        "PartitionKeys",
        "TableType",
        "Parameters",
    )
    changed = {key: value for key, value in table.items() if key in kept and value is not None}
    changed["StorageDescriptor"]["Columns"] += new
    glue().update_table(DatabaseName=database, TableInput=changed)


def _escaped(name: str) -> str:
    """Return a name or a value as Spark, like Hive, writes it into the name of a folder: ``10:00`` is ``10%3A00``."""
    return _SPECIAL.sub(lambda match: f"%{ord(match.group()):02X}", name)


def register_partitions(database: str, name: str, rows: DataFrame, keys: list[str], storage: dict[str, Any]) -> None:
    """Tell the catalog of the partitions of some rows; those that it knows stay."""
    base = storage["Location"].rstrip("/")
    inputs = []
    for row in rows.select(*[f"`{key}`" for key in keys]).distinct().collect():
        values = ["__HIVE_DEFAULT_PARTITION__" if value is None else str(value) for value in row]
        folder = "/".join(f"{_escaped(key)}={_escaped(value)}" for key, value in zip(keys, values, strict=True))
        inputs.append({"Values": values, "StorageDescriptor": storage | {"Location": f"{base}/{folder}/"}})
    for start in range(0, len(inputs), 100):
        glue().batch_create_partition(
            DatabaseName=database, TableName=name.lower(), PartitionInputList=inputs[start : start + 100]
        )
