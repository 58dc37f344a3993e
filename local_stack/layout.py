"""Where everything of the local stack is: one folder, ``.local``, and two ports; a deployment but dev has a folder of its own in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from retraining.settings.environment import DEFAULT, VARIABLE

ROOT = Path(__file__).resolve().parent.parent
LOCAL = Path(os.environ.get("RETRAINING_LOCAL_DIR") or ROOT / ".local").resolve()
VENVS = LOCAL / "venvs"
IMAGES = ROOT / "local_images.toml"
"""Commands that stand for container images of one's own on this machine; a checkout may have none."""
DEPLOYMENT = os.environ.get(VARIABLE) or DEFAULT  # calls.deployment_name checks it before anything is written
STATE = LOCAL if DEPLOYMENT == DEFAULT else LOCAL / "deployments" / DEPLOYMENT
RUN = STATE / "run"
LOGS = STATE / "logs"
AIRFLOW_HOME = STATE / "airflow"
AWS_DATA = STATE / "aws"
SECRETS = STATE / "secrets.json"
DEMO_JSON = STATE / "demo.json"
REPORT = STATE / "report.html"


def started_file() -> Path:
    """Return the note of what this deployment's stack was last started with."""
    return RUN / "started_with"


def started_with() -> dict[str, Any]:
    """Return what ``local_stack.started`` noted there, nothing before the first start."""
    try:
        noted = json.loads(started_file().read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _port(variable: str, noted: str, default: int) -> int:
    """Return the port that the variable has, else the one that was noted; 0 for what is no number: calls.ports refuses it."""
    given = os.environ.get(variable)
    if given:
        return int(given) if given.isdecimal() else 0
    return int(started_with().get(noted, default))


AWS_PORT = _port("LOCAL_AWS_PORT", "aws_port", 4566)
AIRFLOW_PORT = _port("AIRFLOW_PORT", "airflow_port", 8080)
AWS_URL = os.environ.get("LOCAL_AWS_URL", f"http://127.0.0.1:{AWS_PORT}")
AIRFLOW_URL = os.environ.get("AIRFLOW_URL", f"http://127.0.0.1:{AIRFLOW_PORT}")
PUBLIC_URL = os.environ.get("AIRFLOW__API__BASE_URL", AIRFLOW_URL)  # where a person finds the UI
REGION = "us-east-1"


def python(environment: str) -> Path:
    """Return the interpreter of one of the local environments."""
    return VENVS / environment / "bin" / "python"
