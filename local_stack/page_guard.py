"""Guards the pages of the local Airflow: writes come from its own pages only, and no other page may frame it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEADERS = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)


class PageGuard:
    """An ASGI middleware.

    A cookie does not know ports: a page of another server on this machine would send Airflow's along. So a request that changes something
    and says that it comes from another origin is refused.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], known_by: tuple[str, ...] = ()) -> None:
        """`known_by` are URLs under which people find the pages, beside the one that a request was sent to."""
        self._app = app
        self._origins = {_origin(url) for url in known_by if url}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get("origin")
        own = {f"{scope['scheme']}://{headers.get('host', '')}", *self._origins}
        if scope["method"] not in ("GET", "HEAD") and origin is not None and origin not in own:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"Requests from pages of another origin are refused."})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message.get("headers", [])}
                added = [pair for pair in HEADERS if pair[0] not in present]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        await self._app(scope, receive, guarded)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
