"""``make promote``: a promotion within the local account, or within the account that two deployments on AWS share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from local_stack import layout
from local_stack.preflight import PreflightError

Say = Callable[[str], None]


class AccountsError(PreflightError):
    """Two deployments do not live in one account and region, so no model goes from one to the other."""


def promote(chosen: argparse.Namespace, say: Say) -> int:
    """Promote a model; return the exit code of the command.

    Args:
        chosen: the verb's arguments.
        say: takes one line of progress.

    Raises:
        AccountsError: the deployments are in different accounts or regions.

    """
    from retraining.command.promote.__main__ import main

    if chosen.aws:
        _choose_region(chosen.origin, chosen.target)
    elif not _provide(chosen, say):
        return 0
    options = [chosen.model, "--from", chosen.origin, "--to", chosen.target]
    options += ["--plan"] if chosen.plan else []
    options += ["--uncompared"] if chosen.uncompared else []
    options += ["--latency-ms", chosen.latency_ms] if chosen.latency_ms else []
    return main(options)


def _choose_region(origin: str, target: str) -> None:
    """Let this process work in the region of both deployments, with credentials of their account."""
    from boto3.session import Session

    from deploy.ci import identity
    from deploy.preflight import PreflightError as DeployRefusal
    from deploy.preflight import check_caller
    from deploy.settings import load

    os.environ.update(identity.variables(os.environ))
    deployments = [load(name) for name in (origin, target)]
    if deployments[0].region != deployments[1].region:
        raise AccountsError(
            f"deployment {origin} is in {deployments[0].region} and {target} in {deployments[1].region}: a model is promoted within one "
            "region of one account (region in deploy/environments)"
        )
    region = deployments[1].region
    os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"] = region
    for deployment in deployments:
        try:
            check_caller(Session(region_name=region), deployment)
        except DeployRefusal as error:
            raise AccountsError(str(error)) from error


def _provide(chosen: argparse.Namespace, say: Say) -> bool:
    """Lead the clients of this process to the local account, and deploy the target's platform there, as `make up` does for its own.

    Returns whether it is there: a plan makes none, and says so.
    """
    from deploy import data_platform
    from deploy.stacks import outputs
    from local_stack import stack
    from retraining.settings.model_config import load_model_config

    session: Any = stack.aws_session()
    origin, target, model = chosen.origin, chosen.target, chosen.model
    if not outputs(session, data_platform.stack_name(origin, model)):
        raise AccountsError(
            f"the local account has no deployment {origin} of model {model}: 'make up' deploys {layout.DEPLOYMENT} there, and a promotion "
            "the one that it goes to"
        )
    if chosen.plan and not outputs(session, data_platform.stack_name(target, model)):
        say(
            f"the local account has no deployment {target} of model {model} yet. It would be made, without a data set, so the guards "
            f"alone would judge the model of {origin}"
        )
        return False
    if not chosen.plan:
        endpoint = load_model_config(layout.ROOT / "dags" / "models" / model / "model.yaml").deployment.endpoint
        settings = {**stack.LOCAL_TEMPLATE_SETTINGS, "EndpointName": f"{target}-{endpoint}" if endpoint else ""}
        change, _ = data_platform.deploy(session, target, model, settings, lambda line: None)
        if change != "unchanged":
            say(f"data platform of {model} in deployment {target}: {change}")
    return True
