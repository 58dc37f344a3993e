"""What a model serves now: the approved package, since when, how good it is, and where the report of the run that made it lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_stack.verbs import places


@dataclass(frozen=True)
class Service:
    """The endpoint of a model and the package behind it."""

    endpoint: str
    status: str
    """SageMaker's word for the endpoint, ``none`` when there is no endpoint."""
    since: datetime | None = None
    """When the endpoint got what it serves, in UTC."""
    version: int | None = None
    """Version of the approved model package."""
    dataset_version: str | None = None
    score: float | None = None
    """On the test rows of the run that made the model."""
    report: str | None = None
    metric: str = "RMSE"
    """What the score is."""

    def __str__(self) -> str:
        """Return it in one line."""
        if self.version is None:
            return f"nothing serves yet: endpoint {self.endpoint} does not exist" if self.since is None else self.status
        made = [f"dataset version {self.dataset_version}"] if self.dataset_version else []
        made += [f"{self.metric} {self.score:.4f}"] if self.score is not None else []
        since = f", since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        state = "" if self.status == "InService" else f" ({self.status})"
        words = f" ({', '.join(made)})" if made else ""
        return f"endpoint {self.endpoint}{state}: model version {self.version}{words}{since}"


def of(session: Any, model: str, endpoint: str, bucket: str) -> Service:
    """Return what a model serves.

    Args:
        session: boto3 session of the account.
        model: the model's name.
        endpoint: the name of its endpoint.
        bucket: its data bucket.

    """
    from botocore.exceptions import ClientError

    from retraining.serving import registry
    from retraining.telling.gate_table import label

    sagemaker, s3 = session.client("sagemaker"), session.client("s3")
    try:
        found = sagemaker.describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        if "Could not find" not in str(error):
            raise
        return Service(endpoint, "none")
    package = next(registry.packages(sagemaker, model, registry.APPROVED), None)
    since = found["LastModifiedTime"].astimezone(UTC)
    if package is None:
        return Service(endpoint, found["EndpointStatus"], since)
    root = f"s3://{bucket}/{model}/runs/{package.metadata.get('run_key')}/"
    summary = document(s3, f"{root}summary.json") or {}
    report = places.shown_object(summary["report"]) if summary.get("report") else None
    return Service(
        endpoint,
        found["EndpointStatus"],
        since,
        package.version,
        package.metadata.get("dataset_version"),
        summary.get("score_challenger"),
        report,
        label(summary.get("metric", "rmse")),
    )


def document(s3: Any, uri: str) -> dict[str, Any] | None:
    """Return a JSON document in S3, None when there is none."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        return dict(json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    except s3.exceptions.NoSuchKey:
        return None
