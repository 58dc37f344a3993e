"""Lambda behind the HTTP API of a model: ``POST /predictions`` and ``GET /openapi.json``.

The event is API Gateway's of payload format 2.0. ``model.json`` in the archive says which model it stands for, the variable
``ENDPOINT_NAME`` whom it asks, ``ACCESS`` how the gateway lets people in. The log has one line of JSON for each request, without values.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_functions.prediction_api import endpoint, openapi
from lambda_functions.prediction_api.model import Model
from lambda_functions.prediction_api.refusal import RefusalError
from lambda_functions.prediction_api.rows import MOST_BYTES, read_question, too_large

METHODS = {"/predictions": "POST", "/openapi.json": "GET"}
HEADERS = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
RETRY_SECONDS = "5"


@dataclass(frozen=True)
class Api:
    """An API: its model, the endpoint behind it, a client of SageMaker's runtime, how people are let in."""

    model: Model
    endpoint: str
    runtime: Any
    access: str = ""

    def answer(self, event: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the response to an event, and what the log says of it."""
        started = time.monotonic()
        context = event.get("requestContext") or {}
        request_id = str(context.get("requestId") or uuid.uuid4().hex)
        told: dict[str, Any] = {"request_id": request_id}
        headers = dict(HEADERS)
        try:
            status, document = 200, self._document(event, request_id, told)
        except RefusalError as refusal:
            status, document = refusal.status, _body(refusal, request_id)
            told |= {"code": refusal.code, **({"detail": refusal.detail} if refusal.detail else {})}
            if status == 503:
                headers["retry-after"] = RETRY_SECONDS
            if status == 405:
                headers["allow"] = METHODS[str(event.get("rawPath"))]
        told |= {"status": status, "milliseconds": round(1000 * (time.monotonic() - started))}
        body = json.dumps(document, allow_nan=False)
        return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}, told

    def _document(self, event: Mapping[str, Any], request_id: str, told: dict[str, Any]) -> dict[str, Any]:
        context = event.get("requestContext") or {}
        path, method = str(event.get("rawPath")), str((context.get("http") or {}).get("method"))
        if path not in METHODS:
            raise RefusalError(404, "no_such_path", f"There is {' and '.join(METHODS)}.")
        if method != METHODS[path]:
            raise RefusalError(405, "method", f"{path} is asked with {METHODS[path]}.")
        if path == "/openapi.json":
            domain = context.get("domainName")
            return openapi.document(self.model, f"https://{domain}/" if domain else "/", self.access)
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        question = read_question(_content(event), headers.get("content-type", ""), self.model)
        told |= {"rows": len(question.rows), **({"explain": True} if question.explain else {})}
        return {"predictions": endpoint.ask(self.runtime, self.endpoint, question, self.model, request_id)}


def handler(event: Mapping[str, Any], context: object = None) -> dict[str, Any]:
    """Return API Gateway's response to one of its events."""
    response, told = _api().answer(event)
    print(json.dumps(told))  # noqa: T201 - the log of a function is what it prints
    return response


@functools.cache
def _api() -> Api:
    document = json.loads((Path(__file__).parent / "model.json").read_text(encoding="utf-8"))
    return Api(Model.of(document), os.environ["ENDPOINT_NAME"], endpoint.client(), os.environ["ACCESS"])


def _content(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if len(body) > 2 * MOST_BYTES:
        raise too_large()
    try:
        return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError):
        raise RefusalError(400, "not_json", "The body cannot be decoded.") from None


def _body(refusal: RefusalError, request_id: str) -> dict[str, Any]:
    told: dict[str, Any] = {"code": refusal.code, "message": refusal.message, "request_id": request_id}
    return {"error": {**told, "problems": refusal.problems} if refusal.problems else told}
