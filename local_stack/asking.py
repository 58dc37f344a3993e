"""Asks an endpoint, one request an inference id, and waits until its captures hold what it was asked: they come later than the answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from retraining.serving import monitoring
from retraining.settings.model_config import ModelConfig

SENDERS = 4
CAPTURE_LIMIT_SECONDS = 60.0
CLOCKS = timedelta(minutes=5)
"""How far this machine's clock may be from that of S3."""
_LOOK_SECONDS = 0.3


def ask(runtime: Any, endpoint: str, bodies: Sequence[str], ids: Sequence[str]) -> list[str]:
    """Send requests in CSV to an endpoint; return the inference ids of those that were answered, in order. The others were refused.

    Args:
        runtime: client.
        endpoint: its name.
        bodies: of the requests.
        ids: inference ids of the requests.

    Raises:
        LookupError: the endpoint cannot be asked at all.

    """

    def answered(body: str, name: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            request = {"ContentType": "text/csv", "Body": body.encode(), "InferenceId": name}
            runtime.invoke_endpoint(EndpointName=endpoint, **request)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "ModelError":
                raise LookupError(f"endpoint {endpoint} cannot be asked, does it serve a model? {error}") from error
            return False
        return True

    with ThreadPoolExecutor(SENDERS) as pool:
        found = list(pool.map(answered, bodies, ids))
    return [name for name, well in zip(ids, found, strict=True) if well]


def not_captured(
    s3: Any,
    bucket: str,
    config: ModelConfig,
    ids: Sequence[str],
    since: datetime,
    limit_seconds: float = CAPTURE_LIMIT_SECONDS,
) -> set[str]:
    """Wait until the captures of a model's endpoint hold requests; return the inference ids that they do not hold yet at the limit.

    Args:
        s3: client.
        bucket: of the data.
        config: of the model; its endpoint captures each request.
        ids: of requests that were answered.
        since: a time before the first of them was sent, in UTC.
        limit_seconds: how long to wait.

    """
    prefix = f"{config.name}/{monitoring.captured_prefix(config)}"
    missing, read, end = set(ids), set[str](), time.monotonic() + limit_seconds
    while missing:
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, StartAfter=monitoring.first_key(prefix, since)
        )
        found = (item for page in pages for item in page.get("Contents", []))
        for key in [item["Key"] for item in found if item["LastModified"] >= since - CLOCKS]:
            if key not in read:
                read.add(key)
                missing.difference_update(_ids(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
        if not missing or time.monotonic() >= end:
            break
        time.sleep(_LOOK_SECONDS)
    return missing


def _ids(lines: bytes) -> Iterator[str]:
    for line in lines.splitlines():
        yield json.loads(line)["eventMetadata"].get("inferenceId", "")
