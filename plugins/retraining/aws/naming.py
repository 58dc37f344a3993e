"""Names that come from content, so that a retry finds the work that already exists."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from retraining.settings.environment import in_environment

DIGEST_LENGTH = 16
SHORTEST_DIGEST = 8
ATTEMPT_LENGTH = 3  # -10
JOB_NAME_LIMIT = 63  # SageMaker: ^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}


def canonical_json(value: Any) -> str:
    """Return ``value`` as JSON with sorted keys and no white space, the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any, length: int = DIGEST_LENGTH) -> str:
    """Return the first ``length`` hex digits of the SHA-256 of ``value`` in canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def file_digest(files: Mapping[str, bytes], length: int = DIGEST_LENGTH) -> str:
    """Return a digest of named file contents that does not depend on their order."""
    return digest({name: hashlib.sha256(content).hexdigest() for name, content in files.items()}, length)


def slug(text: str) -> str:
    """Return ``text`` with everything but letters and digits as single hyphens, as SageMaker names allow."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")


def job_name(model: str, step: str, request_digest: str, attempt: int = 1, limit: int = JOB_NAME_LIMIT) -> str:
    """Return the name of a job: ``ENV-MODEL-STEP-DIGEST``, with ``-N`` from the second attempt on.

    What is too long loses the end of its digest first, then of its step: the digest of the whole request is in a tag of the job.

    Raises:
        ValueError: the name would be longer than the ``limit`` of characters that SageMaker allows.

    """
    owner = slug(in_environment(model))
    room = limit - ATTEMPT_LENGTH - len(owner) - 2
    step = slug(step)[: room - SHORTEST_DIGEST].rstrip("-")
    if room - SHORTEST_DIGEST < 1:
        raise ValueError(
            f"job name '{owner}-STEP-DIGEST' is longer than the {limit} characters that SageMaker allows: shorten the model's name"
        )
    return f"{owner}-{step}-{request_digest[: room - len(step)]}" + (f"-{attempt}" if attempt > 1 else "")
