"""IAM as far as these tests need it: the calls that sources name, and whether policies allow what was called."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name

from local_aws.shared.access import Call, action

SERVICES = ("s3", "sagemaker", "sagemaker-runtime", "glue", "sqs", "sns", "ssm", "lambda", "logs")  # first wins
NOUNS = ("training_job", "processing_job", "transform_job", "hyper_parameter_tuning_job")
WAITERS = {"endpoint_deleted": "describe_endpoint"}


def statements(role: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements of a role's or a managed policy's resource, with lists for actions and resources."""
    properties = role["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    return [
        {**statement, "Action": _list(statement["Action"]), "Resource": _list(statement["Resource"])}
        for document in documents
        for statement in document["Statement"]
    ]


def allowed_actions(policy: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return all actions that statements allow."""
    return {name for statement in policy for name in statement["Action"]}


def allows(policy: Iterable[Mapping[str, Any]], call: Call) -> bool:
    """Tell whether a statement allows a call; conditions are taken as met."""
    return any(
        any(fnmatch.fnmatchcase(call.action, name) for name in statement["Action"])
        and (not call.resource or any(fnmatch.fnmatchcase(call.resource, form) for form in statement["Resource"]))
        for statement in policy
    )


def faults(policy: Iterable[Mapping[str, Any]], made: Iterable[Call], reasons: Mapping[str, str]) -> list[str]:
    """Return what is wrong between a policy and the calls: refused calls, actions nobody calls, reasons nobody needs."""
    policy, made = list(policy), set(made)
    called = {call.action for call in made}
    found = [f"refused: {call.action} on {call.resource}" for call in sorted(made) if not allows(policy, call)]
    granted = allowed_actions(policy)
    found += [f"needless: {name} is allowed but never called" for name in sorted(granted - called - set(reasons))]
    found += [f"stale reason: {name} is not allowed" for name in sorted(set(reasons) - granted)]
    return found + [f"stale reason: {name} is called" for name in sorted(set(reasons) & called)]


def written_calls(sources: Iterable[Path]) -> set[str]:
    """Return the IAM actions of all boto3 operations that sources name: calls, paginators, waiters, f-strings of job kinds."""
    operations = _operations()
    names = {name for path in sources for name in _names(ast.parse(path.read_text(encoding="utf-8")))}
    return {operations[name] for name in names if name in operations}


def _operations() -> dict[str, str]:
    session = botocore.session.get_session()
    found = {}
    for service in reversed(SERVICES):
        for operation in session.get_service_model(service).operation_names:
            found[xform_name(operation)] = action(service, operation)
    del found["search"]  # a regular expression's; the library searches nothing in SageMaker
    return {**found, "list_tags": "sagemaker:ListTags"}  # Lambda has one, too


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield WAITERS.get(node.value, node.value)
        elif isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            for noun in NOUNS:
                yield text.replace("{}", noun.removesuffix("_job") if text.endswith("_jobs") else noun)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
