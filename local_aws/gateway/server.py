"""The HTTP face of the account: guards, routing to the services of this package, everything else to MiniStack."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from email.utils import formatdate
from html import escape
from typing import Any
from urllib.parse import parse_qs, unquote

from local_aws import __version__
from local_aws.gateway.admission import (
    INVOCATION_BYTES,
    OTHER_REQUEST_BYTES,
    REQUEST_BYTES,
    Admission,
    DigestCheck,
    read,
    replay,
)
from local_aws.gateway.corrections import PRETENDED
from local_aws.gateway.ministack import SERVICES, Backend
from local_aws.gateway.operation_names import INVOCATIONS
from local_aws.gateway.policies import Policies, give_functions_their_role, with_bucket_of_host
from local_aws.gateway.spark_sees import SparkSees
from local_aws.glue.service import Glue
from local_aws.sagemaker.hosting import autoscaling, streaming
from local_aws.sagemaker.service import SageMaker
from local_aws.shared.clients import FUNCTION_SECRET, INTERNAL_HEADER, Clients
from local_aws.shared.errors import ServiceError, describe_exception
from local_aws.shared.requests.members import check_invocation
from local_aws.shared.requests.validation import check_request, unavailable
from local_aws.shared.settings import Settings

_LOG = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_INVOCATION = re.compile(r"/endpoints/([^/]+)/(invocations|async-invocations|invocations-response-stream)")
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/[^/]+/([^/]+)/([^/]+)/")
#: Services whose requests show no other sign that their errors are XML; None is a request without a signature.
_XML_SERVICES = (None, "s3", "route53", "cloudfront")
SCALING, SCALING_TARGET = autoscaling.SERVICE, "AnyScaleFrontendService"
_OPEN_PATHS = ("/_local_aws/health", "/_ministack/health")


class Gateway:
    """The ASGI application."""

    def __init__(
        self, settings: Settings, backend: Backend, sagemaker: SageMaker, glue: Glue, clients: Clients
    ) -> None:
        self._settings = settings
        self._backend = backend
        self._sagemaker = sagemaker
        self._glue = glue
        self._clients = clients
        self._admission = Admission(settings, self._secret_of, self._service_of_target)
        self._policies = Policies(settings) if settings.enforce_policies else None
        if self._policies:
            give_functions_their_role(clients)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._backend.application(scope, receive, send)
            return
        send = _dated(send)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._admission.page_refusal(headers)
        if scope["type"] == "websocket":
            # Nothing that MiniStack serves here speaks WebSocket.
            await send({"type": "websocket.close", "code": 1008})
            return
        if refusal:
            await _answer(send, 403, {}, {"__type": "AccessDeniedException", "message": refusal})
            return
        path: str = scope["path"]
        if self._settings.keys is not None and path not in _OPEN_PATHS:
            try:
                scope, receive = await self._admission.admit(scope, headers, receive)
            except ServiceError as error:
                await _refuse(send, headers, error)
                return
        if self._policies:
            receive, denied = await self._denied(self._policies, scope, path, headers, receive)
            if denied:
                await _refuse(send, headers, denied)
                return
        if isinstance(receive, DigestCheck):
            await self._answer_checked(scope, path, headers, receive, send)
        else:
            await self._answer(scope, path, headers, receive, send)

    async def _denied(
        self, policies: Policies, scope: Scope, path: str, headers: dict[str, str], receive: Receive
    ) -> tuple[Receive, ServiceError | None]:
        """Return what the services read instead of `receive`, and why the role that signed may not do this, if it may not."""
        query = scope.get("query_string", b"").decode("latin-1")
        key = _access_key(headers, parse_qs(query, keep_blank_values=True))
        role = self._clients.job_keys.role_of(key) or self._settings.roles.get(key) or self._backend.session_role(key)
        if role is None:
            return receive, None
        body = b""
        service = _signing_service(headers)
        if service != "s3" or (scope["method"] == "POST" and "delete" in parse_qs(query, True)):
            try:
                body = await read(receive, headers, REQUEST_BYTES.get(service or "", OTHER_REQUEST_BYTES))
            except ServiceError as error:
                return receive, error
            if isinstance(receive, DigestCheck) and receive.differs:
                return receive, ServiceError("XAmzContentSHA256Mismatch", "The body is not the one that was signed.")
            receive = replay(body)
        return receive, policies.refusal(role, scope["method"], path, query, headers, body)

    async def _answer_checked(
        self, scope: Scope, path: str, headers: dict[str, str], receive: DigestCheck, send: Send
    ) -> None:
        await self._answer(scope, path, headers, receive, send)
        if receive.differs:
            message = "The provided 'x-amz-content-sha256' header does not match what was computed."
            await _refuse(send, headers, ServiceError("XAmzContentSHA256Mismatch", message))

    async def _answer(self, scope: Scope, path: str, headers: dict[str, str], receive: Receive, send: Send) -> None:
        if path == "/_local_aws/health":
            await _answer(send, 200, {}, self._health())
            return
        if path.startswith("/_ministack/") and path != "/_ministack/health":
            message = "MiniStack's own controls are closed; stop local_aws and remove its data folder to start anew."
            await _answer(send, 403, {}, {"__type": "AccessDeniedException", "message": message})
            return
        service, region = _signing_service(headers), _signing_region(headers)
        if service in ("sagemaker", "glue", SCALING) and region != self._settings.region:
            message = (
                f"Credential should be scoped to a valid region. local_aws has one for {service}, {self._settings.region}, "
                f"and this request is for {region}: set AWS_DEFAULT_REGION, or start it with --region {region}."
            )
            await _refuse(send, headers, ServiceError("InvalidSignatureException", message, status=403))
            return
        if await self._own(scope, path, headers, receive, send):
            return
        if service and service not in SERVICES:
            operation = headers.get("x-amz-target", "").rpartition(".")[2]
            await _refuse(send, headers, unavailable(service, operation))
            return
        if service and "x-amz-target" in headers:
            send = _with_aws_code(send, service, headers["x-amz-target"].rpartition(".")[2])
        await self._pass_on(scope, path, headers, receive, send)

    def _service_of_target(self, target: str) -> str | None:
        """Return the service that an ``X-Amz-Target`` names, as request signatures name it."""
        if target.startswith("SageMaker."):
            return "sagemaker"
        if target.startswith(f"{SCALING_TARGET}."):
            return SCALING
        return self._backend.service_of_target(target)

    def _health(self) -> dict[str, Any]:
        return {
            "status": "ok",
            "version": __version__,
            "services": {
                "ministack": self._backend.version,
                "sagemaker": sorted(self._sagemaker.operations),
                "glue": sorted(self._glue.operations),
            },
        }

    def _secret_of(self, access_key: str) -> str | None:
        """Return the secret key of those who may call: users, this process, its jobs and functions, holders of a session."""
        known = {self._clients.access_key: self._clients.secret_key, self._settings.account: FUNCTION_SECRET}
        return (
            known.get(access_key)
            or self._clients.job_keys.secret_of(access_key)
            or (self._settings.keys or {}).get(access_key)
            or self._backend.session_secret(access_key)
        )

    # -- the services of this package ------------------------------------------------------------------------------

    async def _own(self, scope: Scope, path: str, headers: dict[str, str], receive: Receive, send: Send) -> bool:
        """Answer the request if it is for a service of this package; return whether it was."""
        target, _, operation = headers.get("x-amz-target", "").partition(".")
        signed_for = _signing_service(headers)
        if target == "SageMaker":
            body = await read(receive, headers, OTHER_REQUEST_BYTES)
            await self._call(send, "sagemaker", operation, body, self._sagemaker.call)
            return True
        if target == SCALING_TARGET:
            body = await read(receive, headers, OTHER_REQUEST_BYTES)
            await self._call(send, SCALING, operation, body, self._sagemaker.scaling.call)
            return True
        if target == "AWSGlue" and headers.get(INTERNAL_HEADER) != self._clients.internal_token:
            body = await read(receive, headers, OTHER_REQUEST_BYTES)
            if operation in self._glue.operations:
                await self._call(send, "glue", operation, body, self._glue.call)
                return True
            await self._checked_glue(scope, path, headers, operation, body, send)
            return True
        match = _INVOCATION.fullmatch(path)
        if match and scope["method"] == "POST" and signed_for in ("sagemaker", None):
            await self._invoke(unquote(match.group(1)), match.group(2), headers, receive, send)
            return True
        if path == "/BatchPutMetrics" and signed_for == "sagemaker":
            body = await read(receive, headers, OTHER_REQUEST_BYTES)
            await self._call(send, "sagemaker-metrics", path[1:], body, self._sagemaker.experiments.put_metrics)
            return True
        if signed_for == "sagemaker" and not target:
            error = ServiceError("UnknownOperationException", f"{path} is not available in local_aws.")
            await _answer_error(send, error)
            return True
        return False

    async def _call(
        self,
        send: Send,
        service: str,
        operation: str,
        body: bytes,
        handler: Callable[[str, dict[str, Any]], dict[str, Any]],
    ) -> None:
        try:
            params = json.loads(body or b"{}")
            result = await asyncio.to_thread(handler, operation, params)
        except ValueError as error:
            await _answer_error(send, ServiceError("SerializationException", f"The body is not JSON: {error}"))
        except ServiceError as error:
            await _answer_error(send, error)
        except Exception as error:
            _LOG.exception("%s %s", service, operation)
            await _answer_error(send, ServiceError("InternalFailure", describe_exception(error), status=500))
        else:
            await _answer(send, 200, {}, result)

    async def _checked_glue(
        self, scope: Scope, path: str, headers: dict[str, str], operation: str, body: bytes, send: Send
    ) -> None:
        """Let MiniStack answer a Glue request of the right form, unless it would only pretend."""
        if operation in PRETENDED:
            await _answer_error(send, unavailable("glue", operation))
            return
        try:
            await asyncio.to_thread(check_request, "glue", operation, json.loads(body or b"{}"))
        except ValueError as error:
            await _answer_error(send, ServiceError("SerializationException", f"The body is not JSON: {error}"))
            return
        except ServiceError as error:
            await _answer_error(send, error)
            return
        await self._pass_on(scope, path, headers, replay(body), _with_aws_code(send, "glue", operation))

    async def _invoke(self, name: str, kind: str, headers: dict[str, str], receive: Receive, send: Send) -> None:
        endpoints = self._sagemaker.endpoints
        try:
            body = await read(receive, headers, INVOCATION_BYTES)
            check_invocation(INVOCATIONS[kind], headers, body)
            if kind == "async-invocations":
                document, found = await asyncio.to_thread(endpoints.invoke_async, name, headers)
                await _answer(send, 202, found, document)
                return
            status, answer_headers, answer = await asyncio.to_thread(endpoints.invoke, name, headers, body)
            if kind == "invocations-response-stream":
                answer_headers, answer = streaming.answer(answer_headers, answer)
        except ServiceError as error:
            await _answer_error(send, error)
            return
        await _send(send, status, answer_headers, answer)

    # -- MiniStack -------------------------------------------------------------------------------------------------

    async def _pass_on(self, scope: Scope, path: str, headers: dict[str, str], receive: Receive, send: Send) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        service = self._backend.service_of(scope["method"], path, headers, query)
        key = _access_key(headers, query)
        if self._backend.is_unprepared(service):
            await asyncio.to_thread(self._backend.prepare, service, self._clients)
        body_seen = bytearray()

        async def watched() -> Message:
            message = await receive()
            # The query protocol names its operation in the body.
            if len(body_seen) < 4096:
                body_seen.extend(message.get("body", b"")[:4096])
            return message

        answer = self._backend.application
        if service == "s3":
            answer = SparkSees(answer, self._glue, key, with_bucket_of_host(path, headers))
        await answer(scope, watched, send)
        operation = headers.get("x-amz-target", "").rpartition(".")[2] or _query_action(query, bytes(body_seen))
        self._backend.changed(service, scope["method"], operation)


def _signing_service(headers: dict[str, str]) -> str | None:
    match = _CREDENTIAL.search(headers.get("authorization", ""))
    return match.group(3) if match else None


def _signing_region(headers: dict[str, str]) -> str | None:
    match = _CREDENTIAL.search(headers.get("authorization", ""))
    return match.group(2) if match else None


def _access_key(headers: dict[str, str], query: dict[str, list[str]]) -> str:
    match = _CREDENTIAL.search(headers.get("authorization", ""))
    return match.group(1) if match else query.get("X-Amz-Credential", [""])[0].partition("/")[0]


def _query_action(query: dict[str, list[str]], body: bytes) -> str:
    if "Action" in query:
        return query["Action"][0]
    match = re.search(rb"(?:^|&)Action=([A-Za-z]+)", body)
    return match.group(1).decode() if match else ""


def _encode(value: Any) -> Any:
    # boto3 answers of MiniStack carry datetimes; the JSON protocols carry epoch seconds.
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _dated(send: Send) -> Send:
    """Give every answer the ``Date`` header that AWS sends: clients take the service's clock from it."""

    async def dated(message: Any) -> None:
        if message["type"] == "http.response.start" and not any(
            name.lower() == b"date" for name, _ in message["headers"]
        ):
            message = {**message, "headers": [*message["headers"], (b"date", formatdate(usegmt=True).encode())]}
        await send(message)

    return dated


