"""The champion is what serves: endpoint, config, model, artifact, package, in that order; the registry alone does not say it.

A click in the console can approve, reject or deploy a model. Then registry and endpoint disagree, which is told with both names, and the
next model is compared with what serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.aws.errors import is_not_found
from retraining.jobs.plan import Champion
from retraining.serving import registry
from retraining.serving.registry import APPROVED, REJECTED, Package

NOT_SERVING = ("Creating", "Failed", "Deleting")


@dataclass(frozen=True)
class Served:
    """What an endpoint serves: its state, config and model, and the model's container."""

    endpoint: str
    status: str
    config: str
    model: str
    container: Mapping[str, Any]

    @property
    def model_data(self) -> str:
        """S3 URI of the artifact."""
        return str(self.container.get("ModelDataUrl", ""))


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
        model = config["ProductionVariants"][0]["ModelName"]
        container = sagemaker.describe_model(ModelName=model).get("PrimaryContainer", {})
    except ClientError as error:
        if not is_not_found(error):
            raise
        return None
    return Served(endpoint, description["EndpointStatus"], description["EndpointConfigName"], model, container)


def status_of(sagemaker: Any, endpoint: str) -> str | None:
    """Return the status of an endpoint, None when there is none."""
    from botocore.exceptions import ClientError

    try:
        return str(sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"])
    except ClientError as error:
        if not is_not_found(error):
            raise
        return None


def package_of(sagemaker: Any, model: str, model_data: str) -> Package | None:
    """Return the package of an artifact; of several the newest that was not rejected."""
    found = [package for package in registry.packages(sagemaker, model) if package.model_data == model_data]
    return next((package for package in found if package.status != REJECTED), found[0] if found else None)


def standing(sagemaker: Any, model: str, endpoint: str) -> Standing:
    """Return the champion of a model: what its endpoint serves, or the newest approved package while there is no endpoint."""
    approved = next(registry.packages(sagemaker, model, APPROVED), None)
    now = served(sagemaker, endpoint)
    if now is None:
        if approved is None:
            return Standing(None)
        return Standing(
            _champion(approved),
            f"endpoint {endpoint} serves nothing, although package {approved.version} is approved: the new model is compared with that",
        )
    if approved and approved.model_data == now.model_data:
        return Standing(_champion(approved), "", approved)
    package = package_of(sagemaker, model, now.model_data)
    serves = f"package {package.version} ({package.status})" if package else f"{now.model_data}, which is no package"
    registered = f"the newest approved package is {approved.version}" if approved else "no package is approved"
    sentence = f"endpoint {endpoint} serves {serves}, but {registered}: the new model is compared with what serves"
    if package:
        return Standing(_champion(package), sentence, package)
    return Standing(Champion(package_arn="", model_data=now.model_data), sentence)


def _champion(package: Package) -> Champion:
    return Champion(
        package_arn=package.arn,
        model_data=package.model_data,
        work_digest=package.metadata.get("work_digest", ""),
        run_key=package.metadata.get("run_key", ""),
    )
