"""Glue's names of types, nested ones included: read, widened to hold two, written."""

from __future__ import annotations

from typing import Any

#: A name, ``{name: kind}`` for a structure, ``[kind]`` for an array; None when nothing is known.
Kind = Any

_WHOLE = ("tinyint", "smallint", "int", "bigint")
_NUMBERS = (*_WHOLE, "float", "double")


def merged(one: Kind, other: Kind) -> Kind:
    """Return the narrowest kind that holds both; string when no other does."""
    if one is None or one == other:
        return other
    if other is None:
        return one
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: merged(one.get(name), other.get(name)) for name in (*one, *(n for n in other if n not in one))}
    if isinstance(one, list) and isinstance(other, list):
        return [merged(one[0], other[0])]
    if one in _WHOLE and other in _WHOLE:
        return max(one, other, key=_WHOLE.index)
    if one in _NUMBERS and other in _NUMBERS:
        return "double"
    return "string"


def written(kind: Kind) -> str:
    """Return a kind as Glue writes it: ``struct<a:int,b:array<string>>``."""
    if isinstance(kind, dict):
        return "struct<" + ",".join(f"{name}:{written(item)}" for name, item in kind.items()) + ">"
    if isinstance(kind, list):
        return f"array<{written(kind[0])}>"
    return kind or "string"


def parse(name: str) -> Kind:
    """Return the kind that a name stands for."""
    if name.startswith("array<") and name.endswith(">"):
        return [parse(name[6:-1])]
    if name.startswith("struct<") and name.endswith(">"):
        return {part.partition(":")[0]: parse(part.partition(":")[2]) for part in _parts(name[7:-1])}
    return name


def _parts(fields: str) -> list[str]:
    parts, depth, begun = [], 0, 0
    for place, sign in enumerate(fields):
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            parts.append(fields[begun:place])
            begun = place + 1
    return [*parts, fields[begun:]] if fields else parts
