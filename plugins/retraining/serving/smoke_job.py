"""The job that proves a model without an endpoint: its artifact is loaded where files are scored, and answers the smoke requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retraining.contract.source import fed
from retraining.jobs.requests import library_job
from retraining.serving.verification import smoke_rows
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform

ANSWERS_FILE = "answers.json"


def job_document(config: ModelConfig, smoke: Mapping[str, Any], sha256: str = "") -> dict[str, Any]:
    """Return ``job.json`` with the requests of an evaluation's ``smoke.json``; what the answers should be is not in it.

    ``sha256`` is that of the artifact: the job loads no other.
    """
    return {
        "schema_version": 1,
        "step": "smoke",
        "model": config.name,
        "task": config.task,
        "contract": fed(config.contract.model_dump(mode="json")),
        "artifacts": {"model": sha256},
        "content_type": smoke["content_type"],
        "requests": [row["body"] for row in smoke_rows(smoke)],
    }


def smoke_request(
    config: ModelConfig, platform: Platform, container: Mapping[str, Any], places: Mapping[str, str]
) -> dict[str, Any]:
    """CreateProcessingJob that answers smoke requests, in the image and on the machine that score files.

    Args:
        config: the model's configuration.
        platform: bucket and role.
        container: the model's, with Image and ModelDataUrl.
        places: S3 URIs: ``code``, ``job`` and ``output``.

    """
    inputs = {"code": places["code"], "job": places["job"], "model": container["ModelDataUrl"]}
    return library_job(platform, container["Image"], config.batch, inputs, ("answers", places["output"]))
