"""Servers of models with more than one container or more than one model; each part is a model server of its own."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from local_aws.sagemaker.hosting.model_server import ModelServer
from local_aws.sagemaker.models import ModelRegistry
from local_aws.sagemaker.spares import SparePythons
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError, ServiceError
from local_aws.shared.settings import Settings

Document = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]

TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"
#: Models of a multi-model endpoint that are loaded at once; the one that was asked longest ago makes room.
MOST_LOADED = 8
_LOAD_SECONDS = 60.0


class Server(Protocol):
    """What answers the requests of a variant or of a transform job, see `ModelServer`."""

    role: str | None
    log: Path
    multi_model: bool

    @property
    def alive(self) -> bool:
        """Return whether it runs."""

    def prepare(self) -> None:
        """Download what it needs."""

    def start(self) -> None:
        """Start what does not run."""

    def wait_healthy(self, timeout_seconds: float, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Return whether it answers in time."""

    def invoke(self, body: bytes, headers: dict[str, str], timeout_seconds: float = 60.0) -> Answer:
        """Answer one request."""

    def stop(self) -> None:
        """Stop it and remove its folders."""


def containers_of(model: Document, registry: ModelRegistry) -> list[Document]:
    """Return the container definitions of a model, each resolved through its model package if it names one."""
    containers = [model["PrimaryContainer"]] if "PrimaryContainer" in model else model["Containers"]
    return [_resolved(model, container, registry) for container in containers]


def _resolved(model: Document, container: Document, registry: ModelRegistry) -> Document:
    if "ModelPackageName" in container:
        package = registry.find_package(container["ModelPackageName"])
        source = package.get("InferenceSpecification", {}).get("Containers", [])
        if not source:
            raise JobError(f"the model package {container['ModelPackageName']} has no InferenceSpecification")
        environment = source[0].get("Environment", {}) | container.get("Environment", {})
        container = source[0] | container | {"Environment": environment}
    if "Image" not in container:
        raise JobError(f"the model {model['ModelName']} names no image")
    return container | {"EnableNetworkIsolation": model.get("EnableNetworkIsolation", False)}


def server_for(
    settings: Settings,
    clients: Clients,
    spares: SparePythons,
    containers: Sequence[Document],
    folder: Path,
    log: Path,
    role: str | None,
) -> Server:
    """Return the server of a model with these containers, which works below `folder` and acts in `role`.

    Servers that share a log take no spares, each of which brings a file that becomes the log.
    """
    if len(containers) == 1 and containers[0].get("Mode") == "MultiModel":

        def make(container: Document, name: str) -> ModelServer:
            return ModelServer(settings, clients, container, folder.with_name(f"{folder.name}-{name}"), log, role)

        return MultiModel(make, containers[0], log, role)
    if len(containers) == 1:
        return ModelServer(settings, clients, containers[0], folder, log, role, spares)
    return Pipeline(
        [
            ModelServer(
                settings,
                clients,
                container,
                folder.with_name(f"{folder.name}-{number}") if number else folder,
                log,
                role,
            )
            for number, container in enumerate(containers)
        ]
    )


