"""The model registry: one package per candidate, with metrics and lineage, its status following the decision.

The newest approved package should be what serves; what does, ``champion`` finds out.
A package is pending until it has proved itself in service. One that a
rollback abandoned says so in its metadata: it is not approved again by a repeated run, only by a rollback that chooses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retraining.aws.errors import is_not_found
from retraining.aws.naming import digest
from retraining.jobs.plan import Champion
from retraining.serving.pinning import SHA256
from retraining.settings.environment import in_environment
from retraining.settings.strict import Strict

APPROVED, PENDING, REJECTED = "Approved", "PendingManualApproval", "Rejected"
METADATA_LIMIT = 256  # characters of a CustomerMetadataProperties value
DESCRIPTION_LIMIT = 1024  # characters of a package's or an approval's description
ABANDONED = "abandoned"  # metadata key; its value is the rollback's id


class AbandonedError(RuntimeError):
    """A rollback took this very model out of service; nothing but a person's choice brings it back."""


class Registered(Strict):
    """A model package: its ARN, version number and approval status."""

    arn: str
    version: int
    status: str


class Package(Registered):
    """A model package with its container (Image, ModelDataUrl, Environment), metadata and the reason of its status."""

    container: Mapping[str, Any]
    metadata: Mapping[str, str]
    reason: str = ""

    @property
    def model_data(self) -> str:
        """S3 URI of the artifact."""
        return str(self.container["ModelDataUrl"])

    def is_of(self, model_data: str, image: str) -> bool:
        """Whether it is the package of an artifact (S3 URI) in an image (URI)."""
        return self.model_data == model_data and self.container.get("Image") == image


def group_name(model: str, deployment: str | None = None) -> str:
    """Return the model package group of a model, in this deployment or a named one."""
    return f"{in_environment(model, deployment)}-models"


def packages(sagemaker: Any, model: str, status: str | None = None, deployment: str | None = None) -> Iterator[Package]:
    """Yield the packages of a model, see ``arns``."""
    for arn in arns(sagemaker, model, status, deployment):
        yield package(sagemaker, arn)


def arns(sagemaker: Any, model: str, status: str | None = None, deployment: str | None = None) -> Iterator[str]:
    """Yield the ARNs of a model's packages, newest first, optionally of one status; none when the group does not exist yet.

    Args:
        sagemaker: boto3 client.
        model: the model's name.
        status: only these.
        deployment: whose registry; that of this process when not given.

    """
    filters = {"ModelApprovalStatus": status} if status else {}
    for summary in _summaries(sagemaker, group_name(model, deployment), **filters):
        yield str(summary["ModelPackageArn"])


def champion(sagemaker: Any, model: str) -> Champion | None:
    """Return the newest approved package of a model, None when there is none."""
    for package in packages(sagemaker, model, APPROVED):
        return Champion(
            package_arn=package.arn,
            model_data=package.model_data,
            work_digest=package.metadata.get("work_digest", ""),
            run_key=package.metadata.get("run_key", ""),
            artifact_sha256=package.metadata.get(SHA256, ""),
        )
    return None


def package(sagemaker: Any, arn: str) -> Package:
    """Return a package by its ARN."""
    return _package(sagemaker.describe_model_package(ModelPackageName=arn))


def register(
    sagemaker: Any,
    model: str,
    container: Mapping[str, Any],
    status: str,
    metrics_uri: str,
    description: str,
    lineage: Mapping[str, str],
    explanation_uri: str | None = None,
) -> Registered:
    """Register a candidate once; a repeated call for the same run finds the package and brings its status up to date.

    A run that brings the same artifact into service in another image makes a package of its own, from which a rollback can go back.

    Two calls at the same moment, or a call whose reply was lost, send the same ClientToken, for which SageMaker makes one package.

    Args:
        sagemaker: boto3 client.
        model: the model's name.
        container: Image, ModelDataUrl and Environment.
        status: one of the approval statuses.
        metrics_uri: S3 URI of a JSON document with the metrics.
        description: one sentence, the decision's reason.
        lineage: run key, dataset version, job names, digests; ``run_key`` identifies the package.
        explanation_uri: S3 URI of a JSON document in the layout of SageMaker Clarify that says what the model goes by, if there is one.

    Raises:
        AbandonedError: the candidate is to be approved, but a rollback abandoned it.

    """
    group = group_name(model)
    _ensure_group(sagemaker, model, group)
    found = _find(sagemaker, model, lineage["run_key"], container)
    if found is None:
        arn = sagemaker.create_model_package(
            ModelPackageGroupName=group,
            ModelPackageDescription=_sentence(f"{lineage['run_key']}: {description}"),
            ModelApprovalStatus=status,
            InferenceSpecification={
                "Containers": [dict(container)],
                "SupportedContentTypes": ["text/csv", "application/json"],
                "SupportedResponseMIMETypes": ["text/csv", "application/json"],
            },
            ModelMetrics=_model_metrics(metrics_uri, explanation_uri),
            CustomerMetadataProperties={key: _metadata(value) for key, value in lineage.items()},
            ClientToken=digest({"group": group, "run": lineage["run_key"], **container}, 36),
        )["ModelPackageArn"]
        found = _package(sagemaker.describe_model_package(ModelPackageName=arn))
    if status == PENDING and ABANDONED in found.metadata:
        raise AbandonedError(
            f"model package {found.arn} was abandoned: {found.reason}. This run made the same model again; bring other data or settings, "
            "or choose the package in the rollback DAG if it shall serve"
        )
    registered = Registered(arn=found.arn, version=found.version, status=found.status)
    if registered.status == PENDING and status == REJECTED:
        return set_status(sagemaker, registered, status, description)
    return registered


