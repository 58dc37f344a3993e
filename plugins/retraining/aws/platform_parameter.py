"""What infra/data_platform.yaml created for a model, read from one SSM parameter when a task runs (never when a DAG is parsed)."""

from __future__ import annotations

import json
import os
from http.client import HTTPConnection
from urllib.parse import urlsplit

from pydantic import ValidationError

from retraining.aws.clients import client, expect_owner
from retraining.settings.access import AwsAccess
from retraining.settings.platform import Platform


class PlatformError(RuntimeError):
    """The platform parameter is missing or malformed; the message says how to create it."""


class UnreachableError(RuntimeError):
    """No platform answers; the message says how to start one."""


def read_platform(parameter: str, access: AwsAccess) -> Platform:
    """Read the platform of a model. From then on this process's calls to its bucket are refused when another account owns it.

    Raises:
        PlatformError: the parameter does not exist or does not have the expected fields.

    """
    ssm = client("ssm", access)
    try:
        value = ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound as error:
        raise PlatformError(
            f"SSM parameter {parameter} does not exist in {ssm.meta.region_name}: deploy infra/data_platform.yaml for this model first "
            "(make up locally, make deploy on AWS)"
        ) from error
    try:
        platform = Platform.model_validate(json.loads(value))
    except (ValidationError, ValueError) as error:
        raise PlatformError(
            f"SSM parameter {parameter} is malformed, deploy infra/data_platform.yaml again: {error}"
        ) from error
    expect_owner(platform.bucket, platform.account)
    return platform


def reach_platform(parameter: str, access: AwsAccess) -> Platform:
    """Read the platform of a model for a person who waits: what is not there is found out at once, and told in one line.

    Raises:
        UnreachableError: AWS does not answer, refuses, or the platform is not deployed.

    """
    from botocore.exceptions import BotoCoreError, ClientError

    _probe(os.environ.get("AWS_ENDPOINT_URL"))
    try:
        return read_platform(parameter, access)
    except (BotoCoreError, ClientError, PlatformError) as error:
        raise UnreachableError(
            f"no data platform is reachable ({str(error).splitlines()[0]}); 'make up' starts the local one, AWS_PROFILE and "
            "AWS_REGION lead to AWS"
        ) from error


def _probe(endpoint: str | None) -> None:
    """Find out at once that nothing listens at a given endpoint; boto3 would try for half a minute."""
    if endpoint is None:
        return
    address = urlsplit(endpoint)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        connection = HTTPConnection(address.hostname or "", port, timeout=5)
        connection.connect()
        connection.close()
    except OSError as error:
        raise UnreachableError(
            f"nothing answers at {endpoint} ({error.strerror or error}); 'make up' starts the local stack"
        ) from error
