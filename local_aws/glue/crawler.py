"""Glue crawlers: look at the files below S3 prefixes and write catalog tables."""

from __future__ import annotations

import io
import logging
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

import pyarrow
import pyarrow.parquet
from botocore.exceptions import ClientError

from local_aws.glue.schema import (
    SAMPLE_BYTES,
    Column,
    CsvClassifier,
    FileSchema,
    decompress,
    group_by_similarity,
    infer_csv,
    merge_schemas,
    table_name,
)
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError, ServiceError, describe_exception
from local_aws.shared.listing import page_of
from local_aws.shared.sandbox import S3Files, parse_s3_uri
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

_LOG = logging.getLogger(__name__)

_LOG_GROUP = "/aws-glue/crawlers"
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


class Crawlers:
    """StartCrawler, StopCrawler and the Get operations; definitions are MiniStack's."""

    def __init__(self, settings: Settings, store: Store, clients: Clients) -> None:
        self._settings = settings
        self._store = store
        self._clients = clients
        self._lock = threading.Lock()
        self._stops: dict[str, threading.Event] = {}

    # -- the API ---------------------------------------------------------------------------------------------------

    def start(self, params: Document) -> Document:
        """Begin a crawl; CrawlerRunningException while one is under way."""
        crawler = self._definition(params["Name"])
        name = crawler["Name"]
        with self._lock:
            if self._state(crawler).get("State", "READY") != "READY":
                raise ServiceError("CrawlerRunningException", f"Crawler with name {name} has already started")
            now = time.time()
            state = self._state(crawler)
            state |= {"State": "RUNNING", "StartTime": now, "CrawlId": str(uuid.uuid4())}
            self._store.put("crawler", name, state)
            stop = self._stops[name] = threading.Event()
        threading.Thread(target=self._execute, args=(crawler, state, stop), name=f"crawler-{name}", daemon=True).start()
        return {}

    def stop(self, params: Document) -> Document:
        """Ask a crawl to end."""
        crawler = self._definition(params["Name"])
        name = crawler["Name"]
        with self._lock:
            state = self._state(crawler)
            if state.get("State") == "STOPPING":
                raise ServiceError("CrawlerStoppingException", f"Crawler with name {name} is already stopping")
            if state.get("State") != "RUNNING":
                raise ServiceError("CrawlerNotRunningException", f"Crawler with name {name} isn't running")
            self._store.put("crawler", name, state | {"State": "STOPPING"})
            self._stops[name].set()
        return {}

    def get(self, params: Document) -> Document:
        """Return a crawler's definition and what its last crawl did."""
        return {"Crawler": self._shown(self._definition(params["Name"]))}

    def get_all(self, params: Document) -> Document:
        """Return a page of crawlers."""
        crawlers = [self._shown(crawler) for crawler in self._clients.catalog.get_crawlers()["Crawlers"]]
        return page_of(crawlers, params, "Crawlers", default_size=100)

    def list_names(self, params: Document) -> Document:
        """Return a page of crawler names."""
        names = [crawler["Name"] for crawler in self._clients.catalog.get_crawlers()["Crawlers"]]
        return page_of(names, params, "CrawlerNames", default_size=100)

    def delete(self, params: Document) -> Document:
        """Remove a crawler that does not run."""
        crawler = self._definition(params["Name"])
        with self._lock:
            if self._state(crawler).get("State", "READY") != "READY":
                raise ServiceError("CrawlerRunningException", f"Crawler with name {params['Name']} is running")
            self._clients.catalog.delete_crawler(Name=params["Name"])
            self._store.delete("crawler", params["Name"])
        return {}

    def metrics(self, params: Document) -> Document:
        """Return run times and counts of tables."""
        chosen = params.get("CrawlerNameList")
        metrics = []
        for crawler in self._clients.catalog.get_crawlers()["Crawlers"]:
            if chosen and crawler["Name"] not in chosen:
                continue
            state = self._state(crawler)
            runtimes = sorted(state.get("Runtimes", []))
            metrics.append(
                {
                    "CrawlerName": crawler["Name"],
                    "TimeLeftSeconds": 0.0,
                    "StillEstimating": state.get("State", "READY") != "READY",
                    "LastRuntimeSeconds": state["Runtimes"][-1] if runtimes else 0.0,
                    "MedianRuntimeSeconds": runtimes[len(runtimes) // 2] if runtimes else 0.0,
                    "TablesCreated": state.get("TablesCreated", 0),
                    "TablesUpdated": state.get("TablesUpdated", 0),
                    "TablesDeleted": 0,
                }
            )
        return page_of(metrics, params, "CrawlerMetricsList", default_size=100)

    def recover(self) -> None:
        """Report the crawls that an earlier process did not finish as failed."""
        for state in self._store.all("crawler"):
            if state.get("State", "READY") != "READY":
                error = "local_aws stopped while the crawler was running; start it again."
                self._end(state, "FAILED", error)

    def _definition(self, name: str) -> Document:
        try:
            return dict(self._clients.catalog.get_crawler(Name=name)["Crawler"])
        except ClientError as error:
            raise ServiceError("EntityNotFoundException", f"Crawler with name {name} does not exist") from error

    def _state(self, crawler: Document) -> Document:
        """Return what is known of a crawler's crawls; nothing is known of a namesake that was deleted."""
        created = crawler["CreationTime"].timestamp()
        state = self._store.get("crawler", crawler["Name"])
        if state is None or state["CreationTime"] != created:
            return {"Name": crawler["Name"], "CreationTime": created}
        return state

    def _shown(self, crawler: Document) -> Document:
        state = self._state(crawler)
        running = state.get("State", "READY") != "READY"
        elapsed = int((time.time() - state["StartTime"]) * 1000) if running else 0
        shown = {key: value for key, value in crawler.items() if key != "LastCrawl"}
        shown |= {"State": state.get("State", "READY"), "CrawlElapsedTime": elapsed}
        if "LastCrawl" in state:
            shown["LastCrawl"] = state["LastCrawl"]
        return shown

    # -- a crawl ---------------------------------------------------------------------------------------------------

    def _execute(self, crawler: Document, state: Document, stop: threading.Event) -> None:
        status, error, counts = "SUCCEEDED", "", {}
        try:
            counts = self._crawl(crawler, stop)
        except CrawlStopped:
            status = "CANCELLED"
        except (JobError, ServiceError) as problem:
            status, error = "FAILED", str(problem)
        except Exception as problem:
            _LOG.exception("crawler %s", crawler["Name"])
            status, error = "FAILED", describe_exception(problem)
        self._log(crawler["Name"], state, status, error, counts)
        self._end(state, status, error, counts)

    def _end(self, state: Document, status: str, error: str, counts: Document | None = None) -> None:
        last = {
            "Status": status,
            "LogGroup": _LOG_GROUP,
            "LogStream": state["Name"],
            "MessagePrefix": state["CrawlId"],
            "StartTime": state["StartTime"],
        }
        if error:
            last["ErrorMessage"] = error[:2000]
        runtimes = [*state.get("Runtimes", []), time.time() - state["StartTime"]][-20:]
        ended = state | {"State": "READY", "LastCrawl": last, "Runtimes": runtimes} | (counts or {})
        with self._lock:
            self._store.put("crawler", state["Name"], ended)

    def _log(self, name: str, state: Document, status: str, error: str, counts: Document) -> None:
        message = f"[{state['CrawlId']}] {status} {error or counts}"
        for create, names in (
            (self._clients.logs.create_log_group, {"logGroupName": _LOG_GROUP}),
            (self._clients.logs.create_log_stream, {"logGroupName": _LOG_GROUP, "logStreamName": name}),
        ):
            try:
                create(**names)
            except ClientError as problem:
                if problem.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                    _LOG.warning("log of crawler %s: %s", name, problem)
                    return
        event = {"timestamp": int(time.time() * 1000), "message": message}
        self._clients.logs.put_log_events(logGroupName=_LOG_GROUP, logStreamName=name, logEvents=[event])

    def _crawl(self, crawler: Document, stop: threading.Event) -> Document:
        targets = crawler.get("Targets", {}).get("S3Targets", [])
        if not targets:
            raise JobError("the crawler has no S3 target, the only kind that local_aws crawls")
        database = crawler.get("DatabaseName")
        if not database:
            raise JobError("the crawler names no database")
        classifier = self._classifier(crawler.get("Classifiers", []))
        counts = {"TablesCreated": 0, "TablesUpdated": 0}
        for target in targets:
            uri = target["Path"] if "://" in target["Path"] else f"s3://{target['Path']}"
            files = self._sample(uri, target.get("Exclusions", []), classifier, stop)
            for name, members, is_only in _tables(uri, files):
                action = self._write_table(crawler, database, uri, name, members, is_only)
                if action:
                    counts[action] += 1
        return counts

    def _classifier(self, names: Sequence[str]) -> CsvClassifier | None:
        for name in names:
            found = self._clients.catalog.get_classifier(Name=name)["Classifier"].get("CsvClassifier")
            if found:
                return CsvClassifier(
                    delimiter=found.get("Delimiter"),
                    quote=found.get("QuoteSymbol", '"'),
                    contains_header=found.get("ContainsHeader", "UNKNOWN"),
                    header=tuple(found.get("Header", ())),
                )
        return None

    def _sample(
        self, uri: str, exclusions: Sequence[str], classifier: CsvClassifier | None, stop: threading.Event
    ) -> list[tuple[Document, FileSchema]]:
        bucket, prefix = parse_s3_uri(uri)
        result = []
        for item in self._sampled_objects(bucket, prefix, exclusions):
            if stop.is_set():
                raise CrawlStopped
            schema = self._schema(bucket, item, classifier)
            if schema:
                result.append((item, schema))
        return result

    def _sampled_objects(self, bucket: str, prefix: str, exclusions: Sequence[str]) -> list[Document]:
        items = S3Files(self._clients.s3).keys(bucket, prefix)
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

    def _schema(self, bucket: str, item: Document, classifier: CsvClassifier | None) -> FileSchema | None:
        key = item["Key"]
        if key.endswith(".parquet"):
            body = self._clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            return _parquet_schema(body, key)
        head = self._clients.s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{SAMPLE_BYTES - 1}")["Body"].read()
        try:
            data, compression = decompress(head, key)
        except OSError as error:
            raise JobError(f"s3://{bucket}/{key}: {error}") from error
        truncated = item["Size"] > len(head) or (compression == "gzip" and len(data) >= SAMPLE_BYTES)
        schema = infer_csv(data, truncated=truncated, classifier=classifier)
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
    ) -> str | None:
        """Create or update one catalog table; return which count that adds to."""
        full_name = crawler.get("TablePrefix", "") + name
        bucket, prefix = parse_s3_uri(uri)
        location = uri if only else f"s3://{bucket}/{members[0][0]['Key']}"
        table = _table_input(full_name, location, prefix, crawler["Name"], members)
        catalog = self._clients.catalog
        try:
            existing = catalog.get_table(DatabaseName=database, Name=full_name)["Table"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "EntityNotFoundException":
                raise
            try:
                catalog.create_table(DatabaseName=database, TableInput=table)
            except ClientError as problem:
                raise JobError(f"table {database}.{full_name}: {problem.response['Error']['Message']}") from problem
            return "TablesCreated"
        if crawler.get("SchemaChangePolicy", {}).get("UpdateBehavior") == "LOG":
            return None
        changed = _columns(existing) != _columns(table) or existing.get("PartitionKeys") != table["PartitionKeys"]
        catalog.update_table(DatabaseName=database, TableInput=table)
        return "TablesUpdated" if changed else None


def _columns(table: Document) -> list[tuple[str, str]]:
    return [(column["Name"], column["Type"]) for column in table["StorageDescriptor"]["Columns"]]


def _tables(
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


def _table_input(
    name: str, location: str, prefix: str, crawler: str, members: list[tuple[Document, FileSchema]]
) -> Document:
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
    import re

    expression = re.escape(pattern).replace(r"\*\*", "\0").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return re.fullmatch(expression.replace("\0", ".*"), path) is not None
