"""Names of fields as Glue's transforms take them: dots lead into structures, backticks hold a name together."""

from __future__ import annotations

import re
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructType

_PART = re.compile(r"`([^`]*)`|([^.`]+)")


def parts(path: str) -> list[str]:
    """Return the names in a path: ``a.`b.c```  is ``a`` and ``b.c``."""
    return [quoted or plain for quoted, plain in _PART.findall(path)]


def quoted(names: list[str]) -> str:
    """Return the path as Spark reads it."""
    return ".".join(f"`{name.replace('`', '``')}`" for name in names)


def resolve(frame: DataFrame, path: str) -> list[str] | None:
    """Return the names that a path leads through, None when the frame has no such field; a column's own name may hold dots."""
    if path.strip("`") in frame.columns:
        return [path.strip("`")]
    names = parts(path)
    kind: Any = frame.schema
    for name in names:
        while isinstance(kind, ArrayType):
            kind = kind.elementType
        if not isinstance(kind, StructType) or name not in kind.fieldNames():
            return None
        kind = kind[name].dataType
    return names


def column(names: list[str]) -> Column:
    """Return the field as a column."""
    return F.col(quoted(names))


def nested(fields: dict[str, Any]) -> list[Column]:
    """Return columns of a tree of columns: inner nodes become structures."""
    return [(F.struct(*nested(node)) if isinstance(node, dict) else node).alias(name) for name, node in fields.items()]


def put(tree: dict[str, Any], names: list[str], value: Column) -> None:
    """Put a column into a tree; what stood there is replaced."""
    for name in names[:-1]:
        below = tree.get(name)
        if not isinstance(below, dict):
            below = tree[name] = {}
        tree = below
    tree[names[-1]] = value


def without(frame: DataFrame, path: str) -> DataFrame:
    """Return the frame without one field; it stays as it is when there is none."""
    names = resolve(frame, path)
    if names is None:
        return frame
    if len(names) == 1:
        return frame.drop(column(names))
    return frame.withColumn(names[0], column(names[:1]).dropFields(quoted(names[1:])))
