"""The record of a deployment that is under way, and the way back from it: what the endpoint served before this attempt."""

from __future__ import annotations

from typing import Any

from retraining.aws.clients import client
from retraining.aws.documents import get_json, put_json, utc_now
from retraining.serving.registry import Registered
from retraining.settings.access import AwsAccess
from retraining.settings.strict import Strict


class WayBack(Strict):
    """From where to where an endpoint goes back, and why."""

    endpoint: str
    config: str
    """The config that failed."""
    previous: str | None
    """The config that served before; None when nothing did."""
    verdict: str
    package: Registered
    """The package that failed."""
    scaled: bool = False
    """Whether the endpoint keeps its number of instances, because Application Auto Scaling chose it."""
    barred: str = ""
    """Why what served before must not be loaded again; empty when it may."""
    run_key: str = ""
    version: int = 0
    """Dataset version that its model was trained on."""

    def delete(self, access: AwsAccess) -> None:
        """Delete the endpoint, which served nothing before; nothing happens when it is gone."""
        from botocore.exceptions import ClientError

        from retraining.aws.errors import is_not_found

        try:
            client("sagemaker", access).delete_endpoint(EndpointName=self.endpoint)
        except ClientError as error:
            if not is_not_found(error):
                raise

    def failed(self, reason: str) -> str:
        """Return the sentence about a way back that did not succeed."""
        return f"endpoint {self.endpoint} could not be returned to {self.previous}: {reason}; look at it now"


def deletes(way: WayBack) -> bool:
    """Tell whether the way back is to serve nothing."""
    return way.previous is None


class Deployment(Strict):
    """``deployment.json`` of a run: the newest attempt to bring its model into service."""

    config: str
    model: str
    previous_config: str | None
    started_at: str
    verified_at: str | None = None
    verdict: str | None = None
    """Why the endpoint is to go back; written before it goes, so that a repeated task goes on."""


def begin(s3: Any, uri: str, config: str, model: str, serving: str | None) -> Deployment:
    """Note that an endpoint is to be brought to a config, and what it serves before.

    A repetition of an attempt that was not verified finds the endpoint at its config already; then the first note stands.
    """
    standing = read(s3, uri)
    same = standing is not None and standing.config == config and standing.verified_at is None
    if standing is not None and same and serving in (config, standing.previous_config) and not standing.verdict:
        return standing
    attempt = Deployment(config=config, model=model, previous_config=serving, started_at=utc_now())
    put_json(s3, uri, attempt.model_dump(mode="json"))
    return attempt


def note(s3: Any, uri: str, attempt: Deployment, **changes: str) -> Deployment:
    """Add to the note what became of the attempt."""
    changed = attempt.model_copy(update=changes)
    put_json(s3, uri, changed.model_dump(mode="json"))
    return changed


def read(s3: Any, uri: str) -> Deployment | None:
    """Return the note; None when there is none."""
    try:
        return Deployment.model_validate(get_json(s3, uri))
    except LookupError:
        return None
