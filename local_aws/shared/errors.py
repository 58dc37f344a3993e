"""Errors that travel to the client as AWS service errors."""

from __future__ import annotations


class ServiceError(Exception):
    """An AWS error answer: an error code of the service, a message and an HTTP status.

    Parameters
    ----------
    code: the error code that botocore shows as ``Error.Code``.
    message: the text that botocore shows as ``Error.Message``.
    status: HTTP status of the answer.
    extra: further members of the error body (``ModelError`` has some).

    """

    def __init__(self, code: str, message: str, status: int = 400, extra: dict[str, object] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.extra = extra or {}


class JobError(Exception):
    """Why a job cannot go on; its text becomes the job's FailureReason or ErrorMessage."""


def validation_error(message: str) -> ServiceError:
    """Return SageMaker's general refusal."""
    return ServiceError("ValidationException", message)


def describe_exception(error: BaseException) -> str:
    """Return one line that names the kind and the text of an exception."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
