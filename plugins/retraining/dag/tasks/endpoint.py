"""What all tasks that change what is in use share: the lease, so that one actor at a time changes it, and whether it answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from retraining.aws.autoscaling import register
from retraining.aws.clients import client
from retraining.aws.lease import Lease, LeaseHeldError
from retraining.aws.platform_parameter import read_platform
from retraining.dag.asking import environment_name, run_is_over
from retraining.jobs.job import JobBusyError
from retraining.jobs.requests import VARIANT
from retraining.serving import pinning, registry, verification
from retraining.serving.champion import artifact_of, package_of, status_of
from retraining.serving.pinning import SHA256, ExchangedError
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform

log = logging.getLogger(__name__)

MARGIN_SECONDS = 900
"""How much longer than an update of the endpoint a lease counts: for the verification and the tasks between."""


class EndpointTasks:
    """Task bodies that change the endpoint of one model, or, of a model that has none, its champion in the registry."""

    config: ModelConfig
    access: AwsAccess

    @cached_property
    def platform(self) -> Platform:
        """The model's AWS resources."""
        return read_platform(self.config.platform_parameter, self.access)

    @property
    def endpoint(self) -> str:
        """The endpoint's name; only of a model that has one."""
        assert self.config.endpoint is not None, f"deployment.mode of {self.config.name} is none"
        return self.config.endpoint

    @property
    def longest_hold(self) -> int:
        """Seconds for which a lease counts without being renewed."""
        return self.config.deployment.max_wait_seconds + MARGIN_SECONDS

    def lease(self, dag_run: Any) -> Lease:
        """Return the lease of what is in use as this run may hold it."""
        held = self.config.endpoint or "champion"  # the name of an endpoint has a hyphen
        uri = f"s3://{self.platform.bucket}/{self.config.name}/serving/{held}.json"
        owner = f"{environment_name()} {dag_run.dag_id} {dag_run.run_id}"
        return Lease(client("s3", self.access), uri, owner)

    def hold_endpoint(self, dag_run: Any, why: str) -> None:
        """Take or renew the lease for as long as a change of what is in use may take.

        A run of this Airflow that is over holds it no more: what it left unfinished is for the next one, at once.

        Raises:
            JobBusyError: another run changes it.

        """
        try:
            self.lease(dag_run).take(why, self.longest_hold, gone=_is_over)
        except LeaseHeldError as error:
            what = f"endpoint {self.endpoint}" if self.config.endpoint else f"the champion of {self.config.name}"
            raise JobBusyError(f"{what} waits for its turn: {error}") from error

    def unchanged(self, whose: str, uri: str, known: str = "") -> str:
        """Return the SHA-256 of an artifact of the model that is still the one that was pinned; see ``pinning.pinned``.

        Raises:
            ExchangedError: it is another one, or is gone.

        """
        root = f"s3://{self.platform.bucket}/{self.config.name}/"
        return pinning.pinned(client("s3", self.access), root, whose, uri, known)

    def package_unchanged(self, package: registry.Package) -> str:
        """Return the SHA-256 of a package's artifact, which is still the one that was judged; see ``unchanged``."""
        return self.unchanged(f"model package {package.version}", package.model_data, package.metadata.get(SHA256, ""))

    def barred(self, previous: str | None) -> str:
        """Return why an endpoint must not go back to a config; empty when it may."""
        sagemaker = client("sagemaker", self.access)
        artifact = artifact_of(sagemaker, previous) if previous else None
        if artifact is None:
            return ""
        package = package_of(sagemaker, self.config.name, artifact)
        try:
            self.package_unchanged(package) if package else self.unchanged(f"config {previous}", artifact)
        except ExchangedError as error:
            return str(error)
        return ""

    def answers(self, config: str, smoke: Mapping[str, Any]) -> list[Any]:
        """Return the endpoint's answers to the smoke requests, which are those of the evaluation; see ``verification.verify``."""
        sagemaker, runtime = client("sagemaker", self.access), client("sagemaker-runtime", self.access)
        tolerance = self.config.deployment.smoke_tolerance
        return verification.verify(sagemaker, runtime, self.endpoint, config, smoke, tolerance)

    def keep_scaled(self) -> None:
        """Let the endpoint be scaled as model.yaml says, where it is in service; an update may have ended its autoscaling.

        What AWS refuses here costs room or money, not correctness: it is logged, and the next run tries again.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        asked = self.config.deployment.autoscaling
        if asked is None or status_of(client("sagemaker", self.access), self.endpoint) != "InService":
            return
        scaling = client("application-autoscaling", self.access)
        try:
            register(scaling, self.endpoint, VARIANT, asked.min, asked.max, asked.invocations_per_instance)
        except (BotoCoreError, ClientError) as error:
            log.warning("endpoint %s is not scaled: %s", self.endpoint, error)


def _is_over(owner: str) -> bool:
    """Tell whether the owner of a lease is a run of this Airflow that has ended."""
    airflow, _, run = owner.partition(" ")
    return airflow == environment_name() and run_is_over(*run.split(" ", 1))
