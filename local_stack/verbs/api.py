"""The verbs ``make api`` and ``make openapi``: a model's HTTP API on the loopback, by the handler that Lambda runs; its description."""

from __future__ import annotations

import base64
import contextlib
import json
import shlex
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any

from deploy import prediction_api
from lambda_functions.prediction_api import endpoint as sagemaker_endpoint
from lambda_functions.prediction_api import openapi
from lambda_functions.prediction_api.example import example_row
from lambda_functions.prediction_api.handler import Api
from lambda_functions.prediction_api.model import Model, described
from lambda_functions.prediction_api.rows import MOST_BYTES
from local_stack.verbs import model_check
from local_stack.verbs.calls import CallError
from retraining.contract.plain_text import plain
from retraining.settings.model_config import ModelConfig

Say = Callable[[str], None]
HOST = "127.0.0.1"
READ_SECONDS = 30
"""That a connection may be silent."""


def config_of(model: str) -> ModelConfig:
    """Return the configuration of a model folder.

    Raises:
        CallError: it is wrong, or there is none.

    """
    folder = model_check.read(model)
    if folder.config is None:
        raise model_check.BrokenModelError("\n".join(folder.problems))
    return folder.config


def document(config: ModelConfig) -> str:
    """Return the OpenAPI document of a model as text, as its API on AWS serves it."""
    access = config.api.access if config.api else ""
    return json.dumps(openapi.document(Model.of(described(config)), access=access), indent=2)


def serve(config: ModelConfig, session: Any, port: int, say: Say) -> None:
    """Serve the API of a model, and the form, until somebody ends it.

    Raises:
        CallError: the model serves nothing, or the port is taken.

    """
    endpoint = serving_endpoint(config, session)
    model = Model.of(described(config))
    api = Api(model, endpoint, sagemaker_endpoint.client())
    try:
        server = server_of(api, port, say)
    except OSError as error:
        raise CallError(
            f"port {port} cannot be used ({error.strerror}): choose another, make api API_PORT=..."
        ) from error
    with server:
        url = f"http://{HOST}:{server.server_port}"
        say(f"form     {url}/")
        say(f"OpenAPI  {url}/openapi.json")
        row = example_row(model)
        if row is not None:
            body = shlex.quote(json.dumps({"rows": [row]}))
            say(f"example  curl -s {url}/predictions -H 'Content-Type: application/json' -d {body}")
        say("Ctrl-C stops it.")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def serving_endpoint(config: ModelConfig, session: Any) -> str:
    """Return the name of the endpoint that answers for a model.

    Raises:
        CallError: there is none, or it is not in service.

    """
    from botocore.exceptions import ClientError

    if config.endpoint is None:
        raise CallError(
            f"model {config.name} has no endpoint, it scores files: make score FILE=... MODEL={config.name}"
        )
    try:
        status = session.client("sagemaker").describe_endpoint(EndpointName=config.endpoint)["EndpointStatus"]
    except ClientError as error:
        if "Could not find" not in str(error):
            raise
        raise CallError(
            f"model {config.name} serves nothing yet: make retrain FILE=... MODEL={config.name} makes the first model"
        ) from error
    if status not in ("InService", "Updating"):
        raise CallError(f"endpoint {config.endpoint} is {status}: make status MODEL={config.name} says more")
    return config.endpoint


def server_of(api: Api, port: int, say: Say) -> ThreadingHTTPServer:
    """Return a server for an API on the loopback; port 0 is any free one."""
    files = prediction_api.site()

    class Handler(BaseHTTPRequestHandler):
        """Makes API Gateway's events of requests."""

        protocol_version = "HTTP/1.1"
        timeout = READ_SECONDS

        def do_GET(self) -> None:
            """Answer with a file of the site, or by the API."""
            name = self.path.partition("?")[0].removeprefix("/") or "index.html"
            if self._is_for_us() and name in files:
                kind = prediction_api.CONTENT_TYPES[PurePosixPath(name).suffix]
                self._send(
                    200, {"content-type": kind, "content-security-policy": prediction_api.SITE_POLICY}, files[name]
                )
            elif self._is_for_us():
                self._answer(b"")
            else:
                self._refuse(421, "This server is asked as 127.0.0.1 or localhost.")

        def do_POST(self) -> None:
            """Answer by the API."""
            length = self.headers.get("Content-Length", "")
            if not self._is_for_us():
                self._refuse(421, "This server is asked as 127.0.0.1 or localhost.")
            elif not length.isdecimal():
                self._refuse(411, "The request needs a Content-Length.")
            elif int(length[:20]) > MOST_BYTES:
                self._refuse(413, f"The body is larger than {MOST_BYTES:,} bytes: send fewer rows at once.")
            else:
                self._answer(self.rfile.read(int(length)))

        do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = do_POST

        def _is_for_us(self) -> bool:
            here = f":{self.server.server_port}"  # type: ignore[attr-defined]
            return self.headers.get("Host") in (HOST + here, "localhost" + here)

        def _answer(self, body: bytes) -> None:
            event = {
                "rawPath": self.path.partition("?")[0],
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "requestContext": {"http": {"method": self.command}},
                "body": base64.b64encode(body).decode(),
                "isBase64Encoded": True,
            }
            response, told = api.answer(event)
            say(json.dumps({"request": plain(f"{self.command} {self.path}", 80), **told}))
            self._send(response["statusCode"], response["headers"], response["body"].encode())

        def _refuse(self, status: int, message: str) -> None:
            """Answer without having read the body: the connection ends with it."""
            self.close_connection = True
            body = json.dumps({"error": {"code": "request", "message": message, "request_id": ""}}).encode()
            self._send(status, {"content-type": "application/json", "connection": "close"}, body)

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"x-content-type-options": "nosniff", "cache-control": "no-store", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Leave the log to ``_answer``."""

    return ThreadingHTTPServer((HOST, port), Handler)
