"""Partitions of the Glue catalog in Spark SQL: what is registered is what a query reads, and what Spark adds is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pyspark.sql import SparkSession

from glue_rows.sources import find_table, glue, registered

Key = tuple[str, str]
Values = tuple[str, ...]

#: What a folder is called whose rows have no value of the partition key.
_NULL = "__HIVE_DEFAULT_PARTITION__"
#: BatchDeletePartition takes at most so many.
_AT_ONCE = 25


def identifier(spark: SparkSession, key: Key) -> Any:
    """Return Spark's name of a table, given as database and table."""
    jvm: Any = spark._jvm
    return jvm.org.apache.spark.sql.catalyst.TableIdentifier(key[1], jvm.scala.Option.apply(key[0]))


class Partitions:
    """Which partitions Spark knows, with their locations: ``{(database, table): {values: location}}``."""

    def __init__(self, sql: Callable[[SparkSession, str], Any]) -> None:
        self._sql = sql
        self._known: dict[Key, dict[Values, str]] = {}

    def forget(self, key: Key) -> None:
        """Note that Spark has the table no more."""
        self._known.pop(key, None)

    def bring(self, spark: SparkSession, database: str, table: dict[str, Any]) -> None:
        """Tell Spark of the partitions that are registered, and no others; the files of the table are listed anew."""
        key = (database, table["Name"])
        names = [column["Name"] for column in table.get("PartitionKeys", [])]
        if names:
            found = registered(database, table)
            known = self._known.get(key, {})
            gone = [values for values in known if known[values] != found.get(values)]
            new = [values for values in found if known.get(values) != found[values]]
            begin = f"ALTER TABLE `{key[0]}`.`{key[1]}`"
            for some in _batches(gone):
                self._sql(spark, f"{begin} DROP IF EXISTS {', '.join(_clause(names, values) for values in some)}")
            for some in _batches(new):
                added = (f"{_clause(names, values)} LOCATION {_literal(found[values])}" for values in some)
                self._sql(spark, f"{begin} ADD IF NOT EXISTS {' '.join(added)}")
            self._known[key] = found
        spark._jsparkSession.sessionState().catalog().refreshTable(identifier(spark, key))

    def take(self, spark: SparkSession, key: Key) -> None:
        """Register the partitions that Spark added to a table, and remove those that it dropped."""
        if key not in self._known:
            return
        table = find_table(*key)
        names = [column["Name"] for column in table["PartitionKeys"]]
        jvm: Any = spark._jvm
        state = spark._jsparkSession.sessionState().catalog()
        listed = state.listPartitions(identifier(spark, key), jvm.scala.Option.apply(None))
        found = {}
        for place in range(listed.size()):
            part = listed.apply(place)
            found[tuple(part.spec().apply(name) for name in names)] = part.location().toString()
        known = self._known[key]
        address = {"DatabaseName": key[0], "TableName": key[1]}
        for some in _batches([values for values in known if values not in found]):
            glue().batch_delete_partition(**address, PartitionsToDelete=[{"Values": values} for values in some])
        for some in _batches([values for values in found if values not in known]):
            storage = table["StorageDescriptor"]
            inputs = [{"Values": v, "StorageDescriptor": storage | {"Location": found[v]}} for v in some]
            glue().batch_create_partition(**address, PartitionInputList=inputs)
        self._known[key] = found


def _batches(items: list[Values]) -> Iterator[list[Values]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


def _clause(names: list[str], values: Values) -> str:
    pairs = (f"`{name}`={_literal(value)}" for name, value in zip(names, values, strict=True))
    return f"PARTITION ({', '.join(pairs)})"


def _literal(value: str) -> str:
    if value == _NULL:
        return "null"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
