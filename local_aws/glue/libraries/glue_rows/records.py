"""Records as functions of ``Map`` and ``Filter`` see them: dictionaries; and the frame that is made of what they return."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import types as T


class Record(dict[str, Any]):
    """A row: ``record["name"]``, ``record["struct"]["field"]``."""


#: Python's types and those that they become.
_TYPES: dict[type, T.DataType] = {
    bool: T.BooleanType(),
    int: T.LongType(),
    float: T.DoubleType(),
    str: T.StringType(),
    bytes: T.BinaryType(),
    bytearray: T.BinaryType(),
    datetime.datetime: T.TimestampType(),
    datetime.date: T.DateType(),
}


def mapped(frame: DataFrame, function: Callable[[Any], Any]) -> DataFrame:
    """Return the frame of a function's answers.

    Raises:
        TypeError: a field has values of types that no one type holds.

    """
    rows = frame.rdd.map(lambda row: function(Record(row.asDict(recursive=True)))).map(dict).cache()
    empty: Any = T.StructType([])
    found: Any = rows.map(lambda record: _kind(record, "")).fold(empty, _merged)
    schema = T.StructType([T.StructField(field.name, _like(field, frame.schema)) for field in found.fields])
    return frame.sparkSession.createDataFrame(rows, schema, verifySchema=False)


def _like(field: T.StructField, before: T.StructType) -> T.DataType:
    """Return the type that a field had, where it still fits: an int stays an int."""
    if field.name in before.fieldNames():
        kind = before[field.name].dataType
        whole = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
        if isinstance(field.dataType, T.NullType) or (
            isinstance(field.dataType, T.LongType) and isinstance(kind, whole)
        ):
            return kind
        if isinstance(field.dataType, T.DecimalType) and isinstance(kind, T.DecimalType):
            return kind
        if isinstance(field.dataType, T.DoubleType) and isinstance(kind, T.FloatType):
            return kind
    return T.StringType() if isinstance(field.dataType, T.NullType) else field.dataType


def _kind(value: Any, path: str) -> T.DataType:
    if value is None:
        return T.NullType()
    if isinstance(value, dict):
        return T.StructType([T.StructField(str(name), _kind(item, f"{path}.{name}")) for name, item in value.items()])
    if isinstance(value, list | tuple):
        kind: T.DataType = T.NullType()
        for item in value:
            kind = _merged(kind, _kind(item, path))
        return T.ArrayType(kind)
    if isinstance(value, decimal.Decimal):
        return T.DecimalType(38, 18)
    for python, kind in _TYPES.items():
        if type(value) is python:
            return kind
    raise TypeError(
        f"Map: the function returned a {type(value).__name__} for {path.lstrip('.')}, which is no value of a record"
    )


def _merged(one: T.DataType, other: T.DataType) -> T.DataType:
    if isinstance(one, T.NullType) or one == other:
        return other
    if isinstance(other, T.NullType):
        return one
    if isinstance(one, T.StructType) and isinstance(other, T.StructType):
        kinds = {field.name: field.dataType for field in one.fields}
        for field in other.fields:
            known = kinds.get(field.name)
            try:
                kinds[field.name] = field.dataType if known is None else _merged(known, field.dataType)
            except TypeError as error:
                raise TypeError(f"Map: the function returned {error} for the field {field.name}") from error
        return T.StructType([T.StructField(name, kind) for name, kind in kinds.items()])
    if isinstance(one, T.ArrayType) and isinstance(other, T.ArrayType):
        return T.ArrayType(_merged(one.elementType, other.elementType))
    if {type(one), type(other)} == {T.LongType, T.DoubleType}:
        return T.DoubleType()
    raise TypeError(f"both {one.simpleString()} and {other.simpleString()}")
