"""What ``model.yaml`` adds to the request of a job in AWS's own spelling: networks, keys, spot instances, tags, whatever has no key here.

An override adds members. What the library sets itself has its key in model.yaml, or is what makes a job the one that was planned; a value
for it is refused when the file is read.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

TRAINING = "CreateTrainingJob"
PROCESSING = "CreateProcessingJob"
TUNING = "CreateHyperParameterTuningJob"
_LOOP = "by the library"
_KINDS: Mapping[str, tuple[Any, str]] = {
    "structure": (Mapping, "a mapping"),
    "map": (Mapping, "a mapping"),
    "list": (list, "a list"),
    "boolean": (bool, "true or false"),
    "integer": (int, "a whole number"),
    "long": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "double": ((int, float), "a number"),
}
#: What the library sets, as paths into the request, and by what.
SET: Mapping[str, Mapping[str, str]] = {
    TRAINING: {
        "TrainingJobName": _LOOP,
        "AlgorithmSpecification.TrainingImage": "with image",
        "AlgorithmSpecification.TrainingInputMode": _LOOP,
        "AlgorithmSpecification.MetricDefinitions": "with metrics",
        "HyperParameters": "with the hyperparameters of a candidate",
        "InputDataConfig": _LOOP,
        "OutputDataConfig.S3OutputPath": _LOOP,
        "ResourceConfig.InstanceType": "with instance_type",
        "ResourceConfig.InstanceCount": "with instance_count",
        "ResourceConfig.VolumeSizeInGB": "with volume_gb",
        "RoleArn": "by the deployment",
        "StoppingCondition.MaxRuntimeInSeconds": "with max_runtime_seconds",
    },
    PROCESSING: {
        "ProcessingJobName": _LOOP,
        "AppSpecification": _LOOP,
        "ProcessingInputs": _LOOP,
        "NetworkConfig.EnableNetworkIsolation": "with network_isolation",
        "ProcessingOutputConfig.Outputs": _LOOP,
        "ProcessingResources.ClusterConfig.InstanceType": "with instance_type",
        "ProcessingResources.ClusterConfig.InstanceCount": "with instance_count",
        "ProcessingResources.ClusterConfig.VolumeSizeInGB": "with volume_gb",
        "RoleArn": "by the deployment",
        "StoppingCondition.MaxRuntimeInSeconds": "with max_runtime_seconds",
    },
}


def adds_to(operation: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a validator of the overrides of an operation's request.

    It raises a ValueError for a member that the library sets, for a value that no request can hold, and, where botocore can be imported,
    for a member or value that the operation does not have.
    """

    def check(value: dict[str, Any]) -> dict[str, Any]:
        for path, by in SET[operation].items():
            _not_set(value, path.split("."), path, by)
        _plain(value, "")
        for fault in _unknown(operation, value):
            raise ValueError(fault)
        return value

    return check


def trial_faults(overrides: Mapping[str, Any]) -> Iterator[str]:
    """Say which members of a training job the trials of a tuning job do not have; its tags are handed on to them."""
    shape = _request(TUNING)
    if shape is not None:
        given = {name: value for name, value in overrides.items() if name != "Tags"}
        for fault in _faults(shape.members["TrainingJobDefinition"], given, ""):
            yield f"overrides: {fault.replace('a request to AWS has', 'a tuning job has')}"


def added(request: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with the members of its overrides; what both have is a mapping in both."""
    joined = {
        name: added(value, overrides[name]) if name in overrides and isinstance(value, dict) else value
        for name, value in request.items()
    }
    return joined | {name: value for name, value in overrides.items() if name not in request}


def _not_set(value: Any, path: list[str], whole: str, by: str) -> None:
    name, *rest = path
    if not isinstance(value, Mapping) or name not in value:
        return
    if not rest:
        raise ValueError(f"{whole} is set {by}: take it out of overrides")
    if not isinstance(value[name], Mapping):
        raise ValueError(f"{whole.partition('.' + rest[0])[0]} is a mapping of names and values in a request to AWS")
    _not_set(value[name], rest, whole, by)


def _plain(value: Any, path: str) -> None:
    """Refuse what YAML makes of a date, say: a request holds texts, numbers, truth values, lists and mappings."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                raise ValueError(f"{path or 'overrides'} has the name {name!r}, which is no text: put it in quotes")
            _plain(item, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            _plain(item, path)
    elif value is None or not isinstance(value, str | int | float | bool):
        raise ValueError(f"{path} is {value!r}: a request holds texts, numbers, true or false, lists and mappings")


def _unknown(operation: str, value: Mapping[str, Any]) -> Iterator[str]:
    shape = _request(operation) if value else None  # botocore takes a moment to read what it knows of SageMaker
    if shape is not None:
        yield from _faults(shape, value, "")


@functools.cache
def _request(operation: str) -> Any:
    """Return botocore's shape of a SageMaker request; None where there is no botocore: AWS itself will refuse what is wrong."""
    try:
        from botocore.loaders import Loader
        from botocore.model import ServiceModel
    except ImportError:
        return None
    model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
    return model.operation_model(operation).input_shape


def _faults(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Say which members a request does not have, and which values cannot be theirs; members that are missing are not looked for."""
    kind = shape.type_name
    wanted = _KINDS.get(kind, (str, "a text"))
    if not isinstance(value, wanted[0]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{path} is {value!r}, and must be {wanted[1]}"
    elif kind == "structure":
        for name in value:
            here = f"{path}.{name}".lstrip(".")
            if name in shape.members:
                yield from _faults(shape.members[name], value[name], here)
            else:
                near = difflib.get_close_matches(name, shape.members, n=1)
                yield f"a request to AWS has no {here}" + (f"; did you mean {near[0]}?" if near else "")
    elif kind == "list":
        for item in value:
            yield from _faults(shape.member, item, path)
    elif kind == "map":
        for name, item in value.items():
            yield from _faults(shape.value, item, f"{path}.{name}")
    elif shape.metadata.get("enum") and value not in shape.metadata["enum"]:
        yield f"{path} is {value!r}, and must be one of {', '.join(shape.metadata['enum'])}"
