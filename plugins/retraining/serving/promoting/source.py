"""What is promoted: the model that another deployment of the same account and region serves, with what is on record of it there.

Everything here reads. Nothing of the other deployment changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from retraining.aws.documents import get_json
from retraining.aws.naming import digest
from retraining.dataset.contract_change import contract_changes, contract_record, incompatible
from retraining.serving import champion
from retraining.serving.pinning import sha256_of
from retraining.serving.registry import APPROVED, Package
from retraining.settings.environment import in_environment
from retraining.settings.model_config import ModelConfig
from retraining.settings.strict import Strict

PROMOTED = "models/promoted/"
"""Below the model's prefix: artifacts of other deployments, each in a folder that its SHA-256 names."""


class PromotionError(RuntimeError):
    """There is nothing to promote, or it cannot be: the message names the object and the remedy. Nothing was changed."""


class Source(Strict):
    """A model that serves in another deployment, and was approved there."""

    deployment: str
    bucket: str
    prefix: str
    """Of its run's documents in that bucket."""
    endpoint: str | None
    endpoint_config: str | None
    """What the endpoint serves; None of a model that has none."""
    package: Package

    @property
    def evaluation(self) -> str:
        """Key prefix of what its evaluation left."""
        return f"{self.prefix}evaluation/"

    @property
    def lineage(self) -> dict[str, str]:
        """Return where and of what the model was trained, which promotions do not change."""
        known = self.package.metadata
        return {
            "trained_in": known.get("trained_in", self.deployment),
            "trained_run": known.get("trained_run", known.get("run_key", "")),
            "trained_on_version": known.get("trained_on_version", known.get("dataset_version", "")),
            "training_job": known.get("training_job", ""),
            "code_digest": known.get("code_digest", ""),
        }


def find_source(sagemaker: Any, config: ModelConfig, deployment: str, bucket: str) -> Source:
    """Return the model that serves in a deployment, which is its newest approved package.

    Args:
        sagemaker: boto3 client.
        config: the model's configuration.
        deployment: the one that the model comes from.
        bucket: its data bucket.

    Raises:
        PromotionError: nothing is approved there, or what serves is another model than the approved one.

    """
    model, named = config.name, config.deployment.endpoint
    endpoint = in_environment(named, deployment) if named else None
    now = champion.standing(sagemaker, model, endpoint, deployment)
    package = now.package
    if package is None and now.champion is None:
        raise PromotionError(
            f"deployment {deployment} has no approved model {model}: nothing can be promoted before a run there approves one"
        )
    if now.disagreement or package is None or package.status != APPROVED:
        reason = now.disagreement or f"endpoint {endpoint} serves a model that is not approved"
        raise PromotionError(
            f"it is not clear which model {model} of deployment {deployment} is meant: {reason}. Let a run or a rollback there end first"
        )
    served = champion.served(sagemaker, endpoint) if endpoint else None
    if served and served.status != "InService":
        raise PromotionError(f"endpoint {served.endpoint} is {served.status}: repeat the command when it is InService")
    run_key = package.metadata.get("run_key")
    if not run_key:
        raise PromotionError(
            f"model package {package.arn} names no run that judged it, so there is nothing to verify it by: promote a model that a "
            "retraining made"
        )
    prefix = f"{model}/runs/{run_key}/"
    config_name = served.config if served else None
    return Source(
        deployment=deployment,
        bucket=bucket,
        prefix=prefix,
        endpoint=endpoint,
        endpoint_config=config_name,
        package=package,
    )


def document(s3: Any, source: Source, name: str) -> dict[str, Any]:
    """Return a document of the source's run.

    Raises:
        PromotionError: it is gone.

    """
    try:
        return dict(get_json(s3, f"s3://{source.bucket}/{source.prefix}{name}"))
    except LookupError as error:
        raise PromotionError(
            f"model package {source.package.version} of deployment {source.deployment} cannot be promoted: {error}"
        ) from error


def unlike(config: ModelConfig, image: str, source: Source, plan: Mapping[str, Any]) -> list[str]:
    """Return in words why a deployment of this configuration would not use the model as it was tested.

    Args:
        config: configuration of the deployment that the model goes to.
        image: URI of the image that serves there.
        source: the model.
        plan: ``plan.json`` of the run that made or promoted it.

    """
    wrong = []
    tested = str(source.package.container.get("Image", ""))
    if tested != image:
        wrong.append(f"it was tested in image {tested}, and deployment.image would be {image}")
    then = plan.get("config") or {}
    if then.get("contract"):
        before = contract_record(then["contract"], then.get("split") or {})
        now = contract_record(config.contract.model_dump(mode="json"), config.split.model_dump())
        wrong += incompatible(contract_changes(before.keys, now.keys, by_name=True))
    return wrong


def fetch(s3: Any, uri: str, into: BinaryIO | None = None) -> str:
    """Return the SHA-256 of an artifact in hex, and write it into a file if one is given.

    Raises:
        PromotionError: it is gone.

    """
    try:
        return sha256_of(s3, uri, into)
    except LookupError as error:
        raise PromotionError(
            f"the artifact {uri} was cleared away (deployment.keep): promote a newer package"
        ) from error


def objects(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Yield what lies below a prefix: the rest of the key, and the content."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for item in (item for page in pages for item in page.get("Contents", [])):
        yield item["Key"].removeprefix(prefix), s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()


def artifact_key(model: str, sha256: str) -> str:
    """Return the key of a promoted artifact."""
    return f"{model}/{PROMOTED}{sha256[:32]}/output/model.tar.gz"


def run_key(version: int, sha256: str, against: str | None, settings: Mapping[str, Any]) -> str:
    """Return the key of a promotion: the same artifact, judged on the same rows against the same champion by the same rules, has the same.

    Args:
        version: dataset version whose test rows judge; 0 when there is no data set.
        sha256: of the artifact.
        against: package or artifact of the champion, if any.
        settings: what of the configuration takes part in judging and serving.

    """
    work = {"version": version, "artifact": sha256, "champion": against, "settings": settings}
    return f"p{version}-{digest(work, 12)}"
