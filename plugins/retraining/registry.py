"""The model registry: one package per candidate, with metrics and lineage, its status following the decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from retraining.aws_jobs import is_not_found
from retraining.contract import Strict
from retraining.naming import digest
from retraining.plan import Champion

APPROVED, PENDING, REJECTED = "Approved", "PendingManualApproval", "Rejected"
METADATA_LIMIT = 256  # characters of a CustomerMetadataProperties value


class Registered(Strict):
    """A model package: its ARN, version number and approval status."""

    arn: str
    version: int
    status: str


def group_name(model: str) -> str:
    """Return the model package group of a model."""
    return f"{model}-models"


def champion(sagemaker: Any, model: str) -> Champion | None:
    """Return the newest approved package of a model, None when there is none."""
    for summary in _summaries(sagemaker, model, ModelApprovalStatus=APPROVED):
        package = sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
        metadata = package.get("CustomerMetadataProperties", {})
        return Champion(
            package_arn=package["ModelPackageArn"],
            model_data=package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"],
            work_digest=metadata.get("work_digest", ""),
            run_key=metadata.get("run_key", ""),
        )
    return None


def register(
    sagemaker: Any,
    model: str,
    container: Mapping[str, Any],
    status: str,
    metrics_uri: str,
    description: str,
    lineage: Mapping[str, str],
) -> Registered:
    """Register a candidate once; a repeated call for the same run finds the package and brings its status up to date.

    Args:
        sagemaker: boto3 client.
        model: the model's name.
        container: Image, ModelDataUrl and Environment.
        status: one of the approval statuses.
        metrics_uri: S3 URI of a JSON document with the metrics.
        description: one sentence, the decision's reason.
        lineage: run key, dataset version, job names, digests; ``run_key`` identifies the package.

    """
    group = group_name(model)
    _ensure_group(sagemaker, model, group)
    found = _find(sagemaker, model, lineage["run_key"], container["ModelDataUrl"])
    if found is None:
        arn = sagemaker.create_model_package(
            ModelPackageGroupName=group,
            ModelPackageDescription=description[:1024],
            ModelApprovalStatus=status,
            InferenceSpecification={
                "Containers": [dict(container)],
                "SupportedContentTypes": ["text/csv", "application/json"],
                "SupportedResponseMIMETypes": ["text/csv", "application/json"],
            },
            ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": metrics_uri}}},
            CustomerMetadataProperties={key: str(value)[:METADATA_LIMIT] for key, value in lineage.items()},
            ClientToken=digest({"run": lineage["run_key"], "data": container["ModelDataUrl"]}, 36),
        )["ModelPackageArn"]
        found = sagemaker.describe_model_package(ModelPackageName=arn)
    registered = Registered(
        arn=found["ModelPackageArn"], version=found["ModelPackageVersion"], status=found["ModelApprovalStatus"]
    )
    if registered.status == PENDING and status == REJECTED:
        return set_status(sagemaker, registered, status, description)
    return registered


def set_status(sagemaker: Any, package: Registered, status: str, description: str) -> Registered:
    """Set the approval status of a package."""
    if package.status != status:
        sagemaker.update_model_package(
            ModelPackageArn=package.arn, ModelApprovalStatus=status, ApprovalDescription=description[:1024]
        )
    return package.model_copy(update={"status": status})


def _ensure_group(sagemaker: Any, model: str, group: str) -> None:
    from botocore.exceptions import ClientError

    try:
        sagemaker.describe_model_package_group(ModelPackageGroupName=group)
    except ClientError as error:
        if not is_not_found(error):
            raise
        try:
            sagemaker.create_model_package_group(
                ModelPackageGroupName=group, ModelPackageGroupDescription=f"All judged models of {model}"
            )
        except ClientError as refused:  # an earlier reply was lost, or another writer was faster
            if "already exist" not in refused.response["Error"]["Message"].lower():
                raise


def _summaries(sagemaker: Any, model: str, **filters: Any) -> Iterator[dict[str, Any]]:
    """Yield the package summaries of a model, newest first; none when the group does not exist yet."""
    from botocore.exceptions import ClientError

    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group_name(model), SortBy="CreationTime", SortOrder="Descending", **filters
    )
    try:
        for page in pages:
            yield from page["ModelPackageSummaryList"]
    except ClientError as error:
        if not is_not_found(error):
            raise


def _find(sagemaker: Any, model: str, run_key: str, model_data: str) -> dict[str, Any] | None:
    for summary in _summaries(sagemaker, model):
        package: dict[str, Any] = sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
        same_run = package.get("CustomerMetadataProperties", {}).get("run_key") == run_key
        if same_run and package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == model_data:
            return package
    return None
