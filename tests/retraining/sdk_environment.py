"""Runs ``retraining.sdk.runner.submit`` where the SageMaker SDK is, for tests."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from local_account import ENVIRONMENTS

from retraining.sdk.context import SdkContext
from retraining.settings.access import AwsAccess

ROOT = Path(__file__).resolve().parents[2]
SDK_PYTHON = ENVIRONMENTS / "sagemaker" / "bin" / "python"
needs_sdk = pytest.mark.skipif(not SDK_PYTHON.exists(), reason="no environment of the SageMaker SDK: make setup-sdk")
SUBMIT = """
import json, sys
from pathlib import Path
from retraining.settings.access import AwsAccess
from retraining.sdk.context import SdkContext
from retraining.sdk.runner import submit
order = json.load(sys.stdin)
context, access = SdkContext(**order["context"]), AwsAccess(**order["access"])
job = submit(Path(order["folder"]), order["function"], context, access, order["model"], order["step"])
print(json.dumps({"handle": job.handle, "adopted": job.adopted}))
"""


def submit(
    folder: Path, function: str, context: SdkContext, access: AwsAccess, model: str, step: str
) -> dict[str, Any]:
    """Submit in a process of the SDK's environment; return handle and adopted."""
    order = {
        "folder": str(folder),
        "function": function,
        "context": context.model_dump(mode="json"),
        "access": access.model_dump(),
        "model": model,
        "step": step,
    }
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))},
        "AWS_ENDPOINT_URL": str(access.endpoint_url),
        "AWS_DEFAULT_REGION": str(access.region),
        "PYTHONPATH": str(ROOT / "plugins"),
    }
    done = subprocess.run(
        [SDK_PYTHON, "-c", SUBMIT], input=json.dumps(order), env=environment, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
