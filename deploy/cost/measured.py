"""How long the jobs of the last runs really took, from the summaries that the runs wrote to the data bucket."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy.cost.bill import Times
from local_stack.verbs import calls
from retraining.settings.environment import environment, platform_parameter

RUNS = 5
"""Last runs that are shown."""
READERS = 8
STEPS = ("merge", "training", "evaluation", "smoke")


@dataclass(frozen=True)
class Run:
    """A run with the seconds of its jobs by step; of several candidates the mean training."""

    key: str
    created_at: str
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Account:
    """Who answered: AWS, whose seconds are those of the bill, or a local account, whose seconds are this machine's."""

    name: str
    is_aws: bool
    runs: Sequence[Run]

    @property
    def times(self) -> Times:
        """The medians of the runs' seconds, None where no run has any."""
        found = {step: [run.seconds[step] for run in self.runs if step in run.seconds] for step in STEPS}
        return Times(**{step: statistics.median(values) for step, values in found.items() if values})


def ask(model: str, deployment: str | None, region: str) -> tuple[Account | None, str]:
    """Return the account that has runs of the model, and why there is none.

    Args:
        model: its name.
        deployment: such as prod; None asks a local account about the deployment of this shell and no other account.
        region: of the deployment.

    """
    why = "no stack runs on this machine"
    for name, is_aws, session in _accounts(deployment, region):
        try:
            runs = last_runs(session, model, deployment or environment())
        except (BotoCoreError, ClientError, ValueError, KeyError) as error:
            why = f"{name}: {str(error).splitlines()[0]}"
            continue
        if runs:
            return Account(name, is_aws, runs), ""
        why = f"{name} has no run of {model} whose report names the seconds of its jobs"
    return None, why


def last_runs(session: Callable[[str], Any], model: str, deployment: str) -> list[Run]:
    """Return the newest runs that say how long their jobs took, newest first.

    Args:
        session: makes the client of a service.
        model: the model's name.
        deployment: such as prod.

    """
    parameter = session("ssm").get_parameter(Name=platform_parameter(model, deployment))["Parameter"]["Value"]
    bucket, s3 = json.loads(parameter)["bucket"], session("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{model}/runs/")
    found = [item for page in pages for item in page.get("Contents", []) if item["Key"].endswith("/summary.json")]
    found = [item for item in found if item["Key"].count("/") == 3]  # not an evaluation's
    newest = sorted(found, key=lambda item: item["LastModified"], reverse=True)[:RUNS]
    with ThreadPoolExecutor(READERS) as pool:
        bodies = pool.map(lambda item: s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read(), newest)
        runs = [run_of(json.loads(body)) for body in bodies]
    return [run for run in runs if run.seconds]


def run_of(summary: Mapping[str, Any]) -> Run:
    """Return what a run's summary says of its jobs."""
    by_step: dict[str, list[float]] = {}
    for job in summary.get("jobs") or []:
        if job.get("seconds") is not None:
            by_step.setdefault(job["step"], []).append(float(job["seconds"]))
    seconds = {step: sum(values) / len(values) for step, values in by_step.items()}
    return Run(str(summary["run_key"]), str(summary.get("created_at") or ""), seconds)


def _accounts(deployment: str | None, region: str) -> Iterator[tuple[str, bool, Callable[[str], Any]]]:
    """Yield the accounts that may know the runs: the one that the shell leads to, else the local stack, then AWS for a named deployment."""
    from boto3.session import Session

    from local_stack import layout
    from local_stack.airflow_settings import aws_environment

    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        yield f"the account at {endpoint}", False, _clients(Session(region_name=region), endpoint)
        return
    try:
        calls.local_account_answers()
    except calls.CallError:
        pass
    else:
        known = aws_environment()
        session = Session(known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"], region_name=layout.REGION)
        yield "the local stack", False, _clients(session, layout.AWS_URL)
    if deployment:
        session = Session(region_name=region)
        if session.get_credentials():
            yield f"the AWS account of this shell, {region}", True, _clients(session, None)


def _clients(session: Any, endpoint: str | None) -> Callable[[str], Any]:
    from botocore.config import Config

    patience = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2})
    return lambda service: session.client(service, endpoint_url=endpoint, config=patience)
