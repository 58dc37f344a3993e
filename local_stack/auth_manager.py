"""Airflow's simple auth manager, for this machine: it also refuses requests under other host names and from other pages.

Airflow binds the loopback, but a page of any site can point its own name at 127.0.0.1 (DNS rebinding) and then speak to the UI as its
own server. Airflow 3.3 has no setting against that, but an auth manager may bring middlewares: here Starlette's check of the Host header.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.configuration import conf
from starlette.middleware.trustedhost import TrustedHostMiddleware

from local_stack.page_guard import PageGuard

LOOPBACK = ("localhost", "127.0.0.1")
EXTRA = "RETRAINING_ALLOWED_HOSTS"


def allowed_hosts(*urls: str) -> list[str]:
    """Return the host names to answer to: the loopback's, those of the given URLs, and those listed in ``RETRAINING_ALLOWED_HOSTS``."""
    named = [urlsplit(url).hostname or "" for url in urls]
    listed = os.environ.get(EXTRA, "").split(",")
    return list(dict.fromkeys([*LOOPBACK, *(name.strip().lower() for name in (*named, *listed) if name.strip())]))


class LocalAuthManager(SimpleAuthManager):
    """Users and passwords of the simple auth manager; the UI answers to the names that it is known by."""

    def get_fastapi_middlewares(self) -> list[Any]:
        """Add the checks of the headers Host and Origin to the middlewares of the simple auth manager."""
        known_by = (conf.get("api", "base_url", fallback=""), conf.get("core", "execution_api_server_url", fallback=""))
        check = (TrustedHostMiddleware, {"allowed_hosts": allowed_hosts(*known_by), "www_redirect": False})
        return [*super().get_fastapi_middlewares(), (PageGuard, {"known_by": known_by}), check]
