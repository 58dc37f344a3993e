"""Models, endpoint configs and artifacts of a model: made once under the name of their content, and cleared away when superseded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from retraining.aws.documents import split_uri
from retraining.aws.errors import is_not_found
from retraining.aws.naming import DIGEST_LENGTH, digest, job_name
from retraining.settings.environment import in_environment

SCORED = "model-scored"
"""Second part of the names of models that only a transform job asks, in the role of evaluations."""


def ensure_model(
    sagemaker: Any, model: str, container: Mapping[str, Any], role_arn: str, isolated: bool = False, step: str = "model"
) -> str:
    """Create the SageMaker model of a container, ``isolated`` from the network or not, unless it exists; return its name.

    The name carries the digest of both. ``step`` is its second part: ``SCORED`` is in another role than what serves.
    """
    network = {"EnableNetworkIsolation": True} if isolated else {}
    name = job_name(model, step, digest({**container, **network}))
    _create_once(
        sagemaker.create_model,
        ModelName=name,
        PrimaryContainer=dict(container),
        **network,
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


def prune(sagemaker: Any, model: str, keep: int, in_use: str | None) -> list[str]:
    """Delete the endpoint configs of a model beyond the newest ``keep`` superseded ones, and the models that no remaining config names.

    Of the models that were only scored the newest ``keep`` + 1 stay, too. AWS lets a config or model be deleted under a live endpoint,
    which then cannot scale or be repaired. So nothing that any endpoint of the account names is deleted, whoever made that endpoint.

    Args:
        sagemaker: boto3 client.
        model: the model's name.
        keep: how many superseded configs and models stay.
        in_use: the config that serves, never deleted.

    Returns:
        The names of what was deleted.

    """
    asked = _names(sagemaker, "list_models", "Models", "ModelName", f"{in_environment(model)}-{SCORED}")[keep + 1 :]
    for name in asked:
        _delete(sagemaker.delete_model, ModelName=name)
    configs = _names(
        sagemaker, "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", f"{in_environment(model)}-config"
    )
    superseded = [name for name in configs if name != in_use][keep:]
    models = _names(sagemaker, "list_models", "Models", "ModelName", f"{in_environment(model)}-model")
    if not superseded and len(models) <= keep + 1:
        return asked
    used = _configs_in_use(sagemaker)
    deleted = [name for name in superseded if name not in used]
    for name in deleted:
        _delete(sagemaker.delete_endpoint_config, EndpointConfigName=name)
    needed = _models_of(sagemaker, {*configs, *used} - set(deleted))
    # The newest models stay even without a config: one may just have been created by a run whose config is to follow.
    orphans = [name for name in models[keep + 1 :] if name not in needed]
    for name in orphans:
        _delete(sagemaker.delete_model, ModelName=name)
    return asked + deleted + orphans


def models_in_use(sagemaker: Any, model: str) -> set[str]:
    """Return the artifacts (S3 URIs) of all SageMaker models of a model that still exist."""
    names = _names(sagemaker, "list_models", "Models", "ModelName", f"{in_environment(model)}-model")
    return {sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["ModelDataUrl"] for name in names}


def superseded_artifacts(
    stored: Mapping[str, datetime], approved: Sequence[str], recent: Sequence[str], in_use: Iterable[str], keep: int
) -> list[str]:
    """Return the artifacts that nothing needs any more, oldest first.

    What stays: artifacts of existing SageMaker models; those of the ``keep`` + 1 newest approved packages, to which a rollback can return;
    and everything that is not older than the ``keep`` + 1 newest packages of any status, which a repeated run may take up again.

    Args:
        stored: S3 URI of every artifact in the bucket, with the time it was written.
        approved: artifacts of the approved packages, newest first.
        recent: artifacts of all packages, newest first.
        in_use: artifacts of existing SageMaker models.
        keep: how many superseded models stay.

    """
    newest = [stored[uri] for uri in recent[: keep + 1] if uri in stored]
    if len(recent) <= keep + 1 or not newest:
        return []
    kept = {*approved[: keep + 1], *recent[: keep + 1], *in_use}
    old = [uri for uri, written in stored.items() if written < min(newest) and uri not in kept]
    return sorted(old, key=lambda uri: (stored[uri], uri))


def stored_artifacts(s3: Any, bucket: str, prefix: str) -> dict[str, datetime]:
    """Return S3 URI and time of every model.tar.gz below a prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    items = (item for page in pages for item in page.get("Contents", []))
    return {
        f"s3://{bucket}/{item['Key']}": item["LastModified"] for item in items if item["Key"].endswith("/model.tar.gz")
    }


def delete_artifacts(s3: Any, uris: Iterable[str]) -> None:
    """Delete artifacts. In a versioned bucket their content stays until its rule for old versions removes it."""
    for uri in uris:
        bucket, key = split_uri(uri)
        s3.delete_object(Bucket=bucket, Key=key)


def _names(sagemaker: Any, operation: str, result: str, key: str, prefix: str) -> list[str]:
    """Return names of the form PREFIX-DIGEST, newest first. NameContains finds them anywhere in a name, so they are matched again."""
    pattern = re.compile(rf"{re.escape(prefix)}-[0-9a-f]{{{DIGEST_LENGTH}}}")
    pages = sagemaker.get_paginator(operation).paginate(
        NameContains=f"{prefix}-", SortBy="CreationTime", SortOrder="Descending"
    )
    return [item[key] for page in pages for item in page[result] if pattern.fullmatch(item[key])]


def _configs_in_use(sagemaker: Any) -> set[str]:
    """Return the configs that any endpoint serves or changes to."""
    from botocore.exceptions import ClientError

    used = set()
    for page in sagemaker.get_paginator("list_endpoints").paginate():
        for item in page["Endpoints"]:
            try:
                description = sagemaker.describe_endpoint(EndpointName=item["EndpointName"])
            except ClientError as error:
                if not is_not_found(error):  # deleted meanwhile
                    raise
                continue
            used.add(description["EndpointConfigName"])
            if pending := description.get("PendingDeploymentSummary", {}).get("EndpointConfigName"):
                used.add(pending)
    return used


def _models_of(sagemaker: Any, configs: Iterable[str]) -> set[str]:
    from botocore.exceptions import ClientError

    named = set()
    for config in sorted(configs):
        try:
            description = sagemaker.describe_endpoint_config(EndpointConfigName=config)
        except ClientError as error:
            if not is_not_found(error):
                raise
            continue
        variants = [*description["ProductionVariants"], *description.get("ShadowProductionVariants", [])]
        named |= {variant["ModelName"] for variant in variants if "ModelName" in variant}
    return named


def _delete(delete: Any, **name: str) -> None:
    from botocore.exceptions import ClientError

    try:
        delete(**name)
    except ClientError as error:
        if not is_not_found(error):  # an earlier try deleted it
            raise


def _create_once(create: Any, **request: Any) -> None:
    from botocore.exceptions import ClientError

    try:
        create(**request)
    except ClientError as error:
        if "already exist" not in error.response["Error"]["Message"].lower():
            raise
