"""``GlueContext``: the session of a Glue job, with frames read from S3 and from the catalog, and written there."""

from __future__ import annotations

import logging
from typing import Any

from glue_rows.bookmarks import Bookmarks
from glue_rows.sinks import Sink
from glue_rows.sources import Read, Sources
from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession

from awsglue.dynamicframe import DynamicFrame, DynamicFrameCollection


class GlueContext:
    """``GlueContext(SparkContext.getOrCreate())``; what it does not know itself is the session's."""

    def __init__(self, sparkContext: SparkContext | None = None, **_: Any) -> None:
        self.spark_context = sparkContext or SparkContext.getOrCreate()
        self.spark_session = SparkSession.builder.getOrCreate()
        self.bookmarks = Bookmarks()
        self.sources = Sources(self.spark_session, self.bookmarks)
        self.create_dynamic_frame = _Reader(self)
        self.create_data_frame = _DataFrameReader(self)
        self.write_dynamic_frame = _Writer(self)

    def __getattr__(self, name: str) -> Any:
        if name in ("spark_session", "__getstate__"):
            raise AttributeError(name)
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


class _Reader:
    """``create_dynamic_frame.from_catalog``, ``.from_options`` and ``.from_rdd``."""

    def __init__(self, context: GlueContext) -> None:
        self._context = context
        self.from_catalog = context.create_dynamic_frame_from_catalog
        self.from_options = context.create_dynamic_frame_from_options

    def from_rdd(self, data: Any, name: str, schema: Any = None, **_: Any) -> DynamicFrame:
        """Return a frame of an RDD's rows."""
        return DynamicFrame(self._context.spark_session.createDataFrame(data, schema), self._context, name)


class _DataFrameReader:
    """``create_data_frame.from_catalog`` and ``.from_options``: the same as data frames."""

    def __init__(self, context: GlueContext) -> None:
        self._context = context

    def from_catalog(self, **arguments: Any) -> DataFrame:
        """Return a catalog table as data frame."""
        return self._context.create_dynamic_frame_from_catalog(**arguments).toDF()

    def from_options(self, connection_type: str, **arguments: Any) -> DataFrame:
        """Return objects in S3 as data frame."""
        return self._context.create_dynamic_frame_from_options(connection_type, **arguments).toDF()


class _Writer:
    """``write_dynamic_frame.from_options``, ``.from_catalog``; a JDBC connection has no database here."""

    def __init__(self, context: GlueContext) -> None:
        self.from_options = context.write_dynamic_frame_from_options
        self.from_catalog = context.write_dynamic_frame_from_catalog

    def from_jdbc_conf(self, *_: Any, **__: Any) -> DynamicFrame:
        """Refuse: there is no database behind a connection."""
        raise NotImplementedError("from_jdbc_conf is not available in local_aws: connections lead nowhere")
