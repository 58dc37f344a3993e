"""Checks of requests against botocore's own service models.

What the service would refuse for its shape (missing or wrongly typed members, enum, pattern, length and range) is
refused here with the text that AWS services use. Unknown members are ignored, as the services do.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import botocore.loaders
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape

from local_aws.shared.errors import ServiceError
from local_aws.shared.requests.java_patterns import compiled


@functools.cache
def service_model(service: str) -> ServiceModel:
    """Return botocore's model of a service."""
    return ServiceModel(botocore.loaders.Loader().load_service_model(service, "service-2"), service)


def check_request(service: str, operation: str, params: Any) -> None:
    """Raise the service's error if `params` is not what `operation` takes."""
    shape = operation_model(service, operation).input_shape
    if not isinstance(params, dict):
        raise ServiceError("SerializationException", f"The body of {operation} must be a JSON object.")
    if shape is None:
        return
    problems = list(_problems(shape, params, ""))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise ServiceError(
            "ValidationException", f"{len(problems)} validation {noun} detected: {'; '.join(problems[:10])}"
        )


def operation_model(service: str, operation: str) -> OperationModel:
    """Return the model of an operation; an unknown one is the service's UnknownOperationException."""
    model = service_model(service)
    if operation not in model.operation_names:
        raise ServiceError("UnknownOperationException", f"{service} has no operation {operation}.")
    return model.operation_model(operation)


def unsupported(service: str, operation: str) -> ServiceError:
    """Return the error for an operation that AWS has and this account has not; raises it for one that AWS has not, either."""
    operation_model(service, operation)
    return unavailable(service, operation)


def unavailable(service: str, operation: str) -> ServiceError:
    """Return AWS's error for an operation that a service does not have."""
    what = f"The operation {operation} of {service}" if operation else f"The service {service}"
    return ServiceError(
        "UnknownOperationException",
        f"{what} is not available in local_aws; docs/local-aws-operations.md lists what is.",
    )


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if value is None:
        return
    if isinstance(shape, StructureShape):
        yield from _structure_problems(shape, value, path)
    elif isinstance(shape, ListShape):
        yield from _list_problems(shape, value, path)
    elif isinstance(shape, MapShape):
        yield from _map_problems(shape, value, path)
    elif isinstance(shape, StringShape):
        yield from _string_problems(shape, value, path)
    else:
        yield from _scalar_problems(shape, value, path)


def _structure_problems(shape: StructureShape, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        raise _wrong_type(path, "a structure")
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, member in shape.members.items():
        if name in value:
            yield from _problems(member, value[name], _join(path, name))


def _list_problems(shape: ListShape, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        raise _wrong_type(path, "a list")
    yield from _bounds(shape, len(value), value, path, "length")
    for number, item in enumerate(value, start=1):
        yield from _problems(shape.member, item, f"{path}.{number}.member")


def _map_problems(shape: MapShape, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        raise _wrong_type(path, "a map")
    yield from _bounds(shape, len(value), value, path, "length")
    for key, item in value.items():
        yield from _problems(shape.key, key, f"{path}.key")
        yield from _problems(shape.value, item, f"{path}.{key}.member")


def _string_problems(shape: StringShape, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        raise _wrong_type(path, "a string")
    if shape.enum and value not in shape.enum:
        yield (
            f"Value '{value}' at '{path}' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        )
        return
    too_long_or_short = list(_bounds(shape, len(value), value, path, "length"))
    yield from too_long_or_short
    pattern = shape.metadata.get("pattern")
    if pattern and not too_long_or_short and not compiled(pattern).fullmatch(value):
        yield (
            f"Value '{value}' at '{path}' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {pattern}"
        )


def _scalar_problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if shape.type_name in ("integer", "long"):
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(path, "an integer")
    elif shape.type_name in ("float", "double"):
        if not number:
            raise _wrong_type(path, "a number")
    elif shape.type_name == "boolean":
        if not isinstance(value, bool):
            raise _wrong_type(path, "true or false")
        return
    if number:
        yield from _bounds(shape, value, value, path, "value")


def _bounds(shape: Shape, measure: float, value: Any, path: str, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    shown = str(value)[:200]
    if low is not None and measure < low:
        yield (
            f"Value '{shown}' at '{path}' failed to satisfy constraint: "
            f"Member must have {what} greater than or equal to {low}"
        )
    if high is not None and measure > high:
        yield (
            f"Value '{shown}' at '{path}' failed to satisfy constraint: "
            f"Member must have {what} less than or equal to {high}"
        )


def _join(path: str, name: str) -> str:
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _wrong_type(path: str, expected: str) -> ServiceError:
    return ServiceError("SerializationException", f"The value at '{path}' must be {expected}.")
