"""A loopback HTTP proxy in front of local_aws that misbehaves on request: lost replies, errors, cut connections, held answers."""

from __future__ import annotations

import http.client
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

LIMIT_SECONDS = 60.0
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection", "te", "upgrade"})
THROTTLING = ("ThrottlingException", 400)
SERVER_ERROR = ("InternalFailure", 500)
UNAVAILABLE = ("ServiceUnavailable", 503)


@dataclass
class Fault:
    """What happens to the next ``times`` requests of an operation.

    ``lost`` sends the request on and drops the reply; ``cut`` drops the request; ``held`` sends it on and keeps the reply until ``release``
    is set; ``call`` runs a function after the reply has come from local_aws and before it goes on to the client.
    """

    operation: str
    kind: Literal["lost", "cut", "held", "call"]
    times: int = 1
    call: Callable[[], Any] = lambda: None
    arrived: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    happened: int = 0


class FaultyProxy:
    """Forwards to ``target``; faults are set and counted per operation, such as ``CreateTrainingJob`` or ``PUT /bucket/key``."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.target = (str(parts.hostname), int(parts.port or 80))
        self.seen: list[str] = []
        self.faults: list[Fault] = []
        self.refused = 0
        self._share = 0.0
        self._random = random.Random(0)
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of held replies and stop."""
        for fault in self.faults:
            fault.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def add(self, operation: str, kind: Literal["lost", "cut", "held", "call"], **options: Any) -> Fault:
        """Set a fault for the next requests of an operation."""
        fault = Fault(operation, kind, **options)
        with self._lock:
            self.faults.append(fault)
        return fault

    def refuse_share(self, share: float, seed: int) -> None:
        """Answer this share of all requests with throttling or a server error, the same ones for the same seed and order of requests."""
        with self._lock:
            self._share, self._random = share, random.Random(seed)

    def count(self, operation: str) -> int:
        """Return how many requests of an operation have arrived."""
        return sum(seen == operation for seen in self.seen)

    def _fault_for(self, operation: str) -> Fault | tuple[str, int] | None:
        with self._lock:
            self.seen.append(operation)
            for fault in self.faults:
                matches = operation == fault.operation or (
                    fault.operation.endswith("*") and operation.startswith(fault.operation[:-1])
                )
                if matches and fault.happened < fault.times:
                    fault.happened += 1
                    return fault
            if self._share and self._random.random() < self._share:
                self.refused += 1
                return self._random.choice((THROTTLING, SERVER_ERROR, UNAVAILABLE))
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyProxy

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        body = self._body()
        operation = (
            self.headers.get("x-amz-target", "").rpartition(".")[2] or f"{self.command} {urlsplit(self.path).path}"
        )
        fault = self.owner._fault_for(operation)
        if isinstance(fault, tuple):
            self._refuse(*fault)
            return
        if fault is not None and fault.kind == "cut":
            fault.arrived.set()
            self._cut()
            return
        status, headers, answer = self._forward(body)
        if fault is not None:
            fault.arrived.set()
            if fault.kind == "lost":
                self._cut()
                return
            if fault.kind == "held":
                fault.release.wait(LIMIT_SECONDS)
            else:
                fault.call()
        self._answer(status, headers, answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        headers["Content-Length"] = str(len(body))
        connection = http.client.HTTPConnection(*self.owner.target, timeout=LIMIT_SECONDS)
        try:
            connection.request(self.command, self.path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        try:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except OSError:  # the client has gone
            self.close_connection = True

    def _refuse(self, code: str, status: int) -> None:
        if self.headers.get("x-amz-target"):
            kind, text = "application/x-amz-json-1.1", f'{{"__type": "{code}", "message": "injected"}}'
        else:
            kind, text = "application/xml", f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
        body = b"" if self.command == "HEAD" else text.encode()
        self._answer(status, [("Content-Type", kind), ("x-amzn-ErrorType", code)], body)

    def _cut(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def handle(self) -> None:
        """Serve a connection; one that breaks is no news here."""
        try:
            super().handle()
        except OSError:
            self.close_connection = True
