"""A Python whose Airflow has a home of its own, and an empty database in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from local_stack import layout

EMPTY_DATABASE = """
import sys
from airflow import settings
from airflow.models.base import Base
from airflow.utils.session import create_session
import airflow.models
airflow.models.import_all_models()
Base.metadata.create_all(settings.engine)
"""


def told(home: Path, *arguments: str) -> str:
    """Return what a Python with these arguments prints."""
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'air flow.db'}?timeout=60",
        "PYTHONPATH": os.pathsep.join([str(layout.ROOT), str(layout.ROOT / "plugins")]),
    }
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def told_last(home: Path, program: str) -> str:
    """Return the last line that a program prints."""
    return told(home, "-c", program).splitlines()[-1]
