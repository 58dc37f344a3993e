"""What a crawler writes into the catalog: which files make one table, and the table's input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from local_aws.glue.crawling.schema import FileSchema, group_by_similarity, merge_schemas, table_name
from local_aws.shared.sandbox import parse_s3_uri

Document = dict[str, Any]

TABLE_INPUT = frozenset(
    {"Name", "Description", "Owner", "Retention", "StorageDescriptor", "PartitionKeys", "TableType", "Parameters"}
)
"""Members of a table that UpdateTable takes back."""


def columns_of(table: Document) -> list[tuple[str, str]]:
    """Return (name, type) of each column of a table."""
    return [(column["Name"], column["Type"]) for column in table["StorageDescriptor"]["Columns"]]


def is_below(location: str, target: str) -> bool:
    """Return whether a table's location is a crawler's target or lies below it."""
    return location.rstrip("/") == target.rstrip("/") or location.startswith(target.rstrip("/") + "/")


def name_of_namesake(name: str, location: str) -> str:
    """Return the name of a table whose own name another location has: a digest of the location makes it unique, as in Glue."""
    return f"{name}_{hashlib.md5(location.encode(), usedforsecurity=False).hexdigest()}"


def tables_of(
    uri: str, files: list[tuple[Document, FileSchema]]
) -> list[tuple[str, list[tuple[Document, FileSchema]], bool]]:
    """Return (name, files, whole target) of each table: one per target unless the files differ too much."""
    if not files:
        return []
    bucket, prefix = parse_s3_uri(uri)
    base = table_name(prefix.rstrip("/").rsplit("/", 1)[-1] or bucket)
    groups = group_by_similarity([schema for _, schema in files])
    tables = [(base, [files[index] for index in groups[0]], True)]
    for group in groups[1:]:
        stem = files[group[0]][0]["Key"].rsplit("/", 1)[-1]
        tables.append((f"{base}_{table_name(stem)}", [files[index] for index in group], False))
    return tables


def table_input(
    name: str, location: str, prefix: str, crawler: str, members: list[tuple[Document, FileSchema]]
) -> Document:
    """Return the TableInput that the crawler writes for the files of one table."""
    schemas = [schema for _, schema in members]
    first = schemas[0]
    size = sum(item["Size"] for item, _ in members)
    parameters = {
        "classification": first.classification,
        "compressionType": first.compression,
        "typeOfData": "file",
        "objectCount": str(len(members)),
        "sizeKey": str(size),
        "UPDATED_BY_CRAWLER": crawler,
        "CrawlerSchemaSerializerVersion": "1.0",
        "CrawlerSchemaDeserializerVersion": "1.0",
    }
    rows = sum(schema.rows for schema in schemas)
    if rows:
        average = sum(schema.bytes_read for schema in schemas) // rows
        parameters |= {"averageRecordSize": str(average), "recordCount": str(size // max(1, average))}
    if first.classification == "csv":
        header = all(schema.has_header for schema in schemas)
        parameters |= {"delimiter": first.delimiter, "columnsOrdered": "true", "areColumnsQuoted": "false"}
        if header:
            parameters["skip.header.line.count"] = "1"
        formats = {
            "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
                "Parameters": {"field.delim": first.delimiter},
            },
        }
    elif first.classification == "json":
        formats = {
            "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe",
                "Parameters": {"paths": ",".join(sorted(column.name for column in merge_schemas(schemas)))},
            },
        }
    else:
        formats = {
            "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
                "Parameters": {"serialization.format": "1"},
            },
        }
    partitions = _partition_keys(prefix, [item["Key"] for item, _ in members])
    columns = [column for column in merge_schemas(schemas) if column.name not in partitions]
    return {
        "Name": name,
        "Owner": "owner",
        "Retention": 0,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": parameters,
        "PartitionKeys": [{"Name": key, "Type": "string"} for key in partitions],
        "StorageDescriptor": {
            "Columns": [{"Name": column.name, "Type": column.type} for column in columns],
            "Location": location,
            "Compressed": first.compression != "none",
            "NumberOfBuckets": -1,
            "BucketColumns": [],
            "SortColumns": [],
            "Parameters": parameters,
            "StoredAsSubDirectories": False,
            **formats,
        },
    }


def _partition_keys(prefix: str, keys: Sequence[str]) -> list[str]:
    """Return the names of ``name=value`` folders that all files share, in order."""
    per_file = []
    for key in keys:
        folders = key[len(prefix) :].strip("/").split("/")[:-1]
        per_file.append([folder.partition("=")[0].lower() for folder in folders if "=" in folder])
    return per_file[0] if per_file and all(names == per_file[0] for names in per_file) else []


def partitions_of(uri: str, keys: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Return the location of each partition by its values, from the ``name=value`` folders between a target and its objects."""
    bucket, prefix = parse_s3_uri(uri)
    found: dict[tuple[str, ...], str] = {}
    for key in keys:
        folders = key[len(prefix) :].strip("/").split("/")[:-1]
        last = max((place for place, folder in enumerate(folders) if "=" in folder), default=-1)
        values = tuple(unquote(folder.partition("=")[2]) for folder in folders if "=" in folder)
        base = f"s3://{bucket}/{prefix.rstrip('/')}".rstrip("/")
        found[values] = "/".join([base, *folders[: last + 1]]) + "/"
    return found
