"""The access log: one line of JSON for each request that was answered, with the names of service and operation."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from local_aws.gateway.operation_names import name_call

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: The query protocol names its operation at the beginning of the body.
_BODY_BYTES = 4096


class AccessLog:
    """An ASGI application that passes everything on to another one and notes what was asked and answered.

    A line holds ``time`` (epoch seconds), ``service`` and ``operation`` as AWS names them, ``status``, ``error`` (the error code,
    where the answer's header has it), ``access_key`` (whose request it was) and ``agent`` (the client's User-Agent).
    """

    def __init__(self, application: Application, path: Path) -> None:
        self._application = application
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note it when it is answered."""
        if scope["type"] != "http" or scope["path"].startswith(("/_local_aws/", "/_ministack/")):
            await self._application(scope, receive, send)
            return
        begun = time.time()
        body = bytearray()
        answer: dict[str, Any] = {"status": 0, "error": ""}

        async def watched_receive() -> Message:
            message = await receive()
            if len(body) < _BODY_BYTES:
                body.extend(message.get("body", b"")[:_BODY_BYTES])
            return message

        async def watched_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
                named = {name.lower(): value for name, value in message["headers"]}
                answer["error"] = named.get(b"x-amzn-errortype", b"").decode("latin-1").partition(":")[0]
                # Written before the answer leaves: who has an answer finds its line.
                self._write(scope, bytes(body), begun, answer)
            await send(message)

        await self._application(scope, watched_receive, watched_send)

    def _write(self, scope: Scope, body: bytes, begun: float, answer: dict[str, Any]) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope.get("query_string", b"").decode("latin-1")
        call = name_call(scope["method"], scope["path"], query, headers, body)
        line = {
            "time": round(begun, 3),
            "service": call.service,
            "operation": call.operation,
            **answer,
            "access_key": call.access_key,
            "agent": headers.get("user-agent", ""),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
