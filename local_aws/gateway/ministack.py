"""MiniStack inside this process: its environment and its state on disk.

MiniStack reads its settings from the environment when it is imported and writes its state only when it shuts down in
good order. Here the state is written soon after every request that changed it, so that a killed process loses at most
the last moment.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from local_aws.gateway import corrections
from local_aws.shared.clients import FUNCTION_SECRET, Clients
from local_aws.shared.settings import Settings

_LOG = logging.getLogger(__name__)

#: The services of MiniStack that are reachable; everything else it knows stays off.
SERVICES = (
    "s3",
    "sqs",
    "sns",
    "ssm",
    "iam",
    "sts",
    "logs",
    "lambda",
    "glue",
    "cloudformation",
    "events",
    "monitoring",
    "kms",
    "secretsmanager",
    "dynamodb",
    "tagging",
    "athena",
    "states",
)

_SAVE_DELAY_SECONDS = 0.3
#: Log groups are the largest state and the least missed: they are written rarely, and the more rarely the larger.
_LOGS_DELAY_SECONDS = 5.0
_LOGS_DELAY_FACTOR = 20.0

#: A reading request never changes state, whatever its service.
_READING = ("Get", "List", "Describe", "Head", "Filter", "BatchGet", "Lookup", "Search", "Query", "Scan", "Receive")

#: What of the parent's environment the account (and with it each Lambda function) may see.
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP", "JAVA_HOME")


def configure_environment(settings: Settings) -> None:
    """Set what MiniStack reads at import, and drop every other variable of the parent process."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    state = settings.data_dir / "state"
    objects = settings.data_dir / "s3"
    for folder in (state, objects):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(
        {
            "GATEWAY_PORT": str(settings.port),
            "MINISTACK_HOST": "localhost",
            "MINISTACK_REGION": settings.region,
            "MINISTACK_ACCOUNT_ID": settings.account,
            "BIND_HOST": settings.host,
            "SERVICES": ",".join(SERVICES),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(objects),
            # Listeners beside the one HTTP port, and Docker, stay off.
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "DOCKER_HOST": f"unix://{state}/no-docker.sock",
            "LOG_LEVEL": "WARNING",
            "PYTHONDONTWRITEBYTECODE": "1",
            # What a Lambda function signs with; its access key is the account's number.
            "AWS_SECRET_ACCESS_KEY": FUNCTION_SECRET,
            # No file of the user's may redirect the clients of this process or of a function.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
        }
    )


class Backend:
    """The imported MiniStack application and the keeper of its state."""

    def __init__(self, settings: Settings) -> None:
        self._app = importlib.import_module("ministack.app")
        self._persistence = importlib.import_module("ministack.core.persistence")
        self.application = self._app.app
        self._data_dir: Path = settings.data_dir
        self._write_lock = threading.Lock()
        self._dirty: set[str] = set()
        self._pending: asyncio.Task[None] | None = None
        self._logs_pending: asyncio.Task[None] | None = None
        self._logs_seconds = 0.0

    @property
    def version(self) -> str:
        """Return MiniStack's version."""
        return str(self._app._version())

    def service_of(self, method: str, path: str, headers: dict[str, str], query: dict[str, list[str]]) -> str:
        """Return MiniStack's name of the service that a request is for."""
        return str(self._app.detect_service(method, path, headers, query))

    def service_of_target(self, target: str) -> str | None:
        """Return the name of the service that an ``X-Amz-Target`` is for, None for one that MiniStack does not know."""
        found = self._app.detect_service("POST", "/", {"x-amz-target": target}, {})
        prefixes = importlib.import_module("ministack.core.router").SERVICE_PATTERNS.get(found, {})
        return found if target.startswith(tuple(prefixes.get("target_prefixes", ()))) else None

    def session_secret(self, access_key: str) -> str | None:
        """Return the secret key of temporary credentials that STS gave out."""
        sts: Any = sys.modules.get("ministack.services.sts")
        session = sts._sessions.get(access_key) if sts else None
        return None if session is None or sts._session_expired(session) else session.get("SecretAccessKey")

    def session_role(self, access_key: str) -> str | None:
        """Return the ARN of the role whose temporary credentials STS gave out under this key, None for others."""
        sts: Any = sys.modules.get("ministack.services.sts")
        session = sts._sessions.get(access_key) if sts else None
        arn = str((session or {}).get("Arn", ""))
        account, _, assumed = arn.removeprefix("arn:aws:sts::").partition(":assumed-role/")
        return f"arn:aws:iam::{account}:role/{assumed.rpartition('/')[0]}" if assumed else None

    def is_unprepared(self, service: str) -> bool:
        """Return whether `prepare` has something to do."""
        return corrections.is_pending(service)

    def prepare(self, service: str, clients: Clients) -> None:
        """Load what a service needs before its first request."""
        corrections.apply(service, clients)

    def changed(self, service: str, method: str, operation: str) -> None:
        """Note a finished request; its service's state is written soon if the request may have changed it."""
        if method in ("GET", "HEAD") and not operation:
            return
        # A stack, a query or a state machine goes on after its request was answered: each look at it saves what was made since.
        if service not in ("cloudformation", "athena", "states") and operation.startswith(_READING):
            return
        if service == "logs":
            if self._logs_pending is None or self._logs_pending.done():
                self._logs_pending = asyncio.create_task(self._save_logs())
            return
        self._dirty.add(service)
        if self._pending is None or self._pending.done():
            self._pending = asyncio.create_task(self._save_later(self._dirty, _SAVE_DELAY_SECONDS))

    async def _save_later(self, services: set[str], delay: float) -> None:
        await asyncio.sleep(delay)
        chosen = set(services)
        services.clear()
        await asyncio.to_thread(self.save, chosen)

    async def _save_logs(self) -> None:
        await asyncio.sleep(max(_LOGS_DELAY_SECONDS, self._logs_seconds * _LOGS_DELAY_FACTOR))
        begun = time.monotonic()
        await asyncio.to_thread(self.save, {"logs"})
        self._logs_seconds = time.monotonic() - begun

    def save(self, services: set[str] | None = None) -> None:
        """Write the state of some services (all by default) to disk."""
        getters = self._app._build_persistence_save_dict()
        if services is not None and services & {"cloudformation", "states"}:
            # A stack or a state machine may have touched anything; they hold no log lines.
            getters = {key: getter for key, getter in getters.items() if key != self._state_key("logs")}
        elif services is not None:
            # What one request touches beyond its own service: notifications of S3, topics and functions fill queues.
            wanted = {self._state_key(service) for service in services}
            if services & {"s3", "sns", "lambda", "events"}:
                wanted.add("sqs")
            getters = {key: getter for key, getter in getters.items() if key in wanted}
        with self._write_lock:
            self._persistence.save_all({key: _retrying(getter) for key, getter in getters.items()})

    def end_functions(self) -> None:
        """End the processes of Lambda functions, and delete what they were unpacked to."""
        if runtime := sys.modules.get("ministack.core.lambda_runtime"):
            runtime.reset()

    def _state_key(self, service: str) -> str:
        config = self._app.SERVICE_REGISTRY.get(service, {})
        return str(config.get("state_key", config.get("module", service)))


def _retrying(getter: Any) -> Any:
    """Return a getter that tries again when a request changes the state while it is being copied."""

    def get() -> Any:
        for _ in range(20):
            try:
                return getter()
            except RuntimeError:
                continue
        return getter()

    return get
