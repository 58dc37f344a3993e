"""boto3 clients of the account's own endpoint, for what one service asks of another."""

from __future__ import annotations

import functools
import secrets
import threading
from typing import Any

import boto3
from botocore.config import Config

from local_aws.shared.job_keys import JobKeys
from local_aws.shared.settings import Settings

#: Requests with this header (and this process's token) go to MiniStack even where a service of this package answers.
INTERNAL_HEADER = "x-local-aws-internal"

#: What Lambda functions sign with, under the account's number as access key id; it lives as long as this process.
FUNCTION_SECRET = secrets.token_urlsafe(30)


class Clients:
    """Thread-safe boto3 clients, made at first use, and the keys that this process and its jobs sign with."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        # A 12-digit key would select another account.
        self.access_key, self.secret_key = f"own-{secrets.token_hex(8)}", secrets.token_urlsafe(30)
        self.job_keys = JobKeys()
        self._session = boto3.session.Session(
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key, region_name=settings.region
        )
        self.internal_token = secrets.token_hex(16)
        self._in_role: dict[tuple[str, str], Any] = {}

    def s3_as(self, role: str | None) -> Any:
        """Return the S3 client for what a service does in a role; the account's own without a role, or where policies are not enforced."""
        return self.s3 if role is None or not self._settings.enforce_policies else self.service_as("s3", role)

    def service_as(self, service: str, role: str | None) -> Any:
        """Return the client of any service for what is done in a role, which counts where policies are enforced."""
        role = role if self._settings.enforce_policies else None
        if (service, role or "") not in self._in_role:
            session = None
            if role is not None:
                key = self.job_keys.issue("service", role)
                session = boto3.session.Session(
                    aws_access_key_id=key.access_key,
                    aws_secret_access_key=key.secret_key,
                    region_name=self._settings.region,
                )
            self._in_role[service, role or ""] = self._client(service, session)
        return self._in_role[service, role or ""]

    def _client(self, service: str, session: boto3.session.Session | None = None) -> Any:
        config = Config(
            retries={"max_attempts": 3, "mode": "standard"},
            connect_timeout=10,
            read_timeout=120,
            max_pool_connections=32,
            proxies={},
            s3={"addressing_style": "path"},
        )
        with self._lock:
            return (session or self._session).client(service, endpoint_url=self._settings.endpoint_url, config=config)

    @functools.cached_property
    def s3(self) -> Any:
        """Return the S3 client."""
        return self._client("s3")

    @functools.cached_property
    def iam(self) -> Any:
        """Return the IAM client."""
        return self._client("iam")

    @functools.cached_property
    def logs(self) -> Any:
        """Return the CloudWatch Logs client."""
        return self._client("logs")

    @functools.cached_property
    def catalog(self) -> Any:
        """Return a Glue client that MiniStack itself answers: definitions of jobs and crawlers, and the catalog."""
        client = self._client("glue")
        client.meta.events.register("before-sign.glue", self._mark)
        return client

    def _mark(self, request: Any, **_: object) -> None:
        request.headers[INTERNAL_HEADER] = self.internal_token
