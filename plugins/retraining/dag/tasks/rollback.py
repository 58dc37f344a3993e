"""The bodies of the rollback DAG's tasks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from retraining.aws.clients import client
from retraining.aws.console import console_link
from retraining.aws.documents import get_json, put_json, put_json_once, split_uri, utc_now
from retraining.aws.errors import error_code
from retraining.dag.tasks.smoke import SmokeTasks
from retraining.dag.verify_operator import GoBackError
from retraining.jobs import requests as job_requests
from retraining.jobs.endpoint_update import CHANGING
from retraining.jobs.job import JobBusyError
from retraining.jobs.kinds import JOB_KINDS
from retraining.serving import deployment, registry
from retraining.serving.champion import conversion, of_artifact, served, status_of
from retraining.serving.pinning import ExchangedError
from retraining.serving.registry import Package, Registered
from retraining.serving.rollback import Rollback, RollbackError, choose, newer_than, rollback_id
from retraining.serving.verification import OvertakenError, VerificationError
from retraining.serving.way_back import WayBack
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ModelConfig
from retraining.telling.outcomes import Outcome, Outcomes
from retraining.telling.run_report import object_url

log = logging.getLogger(__name__)


class RollbackTasks(SmokeTasks):
    """Task bodies of one model's rollbacks.

    Args:
        config: the model's configuration.
        folder: the model's folder, whose code runs inside the jobs.

    """

    def __init__(self, config: ModelConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.access: AwsAccess = config.aws
        self.outcomes = Outcomes(config.name, config.aws, lambda: self.platform)

    @property
    def _s3(self) -> Any:
        return client("s3", self.access)

    @property
    def _sagemaker(self) -> Any:
        return client("sagemaker", self.access)

    def poll_seconds(self) -> float:
        """Seconds between two looks at the endpoint."""
        return self.platform.poll_seconds

    def choose_package(self, params: Mapping[str, Any], dag_run: Any) -> dict[str, Any]:
        """Decide once what this run goes back to, and record who wants it and why; a repeated task finds the decision.

        From here to the end of the run nobody else changes the endpoint.

        Raises:
            JobBusyError: another run changes the endpoint, or an update of it is under way.
            AirflowFailException: there is no such package, its artifact or smoke request is gone, the artifact was exchanged, nobody says
                who it is, or the run is an old one and newer models were approved since.

        """
        who = getattr(dag_run, "triggering_user_name", None) or params.get("who")
        if not who:
            raise AirflowFailException("Airflow does not say who started this run: give the parameter 'who'")
        self.hold_endpoint(dag_run, f"going back ({who}: {params.get('why')})")
        status = status_of(self._sagemaker, self.endpoint) if self.config.endpoint else None
        if status in CHANGING:
            raise JobBusyError(f"endpoint {self.endpoint} is {status}")
        if wrong := conversion(self._sagemaker, self.config):
            raise AirflowFailException(wrong)
        uri = self._record_uri(rollback_id(dag_run))
        known = list(registry.packages(self._sagemaker, self.config.name))
        try:
            return self._unless_outdated(get_json(self._s3, uri), known)
        except LookupError:
            pass
        try:
            target, newer = choose(known, params.get("package"), self._in_use(known))
        except RollbackError as error:
            raise AirflowFailException(f"model {self.config.name}: {error}") from error
        self._check_artifact(target)
        decided = Rollback(
            id=rollback_id(dag_run),
            target=target,
            abandoned=newer,
            who=who,
            why=params["why"],
            decided_at=utc_now(),
            previous_config=self.config.endpoint and deployment.current_config(self._sagemaker, self.endpoint),
            smoke=self._smoke(target),
        )
        log.info("package %d is to serve again; abandoned: %s", target.version, [item.version for item in newer])
        return dict(put_json_once(self._s3, uri, decided.model_dump(mode="json")))

    def deploy_request(self, rollback: Mapping[str, Any], dag_run: Any) -> dict[str, Any]:
        """Ask for the endpoint to be brought to the package's model: blue/green at once, because a rollback is urgent."""
        self.hold_endpoint(dag_run, f"going back, rollback {rollback['id']}")
        decided, config, sagemaker = Rollback.model_validate(rollback), self.config, self._sagemaker
        self._check_artifact(decided.target)
        role = self.platform.serve_role_arn
        model = deployment.ensure_model(
            sagemaker, config.name, decided.target.container, role, config.deployment.isolated
        )
        request = job_requests.endpoint_config_request(config, self.platform, model)
        name = deployment.ensure_endpoint_config(sagemaker, config.name, request)
        return job_requests.update_request(config, name)

    def _in_use(self, known: Sequence[Package]) -> Package | None:
        """Return which of the packages, newest first, serves; of a model without an endpoint the newest approved one."""
        if self.config.endpoint is None:
            return next((item for item in known if item.status == registry.APPROVED), None)
        now = served(self._sagemaker, self.endpoint)
        return of_artifact(known, now.model_data, now.image) if now else None

    def smoke_request(self, rollback: Mapping[str, Any], dag_run: Any) -> dict[str, Any]:
        """Of a model without an endpoint: ask for the job in which the package's artifact answers its smoke requests."""
        self.hold_endpoint(dag_run, f"going back, rollback {rollback['id']}")
        decided, target = Rollback.model_validate(rollback), rollback["target"]["container"]
        sha256 = self._check_artifact(decided.target)
        return self.smoke_job_request(self.config, target, decided.smoke, self._smoke_output(decided), sha256)

    def verify_smoke(self, rollback: Mapping[str, Any], deployed: Mapping[str, Any], dag_run: Any) -> dict[str, Any]:
        """Of a model without an endpoint: prove that the package answered in its job as it was evaluated.

        Raises:
            AirflowFailException: it answered otherwise, or the artifact was exchanged; the registry is unchanged.

        """
        self.hold_endpoint(dag_run, f"verifying rollback {rollback['id']}")
        decided = Rollback.model_validate(rollback)
        self._check_artifact(decided.target)
        try:
            answers = self.smoke_answers(decided.target.version, decided.smoke, self._smoke_output(decided))
        except VerificationError as error:
            raise AirflowFailException(f"{error}; the registry is unchanged") from error
        return {"endpoint": None, "config": None, "answer": answers[0]}

    def _smoke_output(self, decided: Rollback) -> str:
        """Return where the job of this rollback leaves its answers: a return to the same package asks it anew."""
        run_key = decided.target.metadata.get("run_key")
        return f"s3://{self.platform.bucket}/{self.config.name}/runs/{run_key}/smoke-{decided.id}/"

    def verify_endpoint(self, rollback: Mapping[str, Any], deployed: Mapping[str, Any], dag_run: Any) -> dict[str, Any]:
        """Prove that the endpoint answers as the package was evaluated.

        Raises:
            GoBackError: it answers otherwise, or the artifact was exchanged; the endpoint goes back to what it served before, the
                registry is unchanged.
            UnansweredError: it could not be asked, and is asked again later.
            AirflowFailException: somebody else changed the endpoint meanwhile.

        """
        self.hold_endpoint(dag_run, f"verifying rollback {rollback['id']}")
        uri = self._record_uri(rollback["id"])
        decided = Rollback.model_validate(get_json(self._s3, uri))
        verdict = decided.verdict
        if not verdict:
            try:
                answers = self.answers(deployed["config"], decided.smoke)
                self.package_unchanged(decided.target)
            except OvertakenError as error:
                raise AirflowFailException(
                    f"{error}: somebody changed it during the rollback; start a new one"
                ) from error
            except (VerificationError, ExchangedError) as error:
                verdict = str(error)
                put_json(self._s3, uri, {**decided.model_dump(mode="json"), "verdict": verdict})
            else:
                return {"endpoint": self.endpoint, "config": deployed["config"], "answer": answers[0]}
        target = decided.target
        package = Registered(arn=target.arn, version=target.version, status=target.status)
        previous, config = decided.previous_config, deployed["config"]
        way = WayBack(
            endpoint=self.endpoint,
            config=config,
            previous=previous,
            verdict=verdict,
            package=package,
            scaled=self.config.deployment.autoscaling is not None,
        )
        raise GoBackError(way.model_copy(update={"barred": self.barred(previous)}))

    def taken_back(self, way: WayBack, outcome: str, context: Any) -> None:
        """Say that the rollback did not succeed.

        Raises:
            AirflowFailException: always.

        """
        raise AirflowFailException(f"{way.verdict}; {outcome}; the registry is unchanged")

    def release_endpoint(self, dag_run: Any) -> None:
        """Let others change the endpoint; runs at the end of every rollback, also of one that failed."""
        self.keep_scaled()
        self.lease(dag_run).release()

    def record_rollback(self, rollback: Mapping[str, Any], verified: Mapping[str, Any], dag_run: Any) -> dict[str, Any]:
        """Make the registry say what serves, complete the record, and publish a message to the topic."""
        decided, region = Rollback.model_validate(rollback), self.platform.region
        reason = f"{decided.why} ({decided.who}, rollback {decided.id})"
        self.hold_endpoint(dag_run, f"recording rollback {decided.id}")
        abandoned = newer_than(decided.target, list(registry.packages(self._sagemaker, self.config.name)))
        abandoned = abandoned or decided.abandoned  # a repeated task finds them rejected
        registry.reinstate(self._sagemaker, decided.target, reason)
        registry.abandon(self._sagemaker, abandoned, decided.id, reason)
        uri = self._record_uri(decided.id)
        done = {"abandoned": abandoned, "done_at": utc_now(), "config": verified["config"]}
        record = decided.model_copy(update=done).model_dump(mode="json")
        put_json(self._s3, uri, record)
        endpoint = verified["endpoint"]
        facts = (
            ("Who", decided.who),
            ("Serves again" if endpoint else "Champion again", decided.target.arn),
            ("Abandoned", ", ".join(item.arn for item in abandoned) or None),
            ("Endpoint config", verified["config"]),
            ("Smoke answer", verified["answer"]),
        )
        found = (
            ("Record", uri),
            ("Record in the console", console_link(self.access, object_url(region, uri))),
            (
                "Endpoint",
                endpoint
                and console_link(self.access, JOB_KINDS["endpoint"].console_url(region, {"endpoint": endpoint})),
            ),
        )
        links = [(name, url) for name, url in found if url]
        what = f"Endpoint {endpoint} serves package {decided.target.version}"
        if not endpoint:
            what = f"Package {decided.target.version} is the champion, which scores the next files,"
        sentence = f"{what} again: {decided.why}"
        self.outcomes.tell(Outcome("rolled back", sentence, facts, links), dag_run)
        return record

    def note_failure(self, context: Any) -> None:
        """Note why a task failed, for the message; the failure callback of every task."""
        self.outcomes.note_failure(context)

    def notify_failure(self, context: Any) -> None:
        """Tell the topic that a rollback failed; the DAG's failure callback."""
        self.outcomes.tell_failure(context)

    def _unless_outdated(self, record: dict[str, Any], known: Sequence[Package]) -> dict[str, Any]:
        """Return the decision of an earlier try, unless the world has moved on since."""
        decided = Rollback.model_validate(record)
        since = [item for item in newer_than(decided.target, known) if item.status == registry.APPROVED]
        if decided.done_at and since:
            raise AirflowFailException(
                f"this rollback was done at {decided.done_at}, and package {since[0].version} was approved since: start a new run to go "
                "back from that one"
            )
        return record

    def _record_uri(self, rollback: str) -> str:
        return f"s3://{self.platform.bucket}/{self.config.name}/rollbacks/{rollback}.json"

    def _check_artifact(self, target: Package) -> str:
        """Return the SHA-256 of a package's artifact, which is there and is the one that was judged.

        Raises:
            AirflowFailException: it is not.

        """
        from botocore.exceptions import ClientError

        bucket, key = split_uri(target.model_data)
        try:
            self._s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error_code(error) != "404":  # HEAD has no body that could say NoSuchKey
                raise
            raise AirflowFailException(
                f"the artifact of model package {target.version}, {target.model_data}, was cleared away: deployment.keep is "
                f"{self.config.deployment.keep}. Choose a newer package, or restore an old version of the object"
            ) from error
        try:
            return self.package_unchanged(target)
        except ExchangedError as error:
            raise AirflowFailException(f"model package {target.version} cannot serve again: {error}") from error

    def _smoke(self, target: Package) -> dict[str, Any]:
        uri = f"s3://{self.platform.bucket}/{self.config.name}/runs/{target.metadata.get('run_key')}/evaluation/smoke.json"
        try:
            return dict(get_json(self._s3, uri))
        except LookupError as error:
            raise AirflowFailException(
                f"model package {target.version} cannot be verified in service: its evaluation's {uri} is gone"
            ) from error
