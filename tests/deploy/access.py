"""IAM as far as these tests need it: which action and resource an API call is, and whether policies allow it."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name

ACCOUNT, REGION = "000000000000", "us-east-1"
SERVICES = ("s3", "sagemaker", "sagemaker-runtime", "glue", "sqs", "sns", "ssm", "lambda", "logs")  # first wins
RENAMED = {
    ("s3", "ListObjectsV2"): "s3:ListBucket",
    ("s3", "HeadObject"): "s3:GetObject",
    ("s3", "CopyObject"): "s3:PutObject",
    ("sqs", "DeleteMessageBatch"): "sqs:DeleteMessage",
    ("lambda", "Invoke"): "lambda:InvokeFunction",
    ("sagemaker-runtime", "InvokeEndpoint"): "sagemaker:InvokeEndpoint",
}
NOUNS = ("training_job", "processing_job", "transform_job")
WAITERS = {"endpoint_deleted": "describe_endpoint"}


@dataclass(frozen=True, order=True)
class Call:
    """An API call as IAM sees it; the resource is empty where the tests do not know it."""

    action: str
    resource: str = ""


def action(service: str, operation: str) -> str:
    """Return the IAM action of an operation."""
    return RENAMED.get((service, operation), f"{service}:{operation}")


def calls(service: str, operation: str, params: Mapping[str, Any]) -> Iterator[Call]:
    """Yield what IAM asks for one API call: the action itself, tags, and roles that are handed over."""
    yield Call(action(service, operation), _resource(service, operation, params))
    if operation == "CopyObject":
        yield Call("s3:GetObject", _source(params["CopySource"]))
    if service == "sagemaker" and params.get("Tags"):
        yield Call("sagemaker:AddTags", _resource(service, operation, params))
    for name in ("RoleArn", "ExecutionRoleArn"):
        if name in params:
            yield Call("iam:PassRole", params[name])


def _source(copied: Any) -> str:
    if isinstance(copied, Mapping):
        return f"arn:aws:s3:::{copied['Bucket']}/{copied['Key']}"
    return f"arn:aws:s3:::{copied.lstrip('/').split('?versionId=')[0]}"


def _resource(service: str, operation: str, params: Mapping[str, Any]) -> str:
    if service == "s3":
        key = params.get("Key")
        return f"arn:aws:s3:::{params['Bucket']}" + (f"/{key}" if key else "")
    if service == "sns":
        return params["TopicArn"]
    named = {
        "ssm": ("Name", "parameter{}"),
        "lambda": ("FunctionName", "function:{}"),
        "logs": ("logGroupName", "log-group:{}:*"),
    }
    if service == "sqs":
        queue = params.get("QueueName") or params["QueueUrl"].rsplit("/", 1)[-1]
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
    if service in named:
        name, form = named[service]
        return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{form.format(params[name])}"
    if service == "glue":
        kind, name = next(
            (kind, params[name])
            for name, kind in (("JobName", "job"), ("Name", "crawler"), ("DatabaseName", "database"))
            if name in params
        )
        return f"arn:aws:glue:{REGION}:{ACCOUNT}:{kind}/{name}"
    if operation.startswith("List") and operation != "ListTags":
        return "*"
    for name in ("ResourceArn", "ModelPackageArn"):
        if name in params:
            return params[name]
    if operation == "DescribeModelPackage":
        return params["ModelPackageName"]
    if operation == "CreateModelPackage":
        return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package-group/{params['ModelPackageGroupName']}"
    kinds = {
        "TrainingJobName": "training-job",
        "ProcessingJobName": "processing-job",
        "TransformJobName": "transform-job",
        "EndpointName": "endpoint",
        "EndpointConfigName": "endpoint-config",
        "ModelPackageGroupName": "model-package-group",
        "ModelName": "model",
    }
    kind, value = next((kinds[name], params[name]) for name in kinds if name in params)
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{value}"


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
