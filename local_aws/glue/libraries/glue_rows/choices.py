"""Columns whose values have more than one type: a struct with one field per type, of which one is filled, as ``toDF`` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, StructType

#: Names that Glue's types have in field names of choices and in ``cast:`` and ``project:``.
_GLUE_NAMES = {"bigint": "long", "int": "int", "smallint": "short", "tinyint": "byte"}
_SQL_NAMES = {"long": "bigint", "short": "smallint", "byte": "tinyint", "bool": "boolean"}
_NUMERIC = ("bigint", "int", "smallint", "tinyint", "double", "float", "decimal", "date", "timestamp", "boolean")


def sql_type(name: str) -> str:
    """Return Spark's name of a type that Glue names."""
    return _SQL_NAMES.get(name.strip().lower(), name.strip())


def glue_type(kind: DataType) -> str:
    """Return Glue's name of a type, as it stands in the columns that a choice is resolved into."""
    return _GLUE_NAMES.get(kind.simpleString(), kind.simpleString())


def typed(frame: DataFrame, types: Mapping[str, str]) -> tuple[DataFrame, set[str]]:
    """Give columns of text the types that a catalog table declares; a column where some values are none becomes a choice.

    Returns the frame and the names of its choices: nothing is lost to null only because the table calls it a number.
    """
    wanted = {name: kind for name, kind in types.items() if kind.split("(")[0] in _NUMERIC and name in frame.columns}
    if not wanted:
        return frame, set()
    checks = [F.max(_unfit(name, kind)).alias(name) for name, kind in wanted.items()]
    row = frame.agg(*checks).first()
    unfit = row.asDict() if row else {}
    columns, choices = [], set()
    for name in frame.columns:
        column = F.col(_quoted(name))
        if name not in wanted:
            columns.append(column)
            continue
        value = F.expr(f"try_cast(trim({_quoted(name)}) as {wanted[name]})")
        if unfit[name]:
            choices.add(name)
            text = F.when(_unfit(name, wanted[name]), column)
            value = F.struct(value.alias(_GLUE_NAMES.get(wanted[name], wanted[name])), text.alias("string"))
        columns.append(value.alias(name))
    return frame.select(*columns), choices


def _unfit(name: str, kind: str) -> Column:
    """Return whether a text is there, but is no value of a type."""
    column = _quoted(name)
    return F.expr(f"coalesce(trim({column}), '') != '' and try_cast(trim({column}) as {kind}) is null")


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def resolve(frame: DataFrame, choices: set[str], name: str, action: str) -> tuple[DataFrame, set[str]]:
    """Resolve one column by an action of ResolveChoice: ``cast:T``, ``project:T``, ``make_cols`` or ``make_struct``.

    Raises:
        ValueError: the action is none of these.

    """
    verb, _, target = action.partition(":")
    if name not in frame.columns:
        return frame, choices
    column = F.col(_quoted(name))
    if name not in choices:
        if verb == "cast":
            frame = frame.withColumn(name, F.expr(f"try_cast({_quoted(name)} as {sql_type(target)})"))
        elif verb not in ("project", "make_cols", "make_struct"):
            raise ValueError(_unknown(action))
        return frame, choices
    kinds = _struct(frame, name)
    rest = choices - {name}
    if verb == "make_struct":
        return frame, rest
    if verb == "cast":
        tries = [F.expr(f"try_cast({_quoted(name)}.{_quoted(kind)} as {sql_type(target)})") for kind in kinds]
        return frame.withColumn(name, F.coalesce(*tries)), rest
    if verb == "project":
        kind = target if target in kinds else glue_type_of(target)
        value = column.getField(kind) if kind in kinds else F.lit(None).cast(sql_type(target))
        return frame.withColumn(name, value), rest
    if verb == "make_cols":
        columns: list[Column] = []
        for other in frame.columns:
            if other == name:
                columns += [column.getField(kind).alias(f"{name}_{kind}") for kind in kinds]
            else:
                columns.append(F.col(_quoted(other)))
        return frame.select(*columns), rest
    raise ValueError(_unknown(action))


def _unknown(action: str) -> str:
    return f"ResolveChoice: {action!r} is none of cast:TYPE, project:TYPE, make_cols, make_struct"


def glue_type_of(name: str) -> str:
    """Return the field name that a choice has for a type, whichever of its names is given."""
    return _GLUE_NAMES.get(sql_type(name), name)


def _struct(frame: DataFrame, name: str) -> list[str]:
    kind: Any = frame.schema[name].dataType
    assert isinstance(kind, StructType)
    return kind.fieldNames()
