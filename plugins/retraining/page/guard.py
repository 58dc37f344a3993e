"""Guards every answer of the page: nothing runs or is framed that is not its own, and writes come from its own pages only.

Cells and file names are foreign text, and the page shares its origin with all of Airflow: whatever ran here would act as the person who
looks at it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

WRITE_HEADER = "x-retraining-page"
"""Sent with each write. A form cannot set it, and a script of another origin would have to ask first, which nobody answers."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
"""A report is shown as a document without scripts and without an origin."""
_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """An ASGI middleware.

    Args:
        app: the page.
        known_by: URLs under which people find Airflow, beside the one that a request was sent to.

    """

    def __init__(self, app: Callable[..., Awaitable[None]], known_by: tuple[str, ...] = ()) -> None:
        self._app = app
        self._origins = {origin_of(url) for url in known_by if url}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        guarded = with_headers(send, _HEADERS)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["method"] not in ("GET", "HEAD") and (refusal := self._refusal(headers)):
            start = {"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"application/json")]}
            await guarded(start)
            await guarded({"type": "http.response.body", "body": b'{"detail": "%s"}' % refusal.encode()})
            return
        await self._app(scope, receive, guarded)

    def _refusal(self, headers: dict[str, str]) -> str | None:
        """Say why a write is not from the page itself; None when it is."""
        if WRITE_HEADER not in headers:
            return f"Writes carry the header {WRITE_HEADER}: send them from the page."
        site = headers.get("sec-fetch-site")
        if site not in (None, "same-origin"):
            return "Requests from pages of another origin are refused."
        origin = headers.get("origin")
        if site is None and origin is not None and not self._is_own(origin, headers.get("host", "")):
            return "Requests from pages of another origin are refused."
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        return origin in self._origins or urlsplit(origin).netloc == host != ""


def with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """Return a ``send`` of ASGI that adds headers to an answer which does not have them."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", [])}
            added = [(name.encode(), value.encode()) for name, value in headers.items()]
            message = {
                **message,
                "headers": [*message.get("headers", []), *(pair for pair in added if pair[0] not in present)],
            }
        await send(message)

    return guarded


def origin_of(url: str) -> str:
    """Return the origin of a URL as browsers write it: scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