async def _answer(send: Send, status: int, headers: dict[str, str], body: dict[str, Any]) -> None:
    content = json.dumps(body, default=_encode).encode()
    await _send(send, status, {"Content-Type": "application/x-amz-json-1.1"} | headers, content)


async def _answer_error(send: Send, error: ServiceError) -> None:
    body = {"__type": error.code, "message": error.message, "Message": error.message} | error.extra
    await _answer(send, error.status, {"x-amzn-ErrorType": error.code}, body)


async def _refuse(send: Send, headers: dict[str, str], error: ServiceError) -> None:
    """Refuse in the form that the client reads: XML for S3 and its like and the query protocol, JSON for all others."""
    queried = headers.get("content-type", "").startswith(("application/x-www-form-urlencoded", "application/cbor"))
    if "x-amz-target" in headers or not (queried or _signing_service(headers) in _XML_SERVICES):
        await _answer_error(send, error)
        return
    code, message = escape(error.code), escape(error.message)
    text = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    # Protocols that read neither form take the code from the header.
    await _send(send, error.status, {"Content-Type": "application/xml", "x-amzn-ErrorType": error.code}, text.encode())


def _with_aws_code(send: Send, service: str, operation: str) -> Send:
    """Give an operation that MiniStack does not know the error code that AWS's JSON services have for it."""
    begun: list[Message] = []

    async def renamed(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 400:
            begun.append(message)
            return
        if begun and b'"InvalidAction"' in message.get("body", b""):
            await _answer_error(send, unavailable(service, operation))
        else:
            for held in (*begun, message):
                await send(held)
        begun.clear()

    return renamed


async def _send(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    lines = {"x-amzn-RequestId": str(uuid.uuid4()), "Content-Length": str(len(body))} | headers
    encoded = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
