"""What infra/data_platform.yaml created for a model, read from one SSM parameter when a task runs (never when a DAG is parsed)."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field, ValidationError

from retraining.aws_clients import AwsAccess, client
from retraining.contract import Strict


class PlatformError(RuntimeError):
    """The platform parameter is missing or malformed; the message says how to create it."""


class Platform(Strict):
    """Names and ARNs of the model's AWS resources, and how patiently to watch them."""

    account: str
    region: str
    bucket: str
    queue_url: str
    glue_database: str
    glue_crawler: str
    glue_job: str
    analyze_function: str
    topic_arn: str
    sagemaker_role_arn: str
    poll_seconds: Annotated[float, Field(gt=0)] = 15
    settle_seconds: Annotated[float, Field(ge=0)] = 60


def read_platform(parameter: str, access: AwsAccess) -> Platform:
    """Read the platform of a model.

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
        return Platform.model_validate(json.loads(value))
    except (ValidationError, ValueError) as error:
        raise PlatformError(
            f"SSM parameter {parameter} is malformed, deploy infra/data_platform.yaml again: {error}"
        ) from error
