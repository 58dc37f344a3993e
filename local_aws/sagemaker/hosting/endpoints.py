"""SageMaker endpoints: real servers, updated blue/green, rolled back when the new one does not get healthy."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from local_aws.sagemaker.hosting.asynchronous import TIMEOUT, AsyncInvocations
from local_aws.sagemaker.hosting.capture import DataCapture
from local_aws.sagemaker.hosting.containers import TARGET_MODEL
from local_aws.sagemaker.hosting.deployments import Deployment, Launcher, Runtime, summary_of
from local_aws.sagemaker.hosting.retained import CHANGEABLE, retained
from local_aws.sagemaker.hosting.serverless import check_request, check_update
from local_aws.sagemaker.models import EndpointConfigs, ModelRegistry, Models, Tags
from local_aws.sagemaker.spares import SparePythons
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError, ServiceError, describe_exception, validation_error
from local_aws.shared.listing import list_page
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

_LOG = logging.getLogger(__name__)

Document = dict[str, Any]


class Endpoints:
    """CreateEndpoint, UpdateEndpoint and their kin, and InvokeEndpoint."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clients: Clients,
        spares: SparePythons,
        tags: Tags,
        models: Models,
        configs: EndpointConfigs,
        registry: ModelRegistry,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clients = clients
        self._tags = tags
        self._configs = configs
        self._launcher = Launcher(settings, clients, spares, models, registry)
        self._runtimes: dict[str, Runtime] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._capture: DataCapture | None = None
        self._asynchronous = AsyncInvocations(clients, self._answer)

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
            check_update(document["ActiveConfig"], config, params)
            if params.get("RetainAllVariantProperties"):
                excluded = {item["VariantPropertyType"] for item in params.get("ExcludeRetainedVariantProperties", [])}
                config = retained(config, document["ActiveConfig"], excluded)
            document |= {"EndpointStatus": "Updating", "LastModifiedTime": time.time(), "PendingConfig": config}
            document.pop("FailureReason", None)
            if "DeploymentConfig" in params:
                document["LastDeploymentConfig"] = params["DeploymentConfig"]
            self._store.put("endpoint", name, document)
        self._start(self._update, name)
        return {"EndpointArn": self._arn(name)}

    def weigh(self, params: Document) -> Document:
        """Change the weights of variants, at once and without new servers."""
        name = params["EndpointName"]
        wanted = {item["VariantName"]: item for item in params["DesiredWeightsAndCapacities"]}
        with self._store.locked():
            document = self._find(name)
            if document["EndpointStatus"] != "InService":
                raise validation_error(f'Cannot update in-progress endpoint "{self._arn(name)}".')
            config = document["ActiveConfig"]
            variants = {variant["VariantName"]: variant for variant in config["ProductionVariants"]}
            if unknown := wanted.keys() - variants.keys():
                raise validation_error(f'Variant(s) "{", ".join(sorted(unknown))}" not found in endpoint "{name}".')
            for variant_name, item in wanted.items():
                for member, kept in CHANGEABLE.items():
                    if member in item:
                        variants[variant_name][kept] = item[member]
            self._write(name, ActiveConfig=config)
        runtime = self._runtime(name)
        for variant in runtime.current.variants if runtime.current else []:
            variant.weight = variants[variant.name].get("InitialVariantWeight", 1.0)
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
                summary_of(variant, self._store.get("model", variant["ModelName"]) or {})
                for variant in active["ProductionVariants"]
            ]
            if "AsyncInferenceConfig" in active:
                document["AsyncInferenceConfig"] = active["AsyncInferenceConfig"]
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
        if self._asynchronous_config(name):
            raise ServiceError("ValidationError", f"Endpoint {name} is asynchronous: use InvokeEndpointAsync.")
        return self._answer(name, headers, body)

    def invoke_async(self, name: str, headers: dict[str, str]) -> tuple[Document, dict[str, str]]:
        """Queue a request that lies in S3; return body and headers of the answer."""
        config = self._asynchronous_config(name)
        if config is None:
            raise ServiceError("ValidationError", f"Endpoint {name} is not asynchronous: use InvokeEndpoint.")
        model = self._find(name)["ActiveConfig"]["ProductionVariants"][0]["ModelName"]
        role = (self._store.get("model", model) or {}).get("ExecutionRoleArn")
        return self._asynchronous.take(name, config, role, headers)

    def _asynchronous_config(self, name: str) -> Document | None:
        document = self._store.get("endpoint", name)
        if document is None or document["EndpointStatus"] in ("Creating", "Failed", "Deleting"):
            raise ServiceError("ValidationError", f"Endpoint {name} of account {self._settings.account} not found.")
        return document.get("ActiveConfig", {}).get("AsyncInferenceConfig")

    def _answer(self, name: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        deployment = self._runtime(name).enter()
        if deployment is None:
            raise ServiceError("ServiceUnavailable", f"The endpoint {name} is not ready.", status=503)
        try:
            check_request(deployment.config["ProductionVariants"], deployment.in_flight, body)
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
        target = headers.get(TARGET_MODEL.lower())
        if bool(target) != variant.server.multi_model:
            what = (
                "needs a target model" if variant.server.multi_model else "is not multi-model and takes no target model"
            )
            raise ServiceError("ValidationError", f"The endpoint {name} {what}.")
        if target:
            forward[TARGET_MODEL] = target
        try:
            status, answered, answer = variant.server.invoke(body, forward, float(headers.get(TIMEOUT, 60)))
        except JobError as error:
            raise self._model_error(name, variant.name, 500, str(error)) from error
        answer_type = answered.get("content-type", "application/octet-stream")
        if status >= 400:
            raise self._model_error(name, variant.name, status, answer.decode("utf-8", "replace")[:4_000])
        capture = deployment.config.get("DataCaptureConfig")
        if capture:
            inference_id = headers.get("x-amzn-sagemaker-inference-id")
            sent, received = (sent_type, body), (answer_type, answer)
            self._captures().add(capture, name, variant.name, sent, received, inference_id, variant.server.role)
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
                self._capture = DataCapture(self._clients.s3_as)
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
        self._asynchronous.close()
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
            deployment = self._launcher.deploy(name, config, self._closing.is_set)
        except JobError as error:
            self._write(name, drop=("PendingConfig",), EndpointStatus="Failed", FailureReason=str(error)[:1024])
            return
        self._in_service(name, deployment)

    def _restore(self, name: str) -> None:
        document = self._find(name)
        try:
            deployment = self._launcher.deploy(name, document["ActiveConfig"], self._closing.is_set)
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
            deployment = self._launcher.deploy(name, config, self._closing.is_set)
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
