"""Keys of jobs and model servers: each has its own, which end with it. What a job printed or left behind opens nothing afterwards."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field


@dataclass(frozen=True)
class JobKey:
    """An access key id and its secret."""

    access_key: str
    secret_key: str = field(repr=False)


class JobKeys:
    """The keys that are valid at this moment; safe to call from any thread."""

    def __init__(self) -> None:
        self._secrets: dict[str, str] = {}
        self._roles: dict[str, str] = {}
        self._lock = threading.Lock()

    def issue(self, kind: str, role: str | None = None) -> JobKey:
        """Return a new key, for what acts in `role`. Its id begins with `kind`: one of 12 digits would select another account."""
        key = JobKey(f"{kind}-{secrets.token_hex(8)}", secrets.token_urlsafe(30))
        with self._lock:
            self._secrets[key.access_key] = key.secret_key
            if role:
                self._roles[key.access_key] = role
        return key

    def revoke(self, key: JobKey) -> None:
        """End a key."""
        with self._lock:
            self._secrets.pop(key.access_key, None)
            self._roles.pop(key.access_key, None)

    def secret_of(self, access_key: str) -> str | None:
        """Return the secret of a valid key, None otherwise."""
        return self._secrets.get(access_key)

    def role_of(self, access_key: str) -> str | None:
        """Return the ARN of the role that a valid key is for, None otherwise."""
        return self._roles.get(access_key)
