"""The Glue catalog in Spark SQL, for jobs with ``--enable-glue-datacatalog``: ``python session.py SCRIPT [ARGUMENT ...]`` runs a script so.

Spark's own catalog lives as long as the session. Before each statement the tables of the Glue catalog are put into it, after each that
may change tables the changes go back. So are the partitions of the tables that the statement names: rows of a folder that is no
registered partition are not seen, as in Glue.
"""

from __future__ import annotations

import functools
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrameWriter, SparkSession
from pyspark.sql.readwriter import DataFrameReader

from glue_rows.partitions import Partitions, identifier
from glue_rows.sinks import add_columns, keep_table
from glue_rows.sources import format_of, glue

_CHANGING = re.compile(r"\s*(create|drop|alter|insert|truncate|msck|replace)\b", re.IGNORECASE)


class CatalogSession:
    """Keeps Spark's catalog and Glue's alike; one for the process."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], str] = {}
        #: Tables without a path of their own, which Spark made and whose files end with them.
        self._managed: set[tuple[str, str]] = set()
        #: Tables of the Glue catalog that stay out: Spark does not know them, so it cannot have dropped them.
        self._foreign: set[tuple[str, str]] = set()
        #: When a table was brought, and with which columns: whether it was altered since, or made anew.
        self._brought: dict[tuple[str, str], tuple[int, str]] = {}
        self._plain: Callable[..., Any] = SparkSession.sql
        self._partitions = Partitions(lambda spark, text: self._plain(spark, text))

    def install(self) -> None:
        """Stand in front of the methods by which scripts reach tables."""
        session = self

        def before(owner: type, name: str, spark_of: Callable[[Any], SparkSession]) -> None:
            original = getattr(owner, name)

            @functools.wraps(original)
            def method(self: Any, tableName: str, *args: Any, **kwargs: Any) -> Any:
                session.bring(spark_of(self), tableName)
                return original(self, tableName, *args, **kwargs)

            setattr(owner, name, method)

        before(SparkSession, "table", lambda spark: spark)
        before(DataFrameReader, "table", lambda reader: reader._spark)
        catalog = SparkSession.catalog
        original_sql = SparkSession.sql
        self._plain = original_sql

        def looked_up(spark: SparkSession) -> Any:
            session.bring(spark)
            return catalog.fget(spark) if isinstance(catalog, property) else catalog.__get__(spark, type(spark))

        def sql(spark: SparkSession, sqlQuery: str, *args: Any, **kwargs: Any) -> Any:
            session.bring(spark, sqlQuery)
            answer = original_sql(spark, sqlQuery, *args, **kwargs)
            if _CHANGING.match(sqlQuery):
                session.take(spark, sqlQuery)
            return answer

        def around(name: str) -> None:
            original = getattr(DataFrameWriter, name)

            @functools.wraps(original)
            def write(writer: DataFrameWriter, table: str, *args: Any, **kwargs: Any) -> None:
                session.bring(writer._spark, table)
                original(writer, table, *args, **kwargs)
                session.take(writer._spark, table)

            setattr(DataFrameWriter, name, write)

        around("saveAsTable")
        around("insertInto")
        SparkSession.catalog = property(looked_up)  # type: ignore[assignment]
        SparkSession.sql = sql  # type: ignore[method-assign,assignment]
        # The metastore that a script asks for with Hive's name is Glue's.
        SparkSession.Builder.enableHiveSupport = lambda builder: builder  # type: ignore[method-assign,assignment]

    # -- Glue's tables in Spark ------------------------------------------------------------------------------------

    def bring(self, spark: SparkSession, text: str = "") -> None:
        """Put the tables of the Glue catalog into Spark's, those that are new or changed, and the partitions of those that a text names."""
        found: set[tuple[str, str]] = set()
        for page in glue().get_paginator("get_databases").paginate():
            for database in page["DatabaseList"]:
                name = database["Name"]
                location = f" LOCATION '{database['LocationUri']}'" if database.get("LocationUri") else ""
                self._plain(spark, f"CREATE DATABASE IF NOT EXISTS `{name}`{location}")
                for tables in glue().get_paginator("get_tables").paginate(DatabaseName=name):
                    for table in tables["TableList"]:
                        found.add((name, table["Name"]))
                        self._bring_table(spark, name, table)
                        if _names(text, table["Name"]) and (name, table["Name"]) not in self._foreign:
                            self._partitions.bring(spark, name, table)
        for key in self._seen.keys() - found:
            self._drop(spark, key)

    def _bring_table(self, spark: SparkSession, database: str, table: dict[str, Any]) -> None:
        key = (database, table["Name"])
        if key in self._managed:
            return
        state = repr((table.get("VersionId"), table.get("UpdateTime"), table.get("CreateTime")))
        if self._seen.get(key) == state:
            return
        self._drop(spark, key)
        self._seen[key] = state
        self._foreign.discard(key)
        try:
            kind, options = format_of(table)
        except NotImplementedError:
            kind, options = "", {}
        if not kind:
            self._foreign.add(key)
            return  # Spark says that there is no such table, which is better than a wrong one
        keys = table.get("PartitionKeys", [])
        columns = [*table["StorageDescriptor"]["Columns"], *({"Type": "string"} | key for key in keys)]
        shown = ", ".join(f"`{column['Name']}` {column['Type']}" for column in columns)
        name = f"`{database}`.`{table['Name']}`"
        settings = ""
        if kind == "csv":
            escaped = str(options["separator"]).replace("\\", "\\\\").replace("'", "\\'")
            settings = f" OPTIONS (sep '{escaped}', header '{str(options['withHeader']).lower()}')"
        location = table["StorageDescriptor"].get("Location", "")
        if keys:
            settings += f" PARTITIONED BY ({', '.join('`' + key['Name'] + '`' for key in keys)})"
        self._plain(spark, f"CREATE TABLE {name} ({shown}) USING {kind}{settings} LOCATION '{location}'")
        self._brought[key] = _state(spark, key)

    def _drop(self, spark: SparkSession, key: tuple[str, str]) -> None:
        if self._seen.pop(key, None) is None:
            return
        self._partitions.forget(key)
        self._plain(spark, f"DROP TABLE IF EXISTS `{key[0]}`.`{key[1]}`")

    # -- Spark's tables in Glue ------------------------------------------------------------------------------------

    def take(self, spark: SparkSession, text: str) -> None:
        """Put what Spark made, tables and the partitions of those that a text names, into the Glue catalog; remove what it dropped.

        Raises:
            RuntimeError: a new table does not lie in S3.

        """
        state = spark._jsparkSession.sessionState().catalog()
        known = {
            database["Name"]
            for page in glue().get_paginator("get_databases").paginate()
            for database in page["DatabaseList"]
        }
        existing: set[tuple[str, str]] = set()
        for row in self._plain(spark, "SHOW DATABASES").collect():
            database = row[0]
            for name, temporary in [(r[1], r[2]) for r in self._plain(spark, f"SHOW TABLES IN `{database}`").collect()]:
                if not temporary:
                    existing.add((database, name))
            if database not in known and database != "default":
                glue().create_database(DatabaseInput={"Name": database})
                known.add(database)
        for key in sorted(existing & self._seen.keys()):
            if not _names(text, key[1]):
                continue
            before, now = self._brought.get(key), _state(spark, key)
            if key not in self._managed and before != now:
                if before is None or before[0] != now[0]:  # made anew, by saveAsTable
                    self._seen.pop(key)
                    self._partitions.forget(key)
                    glue().delete_table(DatabaseName=key[0], Name=key[1])
                    continue
                add_columns(*key, self._plain(spark, f"SELECT * FROM `{key[0]}`.`{key[1]}` LIMIT 0").schema)
                self._brought[key] = now
            self._partitions.take(spark, key)
        for key in sorted(existing - self._seen.keys()):
            self._take_table(spark, state, key)
        gone = self._seen.keys() - existing - self._foreign
        for key in [key for key in gone if key[0] in known]:
            self._seen.pop(key)
            self._managed.discard(key)
            self._partitions.forget(key)
            glue().delete_table(DatabaseName=key[0], Name=key[1])

    def _take_table(self, spark: SparkSession, state: Any, key: tuple[str, str]) -> None:
        table = state.getTableMetadata(identifier(spark, key))
        if table.tableType().name() == "VIEW":
            return
        location = table.location().toString()
        if not location.startswith(("s3:", "s3a:", "s3n:")):
            self._plain(spark, f"DROP TABLE `{key[0]}`.`{key[1]}`")
            raise RuntimeError(
                f"the table {key[0]}.{key[1]} would lie at {location}, which ends with the job: give it a path in S3, or its database a "
                "LocationUri"
            )
        provider = table.provider().get().lower()
        names = table.partitionColumnNames()
        keys = [names.apply(place) for place in range(names.size())]
        rows = self._plain(spark, f"SELECT * FROM `{key[0]}`.`{key[1]}`")
        keep_table(*key, rows, provider, {"partitionKeys": keys, "path": location}, {"writeHeader": False})
        if table.tableType().name() == "EXTERNAL":
            self._plain(spark, f"DROP TABLE `{key[0]}`.`{key[1]}`")
        else:
            self._managed.add(key)
            self._seen[key] = "managed"


def _names(text: str, table: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(table)}(?!\w)", text, re.IGNORECASE) is not None


def _state(spark: SparkSession, key: tuple[str, str]) -> tuple[int, str]:
    """Return when Spark made a table, and its columns."""
    table = spark._jsparkSession.sessionState().catalog().getTableMetadata(identifier(spark, key))
    return int(table.createTime()), str(table.schema().json())


def main() -> None:
    """Run a script with the catalog in place."""
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    CatalogSession().install()
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
