"""The served model: bring it up, prove that it answers as evaluated, go back when it does not, and clear away what is superseded."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from retraining.aws_jobs import is_not_found
from retraining.naming import digest, job_name


class VerificationError(RuntimeError):
    """The endpoint does not serve what was evaluated."""


def ensure_model(sagemaker: Any, model: str, container: Mapping[str, Any], role_arn: str) -> str:
    """Create the SageMaker model of a container, named by its digest, unless it exists; return its name."""
    name = job_name(model, "model", digest(container))
    _create_once(
        sagemaker.create_model,
        ModelName=name,
        PrimaryContainer=dict(container),
        ExecutionRoleArn=role_arn,
        Tags=[{"Key": "retraining:model", "Value": model}],
    )
    return name


def ensure_endpoint_config(sagemaker: Any, model: str, request: Mapping[str, Any]) -> str:
    """Create the endpoint config of a request, named by its digest, unless it exists; return its name."""
    name = job_name(model, "config", digest(request))
    _create_once(
        sagemaker.create_endpoint_config,
        EndpointConfigName=name,
        **request,
        Tags=[{"Key": "retraining:model", "Value": model}],
    )
    return name


def current_config(sagemaker: Any, endpoint: str) -> str | None:
    """Return the config that an endpoint serves, None when it serves none."""
    from botocore.exceptions import ClientError

    try:
        description = sagemaker.describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        if is_not_found(error):
            return None
        raise
    return None if description["EndpointStatus"] == "Failed" else str(description["EndpointConfigName"])


def verify(
    sagemaker: Any, runtime: Any, endpoint: str, config: str, smoke: Mapping[str, Any], tolerance: float
) -> float:
    """Check that an endpoint serves ``config`` and answers the smoke request as the evaluation did.

    Args:
        sagemaker: boto3 client.
        runtime: boto3 client of the runtime.
        endpoint: its name.
        config: the intended endpoint config.
        smoke: ``content_type``, ``body`` and the evaluation's ``prediction`` for that row.
        tolerance: largest relative difference that is still the same answer.

    Returns:
        The endpoint's prediction.

    Raises:
        VerificationError: another config serves, the request fails, or the answer differs.

    """
    serving = current_config(sagemaker, endpoint)
    if serving != config:
        raise VerificationError(f"endpoint {endpoint} serves config {serving}, not {config}")
    try:
        answer = runtime.invoke_endpoint(
            EndpointName=endpoint,
            ContentType=smoke["content_type"],
            Accept="application/json",
            Body=smoke["body"].encode(),
        )["Body"].read()
        prediction = float(json.loads(answer)["predictions"][0])
    except Exception as error:
        raise VerificationError(
            f"endpoint {endpoint} does not answer the smoke request {smoke['body']!r}: {error}"
        ) from error
    expected = float(smoke["prediction"])
    if not abs(prediction - expected) <= tolerance * max(1.0, abs(expected)):
        raise VerificationError(
            f"endpoint {endpoint} answers {prediction:g} where the evaluation predicted {expected:g} for {smoke['body']!r}"
        )
    return prediction


def roll_back(sagemaker: Any, endpoint: str, config: str | None, timeout_seconds: float, poll_seconds: float) -> str:
    """Return an endpoint to an earlier config, or delete it when there is none; return a sentence on what happened."""
    if config is None:
        sagemaker.delete_endpoint(EndpointName=endpoint)
        return f"endpoint {endpoint} was deleted, because nothing served before"
    sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        description = sagemaker.describe_endpoint(EndpointName=endpoint)
        if description["EndpointStatus"] == "InService" and description["EndpointConfigName"] == config:
            return f"endpoint {endpoint} serves {config} again"
        if description["EndpointStatus"] == "Failed":
            break
        time.sleep(poll_seconds)
    return (
        f"endpoint {endpoint} could not be returned to {config}: it is {description['EndpointStatus']}, look at it now"
    )


def prune(sagemaker: Any, model: str, keep: int, in_use: str | None) -> list[str]:
    """Delete the endpoint configs of a model beyond the newest ``keep`` and the models that no remaining config names.

    Args:
        sagemaker: boto3 client.
        model: the model's name.
        keep: how many superseded configs stay.
        in_use: the config that serves, never deleted.

    Returns:
        The names of what was deleted.

    """
    prefix = f"{model}-config-"
    pages = sagemaker.get_paginator("list_endpoint_configs").paginate(
        NameContains=prefix, SortBy="CreationTime", SortOrder="Descending"
    )
    names = [item["EndpointConfigName"] for page in pages for item in page["EndpointConfigs"]]
    names = [name for name in names if name.startswith(prefix)]
    superseded = [name for name in names if name != in_use]
    needed: set[str] = set()
    for name in {*superseded[:keep], *([in_use] if in_use else [])}:
        variants = sagemaker.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"]
        needed |= {variant["ModelName"] for variant in variants}
    deleted = []
    for name in superseded[keep:]:
        variants = sagemaker.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"]
        sagemaker.delete_endpoint_config(EndpointConfigName=name)
        deleted.append(name)
        for variant in variants:
            if variant["ModelName"] not in needed and variant["ModelName"] not in deleted:
                sagemaker.delete_model(ModelName=variant["ModelName"])
                deleted.append(variant["ModelName"])
    return deleted


def _create_once(create: Any, **request: Any) -> None:
    from botocore.exceptions import ClientError

    try:
        create(**request)
    except ClientError as error:
        if "already exist" not in error.response["Error"]["Message"].lower():
            raise
