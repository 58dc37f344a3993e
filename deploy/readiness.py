"""What an account must offer before anything is created: regions, instance types, quotas, and the rights of who deploys."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.loaders
from botocore.exceptions import BotoCoreError, ClientError

from retraining.settings.model_config import ModelConfig

DEPLOYER_ACTIONS = (
    "cloudformation:CreateStack",
    "cloudformation:UpdateStack",
    "iam:CreateRole",
    "iam:PassRole",
    "iam:PutRolePolicy",
    "iam:CreatePolicy",
    "iam:AttachRolePolicy",
    "iam:CreateServiceLinkedRole",
    "s3:CreateBucket",
    "s3:PutBucketPolicy",
    "sqs:CreateQueue",
    "sns:CreateTopic",
    "sns:Subscribe",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:PutDashboard",
    "ssm:PutParameter",
    "glue:CreateDatabase",
    "glue:CreateCrawler",
    "glue:CreateJob",
    "lambda:CreateFunction",
)
ENVIRONMENT_ACTIONS = (
    "airflow:CreateEnvironment",
    "airflow:InvokeRestApi",
    "ec2:CreateVpc",
    "ec2:CreateVpcEndpoint",
    "kms:CreateKey",
    "kms:CreateGrant",
)
API_ACTIONS = ("apigateway:POST", "lambda:AddPermission", "logs:CreateLogGroup", "logs:CreateLogDelivery")
SITE_ACTIONS = ("cloudfront:CreateDistribution", "cloudfront:CreateOriginAccessControl")
VPCS, ADDRESSES, ROLE_POLICIES = ("vpc", "L-F678F1CE"), ("ec2", "L-0263D0A3"), ("iam", "L-0DA4ABF3")


@dataclass
class Readiness:
    """What is missing, and what could not be found out, each as a sentence for people."""

    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def instances_needed(models: Iterable[ModelConfig]) -> dict[str, int]:
    """Return how many instances must be allowed at the same time, by SageMaker's name of the quota.

    Trainings of one model's candidates and trials of its search run at the same time, and an update of an endpoint doubles its instances.
    Models run side by side.
    One without an endpoint scores files while the next is evaluated.
    """
    needed: dict[str, int] = {}

    def add(kind: str, use: str, count: int) -> None:
        name = f"{kind} for {use} usage"
        needed[name] = needed.get(name, 0) + count

    for config in models:
        training, evaluation, deployment = config.training, config.evaluation, config.deployment
        trials = training.tuning.parallel if training.tuning else 0
        add(training.instance_type, "training job", training.instance_count * (len(training.candidates) + trials))
        add(evaluation.instance_type, "processing job", evaluation.instance_count)
        if deployment.mode == "instance":
            add(deployment.instance_type, "endpoint", 2 * deployment.most_instances)
        elif deployment.mode == "none":
            add(config.batch.instance_type, "processing job", config.batch.instance_count)
    return needed


def unknown_instance_types(models: Iterable[ModelConfig]) -> list[str]:
    """Return a sentence for each instance type of a model.yaml that the service does not have for that use."""
    problems = []
    for config in models:
        for key, shape in (
            ("training", "TrainingInstanceType"),
            ("evaluation", "ProcessingInstanceType"),
            *_used_by(config.deployment.mode),
        ):
            kind = getattr(config, key).instance_type
            if kind not in _enum(shape):
                problems.append(
                    f"{config.name}: {key}.instance_type {kind!r} is no instance type of SageMaker for that use"
                )
    return problems


def _used_by(mode: str) -> list[tuple[str, str]]:
    """Return section and shape of the machines that put a model to use; a serverless endpoint has none."""
    if mode == "none":
        return [("batch", "ProcessingInstanceType")]
    return [("deployment", "ProductionVariantInstanceType")] if mode == "instance" else []


def missing_quotas(needed: Mapping[str, int], quotas: Mapping[str, float]) -> list[str]:
    """Compare needed instances with the account's quotas, both by the quota's name."""
    return [
        f"quota of SageMaker '{name}' is {quotas[name]:g}, {count} needed: ask for more in the Service Quotas console"
        for name, count in sorted(needed.items())
        if name in quotas and quotas[name] < count
    ]


def check_account(
    session: Any,
    models: list[ModelConfig],
    with_environment: bool,
    new_network: bool,
    nat: bool,
    rights: bool = True,
) -> Readiness:
    """Ask the account for all of it; what it does not answer is named as unknown instead of guessed.

    Args:
        session: boto3 session of the account and region.
        models: all models that are deployed.
        with_environment: whether an MWAA environment is deployed, too.
        new_network: whether its network has to be created.
        nat: whether that network has a NAT gateway, which takes an address.
        rights: whether the caller's rights are asked for.

    """
    found = Readiness(missing=unknown_instance_types(models))
    if with_environment and session.region_name not in session.get_available_regions("mwaa"):
        found.missing.append(f"Amazon MWAA is not offered in {session.region_name}")
    _try(found, _sagemaker_quotas, session, models, found.unknown)
    if rights:
        _try(found, _rights, session, models, with_environment)
    _try(found, _role_policies, session, models, with_environment)
    if with_environment and new_network:
        _try(found, _network_quotas, session, nat)
    return found


def _try(found: Readiness, look: Any, session: Any, *arguments: Any) -> None:
    try:
        found.missing += look(session, *arguments)
    except (ClientError, BotoCoreError) as error:
        found.unknown.append(f"{look.__doc__.splitlines()[0].rstrip('.').lower()} ({str(error).splitlines()[0][:160]})")


def _sagemaker_quotas(session: Any, models: list[ModelConfig], unknown: list[str]) -> list[str]:
    """SageMaker's quotas of instances."""
    pages = session.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    quotas = {item["QuotaName"]: item["Value"] for page in pages for item in page["Quotas"]}
    needed = instances_needed(models)
    unknown += [
        f"SageMaker in {session.region_name} lists no quota '{name}': does it have that instance type?"
        for name in sorted(needed.keys() - quotas.keys())
    ]
    return missing_quotas(needed, quotas)


