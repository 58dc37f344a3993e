"""S3 as the script of a Spark job sees it: its Spark works on copies, a request sees what Spark has written, and Spark what it changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from local_aws.glue.service import Glue

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class SparkSees:
    """An ASGI application of S3, for one request."""

    def __init__(
        self, application: Callable[[Message, Receive, Send], Awaitable[None]], glue: Glue, access_key: str, path: str
    ) -> None:
        """`access_key` signed the request, `path` begins with its bucket."""
        self._application, self._glue, self._access_key, self._path = application, glue, access_key, path

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer the request."""
        own = self._glue.is_job_key(self._access_key)
        if own:
            await self._glue.before_s3(self._access_key)
        if scope["method"] in ("GET", "HEAD"):
            await self._application(scope, receive, send)
        elif not own:
            await self._application(scope, receive, send)
            self._glue.s3_changed(self._access_key)
        else:
            # The job may read through Spark what it just wrote with boto3: the answer waits for the copy.
            answer: list[Message] = []

            async def held(message: Message) -> None:
                answer.append(message)

            await self._application(scope, receive, held)
            await self._glue.after_s3(self._access_key, self._object())
            self._glue.s3_changed(self._access_key)
            for message in answer:
                await send(message)

    def _object(self) -> tuple[str, str] | None:
        """Return bucket and key of the object that the request is about; None of one about a bucket, which may be about several."""
        bucket, _, key = self._path.lstrip("/").partition("/")
        return (bucket, key) if key else None
