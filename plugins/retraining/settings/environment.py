"""The deployment that this process belongs to, for example ``prod``: all names on AWS carry it, so that several live in one account."""

from __future__ import annotations

import os
import re

VARIABLE = "AIRFLOW__RETRAINING__ENVIRONMENT"
"""Set by infra/mwaa.yaml on MWAA, and by ``make VERB ENV=NAME``; any other Airflow needs it in the environment of all its components."""
DEFAULT = "dev"
NAME = re.compile(r"verify-[a-z0-9]{1,4}|[a-z][a-z0-9]{0,10}")
RESERVED = ("verify",)  # verify-x1 with model a, and verify with model x1-a, would have the same names


class EnvironmentNameError(ValueError):
    """The name of the deployment cannot be part of names on AWS; the message says what it may be."""


def environment() -> str:
    """Return the name of this process's deployment.

    Raises:
        EnvironmentNameError: the variable holds something else than a name.

    """
    return checked(os.environ.get(VARIABLE) or DEFAULT)


def checked(name: str) -> str:
    """Return the name of a deployment.

    Raises:
        EnvironmentNameError: it is longer than eleven characters, or has others than small letters and digits.

    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise EnvironmentNameError(
            f"{name!r} is no name of a deployment: up to eleven small letters and digits, beginning with a letter, such as dev or prod"
        )
    return name


def in_environment(name: str, deployment: str | None = None) -> str:
    """Return ``ENV-NAME``: what is called ``name`` in model.yaml, as SageMaker knows it, of this deployment or a named one."""
    return f"{deployment or environment()}-{name}"


def platform_parameter(model: str, name: str | None = None) -> str:
    """Return the SSM parameter with what infra/data_platform.yaml created for a model, in this deployment or a named one."""
    return f"/retraining/{name or environment()}/{model}/platform"


def alarm_names(model: str) -> list[str]:
    """Return the alarms of a model's endpoint; infra/data_platform.yaml gives them these names."""
    return [f"retraining-{environment()}-{model}-{kind}" for kind in ("server-errors", "latency", "model-errors")]


def queue_name(model: str) -> str:
    """Return the queue that S3 notifies of new files; infra/data_platform.yaml gives it this name."""
    return f"retraining-{environment()}-{model}-new-data"
