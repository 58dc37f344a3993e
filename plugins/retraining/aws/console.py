"""Links to the AWS console, for those whose calls go to AWS: an account at any other endpoint has no console."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from retraining.settings.access import AwsAccess

AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


def has_console(access: AwsAccess) -> bool:
    """Return whether calls with this access go to AWS itself."""
    endpoint = access.endpoint_url or _endpoint_of(access.conn_id) or os.environ.get("AWS_ENDPOINT_URL")
    return endpoint is None or (urlsplit(endpoint).hostname or "").endswith(AWS_DOMAINS)


def console_link(access: AwsAccess, url: str) -> str | None:
    """Return a link to the console; None when there is none."""
    return url if has_console(access) else None


def default_region() -> str:
    """Return the region of this process's AWS settings."""
    from boto3.session import Session

    return Session().region_name or "us-east-1"


def _endpoint_of(conn_id: str | None) -> str | None:
    if conn_id is None:
        return None
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    hook: Any = AwsGenericHook(aws_conn_id=conn_id)
    return hook.conn_config.endpoint_url or None
