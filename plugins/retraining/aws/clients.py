"""boto3 clients as a model's tasks and triggers use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, cast

from retraining.settings.access import AwsAccess

POOL = 64
"""Connections that one client keeps: all triggers of an environment share it."""
_owners: dict[str, str] = {}


def expect_owner(bucket: str, account: str) -> None:
    """Let every S3 call of this process that names `bucket` say whose it is: AWS refuses it when another account has the name."""
    _owners[bucket] = account


def _say_owner(params: MutableMapping[str, Any], model: Any, **_: object) -> None:
    owner = _owners.get(str(params.get("Bucket")))
    if owner and "ExpectedBucketOwner" in model.input_shape.members:
        params.setdefault("ExpectedBucketOwner", owner)


@cache
def _descriptions() -> Any:
    """Return botocore's reader of what AWS's services look like: what one client of this process has read, the next one need not."""
    from botocore.session import get_session

    return get_session().get_component("data_loader")


def _botocore_session() -> Any:
    from botocore.session import get_session

    session = get_session()
    session.register_component("data_loader", _descriptions())
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=timestamp)
    return session


@lru_cache(maxsize=64)
def client(service: str, access: AwsAccess, retry: bool = True, read_timeout: int = 60) -> Any:
    """Return a boto3 client; throttling and server errors are retried with back-off.

    Args:
        service: boto3 service name.
        access: connection, region and verification.
        retry: False for calls that are not idempotent and whose lost reply must be looked into instead of repeated.
        read_timeout: seconds to wait for an answer; with a long one the connection is kept alive, so that no router forgets it.

    """
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 6 if retry else 1},
        connect_timeout=10,
        read_timeout=read_timeout,
        tcp_keepalive=True,  # a network path that forgets silent connections would lose a long call's answer
        max_pool_connections=POOL,
    )
    if access.conn_id:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

        hook: Any = AwsGenericHook(
            aws_conn_id=access.conn_id,
            client_type=service,
            region_name=access.region,
            verify=access.verify,
            config=config,
        )
        return _guarded(hook.conn)
    from boto3.session import Session

    made = Session(botocore_session=_botocore_session(), region_name=access.region).client(
        service, config=config, verify=access.verify, endpoint_url=access.endpoint_url
    )
    return _guarded(made)


def make_ahead(wanted: Iterable[tuple[str, Mapping[str, Any]]], access: AwsAccess) -> None:
    """Make the clients that processes forked from this one will ask for; nothing is asked of AWS.

    Args:
        wanted: service and options, as `client` is called with them.
        access: connection, region and verification.

    """
    if access.conn_id:  # of Airflow, where it may change
        return
    for service, options in wanted:
        made = client(service, access, **options)
        made.can_paginate(next(iter(made.meta.method_to_api_mapping)))  # reads how the service divides its listings


def timestamp(value: Any) -> datetime:
    """Return the time of an answer; ISO 8601, as listings of S3 have it, is read without dateutil, which takes 2 s for 20,000 files.

    Args:
        value: ISO 8601, RFC 822 or seconds since 1970, as botocore's own parser takes them.

    """
    try:
        read = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        read = None
    if read is None or read.tzinfo is None:
        from botocore.utils import parse_timestamp

        return cast("datetime", parse_timestamp(value))
    return read


def _guarded(made: Any) -> Any:
    made.meta.events.register("provide-client-params.s3", _say_owner)
    return made


def standard_variables(access: AwsAccess) -> dict[str, str]:
    """Return the standard AWS variables by which another process reaches AWS as this one does.

    Raises:
        ValueError: ``verify`` is false, which no variable can say.

    """
    region, endpoint, verify = access.region, access.endpoint_url, access.verify
    made: dict[str, str] = {}
    if access.conn_id:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

        hook: Any = AwsGenericHook(aws_conn_id=access.conn_id, region_name=region, verify=verify)
        keys = hook.get_credentials(region_name=region)
        made = {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
        made |= {"AWS_SESSION_TOKEN": keys.token} if keys.token else {}
        region, verify = hook.region_name, hook.verify
        endpoint = endpoint or hook.conn_config.endpoint_url
    if verify is False:
        raise ValueError(
            "aws.verify: false cannot be handed to the SageMaker SDK's process; name a CA bundle in aws.verify of model.yaml"
        )
    made |= {"AWS_DEFAULT_REGION": region, "AWS_REGION": region} if region else {}
    made |= {"AWS_ENDPOINT_URL": endpoint} if endpoint else {}
    made |= {"AWS_CA_BUNDLE": verify} if isinstance(verify, str) else {}
    return made
