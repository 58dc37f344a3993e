"""Changes to ``model.yaml`` by dotted path, as ``--set PATH=VALUE`` gives them: found, checked, applied.

A path names keys of ``model.yaml``; an item of a list is addressed by its ``name`` or its position, as in
``training.candidates.svr-hgb.hyperparameters.seed``. What an experiment changes most, the hyperparameters of the one candidate that it is
about, has short forms (``SHORT_FORMS``).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from pydantic import ValidationError

from retraining.settings.model_config import ModelConfig

ROOTS = ("training", "evaluation", "gate")
"""Sections that take part in an experiment. The others say how data gets in and how a model gets out."""
SHORT_FORMS = {
    "algorithm": "hyperparameters.algorithm of the candidate",
    "algorithm.svr.C": "hyperparameters.params.svr_C; dots may join its words",
    "seed": "hyperparameters.seed",
    "hyperparameters.NAME": "any option of train.py",
}
NEAR = 5
# YAML 1.1, which PyYAML reads, calls 1e-3 a text: its numbers need a point.
EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")

Location = tuple[str | int, ...]
"""Keys and list positions from the top of ``model.yaml``."""


class OverrideError(ValueError):
    """A ``--set`` that names nothing, or something that an experiment cannot change; the message says what is near."""


@dataclass(frozen=True)
class Override:
    """One change of ``model.yaml``."""

    location: Location
    path: str
    """The location for people, list items by name."""
    before: Any
    """What the file says; None when it says nothing."""
    value: Any


@dataclass(frozen=True)
class Options:
    """What a model folder's hyperparameters.py says can be set: options of train.py, and hyperparameters per algorithm."""

    names: tuple[str, ...]
    defaults: Mapping[str, Mapping[str, float]]
    default_algorithm: str
    complete: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
    """Takes algorithm and overrides; raises ValueError where a value is wrong."""


def parse(text: str) -> tuple[str, Any]:
    """Split ``PATH=VALUE``; the value is read as YAML.

    Raises:
        OverrideError: there is no ``=``, or the value is not YAML.

    """
    path, found, written = text.partition("=")
    if not found or not path.strip():
        raise OverrideError(f"{text!r} is not PATH=VALUE; write for example algorithm.svr.C=3")
    try:
        value = yaml.safe_load(written)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise OverrideError(f"{path}: the value {written!r} is not YAML: {error}") from error
    if isinstance(value, str) and EXPONENT.fullmatch(value):
        value = float(value)
    return path.strip(), value


def find(
    values: Mapping[str, Any], settings: Sequence[str], candidate: str | None = None, options: Options | None = None
) -> list[Override]:
    """Find what settings change.

    Args:
        values: content of ``model.yaml``.
        settings: ``PATH=VALUE`` each.
        candidate: the candidate that short forms are about; needed when there are several.
        options: what the hyperparameters can be; None leaves them to train.py.

    Raises:
        OverrideError: a path does not exist, takes no part in an experiment, is given twice, or a hyperparameter is wrong.

    """
    found: list[Override] = []
    for setting in settings:
        path, value = parse(setting)
        location = _locate(values, path, candidate, options)
        for other in found:
            shared = min(len(other.location), len(location))
            if other.location[:shared] == location[:shared]:
                raise OverrideError(f"{path} and {other.path} set the same thing: give one of them")
        found.append(Override(location, _readable(values, location), _look_up(values, location), value))
    return found


