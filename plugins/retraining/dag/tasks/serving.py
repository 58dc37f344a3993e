"""Task bodies from a decision to a verified endpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from retraining.aws.clients import client
from retraining.aws.documents import get_json, put_json_once, utc_now
from retraining.dag.tasks.model import ModelTasks
from retraining.dataset.records import TrainedNote
from retraining.jobs import requests as job_requests
from retraining.jobs.plan import RunPlan
from retraining.serving import deployment, registry

log = logging.getLogger(__name__)


class ServingTasks(ModelTasks):
    """Task bodies of the serving phase."""

    def deploy_request(self, plan: Mapping[str, Any], trained: Sequence[Any]) -> dict[str, Any]:
        """Create model and endpoint config, note what serves now, and ask for the endpoint to be brought to the new config.

        Raises:
            AirflowFailException: the champion is another one than the model was compared with, for example after a rollback.

        """
        run, sagemaker = RunPlan.model_validate(plan), self._sagemaker
        judged, now = run.champion, registry.champion(sagemaker, self.config.name)
        if now and now.run_key != run.run_key and (judged is None or now.package_arn != judged.package_arn):
            raise AirflowFailException(
                f"the champion is {now.package_arn} now, but this run compared its model with "
                f"{judged.package_arn if judged else 'none'}: nothing was deployed. Start a new run to compare with it"
            )
        container = job_requests.serving_container(
            self.config, self.platform, self.best_candidate(trained)["model_data"]
        )
        model = deployment.ensure_model(sagemaker, self.config.name, container, self.platform.sagemaker_role_arn)
        request = job_requests.endpoint_config_request(self.config, self.platform, model)
        config = deployment.ensure_endpoint_config(sagemaker, self.config.name, request)
        previous = deployment.current_config(sagemaker, self.config.deployment.endpoint)
        put_json_once(
            self._s3,
            f"s3://{self.platform.bucket}/{run.run_prefix}deployment.json",
            {"config": config, "previous_config": previous, "model": model},
        )
        return job_requests.endpoint_request(self.config, config)

    def verify_endpoint(
        self, plan: Mapping[str, Any], package: Mapping[str, Any], deployed: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Prove that the endpoint answers as evaluated, approve the package, and clear away what is superseded.

        Raises:
            AirflowFailException: it does not; the endpoint went back to what it served before, and the package is rejected.

        """
        run, settings = RunPlan.model_validate(plan), self.config.deployment
        root = f"s3://{self.platform.bucket}/{run.run_prefix}"
        smoke = get_json(self._s3, f"{root}evaluation/smoke.json")
        registered = registry.Registered.model_validate(package)
        try:
            prediction = deployment.verify(
                self._sagemaker,
                client("sagemaker-runtime", self.access),
                settings.endpoint,
                deployed["config"],
                smoke,
                settings.smoke_tolerance,
            )
        except deployment.VerificationError as error:
            previous = get_json(self._s3, f"{root}deployment.json")["previous_config"]
            outcome = deployment.roll_back(
                self._sagemaker,
                settings.endpoint,
                deployed["config"],
                previous,
                settings.max_wait_seconds,
                self.platform.poll_seconds,
            )
            registry.set_status(self._sagemaker, registered, registry.REJECTED, f"{error}; {outcome}")
            self._judged(run, "failed verification", registered.arn)  # else the next run would deploy it again
            raise AirflowFailException(f"{error}; {outcome}") from error
        registry.set_status(self._sagemaker, registered, registry.APPROVED, "verified in service")
        pruned = self._prune(deployed["config"])
        return {
            "endpoint": settings.endpoint,
            "config": deployed["config"],
            "smoke": {**smoke, "answer": prediction},
            "pruned": pruned,
        }

    def _prune(self, in_use: str) -> list[str]:
        """Clear away superseded configs, models and artifacts; return what was deleted.

        What AWS refuses here costs money, not correctness: it is logged, and the next deployment tries again.
        """
        from botocore.exceptions import ClientError

        name, keep, bucket = self.config.name, self.config.deployment.keep, self.platform.bucket
        deleted: list[str] = []
        try:
            deleted += deployment.prune(self._sagemaker, name, keep, in_use)
            stale = deployment.superseded_artifacts(
                deployment.stored_artifacts(self._s3, bucket, f"{name}/models/"),
                [
                    item.model_data
                    for item in islice(registry.packages(self._sagemaker, name, registry.APPROVED), keep + 1)
                ],
                [item.model_data for item in islice(registry.packages(self._sagemaker, name), keep + 2)],
                deployment.models_in_use(self._sagemaker, name),
                keep,
            )
            deployment.delete_artifacts(self._s3, stale)
            deleted += stale
        except ClientError as error:
            log.warning("not everything superseded could be deleted: %s", error)
        return deleted

    def _judged(self, run: RunPlan, decision: str, package: str) -> None:
        """Note in the dataset log that the run's dataset version has a judged model."""
        self._dataset.note_trained(
            TrainedNote(
                version=run.version, run_key=run.run_key, decision=decision, model_package=package, created_at=utc_now()
            )
        )
