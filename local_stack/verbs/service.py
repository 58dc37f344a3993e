"""What a model serves now, or scores files with: the approved package, since when, how good it is, and where the report of its run lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_stack.verbs import places


@dataclass(frozen=True)
class Service:
    """The endpoint of a model and the package behind it."""

    endpoint: str | None
    """None of a model that only scores files."""
    status: str
    """SageMaker's word for the endpoint, ``none`` when there is no endpoint."""
    since: datetime | None = None
    """When the endpoint got what it serves, or the package its approval, in UTC."""
    version: int | None = None
    """Version of the approved model package."""
    dataset_version: str | None = None
    score: float | None = None
    """On the test rows of the run that made the model."""
    report: str | None = None
    metric: str = "RMSE"
    """What the score is."""
    disagreement: str = ""
    """What the endpoint serves and what the registry says of it, when somebody's hand made them differ."""

    gathering: str = ""
    """That new rows wait for others before they are trained on."""

    def __str__(self) -> str:
        """Return it in one line."""
        if self.version is None and self.endpoint is None:
            return "no model yet: the first run that judges one approves it; there is no endpoint"
        if self.version is None and self.disagreement:
            return self.disagreement
        if self.version is None:
            return f"nothing serves yet: endpoint {self.endpoint} does not exist" if self.since is None else self.status
        made = [f"dataset version {self.dataset_version}"] if self.dataset_version else []
        made += [f"{self.metric} {self.score:.4f}"] if self.score is not None else []
        since = f", since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        state = "" if self.status == "InService" else f" ({self.status})"
        words = f" ({', '.join(made)})" if made else ""
        if self.endpoint is None:
            return f"no endpoint, files are scored: model version {self.version}{words}{since}"
        otherwise = f"; {self.disagreement}" if self.disagreement else ""
        return f"endpoint {self.endpoint}{state}: model version {self.version}{words}{since}{otherwise}"


def of(session: Any, model: str, endpoint: str | None, bucket: str) -> Service:
    """Return what a model serves.

    Args:
        session: boto3 session of the account.
        model: the model's name.
        endpoint: the name of its endpoint, None of a model that has none.
        bucket: its data bucket.

    """
    from retraining.serving.champion import standing
    from retraining.telling.gate_table import label

    sagemaker, s3 = session.client("sagemaker"), session.client("s3")
    now = standing(sagemaker, model, endpoint)
    package = now.package
    status, since = _state(sagemaker, endpoint, package.arn if package else None)
    if package is None or (endpoint and since is None):
        return Service(endpoint, status, since, disagreement=now.disagreement)
    root = f"s3://{bucket}/{model}/runs/{package.metadata.get('run_key')}/"
    summary = document(s3, f"{root}summary.json") or {}
    report = places.shown_object(summary["report"]) if summary.get("report") else None
    return Service(
        endpoint,
        status,
        since,
        package.version,
        package.metadata.get("dataset_version"),
        summary.get("score_challenger"),
        report,
        label(summary.get("metric", "rmse")),
        now.disagreement,
    )


def _state(sagemaker: Any, endpoint: str | None, package: str | None) -> tuple[str, datetime | None]:
    """Return SageMaker's word for an endpoint and since when it serves so; without an endpoint, when the package was approved."""
    from botocore.exceptions import ClientError

    if endpoint is None:
        found = sagemaker.describe_model_package(ModelPackageName=package) if package else {}
        at = found.get("LastModifiedTime") or found.get("CreationTime")
        return "none", at.astimezone(UTC) if at else None
    try:
        found = sagemaker.describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        if "Could not find" not in str(error):
            raise
        return "none", None
    return found["EndpointStatus"], found["LastModifiedTime"].astimezone(UTC)


def document(s3: Any, uri: str) -> dict[str, Any] | None:
    """Return a JSON document in S3, None when there is none."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        return dict(json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    except s3.exceptions.NoSuchKey:
        return None