def _model_metrics(metrics_uri: str, explanation_uri: str | None) -> dict[str, Any]:
    def source(uri: str) -> dict[str, str]:
        return {"ContentType": "application/json", "S3Uri": uri}

    found: dict[str, Any] = {"ModelQuality": {"Statistics": source(metrics_uri)}}
    if explanation_uri:
        found["Explainability"] = {"Report": source(explanation_uri)}
    return found


def set_status(sagemaker: Any, package: Registered, status: str, description: str) -> Registered:
    """Set the approval status of a package, with the reason."""
    if package.status != status:
        sagemaker.update_model_package(
            ModelPackageArn=package.arn, ModelApprovalStatus=status, ApprovalDescription=_sentence(description)
        )
    return Registered(arn=package.arn, version=package.version, status=status)


def abandon(sagemaker: Any, packages: Sequence[Registered], rollback: str, reason: str) -> None:
    """Reject packages that a rollback took out of service, and note which rollback it was; repeating it changes nothing.

    Args:
        sagemaker: boto3 client.
        packages: what to reject.
        rollback: the rollback's id.
        reason: who went back, and why.

    """
    for package in packages:
        sagemaker.update_model_package(
            ModelPackageArn=package.arn,
            ModelApprovalStatus=REJECTED,
            ApprovalDescription=_sentence(reason),
            CustomerMetadataProperties={ABANDONED: _metadata(rollback)},
        )


def reinstate(sagemaker: Any, package: Package, reason: str) -> None:
    """Approve a package that serves again, also when an earlier rollback abandoned it."""
    if package.status == APPROVED:
        return
    removed = {"CustomerMetadataPropertiesToRemove": [ABANDONED]} if ABANDONED in package.metadata else {}
    sagemaker.update_model_package(
        ModelPackageArn=package.arn, ModelApprovalStatus=APPROVED, ApprovalDescription=_sentence(reason), **removed
    )


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
        except ClientError as refused:
            if "already exist" not in refused.response["Error"]["Message"].lower():  # another writer was faster
                raise


def _summaries(sagemaker: Any, group: str, **filters: Any) -> Iterator[dict[str, Any]]:
    """Yield the package summaries of a group, newest first; none when it does not exist yet."""
    from botocore.exceptions import ClientError

    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", **filters
    )
    try:
        for page in pages:
            yield from page["ModelPackageSummaryList"]
    except ClientError as error:
        if not is_not_found(error):
            raise


def _find(sagemaker: Any, model: str, run_key: str, container: Mapping[str, Any]) -> Package | None:
    """Return the package of a run with this artifact and image.

    Its description begins with the run key, so that only its own packages are described, not hundreds.
    """
    for summary in _summaries(sagemaker, group_name(model)):
        if not summary.get("ModelPackageDescription", "").startswith(f"{run_key}: "):
            continue
        package = _package(sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"]))
        if package.metadata.get("run_key") == run_key and package.is_of(container["ModelDataUrl"], container["Image"]):
            return package
    return None


def _package(description: Mapping[str, Any]) -> Package:
    container = description["InferenceSpecification"]["Containers"][0]
    return Package(
        arn=description["ModelPackageArn"],
        version=description["ModelPackageVersion"],
        status=description["ModelApprovalStatus"],
        container={key: container[key] for key in ("Image", "ModelDataUrl", "Environment") if key in container},
        metadata=description.get("CustomerMetadataProperties", {}),
        reason=description.get("ApprovalDescription", ""),
    )


def _sentence(text: str) -> str:
    """Return a text on one line, as the registry's descriptions must be."""
    return " ".join(text.split())[:DESCRIPTION_LIMIT]


def _metadata(value: Any) -> str:
    """Return a value with only the characters that SageMaker takes in metadata."""
    return re.sub(r"[^\w .:/=+@-]", "-", str(value))[:METADATA_LIMIT] or "-"
