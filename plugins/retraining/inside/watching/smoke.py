"""Lets a model artifact answer the smoke requests of its evaluation, in a job: the check of a model that has no endpoint.

Runs as a SageMaker processing job in the model's serving image. Input: ``job`` (``job.json`` with ``requests``: the bodies, and
``content_type``) and ``model`` (``model.tar.gz``). Output: ``answers.json`` with ``answers``, one document for each request: what the
artifact's own serving code answers (``predictions``, ``probabilities``), or ``error``. An artifact that cannot be loaded fails the job.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from retraining.inside.artifact_process import ArtifactProcess, ArtifactRefusal
from retraining.inside.job_file import Job

ANSWERS_FILE = "answers.json"


def run(job: Job, inputs: Path, output: Path) -> int:
    """Answer the requests of a job.

    Raises:
        ArtifactError: the artifact cannot be loaded, or ends over a request.
        ExchangedError: it is not the one that was pinned.

    """
    with ArtifactProcess(inputs / "model", "model", job.artifacts.get("model")) as process:
        answers = [_answer(process, body, job.content_type) for body in job.requests]
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"answers": answers}, indent=1)
    (output / ANSWERS_FILE).write_text(text + "\n", encoding="utf-8")
    refused = sum("error" in answer for answer in answers)
    print(f"the model answered {len(answers) - refused} of {len(answers)} smoke requests")
    return 0


def _answer(process: ArtifactProcess, body: str, content_type: str) -> dict[str, Any]:
    process.ask(body=body, content_type=content_type)
    try:
        return process.answer()
    except ArtifactRefusal as refusal:
        return {"error": refusal.reason}
