"""Where everything of the local stack is: one folder, ``.local``, and two ports; a deployment but dev has a folder of its own in it."""

from __future__ import annotations

import os
from pathlib import Path

from retraining.settings.environment import DEFAULT, VARIABLE

ROOT = Path(__file__).resolve().parent.parent
LOCAL = Path(os.environ.get("RETRAINING_LOCAL_DIR", ROOT / ".local")).resolve()
VENVS = LOCAL / "venvs"
DEPLOYMENT = os.environ.get(VARIABLE) or DEFAULT  # calls.deployment_name checks it before anything is written
STATE = LOCAL if DEPLOYMENT == DEFAULT else LOCAL / "deployments" / DEPLOYMENT
RUN = STATE / "run"
LOGS = STATE / "logs"
AIRFLOW_HOME = STATE / "airflow"
AWS_DATA = STATE / "aws"
SECRETS = STATE / "secrets.json"
DEMO_JSON = STATE / "demo.json"
REPORT = STATE / "report.html"

AWS_PORT = int(os.environ.get("LOCAL_AWS_PORT", "4566"))
AIRFLOW_PORT = int(os.environ.get("AIRFLOW_PORT", "8080"))
AWS_URL = os.environ.get("LOCAL_AWS_URL", f"http://127.0.0.1:{AWS_PORT}")
AIRFLOW_URL = os.environ.get("AIRFLOW_URL", f"http://127.0.0.1:{AIRFLOW_PORT}")
PUBLIC_URL = os.environ.get("AIRFLOW__API__BASE_URL", AIRFLOW_URL)  # where a person finds the UI
REGION = "us-east-1"


def python(environment: str) -> Path:
    """Return the interpreter of one of the local environments."""
    return VENVS / environment / "bin" / "python"
