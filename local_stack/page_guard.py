"""Guards the pages of the local Airflow: writes come from its own pages only, and no other page may frame it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from retraining.page.guard import Message, Receive, Send, origin_of, with_headers

HEADERS = {
    "x-frame-options": "SAMEORIGIN",
    "content-security-policy": "frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


class PageGuard:
    """An ASGI middleware.

    A cookie does not know ports: a page of another server on this machine would send Airflow's along. So a request that changes something
    and says that it comes from another origin is refused.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], known_by: tuple[str, ...] = ()) -> None:
        """`known_by` are URLs under which people find the pages, beside the one that a request was sent to."""
        self._app = app
        self._origins = {origin_of(url) for url in known_by if url}

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
        await self._app(scope, receive, with_headers(send, HEADERS))
