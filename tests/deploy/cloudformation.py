"""Reads CloudFormation templates for tests: as data without functions, and as policies with every function resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """Reads ``!Ref x`` as {"Ref": "x"} and the other short forms as {"Fn::Name": ...}."""


def _function(loader: Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", _function)


def read(path: Path) -> dict[str, Any]:
    """Return a template as data."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


def resolve(value: Any, names: Mapping[str, str]) -> Any:
    """Replace Ref, Sub, GetAtt and If by names; what is not given becomes ``<Name>``, and a condition that is not given is false."""
    if isinstance(value, dict):
        if set(value) == {"Ref"}:
            return names.get(value["Ref"], f"<{value['Ref']}>")
        if set(value) == {"Fn::If"}:
            condition, then, otherwise = value["Fn::If"]
            return resolve(then if names.get(condition) else otherwise, names)
        if set(value) == {"Fn::GetAtt"}:
            return names.get(value["Fn::GetAtt"], f"<{value['Fn::GetAtt']}>")
        if set(value) == {"Fn::Sub"}:
            return re.sub(r"\$\{([^}]+)\}", lambda match: names.get(match[1], f"<{match[1]}>"), value["Fn::Sub"])
        return {key: resolve(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [item for item in (resolve(item, names) for item in value) if item != "<AWS::NoValue>"]
    return value
