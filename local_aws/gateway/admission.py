"""Who gets in: the names that the account answers to, no page of another site, and a signature that covers what is asked.

Nothing is read without a limit: a body whose signature has to be checked is at most as long as its service takes, and all of them together
fit into a fixed part of memory. A body that streams on to S3 is compared with the digest in its signature as it passes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from local_aws.gateway.signatures import Signed
from local_aws.gateway.signatures import refusal as signature_refusal
from local_aws.shared.errors import ServiceError
from local_aws.shared.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

MIB = 1024 * 1024
INVOCATION_BYTES = 6 * MIB  # as the service model of SageMaker's runtime says
#: The longest request that any of a service's operations takes: Lambda's carries an archive of 50 MB as base64.
REQUEST_BYTES = {"lambda": 80 * MIB, "sagemaker": INVOCATION_BYTES}
OTHER_REQUEST_BYTES = 16 * MIB
#: What all bodies together may take whose signatures are not checked yet.
UNCHECKED_BYTES = 192 * MIB

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Admission:
    """The guards in front of all services.

    Args:
        settings: which hosts and keys are this account's.
        secret_of: returns the secret of an access key that may call, None for others.
        service_of_target: returns the service that a request's ``X-Amz-Target`` names, None when it names none.

    """

    def __init__(
        self,
        settings: Settings,
        secret_of: Callable[[str], str | None],
        service_of_target: Callable[[str], str | None],
    ) -> None:
        self._settings = settings
        self._secret_of = secret_of
        self._service_of_target = service_of_target
        self._unchecked = 0

    def page_refusal(self, headers: Mapping[str, str]) -> str | None:
        """Return why a request is refused: another Host (DNS rebinding) or a page of another site (CSRF)."""
        host = headers.get("host", "")
        if not self._is_allowed(_host_name(host)):
            return (
                f"The Host header {host[:100]!r} is not this machine's. Use localhost or 127.0.0.1, "
                "or start local_aws with --allow-host NAME."
            )
        if headers.get("sec-fetch-site") == "cross-site":
            return "Requests from pages of other sites are refused."
        origin = headers.get("origin")
        if origin and not self._is_allowed(_host_name(origin.partition("://")[2])):
            return f"Requests from pages of {origin[:100]!r} are refused."
        return None

    def _is_allowed(self, name: str) -> bool:
        name = name.lower().rstrip(".")
        if name in ("localhost", "127.0.0.1", "::1"):
            return True
        names = {"localhost", *self._settings.allowed_hosts}
        # bucket.localhost is how S3 clients address a bucket by host name; *.localhost never leaves the machine.
        return any(name == allowed or name.endswith(f".{allowed}") for allowed in names)

    async def admit(self, scope: Scope, headers: dict[str, str], receive: Receive) -> tuple[Scope, Receive]:
        """Check a request's signature; return what the services read instead of it. `headers` may be completed.

        Raises:
            ServiceError: it is not signed by a holder of the account's keys, or is too long.

        """
        signed = Signed(headers, scope.get("query_string", b"").decode("latin-1"))
        body = b""
        known = signed.access_key is not None and self._secret_of(signed.access_key) is not None
        if known and signed.service != "s3":
            limit = REQUEST_BYTES.get(signed.service, OTHER_REQUEST_BYTES)
            body = await self._read_unchecked(receive, headers, limit)
            receive = replay(body)
        raw_path = scope["raw_path"].decode("latin-1").partition("?")[0]
        target = self._service_of_target(headers["x-amz-target"]) if "x-amz-target" in headers else None
        if wrong := signature_refusal(signed, self._secret_of, scope["method"], raw_path, body, target):
            raise ServiceError(*wrong, status=403)
        if signed.presigned:
            # MiniStack would check it again, with keys of its own.
            scope = {**scope, "query_string": signed.query.encode("latin-1")}
            scope["headers"] = [*scope["headers"], (b"authorization", signed.authorization.encode("latin-1"))]
            headers["authorization"] = signed.authorization
        elif signed.service == "s3" and _DIGEST.fullmatch(digest := headers.get("x-amz-content-sha256", "")):
            receive = DigestCheck(receive, digest)
        return scope, receive

    async def _read_unchecked(self, receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
        def room(more: int) -> None:
            if self._unchecked + more > UNCHECKED_BYTES:
                raise ServiceError("ThrottlingException", "Too many large requests at once; try again.", status=503)

        counted = 0

        def count(more: int) -> None:
            nonlocal counted
            room(more)
            self._unchecked += more
            counted += more

        try:
            return await read(receive, headers, limit, count)
        finally:
            self._unchecked -= counted


class DigestCheck:
    """A body on its way to a service, compared with the digest that was signed; when it differs, the service gets no end of it."""

    def __init__(self, receive: Receive, digest: str) -> None:
        self._receive = receive
        self._digest = digest
        self._found = hashlib.sha256()
        self.differs = False

    async def __call__(self) -> Message:
        """Return the next part."""
        message = await self._receive()
        if message["type"] != "http.request":
            return message
        self._found.update(message.get("body", b""))
        if not message.get("more_body") and self._found.hexdigest() != self._digest:
            self.differs = True
            return {"type": "http.disconnect"}
        return message


async def read(
    receive: Receive, headers: Mapping[str, str], limit: int, count: Callable[[int], None] = lambda _: None
) -> bytes:
    """Return a whole body of at most `limit` bytes; `count` is told of each part before it is kept.

    Raises:
        ServiceError: it is longer; no more of it is read.

    """
    announced = headers.get("content-length", "")[:20]
    size, parts = int(announced) if announced.isdigit() else 0, []
    if size <= limit:
        size = 0
        while size <= limit:
            message = await receive()
            part = message.get("body", b"")
            count(len(part))
            size += len(part)
            parts.append(part)
            if message["type"] != "http.request" or not message.get("more_body"):
                break
    if size > limit:
        raise ServiceError(
            "RequestEntityTooLargeException", f"The request is longer than {limit // MIB} MiB.", status=413
        )
    return b"".join(parts)


def replay(body: bytes) -> Receive:
    """Return a channel that hands out a body that was read already."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _host_name(host: str) -> str:
    """Return the name in ``name:port``; nothing for a form that no client of this machine sends, such as ``a@b``."""
    if "@" in host:
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
