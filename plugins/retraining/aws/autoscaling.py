"""Application Auto Scaling of an endpoint: its one variant as a target, followed by the requests that each instance gets.

Registering puts the number of instances inside of the bounds at once. An update that changes the type of instance is refused while the
variant is a target, so it is none during such an update: https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
"""

from __future__ import annotations

from typing import Any

from retraining.aws.errors import error_code

POLICY = "SageMakerEndpointInvocationScalingPolicy"
"""The one name that SageMaker's console shows and edits."""
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
NOT_THERE = "ObjectNotFoundException"


def register(scaling: Any, endpoint: str, variant: str, least: int, most: int, requests: float) -> None:
    """Let a variant in service have ``least`` to ``most`` instances, each with about so many requests a minute; what is so already stays.

    Raises:
        ClientError: the service refuses it.

    """
    target = _target(endpoint, variant)
    scaling.register_scalable_target(**target, MinCapacity=least, MaxCapacity=most)
    scaling.put_scaling_policy(
        **target,
        PolicyName=POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(requests),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )


def deregister(scaling: Any, endpoint: str, variant: str) -> None:
    """Let a variant be no target any more, and end its policies; its number of instances stays."""
    from botocore.exceptions import ClientError

    try:
        scaling.deregister_scalable_target(**_target(endpoint, variant))
    except ClientError as error:
        if error_code(error) != NOT_THERE:
            raise


def _target(endpoint: str, variant: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
        "ScalableDimension": DIMENSION,
    }
