"""What AWS's errors mean: refusals, and names that do not exist."""

from __future__ import annotations


def error_code(error: Exception) -> str:
    """Return the AWS error code of a botocore ClientError."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


REQUEST_ERRORS = frozenset(
    {"ValidationException", "ValidationError", "InvalidInputException", "AccessDeniedException", "AccessDenied"}
)


def is_refusal(error: Exception) -> bool:
    """Tell whether AWS, or botocore before it, refused a request for what it says; the same request would be refused again."""
    return error_code(error) in REQUEST_ERRORS or type(error).__name__ == "ParamValidationError"


def is_not_found(error: Exception) -> bool:
    """Tell whether a ClientError means that the named resource does not exist; SageMaker says so with a ValidationException."""
    message = str(getattr(error, "response", {}).get("Error", {}).get("Message", "")).lower()
    missing = any(words in message for words in ("could not find", "not found", "does not exist"))
    return error_code(error) in ("ResourceNotFound", "EntityNotFoundException") or (
        error_code(error) == "ValidationException" and missing
    )
