"""One crawl: sample the files below the targets, infer their columns, write the tables."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

import pyarrow
import pyarrow.parquet
from botocore.exceptions import ClientError

from local_aws.glue.crawling.crawl_tables import (
    TABLE_INPUT,
    columns_of,
    is_below,
    name_of_namesake,
    partitions_of,
    table_input,
    tables_of,
)
from local_aws.glue.crawling.json_schema import infer_json
from local_aws.glue.crawling.schema import SAMPLE_BYTES, Column, CsvClassifier, FileSchema, decompress, infer_csv
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError
from local_aws.shared.sandbox import S3Files, parse_s3_uri

_LOG = logging.getLogger(__name__)

_MAX_FILES = 200

Document = dict[str, Any]

_PARQUET_TYPES = {
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "float": "float",
    "double": "double",
    "bool": "boolean",
    "string": "string",
    "large_string": "string",
    "binary": "binary",
    "date32[day]": "date",
}


class CrawlStopped(Exception):
    """The crawl was stopped by a request."""


class Crawl:
    """What a crawler does when it runs."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._s3 = clients.s3

    def run(self, crawler: Document, stop: threading.Event) -> Document:
        """Look at the files of all targets; return how many tables were created and updated."""
        self._s3 = self._clients.s3_as(crawler.get("Role"))
        targets = crawler.get("Targets", {}).get("S3Targets", [])
        if not targets:
            raise JobError("the crawler has no S3 target, the only kind that local_aws crawls")
        database = crawler.get("DatabaseName")
        if not database:
            raise JobError("the crawler names no database")
        with contextlib.suppress(self._clients.catalog.exceptions.AlreadyExistsException):
            self._clients.catalog.create_database(DatabaseInput={"Name": database})
        classifier, elements = self._classifiers(crawler.get("Classifiers", []))
        counts = {"TablesCreated": 0, "TablesUpdated": 0}
        written: set[str] = set()
        uris = [target["Path"] if "://" in target["Path"] else f"s3://{target['Path']}" for target in targets]
        for uri, target in zip(uris, targets, strict=True):
            files = self._sample(uri, target.get("Exclusions", []), classifier, elements, stop)
            for name, members, is_only in tables_of(uri, files):
                full_name, action = self._write_table(crawler, database, uri, name, members, is_only)
                self._write_partitions(crawler, database, full_name, uri, members)
                written.add(full_name)
                if action:
                    counts[action] += 1
        return counts | {"TablesDeleted": self._retire(crawler, database, uris, written)}

    def _retire(self, crawler: Document, database: str, uris: Sequence[str], written: set[str]) -> int:
        """Mark, delete or leave the crawler's tables below the targets whose files are gone; return how many were deleted."""
        behaviour = crawler.get("SchemaChangePolicy", {}).get("DeleteBehavior", "DEPRECATE_IN_DATABASE")
        if behaviour == "LOG":
            return 0
        deleted = 0
        pages = self._clients.catalog.get_paginator("get_tables").paginate(DatabaseName=database)
        for table in [table for page in pages for table in page["TableList"]]:
            parameters = table.get("Parameters", {})
            location = table["StorageDescriptor"].get("Location", "")
            mine = parameters.get("UPDATED_BY_CRAWLER") == crawler["Name"] and table["Name"] not in written
            if not mine or not any(is_below(location, uri) for uri in uris):
                continue
            if behaviour == "DELETE_FROM_DATABASE":
                self._clients.catalog.delete_table(DatabaseName=database, Name=table["Name"])
                deleted += 1
            elif "DEPRECATED_BY_CRAWLER" not in parameters:
                marked = {key: value for key, value in table.items() if key in TABLE_INPUT}
                marked["Parameters"] = {**parameters, "DEPRECATED_BY_CRAWLER": str(int(time.time() * 1000))}
                self._clients.catalog.update_table(DatabaseName=database, TableInput=marked)
        return deleted

    def _classifiers(self, names: Sequence[str]) -> tuple[CsvClassifier | None, bool]:
        """Return the crawler's CSV classifier, if any, and whether a JSON classifier asks for the elements of arrays."""
        csv, elements = None, False
        for name in names:
            found = self._clients.catalog.get_classifier(Name=name)["Classifier"]
            if "JsonClassifier" in found:
                path = found["JsonClassifier"].get("JsonPath", "$")
                if path not in ("$", "$[*]"):
                    raise JobError(f"classifier {name}: local_aws knows the JsonPath $[*], not {path}")
                elements = elements or path == "$[*]"
            elif "CsvClassifier" in found:
                classifier = found["CsvClassifier"]
                csv = csv or CsvClassifier(
                    delimiter=classifier.get("Delimiter"),
                    quote=classifier.get("QuoteSymbol", '"'),
                    contains_header=classifier.get("ContainsHeader", "UNKNOWN"),
                    header=tuple(classifier.get("Header", ())),
                )
            else:
                raise JobError(f"classifier {name}: local_aws knows CSV and JSON classifiers, no {next(iter(found))}")
        return csv, elements

    def _sample(
        self,
        uri: str,
        exclusions: Sequence[str],
        classifier: CsvClassifier | None,
        elements: bool,
        stop: threading.Event,
    ) -> list[tuple[Document, FileSchema]]:
        bucket, prefix = parse_s3_uri(uri)
        result = []
        for item in self._sampled_objects(bucket, prefix, exclusions):
            if stop.is_set():
                raise CrawlStopped
            schema = self._schema(bucket, item, classifier, elements)
            if schema:
                result.append((item, schema))
        return result

    def _sampled_objects(self, bucket: str, prefix: str, exclusions: Sequence[str]) -> list[Document]:
        items = S3Files(self._s3).keys(bucket, prefix)
        items = [item for item in items if item["Key"] == prefix] or items  # a target may be a single file
        chosen = [
            item
            for item in items
            if item["Size"]
            and not item["Key"].rsplit("/", 1)[-1].startswith(("_", "."))
            and not any(_glob(pattern, item["Key"][len(prefix) :].lstrip("/")) for pattern in exclusions)
        ]
        # The newest files tell of a change of schema: they are the ones to look at when there are too many.
        chosen.sort(key=lambda item: item["LastModified"])
        return chosen[-_MAX_FILES:]

    def _schema(
        self, bucket: str, item: Document, classifier: CsvClassifier | None, elements: bool
    ) -> FileSchema | None:
        key = item["Key"]
        head = self._s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{SAMPLE_BYTES - 1}")["Body"].read()
        if key.endswith(".parquet") or head[:4] == b"PAR1":
            body = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            return _parquet_schema(body, key)
        try:
            data, compression = decompress(head, key)
        except OSError as error:
            raise JobError(f"s3://{bucket}/{key}: {error}") from error
        truncated = item["Size"] > len(head) or (compression == "gzip" and len(data) >= SAMPLE_BYTES)
        schema = infer_json(data, truncated=truncated, elements=elements)
        schema = schema or infer_csv(data, truncated=truncated, classifier=classifier)
        if schema is None:
            _LOG.info("crawler: s3://%s/%s is of no known format", bucket, key)
            return None
        return FileSchema(**{**schema.__dict__, "compression": compression})

    def _write_table(
        self,
        crawler: Document,
        database: str,
        uri: str,
        name: str,
        members: list[tuple[Document, FileSchema]],
        only: bool,
    ) -> tuple[str, str | None]:
        """Create or update one catalog table; return its name and which count that adds to."""
        bucket, prefix = parse_s3_uri(uri)
        location = uri if only else f"s3://{bucket}/{members[0][0]['Key']}"
        full_name = crawler.get("TablePrefix", "") + name
        catalog, existing = self._clients.catalog, self._table(database, full_name)
        if existing is not None and existing["StorageDescriptor"].get("Location") != location:
            full_name = name_of_namesake(full_name, location)
            existing = self._table(database, full_name)
        table = table_input(full_name, location, prefix, crawler["Name"], members)
        if existing is None:
            try:
                catalog.create_table(DatabaseName=database, TableInput=table)
            except ClientError as problem:
                raise JobError(f"table {database}.{full_name}: {problem.response['Error']['Message']}") from problem
            return full_name, "TablesCreated"
        if crawler.get("SchemaChangePolicy", {}).get("UpdateBehavior") == "LOG":
            return full_name, None
        changed = columns_of(existing) != columns_of(table) or existing.get("PartitionKeys") != table["PartitionKeys"]
        catalog.update_table(DatabaseName=database, TableInput=table)
        return full_name, "TablesUpdated" if changed else None

    def _write_partitions(
        self, crawler: Document, database: str, name: str, uri: str, members: list[tuple[Document, FileSchema]]
    ) -> None:
        """Register the partitions of a table, and remove those whose files are gone if the crawler deletes."""
        table = self._table(database, name)
        if table is None or not table.get("PartitionKeys"):
            return
        catalog = self._clients.catalog
        found = partitions_of(uri, [item["Key"] for item, _ in members])
        pages = catalog.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=name)
        known = {tuple(part["Values"]) for page in pages for part in page["Partitions"]}
        inputs = [
            {"Values": list(values), "StorageDescriptor": table["StorageDescriptor"] | {"Location": location}}
            for values, location in found.items()
            if values not in known
        ]
        for start in range(0, len(inputs), 100):
            chosen = inputs[start : start + 100]
            catalog.batch_create_partition(DatabaseName=database, TableName=name, PartitionInputList=chosen)
        if crawler.get("SchemaChangePolicy", {}).get("DeleteBehavior") == "DELETE_FROM_DATABASE":
            for values in known - found.keys():
                catalog.delete_partition(DatabaseName=database, TableName=name, PartitionValues=list(values))

    def _table(self, database: str, name: str) -> Document | None:
        try:
            return dict(self._clients.catalog.get_table(DatabaseName=database, Name=name)["Table"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "EntityNotFoundException":
                raise
            return None


def _parquet_schema(body: bytes, key: str) -> FileSchema:
    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(body))
    except pyarrow.ArrowInvalid as error:
        raise JobError(f"{key} is not a Parquet file: {error}") from error
    columns = tuple(Column(field.name.lower(), _parquet_type(field.type)) for field in file.schema_arrow)
    rows = file.metadata.num_rows
    return FileSchema(classification="parquet", columns=columns, rows=rows, bytes_read=len(body))


def _parquet_type(kind: Any) -> str:
    text = str(kind)
    if text.startswith("timestamp"):
        return "timestamp"
    if text.startswith("decimal"):
        return text.replace("decimal128", "decimal").replace(" ", "")
    return _PARQUET_TYPES.get(text, "string")


def _glob(pattern: str, path: str) -> bool:
    """Match a Glue exclude pattern: ``**`` crosses folders, ``*`` and ``?`` do not."""
    expression = re.escape(pattern).replace(r"\*\*", "\0").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return re.fullmatch(expression.replace("\0", ".*"), path) is not None
