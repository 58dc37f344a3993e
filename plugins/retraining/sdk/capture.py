"""Stands between the SageMaker SDK and AWS: the one call that creates a job is carried out by the library, all others pass.

botocore asks the handlers of a session before each call. They are registered for all sessions of the process, so the SDK's code and that
of a model folder stay as they are. Later calls that use the SDK's own name of the job are sent with its real one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from retraining.jobs.job import JobError

CREATES = {
    "CreateTrainingJob": ("training", "TrainingJobName", "TrainingJobArn"),
    "CreateProcessingJob": ("processing", "ProcessingJobName", "ProcessingJobArn"),
    "CreateTransformJob": ("transform", "TransformJobName", "TransformJobArn"),
}
"""AWS operation -> kind of job, name and ARN members."""
NAMES = tuple(name for _, name, _ in CREATES.values())
UPLOADS = ("PutObject", "CreateMultipartUpload")
LOOKS_ALLOWED = 3
"""Descriptions of the new job that its function may ask for; one that asks more often waits for its end."""
_REQUEST = "retraining_request"

log = logging.getLogger(__name__)


class SdkStepError(JobError):
    """The code in ``sdk_jobs.py`` does not do what a step needs; a retry would fail in the same way."""


class WaitsForJobError(BaseException):
    """Ends a function that waits for the job it has submitted. No ``Exception``, so that no code of the SDK catches it."""


Create = Callable[[str, dict[str, Any], str], tuple[str, str]]
"""``(kind, request without name, the SDK's name) -> (real name, ARN)``."""


@dataclass
class Capture:
    """What a function does to AWS while it is watched."""

    create: Create
    uploaded: list[tuple[str, str]] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    error: BaseException | None = None
    looks: int = 0
    within: bool = False
    """Whether the library itself is calling AWS."""


_current: Capture | None = None
_real_names: dict[str, str] = {}
_installed = False


@contextmanager
def captured(create: Create) -> Iterator[Capture]:
    """Carry out the creation of jobs through ``create`` until the block ends.

    Raises:
        SdkStepError: another function is being watched in this process.

    """
    global _current
    if _current is not None:
        raise SdkStepError(
            "a function of sdk_jobs.py calls another one through the library; submit them one after another"
        )
    _install()
    _current = Capture(create)
    try:
        yield _current
    finally:
        _current = None


def _install() -> None:
    """Register the handlers with the session that exists and all that will; once per process."""
    global _installed
    import boto3
    from botocore import handlers

    if _installed:
        return
    wanted = [
        *((f"provide-client-params.s3.{operation}", _note_upload) for operation in UPLOADS),
        ("provide-client-params.sagemaker", _before_parameters),
        *((f"before-call.sagemaker.{operation}", _before_creation) for operation in CREATES),
        ("before-call.iam.SimulatePrincipalPolicy", _before_simulation),
    ]
    handlers.BUILTIN_HANDLERS.extend(wanted)
    if boto3.DEFAULT_SESSION is not None:
        for event, handler in wanted:
            boto3.DEFAULT_SESSION.events.register(event, handler)
    _installed = True


def _before_simulation(**_: Any) -> tuple[Any, dict[str, Any]] | None:
    """Answer the SDK's question whether the job's role may read the bucket: it cannot be asked here, and the SDK goes on.

    The role is the data platform's. IAM has no endpoint in a private network, where the SDK would wait minutes for it to answer.
    """
    if _current is None:
        return None
    error = {"Code": "AccessDenied", "Message": "roles are not simulated in a step of a DAG"}
    return SimpleNamespace(status_code=403), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 403}}


def _note_upload(params: Mapping[str, Any], **_: Any) -> None:
    if _current is not None and not _current.within:
        _current.uploaded.append((params["Bucket"], params["Key"]))


def _before_parameters(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> dict[str, Any] | None:
    """Note the request of a creation; give later calls the job's real name."""
    if _current is not None and _current.within:
        return None
    if model.name in CREATES:
        context[_REQUEST] = params
        return None
    _count_look(params, model.name)
    changed = {key: _with_real_name(value) for key, value in params.items() if key in (*NAMES, "ResourceArn") and value}
    return {**params, **changed} if any(params[key] != value for key, value in changed.items()) else None


def _with_real_name(value: str) -> str:
    head, slash, name = value.rpartition("/")
    return f"{head}{slash}{_real_names.get(name, name)}"


def _count_look(params: Mapping[str, Any], operation: str) -> None:
    if _current is None or not operation.startswith("Describe"):
        return
    new = {*_current.created, *(_real_names[name] for name in _current.created)}
    if any(params.get(name) in new for name in NAMES):
        _current.looks += 1
        if _current.looks > LOOKS_ALLOWED:
            raise WaitsForJobError


def _before_creation(model: Any, context: Mapping[str, Any], **_: Any) -> tuple[Any, dict[str, Any]] | None:
    """Create or adopt the job in place of the SDK's call, and answer as AWS would."""
    capture = _current
    if capture is None or capture.within:
        return None
    kind, name_key, arn_key = CREATES[model.name]
    request = dict(context[_REQUEST])
    name = request.pop(name_key)
    capture.within = True
    try:
        if capture.created:
            raise SdkStepError(
                f"the function submits a second job ({name}) after {capture.created[0]}; a step is one job: give each a function"
            )
        real, arn = capture.create(kind, request, name)
    except BaseException as error:
        capture.error = error  # the SDK may hide it
        raise
    finally:
        capture.within = False
    _real_names[name] = real
    capture.created.append(name)
    log.info("job %s of the SDK is %s", name, real)
    return SimpleNamespace(status_code=200), {arn_key: arn, "ResponseMetadata": {"HTTPStatusCode": 200}}
