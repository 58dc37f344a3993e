"""A local account that refuses what policies do not allow: Airflow acts in a role with the policies that its role on MWAA would get."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from deploy.environment import Project
from deploy.settings import Deployment
from local_stack import layout
from local_stack.verbs import places
from retraining.settings.environment import environment
from retraining.settings.model_config import load_model_config

TRUST = {
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "airflow-env.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
}
Say = Callable[[str], None]


def role_name() -> str:
    """Return the name of the role of Airflow's processes."""
    return f"retraining-{environment()}-airflow"


def role_arn() -> str:
    """Return the ARN of the role of Airflow's processes."""
    return f"arn:aws:iam::{places.ACCOUNT}:role/{role_name()}"


def provision(session: Any, names: Sequence[str], say: Say) -> None:
    """Deploy what the DAGs of these models may do, and attach it to the role of Airflow's processes; their platforms are deployed."""
    iam = session.client("iam")
    try:
        iam.create_role(RoleName=role_name(), AssumeRolePolicyDocument=json.dumps(TRUST))
    except iam.exceptions.EntityAlreadyExistsException:
        say(f"role {role_name()} is there")
    models = [load_model_config(layout.ROOT / "dags" / "models" / name / "model.yaml") for name in names]
    project = Project(session, Deployment(environment(), layout.REGION), say, with_environment=False, chosen=models)
    for config in models:
        for policy in project.deploy_access(config):
            iam.attach_role_policy(RoleName=role_name(), PolicyArn=policy)
