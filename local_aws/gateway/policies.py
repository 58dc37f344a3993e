"""What a role may do: each request that is signed for a role is held against the role's policies and the bucket's, as IAM does it.

The policies are those that MiniStack keeps, and MiniStack's own evaluator decides: allow, deny and conditions of inline and attached
policies and of bucket policies. Policies of queues and keys are not looked at. Who signs with the account's keys may do everything.
"""

from __future__ import annotations

import html
import importlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from local_aws.gateway.operation_names import name_call
from local_aws.shared.access import Call, calls
from local_aws.shared.clients import Clients
from local_aws.shared.errors import ServiceError
from local_aws.shared.settings import Settings

_LOG = logging.getLogger(__name__)
_DELETED = re.compile(r"<Object>.*?</Object>", re.DOTALL)
_FUNCTION = re.compile(r"/functions/([^/]+)")
_ALWAYS_ALLOWED = frozenset({"sts:GetCallerIdentity"})
"""Needs no permission, and no policy can take it away."""


class Policies:
    """The decision for each request of a role."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._evaluator: Any = importlib.import_module("ministack.core.iam_evaluator")
        self._buckets: Any = importlib.import_module("ministack.services.s3")

    def refusal(
        self, role: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> ServiceError | None:
        """Return why a request of a role is refused, None when its policies allow it.

        Args:
            role: the role's ARN.
            method: HTTP method.
            path: decoded.
            query: as it came, percent-encoded.
            headers: by lower-case name.
            body: of S3 only that of DeleteObjects is needed.

        """
        region = name_call(method, path, query, headers, b"").region or self._settings.region
        policies = self._evaluator._gather_role_policies(role.rpartition("/")[2], self._settings.account)
        for call in asked(method, path, query, headers, body):
            if call.action in _ALWAYS_ALLOWED:
                continue
            context = self._evaluator.EvalContext(
                principal_arn=role,
                principal_type="AssumedRole",
                principal_account=self._settings.account,
                action=call.action,
                resource_arn=call.resource,
                region=region,
                source_ip="127.0.0.1",
                secure_transport=True,
                service_context=dict(call.keys),
            )
            result = self._with_bucket_policy(self._evaluator.evaluate(context, policies), context)
            if result.decision != "Allow":
                kind = "a resource-based" if result.resource_policy_arn else "an identity-based"
                why = (
                    f"with an explicit deny in {kind} policy"
                    if result.decision == "Deny"
                    else f"because no identity-based policy allows the {call.action} action"
                )
                message = f"User: {role} is not authorized to perform: {call.action} on resource: {call.resource} {why}"
                _LOG.warning("%s", message)
                return ServiceError(_code(call.action), message, status=400 if "x-amz-target" in headers else 403)
        return None

    def _with_bucket_policy(self, found: Any, context: Any) -> Any:
        """Return what IAM decides of a role's policies and those of the bucket that a request is about, if it is about one."""
        if not context.action.startswith("s3:"):
            return found
        document, owner = self._buckets.bucket_policy_for_arn(context.resource_arn) or (None, None)
        return self._evaluator.combine_resource_policy(found, context, document, owner) if document else found


def asked(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Iterator[Call]:
    """Yield what a request needs, see `Policies.refusal`; its resources are in the region that it is signed for."""
    path = with_bucket_of_host(path, headers)
    named = name_call(method, path, query, headers, body[:4096])
    values = {name: found[0] for name, found in parse_qs(query, keep_blank_values=True).items()}
    if named.service == "s3":
        yield from calls("s3", named.operation, _s3_params(path, values, headers, body), named.region)
    elif named.service == "lambda":
        function = _FUNCTION.search(path)
        yield from calls(
            "lambda", named.operation, {"FunctionName": unquote(function.group(1))} if function else {}, named.region
        )
    elif named.service == "sagemaker-runtime":
        yield from calls(
            "sagemaker-runtime", named.operation, {"EndpointName": unquote(path.split("/")[2])}, named.region
        )
    else:
        yield from calls(named.service, named.operation, _params(body, values), named.region)


def _params(body: bytes, query: dict[str, str]) -> dict[str, Any]:
    """Return the parameters of the JSON and the query protocol; none of a body that is neither."""
    text = body.decode("utf-8", "replace")
    if text.startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError:
            return {}
    return {name: found[0] for name, found in parse_qs(text).items()} | query


def _s3_params(path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    bucket, _, key = path.lstrip("/").partition("/")
    params: dict[str, Any] = {"Bucket": bucket, "Key": key} if bucket else {}
    if "versionId" in query:
        params["VersionId"] = query["versionId"]
    if not key and "prefix" in query:
        params["Prefix"] = query["prefix"]
    if "x-amz-copy-source" in headers:
        params["CopySource"] = unquote(headers["x-amz-copy-source"])
    if "delete" in query:
        params["Delete"] = {"Objects": [_deleted(item) for item in _DELETED.findall(body.decode("utf-8", "replace"))]}
    return params


def _deleted(text: str) -> dict[str, str]:
    found = re.search(r"<Key>(.*?)</Key>", text, re.DOTALL)
    version = re.search(r"<VersionId>(.+?)</VersionId>", text)
    key = {"Key": html.unescape(found.group(1)) if found else "*"}
    return key | ({"VersionId": version.group(1)} if version else {})


def with_bucket_of_host(path: str, headers: Mapping[str, str]) -> str:
    """Return a path that begins with the bucket, also where the client named it in the host."""
    bucket, _, rest = headers.get("host", "").partition(".localhost")
    return f"/{bucket}{path}" if rest[:1] in ("", ":") and bucket != headers.get("host", "") else path


def _code(action: str) -> str:
    return "AccessDenied" if action.startswith(("s3:", "sns:", "sqs:")) else "AccessDeniedException"


def give_functions_their_role(clients: Clients) -> None:
    """Let Lambda functions sign with a key of their role's instead of the account's."""

    def credentials(config: dict[str, Any]) -> dict[str, str]:
        key = clients.job_keys.issue("lambda", config.get("Role"))
        return {
            "AWS_ACCESS_KEY_ID": key.access_key,
            "AWS_SECRET_ACCESS_KEY": key.secret_key,
            "AWS_SESSION_TOKEN": "",
        }

    for name in ("ministack.core.lambda_runtime", "ministack.services.lambda_svc"):
        importlib.import_module(name).execution_credentials = credentials  # type: ignore[attr-defined]
