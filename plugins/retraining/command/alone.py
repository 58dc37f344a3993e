"""Makes a process one of a deployment's that plays tasks by itself: the deployment's names, and an Airflow that has nothing.

Airflow reads its settings when it is imported: this comes before.
"""

from __future__ import annotations

import os

from retraining.settings.environment import VARIABLE


def act_alone(deployment: str, name: str, home: str) -> None:
    """Set the variables of this process.

    Args:
        deployment: name of the deployment.
        name: what tells this from an Airflow, for leases and jobs.
        home: an empty folder.

    """
    os.environ[VARIABLE] = deployment
    os.environ["AIRFLOW_ENV_NAME"] = name
    os.environ["AIRFLOW_HOME"] = home
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"  # it writes every step to standard output
