"""Paid work on AWS as one interface: create or adopt, look at it, stop it.

Every kind of job answers the same three calls, so one operator and one trigger serve them all:

``submit``  starts the work described by a request, or adopts the job that already does it. Names and tags carry a digest of the request,
            so a retry, a cleared task or a second scheduler finds the job instead of paying for it twice.
``poll``    tells whether the work runs, succeeded or failed. Only the truly successful state is success.
``stop``    ends the work.

A *handle* is the small JSON document that identifies a job; it survives in a trigger while the task is deferred.

Work that failed by itself is not paid for twice: the same request would fail in the same way, so ``submit`` refuses it for a run until a
person asks for the repetition. What the service did (no capacity, an internal error) or somebody stopped is not a failure of the work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from retraining.jobs.live_log import LiveLog
from retraining.settings.access import AwsAccess

DIGEST_TAG = "retraining:request-digest"

STOPPED_REASON = "it was stopped before it completed"

TIME_LIMIT_REASON = "it exceeded its time limit"

Handle = dict[str, Any]


class JobError(RuntimeError):
    """A job cannot be started or was not successful. A retry would fail in the same way."""


class JobBusyError(RuntimeError):
    """The service is busy with other work of the same name, or has no room; the same call can succeed later."""


@dataclass(frozen=True)
class Asker:
    """The run of a DAG that asks for a job. Its job carries these names, so that the run can find and stop its own."""

    airflow: str
    """The Airflow environment; two environments on one account can have DAGs and runs of the same name."""
    dag: str
    run: str
    repeat: bool = False
    """Whether a person wants work that failed to be tried again."""

    def names(self) -> dict[str, str]:
        """Return the three names under the keys of the job's tags."""
        return {f"retraining:{key}": tag_value(getattr(self, key)) for key in ("airflow", "dag", "run")}


def tag_value(text: str) -> str:
    """Return a text with only the characters that a tag's value takes."""
    return re.sub(r"[^\w .:/=+@-]", "-", text)[:256]


@dataclass(frozen=True)
class JobStatus:
    """State of a job: AWS's own word for it, what it means, and why."""

    state: str
    outcome: Literal["running", "succeeded", "failed"]
    reason: str = ""


TRANSIENT_REASONS = ("InternalServerError", "InternalServiceException", "Internal service", "interrupted")
"""Words of a failure reason after which the same job can succeed at once; every other failed job would fail again and be paid again."""
CAPACITY_REASONS = (
    "CapacityError",
    "ResourceLimitExceeded",
    "InsufficientInstanceCapacity",
    "Unable to provision requested ML compute capacity",
    "Resource unavailable",
    "Exceeded maximum concurrent capacity",
)
"""Words of a failure reason after which the same job can succeed when the service has room again."""


def is_transient(reason: str) -> bool:
    """Tell whether a job failed for the service's sake. What the job's own code prints, AWS quotes after ``AlgorithmError``."""
    return "AlgorithmError" not in reason and any(word in reason for word in (*TRANSIENT_REASONS, *CAPACITY_REASONS))


def lacks_capacity(reason: str) -> bool:
    """Tell whether a job or a request failed because the service had no room, or the account no quota left."""
    return "AlgorithmError" not in reason and any(word in reason for word in CAPACITY_REASONS)


def is_final(status: JobStatus) -> bool:
    """Tell whether the work itself failed, so that the same request would fail again."""
    return status.outcome == "failed" and status.reason != STOPPED_REASON and not is_transient(status.reason)


def failed_before(title: str, reason: str) -> str:
    """Return the refusal of work that failed, which says how a person gets it repeated."""
    return (
        f"{title} did this very work before and failed: {reason or 'no reason given'}. The same request would fail again and be paid "
        "again, so it is not repeated until an input changes (data, code, model.yaml). To repeat it as it is, clear the task, or start a "
        "run with force_retrain"
    )


@dataclass(frozen=True)
class Submitted:
    """The handle of a job and whether it existed before this call."""

    handle: Handle
    adopted: bool


class AwsJob(Protocol):
    """One kind of paid work."""

    def submit(
        self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any], asker: Asker | None = None
    ) -> Submitted:
        """Start the work or adopt the job that does it; without an asker a person waits for it, who may repeat what failed."""

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

    def live_log(self, access: AwsAccess, handle: Handle) -> LiveLog | None:
        """Return a reader of what the job prints while it runs; None for work that prints nothing of its own."""

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the job in the AWS console."""
