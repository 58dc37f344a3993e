"""Bringing an endpoint to an endpoint config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.aws.autoscaling import deregister
from retraining.aws.clients import client
from retraining.aws.errors import error_code, is_not_found
from retraining.jobs.job import Asker, Handle, JobBusyError, JobStatus, Submitted
from retraining.jobs.log_tail import cloudwatch_tail
from retraining.settings.access import AwsAccess

RETAINED = {
    "RetainAllVariantProperties": True,
    "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DataCaptureConfig"}],
}
"""Of an update: weights and numbers of instances stay as they are, not as the config begins."""
CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


@dataclass(frozen=True)
class EndpointUpdate:
    """Bringing an endpoint to an endpoint config. SageMaker's own roll-back ends ``InService`` on the old config: that is a failure."""

    def submit(
        self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any], asker: Asker | None = None
    ) -> Submitted:
        """Create or update the endpoint, or adopt the change that already leads to this config.

        Raises:
            JobBusyError: the endpoint is changing to another config.

        """
        from botocore.exceptions import ClientError

        try:
            return self._change(access, model, request)
        except ClientError as error:
            if error_code(error) == "ResourceLimitExceeded":
                raise JobBusyError(f"endpoint {request['EndpointName']} has to wait for room: {error}") from error
            if not _is_changed_meanwhile(error):
                raise
            return self._change(access, model, request)  # an earlier reply was lost, or another writer was faster

    def _change(self, access: AwsAccess, model: str, request: Mapping[str, Any]) -> Submitted:
        from botocore.exceptions import ClientError

        sagemaker = client("sagemaker", access)
        name, config = request["EndpointName"], request["EndpointConfigName"]
        handle = {"endpoint": name, "config": config}
        plain = {key: value for key, value in request.items() if key not in RETAINED}
        try:
            endpoint = sagemaker.describe_endpoint(EndpointName=name)
        except ClientError as error:
            if not is_not_found(error):
                raise
            endpoint = None
        if (
            endpoint and endpoint["EndpointStatus"] == "Failed"
        ):  # a failed creation cannot be updated, and serves nothing
            sagemaker.delete_endpoint(EndpointName=name)
            raise JobBusyError(f"endpoint {name} failed to come up before and is being deleted")
        if endpoint is None:
            sagemaker.create_endpoint(**plain, Tags=[{"Key": "retraining:model", "Value": model}])
            return Submitted(handle, adopted=False)
        if endpoint["EndpointStatus"] == "InService" and endpoint["EndpointConfigName"] == config:
            return Submitted(handle, adopted=True)
        if (
            endpoint["EndpointStatus"] not in CHANGING
        ):  # what cannot be updated in its state, AWS refuses with its reason
            before, after = (_machines(sagemaker, each) for each in (endpoint["EndpointConfigName"], config))
            scaled = RETAINED.keys() <= request.keys()
            for variant in before.keys() & after.keys() if scaled else ():
                if before[variant]["InstanceType"] != after[variant]["InstanceType"]:
                    # Refused while the variant is a target; the tasks register it again.
                    deregister(client("application-autoscaling", access), name, variant)
            kept = RETAINED if _keeps(before, after, scaled) else {}
            sagemaker.update_endpoint(**plain, **kept)
            return Submitted(handle, adopted=False)
        pending = endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName", endpoint["EndpointConfigName"])
        if pending == config and endpoint["EndpointStatus"] != "Deleting":
            return Submitted(handle, adopted=True)
        raise JobBusyError(f"endpoint {name} is {endpoint['EndpointStatus']} with config {pending}")

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the endpoint; it must be in service *on the intended config*."""
        endpoint = client("sagemaker", access).describe_endpoint(EndpointName=handle["endpoint"])
        state, config = endpoint["EndpointStatus"], endpoint["EndpointConfigName"]
        reason = endpoint.get("FailureReason", "")
        if state in CHANGING:
            return JobStatus(state, "running")
        if state == "InService" and config == handle["config"]:
            return JobStatus(state, "succeeded")
        if state == "InService":
            return JobStatus(
                "RolledBack", "failed", f"{handle['config']} did not come up, {config} still serves. {reason}".strip()
            )
        return JobStatus(state, "failed", reason)

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Do nothing: an endpoint update cannot be stopped, and ends in a serving state by itself."""

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return endpoint and config, and ``images``: for each image of the config the one, by its digest, that its tag meant."""
        endpoint = client("sagemaker", access).describe_endpoint(EndpointName=handle["endpoint"])
        deployed = [
            image for variant in endpoint.get("ProductionVariants", []) for image in variant.get("DeployedImages", [])
        ]
        return {
            "name": handle["endpoint"],
            "endpoint": handle["endpoint"],
            "config": handle["config"],
            "images": {image["SpecifiedImage"]: image["ResolvedImage"] for image in deployed},
        }

    def title(self, handle: Handle) -> str:
        """Name the endpoint."""
        return f"SageMaker endpoint {handle['endpoint']}"

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines that the endpoint's containers logged."""
        return cloudwatch_tail(access, f"/aws/sagemaker/Endpoints/{handle['endpoint']}", "")

    def live_log(self, access: AwsAccess, handle: Handle) -> None:
        """Return None: its log is of all its work, not of this piece."""
        return None

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the endpoint."""
        return f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/endpoints/{handle['endpoint']}"


def _machines(sagemaker: Any, config: str) -> dict[str, dict[str, Any]]:
    """Return the variants with machines of a config by name; none of a config that somebody deleted under its endpoint."""
    from botocore.exceptions import ClientError

    try:
        variants = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    except ClientError as error:
        if not is_not_found(error):
            raise
        return {}
    return {variant["VariantName"]: variant for variant in variants if "InstanceType" in variant}


def _keeps(before: Mapping[str, Any], after: Mapping[str, Any], scaled: bool) -> bool:
    """Tell whether an update keeps the number of instances that the endpoint has.

    It does where autoscaling is the model's own, and where somebody scales it beside model.yaml, unless the configs ask for another number.
    A serverless endpoint has none to keep: its config alone says what it has.
    """
    numbers = [{name: item["InitialInstanceCount"] for name, item in variants.items()} for variants in (before, after)]
    return bool(before) and before.keys() == after.keys() and (scaled or numbers[0] == numbers[1])


def _is_changed_meanwhile(error: Exception) -> bool:
    """Tell whether AWS refused to create or update an endpoint because it exists or changes already."""
    message = str(getattr(error, "response", {}).get("Error", {}).get("Message", "")).lower()
    refusals = ("already exist", "cannot update in-progress")
    return error_code(error) == "ValidationException" and any(words in message for words in refusals)
