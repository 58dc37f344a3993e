"""Lambda that lets in who has a key: API Gateway's HTTP APIs have no keys of their own.

A key is 32 random bytes, which nobody keeps: its SHA-256 lies in a parameter of its own below ``KEYS_PATH``, with its last day. Random
bytes need no slow hash. Several keys hold at a time, so that one is replaced without a moment when neither does.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

HEADER = "x-api-key"
KNOWN_SECONDS = 30
"""How long the digests are kept: a revoked key is let in for at most as much longer, and for the minute that the gateway remembers it."""


class Keys:
    """The keys of one API.

    Args:
        ssm: a client of SSM.
        path: below which their parameters lie.

    """

    def __init__(self, ssm: Any, path: str) -> None:
        self._ssm = ssm
        self._path = path
        self._known: dict[str, dict[str, str]] = {}
        self._until = 0.0

    def name_of(self, key: str, today: date) -> str | None:
        """Return the name of a key that holds today, None for any other."""
        digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
        found = None
        for name, entry in self._entries().items():  # all of them, so that time says nothing
            if hmac.compare_digest(entry["sha256"], digest) and today <= date.fromisoformat(entry["expires"]):
                found = name
        return found

    def _entries(self) -> dict[str, dict[str, str]]:
        if time.monotonic() >= self._until:
            pages = self._ssm.get_paginator("get_parameters_by_path").paginate(Path=self._path)
            self._known = {
                item["Name"].rpartition("/")[2]: json.loads(item["Value"])
                for page in pages
                for item in page["Parameters"]
            }
            self._until = time.monotonic() + KNOWN_SECONDS
        return self._known


_keys: list[Keys] = []


def handler(event: Mapping[str, Any], context: object = None) -> dict[str, Any]:
    """Return the simple response of payload format 2.0; the access log gets the name of the key."""
    if not _keys:
        import boto3

        _keys.append(Keys(boto3.client("ssm"), os.environ["KEYS_PATH"]))
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    name = _keys[0].name_of(headers.get(HEADER, ""), datetime.now(UTC).date())
    return {"isAuthorized": name is not None, "context": {"key": name or ""}}
