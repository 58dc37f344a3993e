"""Nested frames made flat: structures become columns, arrays become frames of their own."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, MapType, StructType

from glue_rows.paths import column


def flattened(frame: DataFrame) -> DataFrame:
    """Return the frame with the fields of structures as columns ``a.b``."""
    while any(isinstance(field.dataType, StructType) for field in frame.schema):
        columns = []
        for field in frame.schema:
            if isinstance(field.dataType, StructType):
                inner = field.dataType.fieldNames()
                columns += [column([field.name]).getField(name).alias(f"{field.name}.{name}") for name in inner]
            else:
                columns.append(column([field.name]))
        frame = frame.select(*columns)
    return frame


def relationalize(frame: DataFrame, root: str) -> dict[str, DataFrame]:
    """Return flat frames by name.

    In the place of an array stands a number, with which the rows of the frame ``ROOT_ARRAY`` are found: ``id``, ``index`` and the array's
    value in ``ARRAY.val``, or its fields in ``ARRAY.val.FIELD``.
    """
    frame = flattened(frame)
    arrays = [field.name for field in frame.schema if isinstance(field.dataType, ArrayType | MapType)]
    if not arrays:
        return {root: frame}
    numbered = frame.withColumn("number of the row", F.monotonically_increasing_id() + 1).persist()
    result: dict[str, DataFrame] = {}
    plain = [F.col("`number of the row`").alias(name) if name in arrays else column([name]) for name in frame.columns]
    result[root] = numbered.select(*plain)
    for name in arrays:
        value = column([name])
        if isinstance(frame.schema[name].dataType, MapType):
            value = F.map_entries(value)
        rows = numbered.select(
            F.col("`number of the row`").alias("id"), F.posexplode(value).alias("index", f"{name}.val")
        )
        result |= relationalize(rows, f"{root}_{name}")
    return result
