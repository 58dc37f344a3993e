"""Task bodies from a decision to a verified endpoint, or to a verified champion of a model without an endpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from retraining.aws.documents import get_json, put_json_once, utc_now
from retraining.dag.tasks.model import ModelTasks
from retraining.dag.tasks.smoke import SmokeTasks
from retraining.dag.verify_operator import GoBackError
from retraining.dataset.records import TrainedNote
from retraining.jobs import requests as job_requests
from retraining.jobs.endpoint_update import CHANGING
from retraining.jobs.job import JobBusyError
from retraining.jobs.plan import Champion, RunPlan
from retraining.serving import deployment, registry, way_back
from retraining.serving.champion import conversion, standing, status_of
from retraining.serving.pinning import ExchangedError
from retraining.serving.registry import Registered
from retraining.serving.verification import OvertakenError, UnansweredError, VerificationError
from retraining.serving.way_back import WayBack
from retraining.telling.outcomes import Outcome

log = logging.getLogger(__name__)


class ServingTasks(SmokeTasks, ModelTasks):
    """Task bodies of the serving phase."""

    def deploy_request(self, plan: Mapping[str, Any], trained: Sequence[Any], dag_run: Any) -> dict[str, Any]:
        """Create model and endpoint config, note what serves now, and ask for the endpoint to be brought to the new config.

        Raises:
            JobBusyError: another run changes the endpoint, for example a rollback.
            AirflowFailException: the champion is another one than the model was compared with, for example after a rollback.

        """
        run, sagemaker = RunPlan.model_validate(plan), self._sagemaker
        self.hold_endpoint(dag_run, f"deploying the model of run {run.run_key}")
        best, _ = self._comparable(plan, trained)
        container = self._serving(plan, best)
        role, isolated = self.platform.serve_role_arn, self.planned(plan).deployment.isolated
        model = deployment.ensure_model(sagemaker, self.config.name, container, role, isolated)
        request = job_requests.endpoint_config_request(self.planned(plan), self.platform, model)
        config = deployment.ensure_endpoint_config(sagemaker, self.config.name, request)
        serving = deployment.current_config(sagemaker, self.endpoint)
        way_back.begin(self._s3, self._attempt_uri(run.run_key), config, model, serving)
        return job_requests.endpoint_request(self.planned(plan), config)

    def smoke_request(self, plan: Mapping[str, Any], trained: Sequence[Any], dag_run: Any) -> dict[str, Any]:
        """Of a model without an endpoint: ask for the job in which the artifact answers the smoke requests of its evaluation.

        Raises:
            JobBusyError: another run changes the champion, for example a rollback.
            AirflowFailException: see ``deploy_request``.

        """
        run, config = RunPlan.model_validate(plan), self.planned(plan)
        self.hold_endpoint(dag_run, f"trying the model of run {run.run_key}")
        best, sha256 = self._comparable(plan, trained)
        container = self._serving(plan, best)
        return self.smoke_job_request(config, container, self._smoke(run), self._smoke_output(run), sha256)

    def verify_smoke(
        self,
        plan: Mapping[str, Any],
        trained: Sequence[Any],
        package: Mapping[str, Any],
        deployed: Mapping[str, Any],
        dag_run: Any,
    ) -> dict[str, Any]:
        """Of a model without an endpoint: prove that the job answered as evaluated, approve the package, clear away what is superseded.

        Raises:
            JobBusyError: another run changes the champion.
            AirflowFailException: it answered otherwise, and the package is rejected; or see ``deploy_request``.

        """
        run, registered = RunPlan.model_validate(plan), registry.Registered.model_validate(package)
        self.hold_endpoint(dag_run, f"verifying the model of run {run.run_key}")
        self._comparable(plan, trained)
        smoke = self._smoke(run)
        try:
            answers = self.smoke_answers(registered.version, smoke, self._smoke_output(run))
        except VerificationError as error:
            text = f"{error}; package {registered.version} is rejected, the champion is the one before"
            self._reject(registered, run.version, run.run_key, text, dag_run)
            raise AirflowFailException(text) from error
        registry.set_status(self._sagemaker, registered, registry.APPROVED, "verified by a job: there is no endpoint")
        self.lease(dag_run).release()
        return {
            "endpoint": None,
            "config": None,
            "job": {name: deployed.get(name) for name in ("name", "seconds")},
            "smoke": {**smoke, "answer": answers[0]},
            "pruned": self._prune(None),
        }

    def _comparable(self, plan: Mapping[str, Any], trained: Sequence[Any]) -> tuple[Mapping[str, Any], str]:
        """Return the result of the training that goes on, and its artifact's digest: champion and mode are still those that were judged.

        Raises:
            AirflowFailException: they are not.

        """
        run, best = RunPlan.model_validate(plan), self.choice(plan, trained).best
        artifact = str(best["model_data"])
        began, mode = self.planned(plan).deployment.mode, self.config.deployment.mode
        if began != mode:
            raise AirflowFailException(
                f"deployment.mode of {self.config.name} was {began} when this run began and is {mode} now: start a new run"
            )
        if wrong := conversion(self._sagemaker, self.config):
            raise AirflowFailException(wrong)
        judged, now = run.champion, standing(self._sagemaker, self.config.name, self.config.endpoint).champion
        if now and now.model_data != artifact and (judged is None or now.model_data != judged.model_data):
            raise AirflowFailException(
                f"the champion is {_name(now)} now, but this run compared its model with {_name(judged)}: nothing was deployed. "
                "Start a new run to compare with it"
            )
        return best, self._pinned_choice(best)

    def _smoke(self, run: RunPlan) -> Mapping[str, Any]:
        return get_json(self._s3, f"s3://{self.platform.bucket}/{run.run_prefix}evaluation/smoke.json")

    def _smoke_output(self, run: RunPlan) -> str:
        return f"s3://{self.platform.bucket}/{run.run_prefix}smoke/"

    def verify_endpoint(
        self, plan: Mapping[str, Any], package: Mapping[str, Any], deployed: Mapping[str, Any], dag_run: Any
    ) -> dict[str, Any]:
        """Prove that the endpoint answers as evaluated, approve the package, and clear away what is superseded.

        Raises:
            GoBackError: it answers otherwise, or its artifact was exchanged; the endpoint goes back to what it served before this attempt,
                and the package is rejected.
            UnansweredError: it could not be asked, and is asked again later.
            AirflowFailException: somebody else changed the endpoint meanwhile.

        """
        run = RunPlan.model_validate(plan)
        registered = registry.Registered.model_validate(package)
        self.hold_endpoint(dag_run, f"verifying the model of run {run.run_key}")
        smoke = self._smoke(run)
        answers = self._approved(registered, run.run_key, run.version, deployed["config"], smoke)
        self.keep_scaled()
        self.lease(dag_run).release()
        return {
            "endpoint": self.endpoint,
            "config": deployed["config"],
            "smoke": {**smoke, "answer": answers[0]},
            "pruned": self._prune(deployed["config"]),
        }

    def _approved(
        self, package: Registered, run_key: str, version: int, config: str, smoke: Mapping[str, Any]
    ) -> list[Any]:
        """Approve a package whose endpoint answers as evaluated; return the answers."""
        uri = self._attempt_uri(run_key)
        attempt = way_back.read(self._s3, uri)
        if attempt is None or attempt.config != config:  # it came here without us: there is nothing known to go back to
            attempt = way_back.begin(self._s3, uri, config, "", config)

        def back(verdict: str) -> GoBackError:
            return GoBackError(
                WayBack(
                    endpoint=self.endpoint,
                    config=config,
                    previous=attempt.previous_config,
                    verdict=verdict,
                    barred=self.barred(attempt.previous_config),
                    scaled=self.config.deployment.autoscaling is not None,
                    run_key=run_key,
                    version=version,
                    package=package,
                )
            )

        if attempt.verdict:
            raise back(attempt.verdict)
        try:
            answers = self.answers(config, smoke)
            self.package_unchanged(registry.package(self._sagemaker, package.arn))
        except OvertakenError as error:
            raise AirflowFailException(
                f"{error}: somebody changed it before it was verified. Package {package.version} stays pending, and nothing was approved. "
                "Start a new run"
            ) from error
        except (VerificationError, ExchangedError) as error:
            way_back.note(self._s3, uri, attempt, verdict=str(error))
            raise back(str(error)) from error
        registry.set_status(self._sagemaker, package, registry.APPROVED, "verified in service")
        way_back.note(self._s3, uri, attempt, verified_at=utc_now())
        return answers

    def taken_back(self, way: WayBack, outcome: str, context: Any) -> None:
        """Reject the package whose endpoint was taken back.

        Raises:
            AirflowFailException: always; it says what was wrong and what serves now.

        """
        raise AirflowFailException(self._rejected(way, outcome, context))

    def _rejected(self, way: WayBack, outcome: str, context: Any) -> str:
        text = f"{way.verdict}; {outcome}"
        self._reject(way.package, way.version, way.run_key, text, context["dag_run"])
        return text

    def _reject(self, package: Registered, version: int, run_key: str, text: str, dag_run: Any) -> None:
        registry.set_status(self._sagemaker, package, registry.REJECTED, text)
        # else the next run would deploy it again
        self._note_judged(version, run_key, "failed verification", package.arn)
        self.lease(dag_run).release()

    def deployment_failed(
        self, message: str, context: Any, plan: Mapping[str, Any], package: Mapping[str, Any]
    ) -> None:
        """Reject a package whose container did not come up, or whose job failed; what was in use before still is."""
        run, registered = RunPlan.model_validate(plan), registry.Registered.model_validate(package)
        registry.set_status(self._sagemaker, registered, registry.REJECTED, message)
        self._judged(run, "failed deployment", registered.arn)
        self.lease(context["dag_run"]).release()

    def settle_endpoint(self, dag_run: Any) -> str | None:
        """Finish the deployment of a run that could not: verify what serves pending, and approve it or take it back.

        Runs at both ends of every run, also of one that has nothing to do, and then sees that the endpoint is scaled as model.yaml says.
        What another run is just changing is left to it. Without an endpoint nothing is in use before it is verified: nothing is left to
        finish.

        Raises:
            UnansweredError: the endpoint is changing, or could not be asked.
            GoBackError: it answers wrongly.

        """
        sagemaker, name = self._sagemaker, self.config.name
        status = status_of(sagemaker, self.endpoint) if self.config.endpoint else None
        if status is None or (status == "InService" and not self.pending()):
            self.keep_scaled()
            self.lease(dag_run).release()
            return None
        try:
            self.hold_endpoint(dag_run, "finishing a deployment that nobody finished")
        except JobBusyError as error:
            log.info("%s", error)
            return None
        if status in CHANGING:
            raise UnansweredError(f"endpoint {self.endpoint} is {status}, and no run cares for it")
        package = self.pending()
        sentence = None
        if package:
            run_key, version = package.metadata.get("run_key", ""), int(package.metadata.get("dataset_version", 0))
            try:
                smoke = get_json(self._s3, f"s3://{self.platform.bucket}/{name}/runs/{run_key}/evaluation/smoke.json")
            except LookupError as error:
                log.warning("package %d serves but cannot be verified: %s", package.version, error)
            else:
                config = str(deployment.current_config(sagemaker, self.endpoint))
                self._approved(package, run_key, version, config, smoke)
                self._note_judged(version, run_key, "approved", package.arn)
                sentence = (
                    f"package {package.version} of run {run_key} serves and is verified now; its own run did not finish"
                )
                self.outcomes.tell(Outcome("verified late", sentence, (("Model package", package.arn),)), dag_run)
        self.lease(dag_run).release()
        return sentence

    def settled_back(self, way: WayBack, outcome: str, context: Any) -> str:
        """Reject the package that an unfinished deployment had brought into service, and publish a message to the topic."""
        text = self._rejected(way, outcome, context)
        self.outcomes.tell(Outcome("taken back", text, (("Model package", way.package.arn),)), context["dag_run"])
        return text

    def pending(self) -> registry.Package | None:
        """Return the package that serves without being approved yet."""
        package = standing(self._sagemaker, self.config.name, self.endpoint).package
        return package if package and package.status == registry.PENDING else None

    def _attempt_uri(self, run_key: str) -> str:
        return f"s3://{self.platform.bucket}/{self.config.name}/runs/{run_key}/deployment.json"

    def _prune(self, in_use: str | None) -> list[str]:
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
        """Note in the dataset log that the run's dataset version has a judged model, and that this piece of work is done."""
        self._note_judged(run.version, run.run_key, decision, package)

    def _note_judged(self, version: int, run_key: str, decision: str, package: str) -> None:
        if version:
            note = TrainedNote(
                version=version, run_key=run_key, decision=decision, model_package=package, created_at=utc_now()
            )
            self._dataset.note_trained(note)
            self._note_work(run_key, decision)

    def _note_work(self, run_key: str, decision: str) -> None:
        """Note that a run's piece of work is judged, so that its code and configuration are no reason for another run."""
        uri = f"s3://{self.platform.bucket}/{self.config.name}/runs/{run_key}/plan.json"
        try:
            work = get_json(self._s3, uri)["work_digest"]
        except LookupError as error:
            log.warning("%s", error)
            return
        put_json_once(self._s3, self._work_uri(work), {"run_key": run_key, "decision": decision})


def _name(champion: Champion | None) -> str:
    return (champion.package_arn or champion.model_data) if champion else "none"
