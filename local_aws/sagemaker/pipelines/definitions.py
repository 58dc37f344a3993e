"""What a pipeline's definition says: its steps, what each waits for, and the values of its references.

The form is that of the pipeline definition schema of 2020-12-01. Everything here is a function of documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from local_aws.shared.errors import JobError, validation_error

Document = dict[str, Any]
#: Returns the value of a reference such as ``Steps.train.ModelArtifacts.S3ModelArtifacts``.
Lookup = Callable[[str], Any]
#: Returns the content of a property file (step, name of the file).
Properties = Callable[[str, str], Any]

#: Type of a step that calls an operation -> the operation, and the noun of its resource in the step's metadata.
CALLS = {
    "Training": ("CreateTrainingJob", "TrainingJob"),
    "Processing": ("CreateProcessingJob", "ProcessingJob"),
    "Transform": ("CreateTransformJob", "TransformJob"),
    "Tuning": ("CreateHyperParameterTuningJob", "TuningJob"),
    "Model": ("CreateModel", "Model"),
    "RegisterModel": ("CreateModelPackage", "RegisterModel"),
}
TYPES = (*CALLS, "Condition", "Fail")
_KINDS = {"String": str, "Integer": int, "Float": float, "Boolean": bool}
_TOKEN = re.compile(r"\[['\"]([^'\"]*)['\"]\]|\[(\d+)\]|([^.\[\]]+)")
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": lambda a, b: bool(a == b),
    "GreaterThan": lambda a, b: bool(a > b),
    "GreaterThanOrEqualTo": lambda a, b: bool(a >= b),
    "LessThan": lambda a, b: bool(a < b),
    "LessThanOrEqualTo": lambda a, b: bool(a <= b),
}


def read(text: str) -> Document:
    """Return a definition; refuse one that cannot be run, by the name of its step."""
    try:
        definition = json.loads(text)
        steps = list(all_steps(definition["Steps"]))
    except (ValueError, LookupError, TypeError) as error:
        raise validation_error(f"Unable to parse pipeline definition: {error}") from error
    names = [step["Name"] for step in steps]
    if len(set(names)) != len(names):
        raise validation_error("The names of steps must be unique in a pipeline.")
    for step in steps:
        if step["Type"] not in TYPES:
            raise validation_error(
                f"Step {step['Name']}: the type {step['Type']} is not available in local_aws ({', '.join(TYPES)})."
            )
        for ignored in ("RetryPolicies", "CacheConfig"):
            if step.get(ignored) not in (None, [], {}, {"Enabled": False}):
                raise validation_error(f"Step {step['Name']}: {ignored} is not available in local_aws.")
        if unknown := waits_for(step) - set(names):
            raise validation_error(f"Step {step['Name']} refers to unknown steps: {', '.join(sorted(unknown))}.")
    return dict(definition)


def all_steps(steps: list[Document]) -> Iterator[Document]:
    """Yield steps and those inside conditions."""
    for step in steps:
        yield step
        for branch in ("IfSteps", "ElseSteps") if step["Type"] == "Condition" else ():
            yield from all_steps(step["Arguments"].get(branch, []))


def waits_for(step: Document) -> set[str]:
    """Return the names of the steps that have to be done before this one."""
    arguments = step.get("Arguments", {})
    own = arguments.get("Conditions", []) if step["Type"] == "Condition" else arguments
    named = {str(name) for name in step.get("DependsOn", [])}
    return named | {path.split(".")[1].split("[")[0] for path in _references(own) if path.startswith("Steps.")}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("Get"), str) and len(value) == 1:
            yield value["Get"]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def parameters(definition: Document, given: list[Document]) -> Document:
    """Return the values of a pipeline's parameters; refuse those that it does not have, and those of another type."""
    values = {item["Name"]: item["Value"] for item in given}
    known = {item["Name"]: item for item in definition.get("Parameters", [])}
    if unknown := values.keys() - known.keys():
        raise validation_error(f"Pipeline parameters are not defined: {', '.join(sorted(unknown))}.")
    result = {}
    for name, item in known.items():
        if name not in values and "DefaultValue" not in item:
            raise validation_error(f"Pipeline parameter {name} has no value.")
        value = values.get(name, item.get("DefaultValue"))
        if item.get("EnumValues") and value not in item["EnumValues"]:
            raise validation_error(
                f"Pipeline parameter {name} must be one of {', '.join(map(str, item['EnumValues']))}."
            )
        try:
            kind = _KINDS[item["Type"]]
            result[name] = str(value).lower() == "true" if kind is bool else kind(value)
        except (KeyError, ValueError) as error:
            raise validation_error(f"Pipeline parameter {name}: {value!r} is no {item['Type']}.") from error
    return result


def resolve(value: Any, look: Lookup, properties: Properties) -> Any:
    """Return a value with its references and functions replaced by what they stand for."""
    if isinstance(value, list):
        return [resolve(item, look, properties) for item in value]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1:
        [(name, inner)] = value.items()
        if name == "Get" and isinstance(inner, str):
            return look(inner)
        if name == "Std:Join":
            return inner.get("On", "").join(str(part) for part in resolve(inner["Values"], look, properties))
        if name == "Std:JsonGet":
            file = inner.get("PropertyFile", {})
            match = re.fullmatch(
                r"Steps\.([^.]+)\.PropertyFiles\.(.+)", file.get("Get", "") if isinstance(file, Mapping) else ""
            )
            if match is None:
                raise JobError("Std:JsonGet is available in local_aws with a PropertyFile of a step only")
            return walk(properties(match[1], match[2]), inner["Path"])
    return {name: resolve(item, look, properties) for name, item in value.items()}


def walk(value: Any, path: str) -> Any:
    """Return what lies at a path such as ``Outputs['train'].S3Output.S3Uri``; in a list, a text names the item that is called so.

    Raises:
        JobError: there is nothing.

    """
    for quoted, number, plain in _TOKEN.findall(path):
        name = quoted or plain
        if isinstance(value, list):
            chosen = value[int(number)] if number and int(number) < len(value) else None
            value = chosen if number else next((item for item in value if _is_called(item, name)), None)
        else:
            value = value.get(number or name) if isinstance(value, Mapping) else None
        if value is None:
            raise JobError(f"there is nothing at {path} ({quoted or number or plain})")
    return value


def _is_called(item: Any, name: str) -> bool:
    return isinstance(item, Mapping) and any(key.endswith("Name") and value == name for key, value in item.items())


def holds(condition: Document) -> bool:
    """Return whether a condition without references is true."""
    kind = condition["Type"]
    if kind in _COMPARED:
        return _COMPARED[kind](condition["LeftValue"], condition["RightValue"])
    if kind == "In":
        return condition["QueryValue"] in condition["Values"]
    if kind == "Not":
        return not holds(condition["Condition"])
    if kind == "Or":
        return any(holds(inner) for inner in condition["Conditions"])
    raise JobError(f"the condition {kind} is not available in local_aws")


def fit(shape: Shape | None, value: Any) -> Any:
    """Return a value with numbers where its operation takes numbers, and texts where it takes texts: parameters may be either."""
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        return {name: fit(shape.members.get(name), item) for name, item in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [fit(shape.member, item) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, Mapping):
        return {name: fit(shape.value, item) for name, item in value.items()}
    if shape is not None and shape.type_name == "string" and isinstance(value, int | float):
        return json.dumps(value)
    if shape is not None and shape.type_name in ("integer", "long") and isinstance(value, str) and value.isdigit():
        return int(value)
    return value
