"""Writes the reference pages that come from code: ``python docs/generate.py`` (``--check`` only compares)."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cost_page
import dags_page
import map_page
import numbers_page
import operations_page
import verified_page
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from retraining.settings.model_config import ModelConfig

DOCS = Path(__file__).parent
HEAD = """# Configuration: model.yaml

Generated from `plugins/retraining/settings/` by `make docs`; do not edit. An unknown key, a wrong type or an
impossible value is an error that names the file, the line and the key, when the DAG file is parsed and in `make check`.

The abalone model's [model.yaml](../dags/models/abalone/model.yaml) is a complete example.
"""


def main(arguments: list[str]) -> int:
    """Write the pages, or tell which are stale."""
    pages = {
        "configuration.md": HEAD + "".join(_sections(ModelConfig, "")),
        "cost.md": cost_page.page(),
        "dags.md": dags_page.page(),
        "local-aws-operations.md": operations_page.page(),
        "map.md": map_page.page(),
        "not-verified.md": verified_page.page(),
        "numbers.md": numbers_page.page(),
        "../local_aws/README.md": operations_page.readme(),
    }
    stale = [name for name, text in pages.items() if not (DOCS / name).exists() or (DOCS / name).read_text() != text]
    if "--check" not in arguments:
        for name in stale:
            (DOCS / name).write_text(pages[name])
        return 0
    for name in stale:
        print(f"{name} is stale: run make docs", file=sys.stderr)
    return 1 if stale else 0


def _sections(model: type[BaseModel], place: str) -> Iterator[str]:
    """Yield the section of a model, then those of the models inside it."""
    title = f"`{place}`" if place else "Top level"
    yield f"\n## {title}\n\n{_summary(model)}\n\n| key | type | default | limits |\n|---|---|---|---|\n"
    inner: list[tuple[type[BaseModel], str]] = []
    for name, field in model.model_fields.items():
        nested = next((part for part in _parts(field.annotation) if _is_model(part)), None)
        path = f"{place}.{name}" if place else name
        if nested is not None:
            many = typing.get_origin(field.annotation) is tuple
            inner.append((nested, f"{path}[]" if many else path))
        yield f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {_limits(field)} |\n"
    for nested, path in inner:
        yield from _sections(nested, path)


def _summary(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from _parts(part)


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type(part) for part in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    if annotation is type(None):
        return "null"
    if _is_model(annotation):
        return "section"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(annotation, "anything")


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        made = field.default_factory()  # type: ignore[call-arg]
        return f"those of {', '.join(f'`{name}`' for name in made)}" if made else "`{}`"
    if field.default is PydanticUndefined:
        return "**required**"
    if isinstance(field.default, BaseModel):
        return "see below"
    return f"`{'null' if field.default is None else field.default}`" if field.default not in ((), "") else ""


def _limits(field: FieldInfo) -> str:
    words = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "min_length": "at least", "pattern": "matches"}
    found = []
    for rule in [
        *field.metadata,
        *(item for part in _parts(field.annotation) for item in getattr(part, "__metadata__", ())),
    ]:
        for source in (rule, *getattr(rule, "metadata", ())):
            for name, word in words.items():
                if (value := getattr(source, name, None)) is not None:
                    found.append(f"{word} `{value}`" + (" entries" if name == "min_length" else ""))
    return ", ".join(dict.fromkeys(found)).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