def _role_policies(session: Any, models: list[ModelConfig], with_environment: bool) -> list[str]:
    """Quota of managed policies of a role."""
    needed = 2 * len(models)
    if not with_environment or needed <= 10:
        return []
    limit = _quota(session, ROLE_POLICIES)
    return (
        [f"quota 'Managed policies per role' is {limit:g}, {needed} needed for {len(models)} models"]
        if limit < needed
        else []
    )


def _network_quotas(session: Any, nat: bool) -> list[str]:
    """Quotas of networks and addresses."""
    ec2, problems = session.client("ec2"), []
    used = len(ec2.describe_vpcs()["Vpcs"])
    if used >= (limit := _quota(session, VPCS)):
        problems.append(f"quota 'VPCs per Region' is {limit:g} and {used} exist: delete one, or ask for more")
    if nat:
        used = len(ec2.describe_addresses()["Addresses"])
        if used >= (limit := _quota(session, ADDRESSES)):
            problems.append(f"quota 'EC2-VPC Elastic IPs' is {limit:g} and {used} exist: release one, or ask for more")
    return problems


def _rights(session: Any, models: list[ModelConfig], with_environment: bool) -> list[str]:
    """Rights of who deploys."""
    actions = [*DEPLOYER_ACTIONS, *(ENVIRONMENT_ACTIONS if with_environment else ())]
    actions += API_ACTIONS if any(config.api for config in models) else ()
    actions += SITE_ACTIONS if any(config.api and config.api.site for config in models) else ()
    arn = _principal(session.client("sts").get_caller_identity()["Arn"])
    if arn is None:
        return []  # the account's root may do everything
    if ":assumed-role/" in arn:
        iam = session.client("iam")
        arn = iam.get_role(RoleName=arn.split("/")[1])["Role"]["Arn"]
    iam = session.client("iam")
    answers = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions)["EvaluationResults"]
    return [
        f"{arn} may not call {item['EvalActionName']} ({item['EvalDecision']})"
        for item in answers
        if item["EvalDecision"] != "allowed"
    ]


def _principal(arn: str) -> str | None:
    """Return the ARN of a caller, None for root."""
    return None if arn.endswith(":root") else arn


def _quota(session: Any, quota: tuple[str, str]) -> float:
    service, code = quota
    region = "us-east-1" if service == "iam" else session.region_name  # IAM is global
    client = session.client("service-quotas", region_name=region)
    return float(client.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"])


@functools.cache
def _enum(shape: str) -> frozenset[str]:
    model = botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
    return frozenset(model["shapes"][shape]["enum"])
