"""What must be right before anything is changed: credentials, account, names that are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy import data_platform
from deploy.readiness import check_account
from deploy.settings import Deployment
from deploy.stacks import describe
from deploy.zones import ZoneError
from retraining.settings.model_config import ModelConfig


class PreflightError(RuntimeError):
    """The deployment cannot start; nothing was changed."""


@dataclass(frozen=True)
class Caller:
    """Who deploys, and where."""

    account: str
    arn: str


def check_caller(session: Any, deployment: Deployment) -> Caller:
    """Return who the credentials belong to.

    Raises:
        PreflightError: there are none, they are refused, or they belong to another account than the deployment's.

    """
    try:
        identity = session.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise PreflightError(
            f"AWS does not accept the credentials of this shell: {error}. Log in (aws sso login, AWS_PROFILE=...) and try again"
        ) from error
    caller = Caller(account=identity["Account"], arn=identity["Arn"])
    if deployment.account and caller.account != deployment.account:
        raise PreflightError(
            f"these credentials are of account {caller.account} ({caller.arn}), but {deployment.name} belongs to {deployment.account}; "
            f"switch AWS_PROFILE, or change deploy/environments/{deployment.name}.yaml"
        )
    return caller


def check_network(deployment: Deployment, sdk_steps: bool, scaled: bool = False) -> None:
    """Refuse a network in which tasks could not start or a component would not come up.

    Raises:
        PreflightError: workers cannot reach the web server or Application Auto Scaling, or the SageMaker SDK has no index to come from.

    """
    egress = deployment.environment.get("Egress", "endpoints")
    if egress == "endpoints" and deployment.environment.get("WebserverAccess") == "PUBLIC_ONLY":
        raise PreflightError(
            f"{deployment.name}: WebserverAccess PUBLIC_ONLY with Egress endpoints: tasks of Airflow 3 talk to the web server, which would "
            "be reachable through the internet only, so none would start. Choose PUBLIC_AND_PRIVATE, or Egress: nat"
        )
    if egress == "endpoints" and scaled:
        raise PreflightError(
            f"{deployment.name}: a model has deployment.autoscaling, which its tasks register at Application Auto Scaling, and "
            "Egress endpoints has no way there. Choose Egress: nat, or a fixed instance_count"
        )
    if egress == "endpoints" and sdk_steps:
        raise PreflightError(
            f"{deployment.name}: a model has steps written with the SageMaker SDK, which workers install from a package index, and "
            "Egress endpoints has no way to one. Choose Egress: nat, or write the steps declaratively"
        )


def check_readiness(
    session: Any,
    deployment: Deployment,
    models: list[ModelConfig],
    with_environment: bool,
    find_zones: Callable[[], dict[str, str]],
    say: Callable[[str], None],
    rights: bool = True,
) -> None:
    """Refuse an account that lacks something that the deployment needs.

    Raises:
        PreflightError: it does; the message lists everything that is missing.

    """
    new = describe(session, f"{deployment.environment_name}-environment") is None
    nat = deployment.environment.get("Egress") == "nat"
    found = check_account(session, models, with_environment, new, nat, rights)
    if with_environment:
        try:
            if chosen := find_zones():
                say(f"Availability Zones: {', '.join(chosen.values())}")
        except ZoneError as error:
            found.missing.append(str(error))
    for sentence in found.unknown:
        say(f"not checked: {sentence}")
    if found.missing:
        raise PreflightError(
            "the account lacks what this deployment needs; nothing was changed:\n  " + "\n  ".join(found.missing)
        )


def check_orphan(session: Any, environment: str, model: str) -> None:
    """Refuse a model whose data bucket exists without its stack: CloudFormation could not create it.

    Raises:
        PreflightError: it is so, or the bucket belongs to someone else.

    """
    name = data_platform.stack_name(environment, model)
    if describe(session, name) is not None:
        return
    bucket = data_platform.data_bucket(session, environment, model)
    try:
        session.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return
        raise PreflightError(f"bucket {bucket} cannot be looked at: {error}") from error
    raise PreflightError(
        f"bucket {bucket} exists, but stack {name} does not, so it cannot be created: bring the bucket back into a stack with "
        "CloudFormation's resource import, or move its objects away and delete it"
    )