class Pipeline:
    """An inference pipeline: what one container answers is the request to the next."""

    multi_model = False

    def __init__(self, servers: Sequence[ModelServer]) -> None:
        self._servers = servers
        self.role, self.log = servers[0].role, servers[0].log

    @property
    def alive(self) -> bool:
        """Return whether all containers run."""
        return all(server.alive for server in self._servers)

    def prepare(self) -> None:
        """Download the models."""
        for server in self._servers:
            server.prepare()

    def start(self) -> None:
        """Start the containers that do not run."""
        for server in self._servers:
            if not server.alive:
                server.start()

    def wait_healthy(self, timeout_seconds: float, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Return whether all containers answer in time."""
        deadline = time.monotonic() + timeout_seconds
        return all(server.wait_healthy(deadline - time.monotonic(), cancelled) for server in self._servers)

    def invoke(self, body: bytes, headers: dict[str, str], timeout_seconds: float = 60.0) -> Answer:
        """Send one request through all containers; only the last is asked for what the client accepts."""
        *inner, last = self._servers
        for server in inner:
            asked = {name: value for name, value in headers.items() if name != "Accept"}
            status, answered, body = server.invoke(body, asked, timeout_seconds)
            if status >= 400:
                return status, answered, body
            headers = headers | {"Content-Type": answered.get("content-type", "application/octet-stream")}
        return last.invoke(body, headers, timeout_seconds)

    def stop(self) -> None:
        """Stop the containers."""
        for server in self._servers:
            server.stop()


@dataclass
class _Loaded:
    server: ModelServer
    asked: int = 0
    in_flight: int = 0


class MultiModel:
    """The models below a prefix in S3, each loaded when it is first asked for."""

    multi_model = True

    def __init__(
        self, make: Callable[[Document, str], ModelServer], container: Document, log: Path, role: str | None
    ) -> None:
        """`make` returns the server of a container, which works in a folder of some name."""
        self._make, self._container = make, container
        self._lock = threading.Lock()
        self._loaded: dict[str, _Loaded] = {}
        self._count = itertools.count(1)
        self._begun = False
        self.role, self.log = role, log

    @property
    def alive(self) -> bool:
        """Return whether it takes requests."""
        return self._begun

    def prepare(self) -> None:
        """Do nothing: models are downloaded when they are asked for."""

    def start(self) -> None:
        """Take requests."""
        self._begun = True

    def wait_healthy(self, timeout_seconds: float, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Return True: without a model there is nothing to wait for."""
        return True

    def invoke(self, body: bytes, headers: dict[str, str], timeout_seconds: float = 60.0) -> Answer:
        """Send one request to the model that `headers` name, which may have to be loaded."""
        forward = {name: value for name, value in headers.items() if name != TARGET_MODEL}
        loaded = self._enter(headers[TARGET_MODEL].lstrip("/"))
        try:
            return loaded.server.invoke(body, forward, timeout_seconds)
        finally:
            with self._lock:
                loaded.in_flight -= 1

    def _enter(self, target: str) -> _Loaded:
        with self._lock:
            number = next(self._count)
            loaded = self._loaded.get(target)
            if loaded is None or not loaded.server.alive:
                if loaded is not None:
                    self._loaded.pop(target).server.stop()
                loaded = self._loaded[target] = _Loaded(self._load(target, f"model-{number}"))
                self._make_room()
            loaded.asked, loaded.in_flight = number, loaded.in_flight + 1
            return loaded

    def _load(self, target: str, name: str) -> ModelServer:
        url = f"{self._container['ModelDataUrl'].rstrip('/')}/{target}"
        server = self._make(self._container | {"ModelDataUrl": url}, name)
        try:
            server.prepare()
        except JobError as error:
            server.stop()
            bucket, _, key = url.removeprefix("s3://").partition("/")
            raise ServiceError(
                "ValidationError",
                f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is an object located at the URL "
                "and that the role passed to CreateModel has permissions to download the model.",
            ) from error
        server.start()
        if not server.wait_healthy(_LOAD_SECONDS):
            server.stop()
            raise JobError(f"the model {target} could not be loaded; see the endpoint's log")
        return server

    def _make_room(self) -> None:
        idle = sorted(
            (loaded.asked, target) for target, loaded in self._loaded.items() if loaded.in_flight == 0 and loaded.asked
        )
        for _, target in idle[: max(0, len(self._loaded) - MOST_LOADED)]:
            self._loaded.pop(target).server.stop()

    def stop(self) -> None:
        """Stop the servers of all models."""
        with self._lock:
            self._begun = False
            for loaded in self._loaded.values():
                loaded.server.stop()
            self._loaded.clear()
