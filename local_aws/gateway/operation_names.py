"""Which operation of which AWS service an HTTP request is: for the access log, so that a reader sees API names, not paths."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

from botocore.model import OperationModel

from local_aws.shared.requests.validation import service_model

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/[^/]+/([^/]+)/([^/]+)/")
_ACTION = re.compile(r"(?:^|&)Action=([A-Za-z]+)")
_INVOCATION = re.compile(r"/endpoints/[^/]+/(invocations|async-invocations|invocations-response-stream)")
INVOCATIONS = {
    "invocations": "InvokeEndpoint",
    "async-invocations": "InvokeEndpointAsync",
    "invocations-response-stream": "InvokeEndpointWithResponseStream",
}
_CBOR = re.compile(r"/service/[^/]+/operation/([A-Za-z]+)")
_PLACEHOLDER = re.compile(r"\{(\w+)(\+?)\}")

#: The services whose operations are told apart by method, path and query; all others name theirs.
_BY_PATH = ("s3", "lambda")


class Call(NamedTuple):
    """A service by its name in request signatures, an operation, whose request it is and in which region; empty where it does not tell."""

    service: str
    operation: str
    access_key: str
    region: str


def name_call(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Call:
    """Return what a request asks for.

    `path` is decoded, `query` as it came, `headers` by lower-case name; of `body` the beginning is enough.
    """
    values = parse_qs(query, keep_blank_values=True)
    scope = _CREDENTIAL.search(headers.get("authorization", ""))
    presigned = values.get("X-Amz-Credential", [""])[0].split("/")
    parts = (presigned[0], *presigned[2:4]) if len(presigned) > 4 else (presigned[0], "", "")
    key, region, service = scope.groups() if scope else parts
    if service == "sagemaker" and (match := _INVOCATION.fullmatch(path)):
        return Call("sagemaker-runtime", INVOCATIONS[match[1]], key, region)
    if service == "sagemaker" and path == "/BatchPutMetrics":
        return Call("sagemaker-metrics", "BatchPutMetrics", key, region)
    return Call(service, _operation(service, method, path, values, headers, body), key, region)


def _operation(
    service: str,
    method: str,
    path: str,
    query: Mapping[str, list[str]],
    headers: Mapping[str, str],
    body: bytes,
) -> str:
    if "x-amz-target" in headers:
        return headers["x-amz-target"].rpartition(".")[2]
    if match := _CBOR.fullmatch(path):
        return match.group(1)
    if service in _BY_PATH:
        return _by_path(service, method, path, query, headers)
    if "Action" in query:
        return query["Action"][0]
    named = _ACTION.search(unquote(body.decode("latin-1")))
    return named.group(1) if named else ""


class _Route(NamedTuple):
    """How an operation is recognised; the more of a request it explains, the better it fits."""

    operation: str
    method: str
    path: re.Pattern[str]
    query: frozenset[tuple[str, str | None]]
    headers: frozenset[str]


def _by_path(service: str, method: str, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]) -> str:
    path = path.rstrip("/") or "/"
    fitting = [
        route
        for route in _routes(service)
        if route.method == method
        and route.path.fullmatch(path)
        and all(name in query and (value is None or query[name] == [value]) for name, value in route.query)
        and route.headers <= headers.keys()
    ]
    best = max(fitting, key=lambda route: len(route.query) + len(route.headers), default=None)
    return best.operation if best else ""


@functools.cache
def _routes(service: str) -> list[_Route]:
    model = service_model(service)
    operations = [model.operation_model(name) for name in model.operation_names]
    return [_route(operation) for operation in operations if not operation.deprecated]


def _route(operation: OperationModel) -> _Route:
    template, _, literal = operation.http["requestUri"].partition("?")
    pattern = _PLACEHOLDER.sub(lambda match: "(.+)" if match.group(2) else "([^/]+)", template)
    query: set[tuple[str, str | None]] = set()
    for pair in filter(None, literal.split("&")):
        name, _, value = pair.partition("=")
        query.add((name, value or None))
    headers = set()
    shape = operation.input_shape
    for member in shape.required_members if shape else ():
        place = shape.members[member].serialization
        if place.get("location") == "querystring":
            query.add((place["name"], None))
        elif place.get("location") == "header":
            headers.add(place["name"].lower())
    return _Route(operation.name, operation.http["method"], re.compile(pattern), frozenset(query), frozenset(headers))
