"""What a crawler finds in JSON: columns with Glue's type names, structures and arrays included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from local_aws.glue.crawling.schema import Column, FileSchema
from local_aws.glue.crawling.type_names import Kind, merged, written

_SPACE = " \t\r\n,"
_INT = 2**31


def infer_json(data: bytes, *, truncated: bool, elements: bool = False) -> FileSchema | None:
    """Return the schema of (the beginning of) objects of JSON one after the other, or None if it is none.

    A document that is an array has one column ``array``, as in Glue, unless a classifier with the path ``$[*]`` asks for its `elements`.
    """
    try:
        content = data.decode("utf-8-sig", "ignore" if truncated else "strict")
    except UnicodeDecodeError:
        return None
    if not content.lstrip().startswith(("{", "[")):
        return None
    records: list[dict[str, Any]] = []
    try:
        for document in _documents(content, truncated):
            if isinstance(document, list) and elements:
                records += [item for item in document if isinstance(item, dict)]
            elif isinstance(document, list):
                records.append({"array": document})
            elif isinstance(document, dict):
                records.append(document)
            else:
                return None
    except ValueError:
        return None
    kinds: dict[str, Any] = {}
    for record in records:
        for name, value in record.items():
            key = name.lower()
            kinds[key] = merged(kinds.get(key), _kind(value))
    if not kinds:
        return None
    columns = tuple(Column(name, written(kind)) for name, kind in kinds.items())
    return FileSchema(classification="json", columns=columns, rows=len(records), bytes_read=len(data))


def _documents(content: str, truncated: bool) -> Iterator[Any]:
    decoder, place = json.JSONDecoder(), 0
    while True:
        while place < len(content) and content[place] in _SPACE:
            place += 1
        if place >= len(content):
            return
        try:
            document, place = decoder.raw_decode(content, place)
        except ValueError:
            if truncated:
                return  # the last document ends behind the sample
            raise
        yield document


def _kind(value: Any) -> Kind:
    if value is None:
        return None
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "int" if -_INT <= value < _INT else "bigint"
    if isinstance(value, float):
        return "double"
    if isinstance(value, dict):
        return {name.lower(): _kind(item) for name, item in value.items()}
    if isinstance(value, list):
        kind = None
        for item in value:
            kind = merged(kind, _kind(item))
        return [kind]
    return "string"
