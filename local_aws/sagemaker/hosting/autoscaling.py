"""Application Auto Scaling of endpoint variants: targets, their bounds and policies are kept and held; nothing scales by itself here.

What AWS couples to an endpoint is coupled here: registering moves the count of instances into the bounds, an update to another type of
instance is refused while a variant is a target, and the end of an endpoint ends its targets.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

from local_aws.sagemaker.hosting.endpoints import Endpoints
from local_aws.sagemaker.models import EndpointConfigs
from local_aws.shared.errors import ServiceError, validation_error
from local_aws.shared.listing import page_of
from local_aws.shared.requests.members import check_members
from local_aws.shared.requests.validation import check_request, unsupported
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

Document = dict[str, Any]
SERVICE = "application-autoscaling"
NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
METRIC = "SageMakerVariantInvocationsPerInstance"
_RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
_ROLE = (
    "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
_BURSTABLE = ("ml.t2.", "ml.t3.")


class Autoscaling:
    """The scalable targets among the variants of endpoints.

    Args:
        settings: of the account.
        store: where targets are kept.
        endpoints: whose variants they are.
        configs: of those endpoints.

    """

    def __init__(self, settings: Settings, store: Store, endpoints: Endpoints, configs: EndpointConfigs) -> None:
        self._settings = settings
        self._store = store
        self._endpoints = endpoints
        self._configs = configs
        self._operations = {
            "RegisterScalableTarget": self._register,
            "DeregisterScalableTarget": self._deregister,
            "DescribeScalableTargets": self._targets,
            "PutScalingPolicy": self._put_policy,
            "DeleteScalingPolicy": self._delete_policy,
            "DescribeScalingPolicies": self._policies,
        }

    def call(self, operation: str, params: Document) -> Document:
        """Answer one request; ServiceError for what the service refuses or this account lacks."""
        handler = self._operations.get(operation)
        if handler is None:
            raise unsupported(SERVICE, operation)
        check_request(SERVICE, operation, params)
        check_members(SERVICE, operation, params)
        if params["ServiceNamespace"] != NAMESPACE or params.get("ScalableDimension", DIMENSION) != DIMENSION:
            raise _refusal(f"local_aws scales {DIMENSION} of the namespace {NAMESPACE} alone.")
        return handler(params)

    def update(self, params: Document) -> Document:
        """UpdateEndpoint, unless it changes the type of instance of a target."""
        for target in self._of(params["EndpointName"]):
            name, variant = _parts(target["ResourceId"])
            before, after = (
                _variant(config, variant)
                for config in (self._active(name), self._configs.find(params["EndpointConfigName"]))
            )
            if before.get("InstanceType") != after.get("InstanceType"):
                raise validation_error(
                    f'The variant(s) "{variant}" of endpoint "{name}" are registered as scalable targets, and the update changes their '
                    "instance type. Deregister them from auto scaling first."
                )
        return self._endpoints.update(params)

    def delete(self, params: Document) -> Document:
        """DeleteEndpoint, which ends its targets."""
        answer = self._endpoints.delete(params)
        for target in self._of(params["EndpointName"]):
            self._store.delete("scalable-target", target["ResourceId"])
        return answer

    # -- targets ---------------------------------------------------------------------------------------------------

    def _register(self, params: Document) -> Document:
        name, variant = _parts(params["ResourceId"])
        with self._store.locked():
            found = self._store.get("scalable-target", params["ResourceId"])
            if found is None and not {"MinCapacity", "MaxCapacity"} <= params.keys():
                raise _refusal("MinCapacity and MaxCapacity must both be given for a new scalable target.")
            capacity = _variant(self._active(name), variant)
            if capacity.get("InstanceType", "").startswith(_BURSTABLE):
                raise _refusal(f"Instances of type {capacity['InstanceType']} are burstable and not scaled.")
            if "ServerlessConfig" in capacity:
                raise _refusal(f"The variant {variant} is serverless and has no instances.")
            target = found or {
                "ServiceNamespace": NAMESPACE,
                "ResourceId": params["ResourceId"],
                "ScalableDimension": DIMENSION,
                "RoleARN": f"arn:aws:iam::{self._settings.account}:role/{_ROLE}",
                "CreationTime": time.time(),
                "ScalableTargetARN": self._settings.arn(SERVICE, f"scalable-target/{uuid.uuid4().hex[:32]}"),
                "Policies": {},
            }
            target |= {key: params[key] for key in ("MinCapacity", "MaxCapacity") if key in params}
            if target["MinCapacity"] > target["MaxCapacity"]:
                raise _refusal("MinCapacity must be less than or equal to MaxCapacity.")
            self._store.put("scalable-target", params["ResourceId"], target)
        count = capacity.get("InitialInstanceCount", 1)
        inside = min(max(count, target["MinCapacity"]), target["MaxCapacity"])
        if inside != count:
            wanted = [{"VariantName": variant, "DesiredInstanceCount": inside}]
            self._endpoints.weigh({"EndpointName": name, "DesiredWeightsAndCapacities": wanted})
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def _deregister(self, params: Document) -> Document:
        self._target(params)
        self._store.delete("scalable-target", params["ResourceId"])
        return {}

    def _targets(self, params: Document) -> Document:
        wanted = params.get("ResourceIds")
        found = [item for item in self._store.all("scalable-target") if not wanted or item["ResourceId"] in wanted]
        shown = [{key: value for key, value in item.items() if key != "Policies"} for item in found]
        return page_of(sorted(shown, key=lambda item: str(item["ResourceId"])), params, "ScalableTargets", 50)

    # -- policies --------------------------------------------------------------------------------------------------

    def _put_policy(self, params: Document) -> Document:
        tracking = params.get("TargetTrackingScalingPolicyConfiguration")
        if params.get("PolicyType") != "TargetTrackingScaling" or tracking is None:
            raise _refusal("local_aws keeps policies of type TargetTrackingScaling alone.")
        if tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType") != METRIC:
            raise _refusal(f"The metric of an endpoint's variant is {METRIC}.")
        with self._store.locked():
            target = self._target(params)
            name = params["PolicyName"]
            others = [policy for policy in target["Policies"].values() if policy["PolicyName"] != name]
            if others:
                raise _refusal(f"Only one TargetTrackingScaling policy for the metric {METRIC} is allowed.")
            known = target["Policies"].get(name, {})
            arn = known.get("PolicyARN") or self._settings.arn(
                "autoscaling",
                f"scalingPolicy:{uuid.uuid4()}:resource/sagemaker/{params['ResourceId']}:policyName/{name}",
            )
            target["Policies"][name] = {
                "PolicyARN": arn,
                "PolicyName": name,
                "ServiceNamespace": NAMESPACE,
                "ResourceId": params["ResourceId"],
                "ScalableDimension": DIMENSION,
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": tracking,
                "Alarms": [],
                "CreationTime": known.get("CreationTime", time.time()),
            }
            self._store.put("scalable-target", params["ResourceId"], target)
        return {"PolicyARN": arn, "Alarms": []}

    def _delete_policy(self, params: Document) -> Document:
        with self._store.locked():
            target = self._target(params)
            if target["Policies"].pop(params["PolicyName"], None) is None:
                raise ServiceError("ObjectNotFoundException", f"No scaling policy found: {params['PolicyName']}")
            self._store.put("scalable-target", params["ResourceId"], target)
        return {}

    def _policies(self, params: Document) -> Document:
        wanted, names = params.get("ResourceId"), params.get("PolicyNames")
        found = [
            policy
            for target in self._store.all("scalable-target")
            if wanted in (None, target["ResourceId"])
            for policy in target["Policies"].values()
            if not names or policy["PolicyName"] in names
        ]
        return page_of(sorted(found, key=lambda item: str(item["PolicyARN"])), params, "ScalingPolicies", 10)

    # -- parts -----------------------------------------------------------------------------------------------------

    def _target(self, params: Document) -> Document:
        found = self._store.get("scalable-target", params["ResourceId"])
        if found is None:
            raise ServiceError(
                "ObjectNotFoundException",
                f"No scalable target registered for service namespace: {NAMESPACE}, resource ID: {params['ResourceId']}, "
                f"scalable dimension: {DIMENSION}",
            )
        return found

    def _of(self, endpoint: str) -> list[Document]:
        return [item for item in self._store.all("scalable-target") if _parts(item["ResourceId"])[0] == endpoint]

    def _active(self, name: str) -> Document:
        found = self._store.get("endpoint", name) or {}
        if "ActiveConfig" not in found:
            raise _refusal(f'Could not find endpoint "{name}", or it is not in service.')
        active: Document = found["ActiveConfig"]
        return active


def _parts(resource: str) -> tuple[str, str]:
    """Return endpoint and variant of a resource's id."""
    match = _RESOURCE.fullmatch(resource)
    if match is None:
        raise _refusal(f"Unsupported service namespace, resource type or scalable dimension: {resource}")
    return match[1], match[2]


def _variant(config: Document, name: str) -> Document:
    """Return a variant of a configuration."""
    for variant in config["ProductionVariants"]:
        if variant["VariantName"] == name:
            return dict(variant)
    raise _refusal(f'Variant "{name}" not found.')


def _refusal(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
