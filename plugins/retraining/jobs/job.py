"""Paid work on AWS as one interface: create or adopt, look at it, stop it.

Every kind of job answers the same three calls, so one operator and one trigger serve them all:

``submit``  starts the work described by a request, or adopts the job that already does it. Names and tags carry a digest of the request,
            so a retry, a cleared task or a second scheduler finds the job instead of paying for it twice.
``poll``    tells whether the work runs, succeeded or failed. Only the truly successful state is success.
``stop``    ends the work.

A *handle* is the small JSON document that identifies a job; it survives in a trigger while the task is deferred.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from retraining.settings.access import AwsAccess

DIGEST_TAG = "retraining:request-digest"

STOPPED_REASON = "it was stopped before it completed"

TIME_LIMIT_REASON = "it exceeded its time limit"

Handle = dict[str, Any]


class JobError(RuntimeError):
    """A job cannot be started or was not successful. A retry would fail in the same way."""


class JobBusyError(RuntimeError):
    """The service is busy with other work of the same name; a later retry can succeed."""


@dataclass(frozen=True)
class JobStatus:
    """State of a job: AWS's own word for it, what it means, and why."""

    state: str
    outcome: Literal["running", "succeeded", "failed"]
    reason: str = ""


@dataclass(frozen=True)
class Submitted:
    """The handle of a job and whether it existed before this call."""

    handle: Handle
    adopted: bool


class AwsJob(Protocol):
    """One kind of paid work."""

    def submit(self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any]) -> Submitted:
        """Start the work or adopt the job that does it."""

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the job."""

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Stop the job if it is still in progress."""

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return what later tasks need of a successful job; small and without secrets."""

    def title(self, handle: Handle) -> str:
        """Name the job for logs and errors."""

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines that the job logged, as far as CloudWatch has them."""

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the job in the AWS console."""
