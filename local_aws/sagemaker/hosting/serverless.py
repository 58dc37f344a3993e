"""What serverless endpoints refuse, as the service does: of configurations, of updates, and of requests beyond their capacity."""

from __future__ import annotations

from typing import Any

from local_aws.shared.errors import ServiceError, validation_error

Document = dict[str, Any]

LARGEST_BODY = 4 * 2**20
"""Bytes of a request."""
_OF_INSTANCES = (
    "InitialInstanceCount",
    "VolumeSizeInGB",
    "ModelDataDownloadTimeoutInSeconds",
    "ContainerStartupHealthCheckTimeoutInSeconds",
    "RoutingConfig",
    "InferenceAmiVersion",
)


def check_capacity(variant: Document) -> None:
    """Refuse a variant that names both instances and serverless capacity, neither, or a capacity that the service does not have."""
    name, serverless = variant["VariantName"], variant.get("ServerlessConfig")
    if (serverless is None) == ("InstanceType" not in variant):
        raise validation_error(f"Production variant {name}: give one of InstanceType and ServerlessConfig.")
    if serverless is None:
        return
    if serverless["MemorySizeInMB"] % 1024:
        raise validation_error(f"Production variant {name}: MemorySizeInMB must be a multiple of 1024.")
    if serverless.get("ProvisionedConcurrency", 0) > serverless["MaxConcurrency"]:
        raise validation_error(f"Production variant {name}: ProvisionedConcurrency must not be above MaxConcurrency.")
    if given := [member for member in _OF_INSTANCES if member in variant]:
        raise validation_error(f"Production variant {name}: {given[0]} is not supported for serverless variants.")


def check_config(params: Document) -> None:
    """Refuse a configuration with a serverless variant and what serverless endpoints do not have."""
    variants = [*params["ProductionVariants"], *params.get("ShadowProductionVariants", [])]
    if not any("ServerlessConfig" in variant for variant in variants):
        return
    if len(variants) > 1:
        raise validation_error("Multiple production variants are not supported for serverless endpoints.")
    if params.get("DataCaptureConfig", {}).get("EnableCapture", "DataCaptureConfig" in params):
        raise validation_error("DataCaptureConfig is not supported for serverless endpoints.")
    for member in ("VpcConfig", "EnableNetworkIsolation", "AsyncInferenceConfig"):
        if params.get(member):
            raise validation_error(f"{member} is not supported for serverless endpoints.")


def check_model(variant: Document, model: Document) -> None:
    """Refuse a serverless variant of a model that needs a network of its own, none at all, or a GPU."""
    if "ServerlessConfig" not in variant:
        return
    for member in ("VpcConfig", "EnableNetworkIsolation"):
        if model.get(member):
            raise validation_error(f"Model {model['ModelName']}: {member} is not supported for serverless endpoints.")
    containers = model.get("Containers") or [model["PrimaryContainer"]]
    container = containers[0]
    if len(containers) > 1 or container.get("Mode") == "MultiModel":
        raise validation_error(
            f"Model {model['ModelName']}: serverless endpoints have neither pipelines nor multi-model."
        )
    if "gpu" in container.get("Image", "").rpartition(":")[2]:
        raise validation_error(f"Model {model['ModelName']}: serverless endpoints have no GPU.")


def check_update(active: Document, config: Document, params: Document) -> None:
    """Refuse to make a serverless endpoint of one with instances, and to roll one out step by step."""
    after = any("ServerlessConfig" in variant for variant in config["ProductionVariants"])
    before = any("ServerlessConfig" in variant for variant in active["ProductionVariants"])
    if after and not before:
        raise validation_error("An instance-based endpoint cannot be updated to a serverless endpoint.")
    if after and "RollingUpdatePolicy" in params.get("DeploymentConfig", {}):
        raise validation_error("RollingUpdatePolicy is not supported for serverless endpoints.")


def check_request(variants: list[Document], in_flight: int, body: bytes) -> None:
    """Refuse a request that a serverless endpoint has no room for.

    Args:
        variants: of the configuration in service.
        in_flight: requests under way, this one included.
        body: of the request.

    """
    serverless = variants[0].get("ServerlessConfig")
    if serverless is None:
        return
    if len(body) > LARGEST_BODY:
        raise ServiceError("ValidationError", f"The request body of {len(body)} bytes is larger than 4 MB.", status=413)
    if in_flight > serverless["MaxConcurrency"]:
        raise ServiceError("ThrottlingException", "Rate exceeded: MaxConcurrency requests are under way.", status=429)


def capacity_of(variant: Document) -> Document:
    """Return what DescribeEndpoint says of a variant's capacity."""
    if "ServerlessConfig" in variant:
        return {"CurrentServerlessConfig": variant["ServerlessConfig"]}
    count = variant.get("InitialInstanceCount", 1)
    return {"CurrentInstanceCount": count, "DesiredInstanceCount": count}
