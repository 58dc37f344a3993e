"""What the tasks of a model without an endpoint share: a job that answers the smoke requests, and the look at its answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retraining.aws.clients import client
from retraining.aws.documents import get_json, put_bytes_once
from retraining.aws.naming import digest
from retraining.dag.tasks.endpoint import EndpointTasks
from retraining.jobs.code_bundle import code_digest, code_files, document_bytes, put_code
from retraining.serving import smoke_job, verification
from retraining.settings.model_config import ModelConfig


class SmokeTasks(EndpointTasks):
    """Task bodies that prove a model by a job, because no endpoint could be asked."""

    folder: Path

    def smoke_job_request(
        self, config: ModelConfig, container: Mapping[str, Any], smoke: Mapping[str, Any], output: str, sha256: str
    ) -> dict[str, Any]:
        """Put code and job.json where the job finds them, and return its request.

        Args:
            config: the model's configuration, as the run began with it.
            container: the model's, with Image and ModelDataUrl.
            smoke: ``smoke.json`` of the model's evaluation.
            output: S3 URI below which it leaves its answers.
            sha256: of the artifact: the job loads no other.

        """
        s3, root = client("s3", self.access), f"s3://{self.platform.bucket}/{config.name}/"
        code, document = code_files(self.folder, config), smoke_job.job_document(config, smoke, sha256)
        places = {
            "code": f"{root}code/{code_digest(code)}/",
            "job": f"{root}code/jobs/{digest(document)}/",
            "output": output,
        }
        put_code(s3, places["code"], code)
        put_bytes_once(s3, f"{places['job']}job.json", document_bytes(document), "application/json")
        return smoke_job.smoke_request(config, self.platform, container, places)

    def smoke_answers(self, version: int, smoke: Mapping[str, Any], output: str) -> list[float]:
        """Return what a package answered in its job, which is what the evaluation predicted.

        Raises:
            VerificationError: it answered otherwise.

        """
        answers = get_json(client("s3", self.access), f"{output}{smoke_job.ANSWERS_FILE}")["answers"]
        tolerance = self.config.deployment.smoke_tolerance
        return verification.verify_answers(f"model package {version}", answers, smoke, tolerance)
