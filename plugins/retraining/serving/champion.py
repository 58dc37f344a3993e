"""The champion is what serves: endpoint, config, model, artifact, package, in that order; the registry alone does not say it.

Of a model without an endpoint the registry does say it: the champion is the newest approved package.

A click in the console can approve, reject or deploy a model. Then registry and endpoint disagree, which is told with both names, and the
next model is compared with what serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from retraining.aws.errors import is_not_found
from retraining.jobs.plan import Champion
from retraining.jobs.requests import serves_by_itself
from retraining.serving import registry
from retraining.serving.pinning import SHA256
from retraining.serving.registry import APPROVED, REJECTED, Package
from retraining.settings.model_config import ModelConfig

NOT_SERVING = ("Creating", "Failed", "Deleting")


@dataclass(frozen=True)
class Served:
    """What an endpoint serves: its state, config and model, and the model's container."""

    endpoint: str
    status: str
    config: str
    model: str
    container: Mapping[str, Any]
    serverless: bool = False

    @property
    def model_data(self) -> str:
        """S3 URI of the artifact."""
        return str(self.container.get("ModelDataUrl", ""))

    @property
    def image(self) -> str:
        """URI of the container's image."""
        return str(self.container.get("Image", ""))


@dataclass(frozen=True)
class Standing:
    """With what a new model is compared, and what endpoint and registry say when they disagree."""

    champion: Champion | None
    disagreement: str = ""
    package: Package | None = None
    """The package of what serves."""


def served(sagemaker: Any, endpoint: str) -> Served | None:
    """Return what an endpoint serves; None when there is no endpoint, or none that serves."""
    from botocore.exceptions import ClientError

    try:
        description = sagemaker.describe_endpoint(EndpointName=endpoint)
        if description["EndpointStatus"] in NOT_SERVING:
            return None
        config = sagemaker.describe_endpoint_config(EndpointConfigName=description["EndpointConfigName"])
        variant = config["ProductionVariants"][0]
        model = variant["ModelName"]
        container = sagemaker.describe_model(ModelName=model).get("PrimaryContainer", {})
    except ClientError as error:
        if not is_not_found(error):
            raise
        return None
    serverless = "ServerlessConfig" in variant
    return Served(
        endpoint, description["EndpointStatus"], description["EndpointConfigName"], model, container, serverless
    )


def artifact_of(sagemaker: Any, config: str) -> str | None:
    """Return the artifact (S3 URI) that an endpoint config serves; None when the config or its model is gone."""
    from botocore.exceptions import ClientError

    try:
        [variant, *_] = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
        container = sagemaker.describe_model(ModelName=variant["ModelName"]).get("PrimaryContainer", {})
    except ClientError as error:
        if not is_not_found(error):
            raise
        return None
    return container.get("ModelDataUrl")


def conversion(sagemaker: Any, config: ModelConfig) -> str | None:
    """Return what is wrong when an endpoint is of another kind than model.yaml wants, None when nothing is.

    AWS does not make a serverless endpoint of one with instances. The other way it does, but what fails then cannot go back.
    """
    now = served(sagemaker, config.endpoint) if config.endpoint else None
    if now is None or now.serverless == (config.deployment.mode == "serverless"):
        return None
    kind = "is serverless" if now.serverless else "has instances"
    return (
        f"endpoint {now.endpoint} {kind}, and deployment.mode of {config.name} is {config.deployment.mode}: it cannot be converted "
        f"and go back. Give deployment.endpoint another name, or delete it: aws sagemaker delete-endpoint --endpoint-name {now.endpoint}"
    )


def status_of(sagemaker: Any, endpoint: str) -> str | None:
    """Return the status of an endpoint, None when there is none."""
    from botocore.exceptions import ClientError

    try:
        return str(sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"])
    except ClientError as error:
        if not is_not_found(error):
            raise
        return None


def package_of(
    sagemaker: Any, model: str, model_data: str, deployment: str | None = None, image: str = ""
) -> Package | None:
    """Return the package of an artifact, see ``of_artifact``."""
    return of_artifact(registry.packages(sagemaker, model, deployment=deployment), model_data, image)


def of_artifact(packages: Iterable[Package], model_data: str, image: str = "") -> Package | None:
    """Return the package of an artifact, one of this image if there is any; of several the newest that was not rejected.

    Args:
        packages: newest first.
        model_data: S3 URI of the artifact.
        image: URI of the image that it serves in; empty when that does not matter.

    """
    found = [package for package in packages if package.model_data == model_data]
    found = [package for package in found if package.is_of(model_data, image)] or found
    return next((package for package in found if package.status != REJECTED), found[0] if found else None)


def standing(
    sagemaker: Any,
    model: str,
    endpoint: str | None,
    deployment: str | None = None,
    packages: Iterable[Package] | None = None,
) -> Standing:
    """Return the champion of a model: what its endpoint serves, or the newest approved package while there is no endpoint.

    Args:
        sagemaker: boto3 client.
        model: the model's name.
        endpoint: the name of its endpoint; None of a model that has none.
        deployment: whose registry; that of this process when not given.
        packages: the approved ones, newest first, where they are known already.

    """
    approved = next(
        iter(registry.packages(sagemaker, model, APPROVED, deployment) if packages is None else packages), None
    )
    if endpoint is None:
        return Standing(_champion(approved), "", approved) if approved else Standing(None)
    now = served(sagemaker, endpoint)
    if now is None:
        if approved is None:
            return Standing(None)
        return Standing(
            _champion(approved),
            f"endpoint {endpoint} serves nothing, although package {approved.version} is approved: the new model is compared with that",
        )
    if approved and approved.is_of(now.model_data, now.image):
        return Standing(_champion(approved, now), "", approved)
    package = package_of(sagemaker, model, now.model_data, deployment, now.image)
    if package and approved and package.arn == approved.arn:  # its image was changed by hand
        return Standing(_champion(approved, now), "", approved)
    serves = f"package {package.version} ({package.status})" if package else f"{now.model_data}, which is no package"
    registered = f"the newest approved package is {approved.version}" if approved else "no package is approved"
    sentence = f"endpoint {endpoint} serves {serves}, but {registered}: the new model is compared with what serves"
    if package:
        return Standing(_champion(package, now), sentence, package)
    own = serves_by_itself(now.container)
    return Standing(Champion(package_arn="", model_data=now.model_data, image=now.image, own=own), sentence)


def _champion(package: Package, now: Served | None = None) -> Champion:
    return Champion(
        package_arn=package.arn,
        model_data=package.model_data,
        work_digest=package.metadata.get("work_digest", ""),
        run_key=package.metadata.get("run_key", ""),
        artifact_sha256=package.metadata.get(SHA256, ""),
        image=now.image if now else str(package.container.get("Image", "")),
        own=serves_by_itself(now.container if now else package.container),
    )
