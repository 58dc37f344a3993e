"""Whether a service may assume a role: what the role's trust policy says about services."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import ClientError

from local_aws.shared.clients import Clients
from local_aws.shared.errors import ServiceError, validation_error
from local_aws.shared.settings import Settings

_ASSUME = "sts:assumerole"
_LIKE = ("stringlike", "arnlike", "arnequals")
_EQUALS = ("stringequals", *_LIKE)


def require_assumable(clients: Clients, settings: Settings, role: str, arn: str) -> None:
    """Refuse a role that SageMaker may not assume for the resource `arn`.

    A role that does not exist is refused where policies are enforced; elsewhere it stands for one that may do everything.

    Raises:
        ServiceError: as SageMaker words it.

    """
    try:
        found = clients.iam.get_role(RoleName=role.rpartition("/")[2])["Role"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise ServiceError("InternalFailure", str(error), status=500) from error
        if settings.enforce_policies:
            raise _refusal(role) from error
        return
    context = {"aws:sourceaccount": settings.account, "aws:sourcearn": arn}
    if found["Arn"] != role or not trusts(found["AssumeRolePolicyDocument"], "sagemaker.amazonaws.com", context):
        raise _refusal(role)


def _refusal(role: str) -> ServiceError:
    return validation_error(
        f"Could not assume role {role}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )


def trusts(document: Mapping[str, Any], service: str, context: Mapping[str, str]) -> bool:
    """Return whether a trust policy lets a service assume its role.

    `context` has the condition keys that the service gives, in lower case. Conditions with other operators than equality and likeness of
    strings and ARNs are not met.
    """
    allowed = False
    for statement in _listed(document.get("Statement")):
        actions = [action.lower() for action in _listed(statement.get("Action"))]
        if not any(fnmatchcase(_ASSUME, action) for action in actions):
            continue
        if not _names(statement.get("Principal"), service) or not _met(statement.get("Condition", {}), context):
            continue
        if statement.get("Effect") == "Deny":
            return False
        allowed = True
    return allowed


def _names(principal: Any, service: str) -> bool:
    if not isinstance(principal, Mapping):
        return principal == "*"
    return "*" in _listed(principal.get("AWS")) or service in _listed(principal.get("Service"))


def _met(conditions: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    for operator, wanted in conditions.items():
        name = operator.lower().removesuffix("ifexists")
        for key, values in wanted.items():
            actual = context.get(key.lower())
            if actual is None and operator.lower().endswith("ifexists"):
                continue
            if actual is None or name not in _EQUALS:
                return False
            if not any(fnmatchcase(actual, value) if name in _LIKE else actual == value for value in _listed(values)):
                return False
    return True


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
