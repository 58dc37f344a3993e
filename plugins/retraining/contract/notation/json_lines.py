"""JSON Lines: an object a line, its keys name the columns. Numbers keep the digits that they are written with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from retraining.contract.headings import Named, by_name, columns_by_heading
from retraining.contract.names import heading
from retraining.contract.notation.lines import NESTED, NO_OBJECT, REPEATED_KEY, UNKNOWN_KEY, faulty, line_of
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import MAX_LINE, Contract
from retraining.contract.values import BLANKS

_IGNORED = -1
_MANY_KEYS = 10_000  # spellings of keys that are remembered


class _Number(str):
    """The text of a number, to be told from a text."""

    __slots__ = ()


class _Pairs(list[tuple[str, Any]]):
    """An object: its keys may come twice."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=_Number, parse_int=_Number, parse_constant=_Number)


def keys_of(lines: list[str], contract: Contract) -> Named:
    """Return which column each key names, from the first lines of a file.

    Raises:
        FileRefused: they are no objects, lack a column, or have a key that the contract does not know.

    """
    first = lines[0].strip(BLANKS)
    if first.startswith("["):
        raise FileRefused(
            "a JSON list, not one object a line", "write one object a line: jq -c '.[]' FILE.json > FILE.jsonl"
        )
    if first == "{" or (first.startswith("{") and len(lines) > 1 and lines[1].startswith((" ", "\t", "}"))):
        raise FileRefused(
            "a JSON object over several lines, not one object a line",
            "write one object a line: jq -c . FILE.json > FILE.jsonl",
        )
    keys: dict[str, None] = {}
    objects = 0
    for line in lines:
        if (pairs := _object(line)) is not None:
            objects += 1
            keys.update(dict.fromkeys(key for key, _ in pairs))
    if not objects:
        raise FileRefused("none of the first lines is a JSON object", "is it JSON Lines? Name CSV .csv")
    return by_name(list(keys), contract, "the set of keys", spellings=True)


def rows_of(lines: Iterable[str], contract: Contract, source: bool) -> Iterator[str]:
    """Turn lines of a file into lines of cells in contract order, followed by the source where the file has one."""
    known: dict[str, int | None] = dict(_places(contract, source))
    seen: dict[str, int | None] = {}
    width = len(contract.columns) + source
    pointed = [column.numeric and contract.decimal != "." for column in contract.columns] + [False]
    for line in lines:
        if not line.strip(BLANKS):
            yield ""
        elif len(line) > MAX_LINE:
            yield line
        else:
            yield _row(line, known, seen, width, pointed, contract.decimal)


def _places(contract: Contract, source: bool) -> dict[str, int]:
    places = {heading: contract.position[name] for heading, name in columns_by_heading(contract).items()}
    ignored = dict.fromkeys(contract.ignored_headings, _IGNORED)
    extra = {"source": len(contract.columns)} if source else {}
    return {**extra, **ignored, **places}


def _row(
    line: str,
    known: dict[str, int | None],
    seen: dict[str, int | None],
    width: int,
    pointed: list[bool],
    decimal: str,
) -> str:
    pairs = _object(line)
    if pairs is None:
        return faulty(NO_OBJECT, line)
    cells: list[str | None] = [None] * width
    for key, value in pairs:
        place = seen[key] if key in seen else _remembered(key, known, seen)
        if place == _IGNORED:
            continue
        if place is None:
            return faulty(UNKNOWN_KEY, line)
        if cells[place] is not None:
            return faulty(REPEATED_KEY, line)
        if isinstance(value, list):
            return faulty(NESTED, line)
        if value is None:
            cells[place] = ""
        elif isinstance(value, bool):
            cells[place] = "true" if value else "false"
        elif pointed[place] and isinstance(value, _Number):
            cells[place] = value.replace(".", decimal)
        else:
            cells[place] = value
    return line_of([cell or "" for cell in cells])


def _remembered(key: str, known: dict[str, int | None], seen: dict[str, int | None]) -> int | None:
    place = known.get(heading(key))
    if len(seen) < _MANY_KEYS:
        seen[key] = place
    return place


def _object(line: str) -> _Pairs | None:
    try:
        found = _DECODER.decode(line.strip(BLANKS))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, _Pairs) else None
