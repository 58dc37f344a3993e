"""The running servers of an endpoint configuration: started together, chosen by weight, stopped when the last answer is sent."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_aws.sagemaker.hosting.containers import Server, containers_of, server_for
from local_aws.sagemaker.hosting.serverless import capacity_of
from local_aws.sagemaker.models import ModelRegistry, Models
from local_aws.sagemaker.spares import SparePythons
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError, ServiceError
from local_aws.shared.logs import LogShipper, exception_line
from local_aws.shared.settings import Settings

_HEALTH_SECONDS = 30
_DRAIN_SECONDS = 60.0
_RESTORE_SECONDS = 60.0

Document = dict[str, Any]


def summary_of(variant: Document, model: Document) -> Document:
    """Return what DescribeEndpoint says of a variant in service."""
    containers = model.get("Containers") or [model.get("PrimaryContainer", {})]
    images = [container.get("Image", "") for container in containers]
    weight = variant.get("InitialVariantWeight", 1.0)
    return {
        "VariantName": variant["VariantName"],
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image} for image in images],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
        **capacity_of(variant),
    }


class Variant:
    """One production variant of a deployment: its server and its share of the requests."""

    def __init__(self, name: str, weight: float, server: Server, shipper: LogShipper, health_seconds: int) -> None:
        self.name = name
        self.weight = weight
        self.server = server
        self.shipper = shipper
        self.health_seconds = health_seconds


class Deployment:
    """The running servers of one endpoint configuration, with a count of the requests under way."""

    def __init__(self, config: Document, variants: list[Variant]) -> None:
        self.config = config
        self.variants = variants
        self._condition = threading.Condition()
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Number of requests under way."""
        return self._in_flight

    def enter(self) -> None:
        """Count one request in."""
        with self._condition:
            self._in_flight += 1

    def leave(self) -> None:
        """Count one request out."""
        with self._condition:
            self._in_flight -= 1
            self._condition.notify_all()

    def choose(self, target: str | None) -> Variant:
        """Return the variant that answers a request: the target, or one by weight."""
        if target:
            for variant in self.variants:
                if variant.name == target:
                    return variant
            raise ServiceError("ValidationError", f"Variant {target} not found.")
        return random.choices(self.variants, [max(variant.weight, 1e-9) for variant in self.variants])[0]

    def stop(self, drain_seconds: float = _DRAIN_SECONDS) -> None:
        """Wait for the requests under way, then stop the servers."""
        with self._condition:
            self._condition.wait_for(lambda: self._in_flight == 0, timeout=drain_seconds)
        for variant in self.variants:
            variant.server.stop()
            variant.shipper.close()


class Runtime:
    """What an endpoint serves at this moment."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.current: Deployment | None = None
        self.gone = False

    def switch(self, deployment: Deployment | None) -> Deployment | None:
        """Serve another deployment from now on; return the one before."""
        with self.condition:
            before, self.current = self.current, deployment
            self.condition.notify_all()
            return before

    def enter(self) -> Deployment | None:
        """Return the current deployment with one more request counted in; wait while it is being restored."""
        with self.condition:
            self.condition.wait_for(lambda: self.current is not None or self.gone, timeout=_RESTORE_SECONDS)
            if self.current:
                self.current.enter()
            return self.current


class Launcher:
    """Starts what an endpoint configuration asks for."""

    def __init__(
        self, settings: Settings, clients: Clients, spares: SparePythons, models: Models, registry: ModelRegistry
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._spares = spares
        self._models = models
        self._registry = registry

    def deploy(self, name: str, config: Document, cancelled: Callable[[], bool]) -> Deployment:
        """Return running, healthy servers for a configuration; JobError, with nothing left running, otherwise."""
        variants: list[Variant] = []
        try:
            for variant in config["ProductionVariants"]:
                variants.append(self._launch(name, variant))
            for started in variants:
                if not started.server.wait_healthy(started.health_seconds, cancelled):
                    raise JobError(self._unhealthy(started))
        except ServiceError as error:
            Deployment(config, variants).stop(0)
            raise JobError(error.message) from error
        except JobError:
            Deployment(config, variants).stop(0)
            raise
        return Deployment(config, variants)

    def _log_file(self, name: str, variant: str) -> Path:
        return self._settings.jobs_dir / "endpoint" / name / f"{variant}.txt"

    def _launch(self, name: str, variant: Document) -> Variant:
        model = self._models.find(variant["ModelName"])
        containers = containers_of(model, self._registry)
        instance = uuid.uuid4().hex[:8]
        log = self._log_file(name, variant["VariantName"])
        log.parent.mkdir(parents=True, exist_ok=True)
        instance_log = log.with_name(f"{log.stem}-{instance}.txt")
        instance_log.touch()
        folder = self._settings.jobs_dir / "endpoint" / name / f"container-{instance}"
        role = model.get("ExecutionRoleArn")
        server = server_for(self._settings, self._clients, self._spares, containers, folder, instance_log, role)
        shipper = LogShipper(
            self._clients.logs,
            instance_log,
            f"/aws/sagemaker/Endpoints/{name}",
            f"{variant['VariantName']}/i-{instance}",
        ).start()
        started = Variant(
            variant["VariantName"],
            variant.get("InitialVariantWeight", 1.0),
            server,
            shipper,
            variant.get("ContainerStartupHealthCheckTimeoutInSeconds", _HEALTH_SECONDS),
        )
        try:
            server.prepare()
            server.start()
        except BaseException:
            server.stop()
            shipper.close()
            raise
        return started

    def _unhealthy(self, variant: Variant) -> str:
        last = exception_line(variant.server.log)
        return (
            f"The primary container for production variant {variant.name} did not pass the ping health check. "
            f"Please check CloudWatch logs for this endpoint." + (f" The last of its log: {last}" if last else "")
        )
