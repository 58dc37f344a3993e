"""Says what is wrong in a ``model.yaml`` in the words of the file: line, key, the value as it is written, and what is possible instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

Location = tuple[int | str, ...]

TYPE_WORDS = {
    "bool": "boolean",
    "str": "string",
    "text": "string",
    "float": "double",
    "number": "double",
    "numeric": "double",
    "integer": "int",
    "bigint": "int",
    "datetime": "timestamp",
}
WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "tuple_type": "a list such as [a, b]",
    "dict_type": "a mapping of keys and values",
    "model_type": "a mapping of keys and values",
    "model_attributes_type": "a mapping of keys and values",
}


def problems(model: type[BaseModel], node: yaml.Node | None, error: ValidationError) -> Iterator[tuple[int, str, str]]:
    """Yield each problem as line (from 1), place such as ``gate.required_odds``, and sentence.

    Args:
        model: the class that the file was read as.
        node: the root node of the file.
        error: what pydantic found.

    """
    found = error.errors()
    misspelt = {
        (*item["loc"][:-1], near)
        for item in found
        if item["type"] == "extra_forbidden" and (near := _near(str(item["loc"][-1]), keys_at(model, item["loc"][:-1])))
    }
    for item in found:
        location = item["loc"]
        if item["type"] == "missing" and location in misspelt:
            continue  # the misspelt key is this one
        if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # its items are wrong, each of which is told
        yield line_of(node, location), ".".join(str(part) for part in location), _sentence(model, node, item)


def repeated(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Yield line and sentence of each key that a mapping has twice; YAML would take the later one and say nothing."""
    pending, looked_at = [node], set()
    while pending:
        node = pending.pop()
        if id(node) in looked_at:  # an alias
            continue
        looked_at.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                pending += [key, value]
                if isinstance(key, yaml.ScalarNode):
                    line = key.start_mark.line + 1
                    if key.value in lines and key.value != "<<":
                        yield line, f"{key.value} stands twice, here and in line {lines[key.value]}: keep one of them"
                    lines.setdefault(key.value, line)


def keys_at(model: type[BaseModel], location: Location) -> tuple[str, ...]:
    """Return the keys that the settings at a place may have, none where any key is right."""
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = next(_models_in(field.annotation), None) if field else None
        if inner is None:
            return ()
        model = inner
    return tuple(model.model_fields)


def line_of(node: yaml.Node | None, location: Location) -> int:
    """Return the line (from 1) of the deepest part of ``location`` that the document has."""
    line = 1
    for part in location:
        key, node = _child(node, part)
        if node is None:
            break
        line = (key or node).start_mark.line + 1
    return line


def _sentence(model: type[BaseModel], node: yaml.Node | None, item: Any) -> str:
    kind, location = item["type"], item["loc"]
    if kind == "extra_forbidden":
        possible = keys_at(model, location[:-1])
        near = _near(str(location[-1]), possible)
        return f"there is no such key{f'; did you mean {near}?' if near else ''} possible here: {', '.join(possible)}"
    if kind == "missing":
        return "this key is missing"
    if kind == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    written = _written(node, location, item["input"])
    if kind == "string_type":
        return f'{written} is read as {_yaml_kind(item["input"])}: put it in quotes to mean the text "{written}"'
    if kind == "string_pattern_mismatch":
        return _name(str(item["input"]), str(item["ctx"]["pattern"]))
    if kind == "literal_error":
        expected = str(item["ctx"]["expected"]).replace(" or ", ", ").split(", ")
        choices = [choice.strip("'") for choice in expected]
        meant = TYPE_WORDS.get(str(item["input"]).lower()) or _near(str(item["input"]), choices)
        return f"{written} is not possible{f'; did you mean {meant}?' if meant in choices else ';'} there are {', '.join(choices)}"
    if kind in WANTED:
        return f"{written} is not {WANTED[kind]}"
    return f"{written}: {str(item['msg']).replace('Input should', 'it has to')}"


def _name(value: str, pattern: str) -> str:
    hyphen = "-" in pattern.replace("a-z", "").replace("0-9", "")
    joint = "-" if hyphen else "_"
    plain = "".join(sign if sign.isascii() and sign.isalnum() else joint for sign in value.lower()).strip(joint)
    example = plain if plain[:1].isalpha() else f"c{joint}{plain}".rstrip(joint)
    example = example[:24] if hyphen else example
    length = " and at most 24 of them" if hyphen else f"; the heading in a file may still say {value!r}"
    return f"{value!r} is no name: lower-case letters, digits and {joint}, a letter first{length}. Write for example {example}"


def _yaml_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, date):
        return "a date"
    if isinstance(value, int | float):
        return "a number"
    return {type(None): "nothing", list: "a list", dict: "a mapping"}.get(type(value), type(value).__name__)


def _written(node: yaml.Node | None, location: Location, value: Any) -> str:
    """Return a value as the file has it; of a list or a mapping only its kind."""
    for part in location:
        _, node = _child(node, part)
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.style is None else repr(node.value)
    return _yaml_kind(value) if isinstance(value, list | dict | type(None)) else repr(value)


def _child(node: yaml.Node | None, part: int | str) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == part), (None, None))
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return None, node.value[part]
    return None, None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _near(word: str, possible: Sequence[str] | Mapping[str, Any]) -> str | None:
    return next(iter(difflib.get_close_matches(word, list(possible), 1)), None)
