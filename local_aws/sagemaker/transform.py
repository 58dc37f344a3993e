"""SageMaker batch transform jobs: every input object goes through a real model server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from local_aws.sagemaker.container_jobs import ContainerJobs
from local_aws.sagemaker.hosting.containers import Server, server_for
from local_aws.sagemaker.jobs import ActiveJob, Document
from local_aws.sagemaker.record_paths import Processing
from local_aws.shared.errors import JobError, validation_error
from local_aws.shared.logs import tail
from local_aws.shared.running.hosts import Host
from local_aws.shared.sandbox import Sandbox, parse_s3_uri, relative_key

_HEALTH_SECONDS = 60


class TransformJobs(ContainerJobs):
    """CreateTransformJob and its kin."""

    kind = "transform-job"
    title = "Transform job"
    prefix = "TransformJob"
    log_group = "/aws/sagemaker/TransformJobs"
    summary_fields = (
        "TransformJobName",
        "TransformJobArn",
        "CreationTime",
        "TransformEndTime",
        "LastModifiedTime",
        "TransformJobStatus",
        "FailureReason",
    )

    #: Set by the composition: the container definitions of a model by its name.
    containers_by_model: Callable[[str], list[Document]]
    #: Set by the composition: the role of a model by its name, which the job acts in.
    role_by_model: Callable[[str], str | None]

    def role_of(self, document: Document) -> str | None:
        """Return the ARN of the model's role: a transform job has none of its own."""
        return self.role_by_model(document["ModelName"])

    def handed_role(self, document: Document) -> None:
        """Return None: the model's role was looked at when the model was made."""

    def on_create(self, document: Document) -> None:
        """Refuse a model that does not exist, and filters that are none."""
        containers = self.containers_by_model(document["ModelName"])
        if any(container.get("Mode") == "MultiModel" for container in containers):
            raise validation_error(
                f"Model {document['ModelName']}: batch transform does not support multi-model containers."
            )
        processing = _processing(document)
        if processing and (problem := processing.problem()):
            raise validation_error(problem)

    def on_finish(self, document: Document, now: float) -> None:
        """Stop the clock."""
        document["TransformEndTime"] = now

    def image(self, document: Document) -> tuple[str, bool]:
        """Say that the job's process is its model's server."""
        raise LookupError

    def run(self, name: str, document: Document, hosts: list[Host], job: ActiveJob) -> None:
        """Serve the model, send the objects, write their answers."""
        containers = [
            container | {"Environment": container.get("Environment", {}) | document.get("Environment", {})}
            for container in self.containers_by_model(document["ModelName"])
        ]
        log, sandbox = hosts[0].log, hosts[0].sandbox
        folder, role = sandbox.root / "server", self.role_of(document)
        server = server_for(self.settings, self.clients, self.spares, containers, folder, log, role)
        try:
            server.prepare()
            server.start()
            if not server.wait_healthy(_HEALTH_SECONDS, lambda: job.stop_requested):
                job.check()
                raise JobError(f"the model did not get healthy: {tail(log, 700)}")
            self.change(name, TransformStartTime=time.time())
            self._transform(document, sandbox, server, job)
        finally:
            server.stop()
        self.finish(name, "Completed")

    def _transform(self, document: Document, sandbox: Sandbox, server: Server, job: ActiveJob) -> None:
        data, output = document["TransformInput"], document["TransformOutput"]
        source = data["DataSource"]["S3DataSource"]
        bucket, prefix, keys = self._objects(document, source)
        target_bucket, target_prefix = parse_s3_uri(output["S3OutputPath"])
        accept = output.get("Accept") or (data.get("ContentType", "*/*") if "DataProcessing" in document else "*/*")
        headers = {"Content-Type": data.get("ContentType", "text/csv"), "Accept": accept}
        limit = document.get("MaxPayloadInMB", 6) * 1024 * 1024
        single = document.get("BatchStrategy", "MultiRecord") == "SingleRecord"
        joint = b"\n" if output.get("AssembleWith") == "Line" else b""
        processing = _processing(document)
        for found in keys:
            local = sandbox.root / "input"
            self.files(document).download(bucket, found, local)
            answers = []
            for payload in _payloads(local.read_bytes(), data.get("SplitType", "None"), limit, single):
                job.check()
                status, _, answer = server.invoke(self._sent(payload, processing, found), headers)
                if status >= 400:
                    text = answer.decode("utf-8", "replace")[:500]
                    raise JobError(f"s3://{bucket}/{found}: the model answered {status}: {text}")
                if processing:
                    answer = self._kept(payload, answer, processing, found)
                answers.append(answer.rstrip(b"\n") + joint if joint else answer)
            local.write_bytes(b"".join(answers))
            key = "/".join(part for part in (target_prefix.strip("/"), relative_key(found, prefix)) if part)
            self.files(document).upload(local, target_bucket, f"{key}.out")

    def _objects(self, document: Document, source: Document) -> tuple[str, str, list[str]]:
        """Return bucket, prefix and keys of the objects to transform: all below a prefix, or those that a manifest lists."""
        if source["S3DataType"] == "ManifestFile":
            prefix, names = self.files(document).manifest(source["S3Uri"])
            bucket, base = parse_s3_uri(prefix)
            return bucket, base, [base + name for name in names]
        if source["S3DataType"] != "S3Prefix":
            raise JobError("local_aws transforms S3Prefix and ManifestFile inputs only")
        bucket, base = parse_s3_uri(source["S3Uri"])
        keys = [item["Key"] for item in self.files(document).keys(bucket, base)]
        if not keys:
            raise JobError(f"no S3 objects found under {source['S3Uri']}")
        return bucket, base, keys

    def _sent(self, payload: bytes, processing: Processing | None, key: str) -> bytes:
        try:
            return processing.request(payload) if processing else payload
        except ValueError as error:
            raise JobError(f"{key}: InputFilter: {error}") from error

    def _kept(self, payload: bytes, answer: bytes, processing: Processing, key: str) -> bytes:
        try:
            return processing.result(payload, answer)
        except ValueError as error:
            raise JobError(f"{key}: OutputFilter: {error}") from error


def _processing(document: Document) -> Processing | None:
    options = document.get("DataProcessing")
    if not options:
        return None
    data, output = document["TransformInput"], document["TransformOutput"]
    return Processing(options, data.get("ContentType", ""), output.get("Accept", ""))


def _payloads(body: bytes, split: str, limit: int, single: bool) -> Iterator[bytes]:
    """Yield the requests for one object: whole, or lines, as many per request as fit."""
    if split == "None":
        yield body
        return
    if split != "Line":
        raise JobError(f"SplitType {split} is not available in local_aws")
    batch: list[bytes] = []
    size = 0
    for line in body.splitlines(keepends=True):
        if batch and (single or size + len(line) > limit):
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield b"".join(batch)
