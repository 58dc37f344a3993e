"""What all tasks that change an endpoint share: the lease, so that one actor at a time changes it, and the question whether it answers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from retraining.aws.clients import client
from retraining.aws.lease import Lease, LeaseHeldError
from retraining.aws.platform_parameter import read_platform
from retraining.dag.asking import environment_name
from retraining.jobs.job import JobBusyError
from retraining.serving import verification
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform

MARGIN_SECONDS = 900
"""How much longer than an update of the endpoint a lease counts: for the verification and the tasks between."""


class EndpointTasks:
    """Task bodies that change the endpoint of one model."""

    config: ModelConfig
    access: AwsAccess

    @cached_property
    def platform(self) -> Platform:
        """The model's AWS resources."""
        return read_platform(self.config.platform_parameter, self.access)

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        return self.config.endpoint

    def lease(self, dag_run: Any) -> Lease:
        """Return the endpoint's lease as this run may hold it."""
        uri = f"s3://{self.platform.bucket}/{self.config.name}/serving/{self.endpoint}.json"
        owner = f"{environment_name()} {dag_run.dag_id} {dag_run.run_id}"
        return Lease(client("s3", self.access), uri, owner)

    def hold_endpoint(self, dag_run: Any, why: str) -> None:
        """Take or renew the lease for as long as a change of the endpoint may take.

        Raises:
            JobBusyError: another run changes the endpoint.

        """
        try:
            self.lease(dag_run).take(why, self.config.deployment.max_wait_seconds + MARGIN_SECONDS)
        except LeaseHeldError as error:
            raise JobBusyError(f"endpoint {self.endpoint} waits for its turn: {error}") from error

    def answers(self, config: str, smoke: Mapping[str, Any]) -> list[Any]:
        """Return the endpoint's answers to the smoke requests, which are those of the evaluation; see ``verification.verify``."""
        sagemaker, runtime = client("sagemaker", self.access), client("sagemaker-runtime", self.access)
        tolerance = self.config.deployment.smoke_tolerance
        return verification.verify(sagemaker, runtime, self.endpoint, config, smoke, tolerance)
