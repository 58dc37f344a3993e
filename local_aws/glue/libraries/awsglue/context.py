"""``GlueContext``: the session of a Glue job, with frames read from S3 and from the catalog, and written there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from glue_rows.bookmarks import Bookmarks
from glue_rows.purging import purge
from glue_rows.sinks import Sink
from glue_rows.sources import Read, Sources
from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession

from awsglue.dynamicframe import DynamicFrame, DynamicFrameCollection, DynamicFrameReader, DynamicFrameWriter

_NO_CONNECTION = "connections lead nowhere"
_NO_STREAM = "there are no streams"
#: What Glue has and local_aws has not, with the reason.
_ABSENT = {
    "write_dynamic_frame_from_jdbc_conf": _NO_CONNECTION,
    "extract_jdbc_conf": _NO_CONNECTION,
    "forEachBatch": _NO_STREAM,
    "add_ingestion_time_columns": _NO_STREAM,
    "transition_table": "objects have no storage classes",
    "transition_s3_path": "objects have no storage classes",
    "start_transaction": "tables are not governed by Lake Formation",
    "commit_transaction": "tables are not governed by Lake Formation",
    "cancel_transaction": "tables are not governed by Lake Formation",
}


class GlueContext:
    """``GlueContext(SparkContext.getOrCreate())``; what it does not know itself is the session's."""

    def __init__(self, sparkContext: SparkContext | None = None, **_: Any) -> None:
        self.spark_context = sparkContext or SparkContext.getOrCreate()
        self.spark_session = SparkSession.builder.getOrCreate()
        self.bookmarks = Bookmarks()
        self.sources = Sources(self.spark_session, self.bookmarks)
        self.create_dynamic_frame = DynamicFrameReader(self)
        self.create_data_frame = _DataFrames(self.create_data_frame_from_catalog, self.create_data_frame_from_options)
        self.write_dynamic_frame = DynamicFrameWriter(self)
        self.write_data_frame = _DataFrames(
            self.write_dynamic_frame_from_catalog, self.write_dynamic_frame_from_options
        )

    def __getattr__(self, name: str) -> Any:
        if name in ("spark_session", "__getstate__"):
            raise AttributeError(name)
        if name in _ABSENT:
            raise NotImplementedError(f"GlueContext.{name} is not available in local_aws: {_ABSENT[name]}")
        return getattr(self.spark_session, name)

    def get_logger(self) -> Any:
        """Return a logger with info, warn, error and debug, which writes to the job's error log."""
        return logging.getLogger("GlueLogger")

    # -- reading ---------------------------------------------------------------------------------------------------

    def create_dynamic_frame_from_catalog(
        self,
        database: str = "",
        table_name: str = "",
        redshift_tmp_dir: str = "",
        transformation_ctx: str = "",
        push_down_predicate: str = "",
        additional_options: dict[str, Any] | None = None,
        catalog_id: str | None = None,
        **others: Any,
    ) -> DynamicFrame:
        """Return the rows of a catalog table, those of its registered partitions that fulfil the predicate."""
        database = database or others.get("name_space", "")
        options = additional_options or {}
        predicate = push_down_predicate or options.get("catalogPartitionPredicate", "")
        read = self.sources.read_table(database, table_name, predicate, options, transformation_ctx)
        return self._frame(read, table_name or transformation_ctx)

    def create_dynamic_frame_from_options(
        self,
        connection_type: str,
        connection_options: dict[str, Any] | None = None,
        format: str | None = None,
        format_options: dict[str, Any] | None = None,
        transformation_ctx: str = "",
        push_down_predicate: str = "",
        **_: Any,
    ) -> DynamicFrame:
        """Return the rows of objects in S3."""
        options = connection_options or {}
        read = self.sources.read(connection_type, options, format, format_options or {}, transformation_ctx)
        return self._frame(read, transformation_ctx or "frame")

    def create_dynamic_frame_from_rdd(self, data: Any, name: str, schema: Any = None, **_: Any) -> DynamicFrame:
        """Return a frame of an RDD's rows."""
        return DynamicFrame(self.spark_session.createDataFrame(data, schema), self, name)

    def create_data_frame_from_catalog(self, *args: Any, **arguments: Any) -> DataFrame:
        """Return a catalog table as data frame."""
        return self.create_dynamic_frame_from_catalog(*args, **arguments).toDF()

    def create_data_frame_from_options(self, *args: Any, **arguments: Any) -> DataFrame:
        """Return objects in S3 as data frame."""
        return self.create_dynamic_frame_from_options(*args, **arguments).toDF()

    def create_sample_dynamic_frame_from_catalog(
        self, database: str, table_name: str, num: int, **options: Any
    ) -> DynamicFrame:
        """Return some rows of a catalog table."""
        frame = self.create_dynamic_frame_from_catalog(database, table_name, **options)
        return DynamicFrame.fromDF(frame.toDF().limit(int(num)), self, table_name)

    def getSource(self, connection_type: str, transformation_ctx: str = "", **options: Any) -> Source:
        """Return a source of objects in S3; ``setFormat`` and ``getFrame`` follow."""
        return Source(self, connection_type, options, transformation_ctx)

    def _frame(self, read: Read, name: str) -> DynamicFrame:
        return DynamicFrame(read.frame, self, name, choices=read.choices)

    # -- writing ---------------------------------------------------------------------------------------------------

    def getSink(
        self, connection_type: str, format: str | None = None, transformation_ctx: str = "", **options: Any
    ) -> Sink:
        """Return a sink; ``setFormat``, ``setCatalogInfo`` and ``writeFrame`` follow."""
        return Sink(self.sources, connection_type, options)

    def write_dynamic_frame_from_options(
        self,
        frame: DynamicFrame | DynamicFrameCollection,
        connection_type: str,
        connection_options: dict[str, Any] | None = None,
        format: str | None = None,
        format_options: dict[str, Any] | None = None,
        transformation_ctx: str = "",
    ) -> Any:
        """Add a frame, or each of a collection, to the objects below a path."""
        sink = Sink(self.sources, connection_type, connection_options or {})
        sink.setFormat(format or "json", **(format_options or {}))
        frames = frame.values() if isinstance(frame, DynamicFrameCollection) else [frame]
        for one in frames:
            sink.writeFrame(one)
        return frame

    def write_dynamic_frame_from_catalog(
        self,
        frame: DynamicFrame,
        database: str = "",
        table_name: str = "",
        redshift_tmp_dir: str = "",
        transformation_ctx: str = "",
        additional_options: dict[str, Any] | None = None,
        catalog_id: str | None = None,
        **others: Any,
    ) -> DynamicFrame:
        """Add a frame to the objects of a table, in the table's format; with ``enableUpdateCatalog`` new partitions are registered."""
        sink = Sink.of_table(
            self.sources, database or others.get("name_space", ""), table_name, additional_options or {}
        )
        sink.writeFrame(frame)
        return frame

    # -- old objects -----------------------------------------------------------------------------------------------

    def purge_s3_path(
        self, s3_path: str, options: dict[str, Any] | None = None, transformation_ctx: str = "", **_: Any
    ) -> None:
        """Delete the objects below a path that are older than ``retentionPeriod`` hours, by default a week."""
        purge(s3_path, options or {})

    def purge_table(
        self,
        database: str,
        table_name: str,
        options: dict[str, Any] | None = None,
        transformation_ctx: str = "",
        **_: Any,
    ) -> None:
        """Delete old objects of a table, of those partitions that fulfil ``partitionPredicate``; an empty partition ends."""
        self.sources.purge_table(database, table_name, options or {})


class _DataFrames:
    """``create_data_frame`` and ``write_data_frame``: ``from_catalog`` and ``from_options``."""

    def __init__(self, from_catalog: Callable[..., Any], from_options: Callable[..., Any]) -> None:
        self.from_catalog = from_catalog
        self.from_options = from_options


class Source:
    """What ``getSource`` returns: ``setFormat``, ``getFrame``."""

    def __init__(self, context: GlueContext, connection_type: str, options: dict[str, Any], name: str) -> None:
        self._context, self._connection_type, self._options, self._name = context, connection_type, options, name
        self._format: str | None = None
        self._format_options: dict[str, Any] = {}

    def setFormat(self, format: str, **options: Any) -> None:
        """Name the format of the objects."""
        self._format, self._format_options = format, options

    def getFrame(self) -> DynamicFrame:
        """Return the rows."""
        return self._context.create_dynamic_frame_from_options(
            self._connection_type, self._options, self._format, self._format_options, self._name
        )
