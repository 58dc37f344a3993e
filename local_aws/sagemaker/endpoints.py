"""SageMaker endpoints: real servers, updated blue/green, rolled back when the new one does not get healthy."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from typing import Any

from local_aws.sagemaker.capture import DataCapture
from local_aws.sagemaker.model_server import ModelServer
from local_aws.sagemaker.models import EndpointConfigs, ModelRegistry, Models, Tags
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError, ServiceError, describe_exception, validation_error
from local_aws.shared.listing import list_page
from local_aws.shared.logs import LogShipper, exception_line
from local_aws.shared.sandbox import S3Files
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

_LOG = logging.getLogger(__name__)

_HEALTH_SECONDS = 30
_DRAIN_SECONDS = 60.0
_RESTORE_SECONDS = 60.0

Document = dict[str, Any]


def container_of(model: Document, registry: ModelRegistry) -> Document:
    """Return the container definition of a model, resolved through its model package if it names one."""
    container = model.get("PrimaryContainer") or model["Containers"][0]
    if "ModelPackageName" in container:
        package = registry.find_package(container["ModelPackageName"])
        source = package.get("InferenceSpecification", {}).get("Containers", [])
        if not source:
            raise JobError(f"the model package {container['ModelPackageName']} has no InferenceSpecification")
        environment = source[0].get("Environment", {}) | container.get("Environment", {})
        container = source[0] | container | {"Environment": environment}
    if "Image" not in container:
        raise JobError(f"the model {model['ModelName']} names no image")
    return container


class Variant:
    """One production variant of a deployment: its server and its share of the requests."""

    def __init__(self, name: str, weight: float, server: ModelServer, shipper: LogShipper, health_seconds: int) -> None:
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


class Endpoints:
    """CreateEndpoint, UpdateEndpoint and their kin, and InvokeEndpoint."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clients: Clients,
        tags: Tags,
        models: Models,
        configs: EndpointConfigs,
        registry: ModelRegistry,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clients = clients
        self._tags = tags
        self._models = models
        self._configs = configs
        self._registry = registry
        self._runtimes: dict[str, Runtime] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._capture: DataCapture | None = None

    # -- the API ---------------------------------------------------------------------------------------------------

    def _arn(self, name: str) -> str:
        return self._settings.arn("sagemaker", f"endpoint/{name}")

    def _find(self, name: str) -> Document:
        document = self._store.get("endpoint", name)
        if document is None:
            raise validation_error(f'Could not find endpoint "{self._arn(name)}".')
        return document

    def create(self, params: Document) -> Document:
        """Record the endpoint and bring its servers up."""
        name, config_name = params["EndpointName"], params["EndpointConfigName"]
        config = self._configs.find(config_name)
        now = time.time()
        document = {
            "EndpointName": name,
            "EndpointArn": self._arn(name),
            "EndpointConfigName": config_name,
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
            "PendingConfig": config,
        }
        if "DeploymentConfig" in params:
            document["LastDeploymentConfig"] = params["DeploymentConfig"]
        if not self._store.insert("endpoint", name, document):
            raise validation_error(f'Cannot create already existing endpoint "{self._arn(name)}".')
        self._tags.set(self._arn(name), params.get("Tags", []))
        self._start(self._create, name)
        return {"EndpointArn": self._arn(name)}

    def update(self, params: Document) -> Document:
        """Begin a blue/green update to another configuration."""
        name, config_name = params["EndpointName"], params["EndpointConfigName"]
        with self._store.locked():
            document = self._find(name)
            config = self._configs.find(config_name)
            status = document["EndpointStatus"]
            if status == "Failed":
                raise validation_error(f'Cannot update failed endpoint "{self._arn(name)}"; delete it instead.')
            if status != "InService":
                raise validation_error(f'Cannot update in-progress endpoint "{self._arn(name)}".')
            document |= {"EndpointStatus": "Updating", "LastModifiedTime": time.time(), "PendingConfig": config}
            document.pop("FailureReason", None)
            if "DeploymentConfig" in params:
                document["LastDeploymentConfig"] = params["DeploymentConfig"]
            self._store.put("endpoint", name, document)
        self._start(self._update, name)
        return {"EndpointArn": self._arn(name)}

    def describe(self, params: Document) -> Document:
        """Return the endpoint's document."""
        document = self._find(params["EndpointName"])
        pending = document.pop("PendingConfig", None)
        active = document.pop("ActiveConfig", None)
        if pending and document["EndpointStatus"] == "Updating":
            document["PendingDeploymentSummary"] = {
                "EndpointConfigName": pending["EndpointConfigName"],
                "ProductionVariants": [
                    {"VariantName": variant["VariantName"]} for variant in pending["ProductionVariants"]
                ],
                "StartTime": document["LastModifiedTime"],
            }
        if active:
            document["ProductionVariants"] = [
                self._variant_summary(variant) for variant in active["ProductionVariants"]
            ]
            capture = active.get("DataCaptureConfig")
            if capture:
                document["DataCaptureConfig"] = {
                    "EnableCapture": capture.get("EnableCapture", True),
                    "CaptureStatus": "Started" if capture.get("EnableCapture", True) else "Stopped",
                    "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
                    "DestinationS3Uri": capture["DestinationS3Uri"],
                    "KmsKeyId": capture.get("KmsKeyId", ""),
                }
        return document

    def _variant_summary(self, variant: Document) -> Document:
        model = self._store.get("model", variant["ModelName"]) or {}
        container = model.get("PrimaryContainer") or (model.get("Containers") or [{}])[0]
        weight, count = variant.get("InitialVariantWeight", 1.0), variant.get("InitialInstanceCount", 1)
        image = container.get("Image", "")
        return {
            "VariantName": variant["VariantName"],
            "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image}],
            "CurrentWeight": weight,
            "DesiredWeight": weight,
            "CurrentInstanceCount": count,
            "DesiredInstanceCount": count,
        }

    def list_endpoints(self, params: Document) -> Document:
        """Return a page of summaries."""
        return list_page(
            self._store.all("endpoint"),
            params,
            result="Endpoints",
            fields=("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus"),
            name_field="EndpointName",
            status_field="EndpointStatus",
        )

    def delete(self, params: Document) -> Document:
        """Take the endpoint out of service and remove it."""
        name = params["EndpointName"]
        with self._store.locked():
            document = self._find(name)
            if document["EndpointStatus"] not in ("InService", "Failed"):
                raise validation_error(f'Cannot update in-progress endpoint "{self._arn(name)}".')
            self._write(name, EndpointStatus="Deleting")
        self._start(self._delete, name)
        return {}

    def invoke(self, name: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send one request to the endpoint; return status, headers and body of the answer.

        `headers` are the request's, names in lower case.
        """
        document = self._store.get("endpoint", name)
        if document is None or document["EndpointStatus"] in ("Creating", "Failed", "Deleting"):
            raise ServiceError("ValidationError", f"Endpoint {name} of account {self._settings.account} not found.")
        deployment = self._runtime(name).enter()
        if deployment is None:
            raise ServiceError("ServiceUnavailable", f"The endpoint {name} is not ready.", status=503)
        try:
            return self._invoke(name, deployment, headers, body)
        finally:
            deployment.leave()

    def _invoke(
        self, name: str, deployment: Deployment, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        variant = deployment.choose(headers.get("x-amzn-sagemaker-target-variant"))
        sent_type = headers.get("content-type", "application/octet-stream")
        accept = headers.get("x-amzn-sagemaker-accept") or headers.get("accept", "*/*")
        forward = {"Content-Type": sent_type, "Accept": accept}
        if "x-amzn-sagemaker-custom-attributes" in headers:
            forward["X-Amzn-SageMaker-Custom-Attributes"] = headers["x-amzn-sagemaker-custom-attributes"]
        try:
            status, answered, answer = variant.server.invoke(body, forward)
        except JobError as error:
            raise self._model_error(name, variant.name, 500, str(error)) from error
        answer_type = answered.get("content-type", "application/octet-stream")
        if status >= 400:
            raise self._model_error(name, variant.name, status, answer.decode("utf-8", "replace")[:4_000])
        capture = deployment.config.get("DataCaptureConfig")
        if capture:
            inference_id = headers.get("x-amzn-sagemaker-inference-id")
            self._captures().add(capture, name, variant.name, (sent_type, body), (answer_type, answer), inference_id)
        result = {"Content-Type": answer_type, "x-Amzn-Invoked-Production-Variant": variant.name}
        if "x-amzn-sagemaker-custom-attributes" in answered:
            result["X-Amzn-SageMaker-Custom-Attributes"] = answered["x-amzn-sagemaker-custom-attributes"]
        return 200, result, answer

    def _model_error(self, name: str, variant: str, status: int, message: str) -> ServiceError:
        side = "client" if status < 500 else "server"
        group = f"/aws/sagemaker/Endpoints/{name}"
        return ServiceError(
            "ModelError",
            f'Received {side} error ({status}) from primary with message "{message}". '
            f"See the log group {group} in account {self._settings.account} for more information.",
            status=424,
            extra={
                "OriginalStatusCode": status,
                "OriginalMessage": message,
                "LogStreamArn": self._settings.arn("logs", f"log-group:{group}"),
            },
        )

    def _captures(self) -> DataCapture:
        with self._lock:
            if self._capture is None:
                self._capture = DataCapture(self._clients.s3)
            return self._capture

    # -- life of an endpoint ---------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Serve again what was in service, and take up again what was under way, when the process ended."""
        for document in self._store.all("endpoint"):
            action = {"Creating": self._create, "Deleting": self._delete, "Failed": None}.get(
                document["EndpointStatus"], self._restore
            )
            if action:
                self._start(action, document["EndpointName"])
        threading.Thread(target=self._watch, name="endpoint-watch", daemon=True).start()

    def shutdown(self) -> None:
        """End all servers; the endpoints stay in service for the next start."""
        self._closing.set()
        if self._capture:
            self._capture.close()
        for runtime in list(self._runtimes.values()):
            deployment = runtime.switch(None)
            if deployment:
                deployment.stop(drain_seconds=2.0)

    def _runtime(self, name: str) -> Runtime:
        with self._lock:
            return self._runtimes.setdefault(name, Runtime())

    def _start(self, action: Any, name: str) -> None:
        threading.Thread(target=self._guarded, args=(action, name), name=f"endpoint-{name}", daemon=True).start()

    def _guarded(self, action: Any, name: str) -> None:
        try:
            action(name)
        except Exception as error:
            _LOG.exception("endpoint %s", name)
            self._write(name, EndpointStatus="Failed", FailureReason=describe_exception(error)[:1024])

    def _write(self, name: str, drop: tuple[str, ...] = (), **fields: Any) -> None:
        if self._closing.is_set():
            return

        def apply(document: Document) -> None:
            document.update(fields, LastModifiedTime=time.time())
            for field in drop:
                document.pop(field, None)

        self._store.update("endpoint", name, apply)

    def _create(self, name: str) -> None:
        config = self._find(name)["PendingConfig"]
        try:
            deployment = self._deploy(name, config)
        except JobError as error:
            self._write(name, drop=("PendingConfig",), EndpointStatus="Failed", FailureReason=str(error)[:1024])
            return
        self._in_service(name, deployment)

    def _restore(self, name: str) -> None:
        document = self._find(name)
        try:
            deployment = self._deploy(name, document["ActiveConfig"])
        except JobError as error:
            self._write(name, EndpointStatus="Failed", FailureReason=str(error)[:1024])
            return
        before = self._runtime(name).switch(deployment)
        if before:
            before.stop()
        if document["EndpointStatus"] == "Updating":
            self._update(name)

    def _update(self, name: str) -> None:
        config = self._find(name)["PendingConfig"]
        try:
            deployment = self._deploy(name, config)
        except JobError as error:
            # The old servers never stopped: the endpoint is in service on its old configuration, with the reason.
            self._write(name, drop=("PendingConfig",), EndpointStatus="InService", FailureReason=str(error)[:1024])
            return
        self._in_service(name, deployment)

    def _in_service(self, name: str, deployment: Deployment) -> None:
        if self._closing.is_set():
            deployment.stop(0)
            return
        before = self._runtime(name).switch(deployment)
        self._write(
            name,
            drop=("PendingConfig", "FailureReason"),
            EndpointStatus="InService",
            EndpointConfigName=deployment.config["EndpointConfigName"],
            ActiveConfig=deployment.config,
        )
        if before:
            before.stop()

    def _delete(self, name: str) -> None:
        with self._lock:
            runtime = self._runtimes.pop(name, None)
        if runtime:
            deployment = runtime.switch(None)
            with runtime.condition:
                runtime.gone = True
                runtime.condition.notify_all()
            if deployment:
                deployment.stop()
        self._store.delete("endpoint", name)
        self._tags.forget(self._arn(name))

    def _deploy(self, name: str, config: Document) -> Deployment:
        """Return running, healthy servers for a configuration; JobError, with nothing left running, otherwise."""
        variants: list[Variant] = []
        try:
            for variant in config["ProductionVariants"]:
                variants.append(self._launch(name, variant))
            for started in variants:
                if not started.server.wait_healthy(started.health_seconds, self._closing.is_set):
                    raise JobError(self._unhealthy(started))
        except ServiceError as error:
            Deployment(config, variants).stop(0)
            raise JobError(error.message) from error
        except JobError:
            Deployment(config, variants).stop(0)
            raise
        return Deployment(config, variants)

    def _log_file(self, name: str, variant: str) -> Any:
        return self._settings.jobs_dir / "endpoint" / name / f"{variant}.txt"

    def _launch(self, name: str, variant: Document) -> Variant:
        model = self._models.find(variant["ModelName"])
        container = container_of(model, self._registry)
        instance = uuid.uuid4().hex[:8]
        log = self._log_file(name, variant["VariantName"])
        log.parent.mkdir(parents=True, exist_ok=True)
        instance_log = log.with_name(f"{log.stem}-{instance}.txt")
        instance_log.touch()
        folder = self._settings.jobs_dir / "endpoint" / name / f"container-{instance}"
        server = ModelServer(self._settings, S3Files(self._clients.s3), container, folder, instance_log)
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

    def _watch(self) -> None:
        """Start servers again that died, as the service replaces a broken container."""
        while not self._closing.wait(1.0):
            for name, runtime in list(self._runtimes.items()):
                deployment = runtime.current
                for variant in deployment.variants if deployment else []:
                    if not variant.server.alive and runtime.current is deployment and not self._closing.is_set():
                        _LOG.warning("endpoint %s: the server of %s ended; it is started again", name, variant.name)
                        try:
                            variant.server.start()
                            variant.server.wait_healthy(variant.health_seconds, self._closing.is_set)
                        except JobError as error:
                            _LOG.warning("endpoint %s: %s", name, error)