def apply(values: Mapping[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    """Return ``values`` with the overrides in place; sections that are missing are made."""
    changed: dict[str, Any] = _unshared(values)
    for override in overrides:
        place: Any = changed
        for part in override.location[:-1]:
            if isinstance(place, dict) and place.get(part) is None:
                place[part] = {}
            place = place[part]
        place[override.location[-1]] = _unshared(override.value)
    return changed


def _unshared(value: Any) -> Any:
    """Return a deep copy in which what an anchor shares between places is separate."""
    if isinstance(value, Mapping):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def configure(values: Mapping[str, Any], overrides: Sequence[Override]) -> ModelConfig:
    """Return the configuration with the overrides in place.

    Raises:
        OverrideError: it would not be valid; every problem is listed.

    """
    try:
        return ModelConfig.model_validate(apply(values, overrides))
    except ValidationError as error:
        problems = [
            f"{_readable(values, item['loc'])}: {str(item['msg']).removeprefix('Value error, ')}"
            for item in error.errors()
        ]
        raise OverrideError(f"model.yaml would not be valid with this change: {'; '.join(problems)}") from error


def effective(values: Mapping[str, Any], override: Override, options: Options | None = None) -> tuple[Any, bool]:
    """Return what held before an override, and whether that is a default of which the file says nothing."""
    if override.before is not None:
        return override.before, False
    place = override.location
    if options and len(place) == 6 and place[3:5] == ("hyperparameters", "params"):
        given = _look_up(values, place[:4]) or {}
        defaults = options.defaults.get(given.get("algorithm", options.default_algorithm), {})
        return defaults.get(str(place[5])), True
    return _look_up(ModelConfig.model_validate(dict(values)).model_dump(mode="json"), place), True


def addressable(
    values: Mapping[str, Any], candidate: str | None = None, options: Options | None = None
) -> Iterator[str]:
    """Yield every path that can be set, the short forms first."""
    names = [item["name"] for item in _candidates(values)]
    if candidate or len(names) == 1:
        given = options.names if options else ()
        yield from (name for name in ("algorithm", "seed") if not options or name in given)
        chosen = next((item for item in _candidates(values) if item["name"] == (candidate or names[0])), {})
        yield from (f"algorithm.{name.replace('_', '.', 1)}" for name in _known_hyperparameters(chosen, options))
    for root in ROOTS:
        yield from _paths(values.get(root), _child(_schema(), root), root)


def _locate(values: Mapping[str, Any], path: str, candidate: str | None, options: Options | None) -> Location:
    parts = _long_form(values, path.split("."), candidate)
    if parts[0] not in ROOTS:
        if parts[0] in ModelConfig.model_fields:
            reason = (
                "the rows of a dataset version are checked and split already"
                if parts[0] in ("contract", "split")
                else "it says nothing about how a model is trained and judged"
            )
            raise OverrideError(
                f"{path}: {parts[0]} takes no part in an experiment ({reason}); it can change {', '.join(ROOTS)}"
            )
        raise _unknown(values, path, [*ROOTS, *SHORT_FORMS], candidate, options)
    node: Any = values
    schema = _schema()
    location: list[str | int] = []
    for part in parts:
        if isinstance(node, list):
            place = _position(node, part)
            if place is None:
                known = [str(item.get("name", index)) for index, item in enumerate(node) if isinstance(item, dict)]
                raise _unknown(
                    values, path, [".".join((*parts[: len(location)], name)) for name in known], candidate, options
                )
            location.append(place)
            node, schema = node[place], _child(schema, 0)
            continue
        keys = _keys(schema)
        if (node is not None and not isinstance(node, dict)) or (keys is None and not _is_free(schema)):
            raise OverrideError(f"{path}: {'.'.join(parts[: len(location)])} is one value, it has no parts")
        if keys is not None and part not in keys:
            raise _unknown(values, path, [".".join((*parts[: len(location)], key)) for key in keys], candidate, options)
        location.append(part)
        node = node.get(part) if isinstance(node, dict) else None
        schema = _child(schema, part)
    return tuple(location)


def _long_form(values: Mapping[str, Any], parts: list[str], candidate: str | None) -> list[str]:
    """Spell out a short form."""
    if parts[0] not in ("algorithm", "seed", "hyperparameters"):
        return parts
    names = [str(item["name"]) for item in _candidates(values)]
    if candidate is None and len(names) > 1:
        raise OverrideError(
            f"{'.'.join(parts)}: model.yaml has the candidates {', '.join(names)}; say which one with --candidate, "
            f"or write training.candidates.{names[0]}.hyperparameters..."
        )
    root = ["training", "candidates", candidate or next(iter(names), ""), "hyperparameters"]
    if parts[0] == "hyperparameters":
        return [*root, *parts[1:]]
    if parts[0] == "algorithm" and len(parts) > 1:
        return [*root, "params", "_".join(parts[1:])]
    return [*root, *parts]


def check_hyperparameters(values: Mapping[str, Any], options: Options) -> None:
    """Check that the hyperparameters of every candidate of train.py are ones that it takes.

    Raises:
        OverrideError: one is not; the message names the near ones.

    """
    for item in _candidates(values):
        if item.get("trainer") or item.get("container"):
            continue
        given = item.get("hyperparameters") or {}
        where = f"training.candidates.{item['name']}.hyperparameters"
        for name in given:
            if name not in options.names:
                near = _nearest(str(name), options.names) or options.names
                raise OverrideError(f"{where}.{name}: train.py has no such option; near: {', '.join(near)}")
        algorithm = given.get("algorithm", options.default_algorithm)
        if algorithm not in options.defaults:
            raise OverrideError(
                f"{where}.algorithm is {algorithm!r}; train.py has {', '.join(sorted(options.defaults))}"
            )
        known = options.defaults[algorithm]
        params = given.get("params") or {}
        if not isinstance(params, Mapping):
            raise OverrideError(f"{where}.params is {params!r}, not a section of hyperparameters")
        for name in params:
            if name not in known:
                near = _nearest(str(name), tuple(known)) or tuple(known) or ("none: it takes no hyperparameter",)
                raise OverrideError(
                    f"{where}.params.{name}: the algorithm {algorithm} has no such hyperparameter; near: {', '.join(near)}"
                )
        try:
            options.complete(algorithm, params)
        except ValueError as error:
            raise OverrideError(f"{where}.params: train.py would refuse them: {error}") from error


def _candidates(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    training = values.get("training")
    found = training.get("candidates") if isinstance(training, Mapping) else None
    return [item for item in found or [] if isinstance(item, dict) and "name" in item]


def _known_hyperparameters(candidate: Mapping[str, Any], options: Options | None) -> Sequence[str]:
    given = candidate.get("hyperparameters") or {}
    if options is None:
        return tuple(given.get("params") or {})
    return tuple(options.defaults.get(given.get("algorithm", options.default_algorithm), {}))


def _position(items: Sequence[Any], part: str) -> int | None:
    for position, item in enumerate(items):
        if isinstance(item, dict) and item.get("name") == part:
            return position
    return int(part) if part.isdecimal() and int(part) < len(items) else None


def _look_up(values: Any, location: Location) -> Any:
    for part in location:
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int):
            values = values[part]
        else:
            return None
    return values


def _readable(values: Any, location: Location) -> str:
    words = []
    for part in location:
        if isinstance(values, list) and isinstance(part, int):
            values = values[part]
            words.append(str(values.get("name", part)) if isinstance(values, dict) else str(part))
        else:
            values = values.get(part) if isinstance(values, dict) else None
            words.append(str(part))
    return ".".join(words)


def _unknown(
    values: Mapping[str, Any], path: str, level: Sequence[str], candidate: str | None, options: Options | None
) -> OverrideError:
    known = tuple(addressable(values, candidate, options))
    near = _nearest(path, known) or sorted(level)
    return OverrideError(f"{path}: model.yaml has no such key; near: {', '.join(near)}")


def _nearest(path: str, known: Sequence[str]) -> list[str]:
    """Return the known paths that look like ``path``, or that end alike, best first."""
    wanted = _plain(path)
    plain = {_plain(name): name for name in reversed(known)}
    close = [plain[name] for name in difflib.get_close_matches(wanted, list(plain), NEAR, 0.7)]
    endings = {name: name.rsplit(".", 1)[-1].lower() for name in known}
    alike = difflib.get_close_matches(path.rsplit(".", 1)[-1].lower(), set(endings.values()), NEAR, 0.75)
    ends = [name for name in known if endings[name] in alike or _plain(name).endswith(f".{wanted}")]
    return list(dict.fromkeys([*close, *ends]))[:NEAR]


def _plain(path: str) -> str:
    return path.lower().replace("_", ".").replace("-", ".")


# -- the schema of model.yaml ---------------------------------------------------------------------------------------------------------


@cache
def _schema() -> dict[str, Any]:
    return ModelConfig.model_json_schema()


def _resolved(schema: Any) -> dict[str, Any]:
    """Follow a reference; of alternatives take the one that is not null."""
    while isinstance(schema, dict):
        if "$ref" in schema:
            schema = _schema()["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        elif "anyOf" in schema:
            schema = next(option for option in schema["anyOf"] if option.get("type") != "null")
        else:
            return schema
    return {}


def _child(schema: Any, part: str | int) -> dict[str, Any]:
    resolved = _resolved(schema)
    if isinstance(part, int):
        return _resolved(resolved.get("items"))
    if part in resolved.get("properties", {}):
        return _resolved(resolved["properties"][part])
    extra = resolved.get("additionalProperties")
    return _resolved(extra) if isinstance(extra, dict) else {}


def _keys(schema: Any) -> list[str] | None:
    """Return the keys that a section may have; None when they are free, or there are none."""
    properties = _resolved(schema).get("properties")
    return list(properties) if properties else None


def _is_free(schema: Mapping[str, Any]) -> bool:
    """Whether any key may be given here: a mapping without a schema of its own, or a part of one."""
    resolved = _resolved(schema)
    return "additionalProperties" in resolved or "type" not in resolved


def _paths(node: Any, schema: Any, prefix: str) -> Iterator[str]:
    if isinstance(node, list):
        for position, item in enumerate(node):
            if isinstance(item, dict):
                yield from _paths(item, _child(schema, 0), f"{prefix}.{item.get('name', position)}")
        return
    keys = _keys(schema)
    if keys is None and not isinstance(node, dict):
        yield prefix
        return
    given = list(node) if isinstance(node, dict) else []
    for key in dict.fromkeys([*(keys or []), *map(str, given)]):
        yield from _paths(node.get(key) if isinstance(node, dict) else None, _child(schema, key), f"{prefix}.{key}")
