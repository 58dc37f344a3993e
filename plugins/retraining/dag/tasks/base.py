"""What the task bodies of one model share: its configuration, its platform, and clients."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from retraining.aws.clients import client
from retraining.aws.console import console_link
from retraining.aws.platform_parameter import read_platform
from retraining.dataset.log import DatasetLog
from retraining.serving import pinning
from retraining.settings.access import AwsAccess
from retraining.settings.gate_policy import GatePolicy
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform
from retraining.settings.run_parameters import check_run_parameters
from retraining.settings.trainers import complete
from retraining.telling.outcomes import Outcomes


class TaskBodies:
    """Task bodies of one model.

    Args:
        config: the model's configuration.
        folder: the model's folder, whose code runs inside the jobs.

    """

    def __init__(self, config: ModelConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.access: AwsAccess = config.aws
        self.outcomes = Outcomes(config.name, config.aws, lambda: self.platform)

    @cached_property
    def platform(self) -> Platform:
        """The model's AWS resources."""
        return read_platform(self.config.platform_parameter, self.access)

    @property
    def _s3(self) -> Any:
        return client("s3", self.access)

    @property
    def _sagemaker(self) -> Any:
        return client("sagemaker", self.access)

    @property
    def _dataset(self) -> DatasetLog:
        return DatasetLog(self._s3, self.platform.bucket, f"{self.config.name}/")

    def planned(self, plan: Mapping[str, Any]) -> ModelConfig:
        """Return the configuration that a run began with; model.yaml may have changed since."""
        if not plan.get("config"):
            return self.config
        return ModelConfig.model_validate({**plan["config"], "aws": self.config.aws.model_dump()})

    def _link(self, url: str) -> str | None:
        """Return a link to the AWS console; None where there is none."""
        return console_link(self.access, url)

    def pinned(self, whose: str, uri: str, known: str = "") -> str:
        """Return the SHA-256 of an artifact of the model that is still the one that was pinned; see ``pinning.pinned``.

        Raises:
            AirflowFailException: it was exchanged, or is gone.

        """
        root = f"s3://{self.platform.bucket}/{self.config.name}/"
        try:
            return pinning.pinned(self._s3, root, whose, uri, known)
        except pinning.ExchangedError as error:
            raise AirflowFailException(str(error)) from error

    def _work_uri(self, work_digest: str) -> str:
        """Return where it is noted that a piece of work (data, code, settings) has a judged model."""
        return f"s3://{self.platform.bucket}/{self.config.name}/dataset/judged_work/{work_digest}.json"

    def poll_seconds(self) -> float:
        """Seconds between two looks at a job."""
        return self.platform.poll_seconds

    def note_failure(self, context: Any) -> None:
        """Note why a task failed, for the message; the failure callback of every task."""
        self.outcomes.note_failure(context)

    def notify_failure(self, context: Any) -> None:
        """Tell the topic that a run failed or refused its data; the DAG's failure callback."""
        self.outcomes.tell_failure(context)

    def _check_parameters(self, params: Mapping[str, Any]) -> None:
        """Fail for good when the run was given what its form does not have."""
        try:
            check_run_parameters(params)
            given, wanted = params.get("hyperparameters") or {}, params.get("candidate")
            for candidate in self.config.training.candidates:
                if given and candidate.trainer and wanted in (None, "all", candidate.name):
                    complete(candidate.trainer, {**candidate.hyperparameters, **given})
        except ValueError as error:
            raise AirflowFailException(str(error)) from error

    def _policy(self, params: Mapping[str, Any], config: ModelConfig | None = None) -> GatePolicy:
        """Return the gate's policy with the guards of the run's form."""
        policy, guards = (config or self.config).gate, params.get("guards") or {}
        if not guards:
            return policy
        return GatePolicy.model_validate({**policy.model_dump(), "guards": {**policy.guards, **guards}})
