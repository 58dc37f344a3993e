"""What must be right before anything is changed: credentials, account, names that are taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy import data_platform
from deploy.settings import Deployment
from deploy.stacks import describe


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


def check_orphan(session: Any, account: str, model: str) -> None:
    """Refuse a model whose data bucket exists without its stack: CloudFormation could not create it.

    Raises:
        PreflightError: it is so, or the bucket belongs to someone else.

    """
    name = data_platform.stack_name(model)
    if describe(session, name) is not None:
        return
    bucket = f"retraining-{model}-{account}-{session.region_name}"
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
