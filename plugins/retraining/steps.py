"""The bodies of the retraining DAG's tasks: each reads what it needs, calls the pure core, and writes down what came out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from retraining import deployment, job_requests, judgement, leftovers, registry, sdk_context
from retraining.aws_clients import AwsAccess, client
from retraining.code_bundle import code_digest, code_files, source_archive
from retraining.config import Candidate, ModelConfig
from retraining.contract import schema_differences
from retraining.dataset_log import (
    DatasetLog,
    Output,
    Refusal,
    TrainedNote,
    Version,
    VersionConflictError,
    batch_digest,
    manifest_entries,
    new_files,
)
from retraining.documents import get_json, put_bytes_once, put_json, put_json_once
from retraining.gate import decide
from retraining.landing_zone import landed_files, split_settled
from retraining.naming import digest
from retraining.outcomes import Outcomes
from retraining.plan import RunPlan, make_plan, merge_manifest
from retraining.platform_settings import Platform, read_platform
from retraining.run_report import lineage_of, outcome_of, write_report
from retraining.sdk_context import SdkContext

log = logging.getLogger(__name__)


class DataRefusedError(AirflowFailException):
    """A batch is over its budget of bad rows; the run ends, and its message says ``data refused``."""

    outcome = "data refused"


class RetrainingSteps:
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

    def poll_seconds(self) -> float:
        """Seconds between two looks at a job."""
        return self.platform.poll_seconds

    # -- data -------------------------------------------------------------------------------------------------------------------------

    def look_for_work(self, context: Any) -> tuple[str | None, float | None]:
        """Return the reason to run, if any, and how many seconds unsettled files still need."""
        state, landed = self._dataset.read(), self._landed()
        settle = self.platform.settle_seconds
        known = state.known_files()
        fresh = [file for file in landed if file.record.identity not in known]
        settled, unsettled = split_settled(fresh, settle)
        youngest = min((file.age_seconds for file in fresh), default=0.0)
        wait = settle - youngest if unsettled else None
        params = context["params"]
        if settled:
            return f"{len(settled)} new file(s)", wait
        if params.get("dataset_version") is not None:
            return f"pinned to dataset version {params['dataset_version']}", None
        if state.untrained:
            return f"dataset version {state.latest} has no judged model yet", wait
        if params.get("force_retrain"):
            return "a retraining was asked for", None
        return None, wait

    def claim_new_data(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Fix what this run does: files, code, dataset version, champion. Uploads the code and the merge's manifest."""
        config, bucket = self.config, self.platform.bucket
        dataset = self._dataset
        state = dataset.read()
        settled, _ = split_settled(self._landed(), self.platform.settle_seconds)
        files = new_files(settled, state)
        contract, split = config.contract.model_dump(mode="json"), config.split.model_dump()
        batch = batch_digest(files, contract, split, state.batches) if files else None
        code = code_files(self.folder)
        plan = make_plan(
            model=config.name,
            state=state,
            batch=batch,
            files=len(files),
            code_digest=code_digest(code),
            settings=self._settings(params),
            candidates=self._selected(params),
            champion=registry.champion(self._sagemaker, config.name),
            version=params.get("dataset_version"),
        )
        standing = put_json_once(self._s3, f"s3://{bucket}/{plan.run_prefix}plan.json", plan.model_dump(mode="json"))
        plan = plan.model_copy(update={"champion": RunPlan.model_validate(standing).champion})
        for name, content in code.items():
            put_bytes_once(self._s3, plan.code_uri(bucket) + name, content, "text/x-python")
        put_bytes_once(self._s3, plan.source_uri(bucket), source_archive(code), "application/gzip")
        if plan.batch:
            manifest = merge_manifest(
                plan=plan, bucket=bucket, files=files, contract=contract, split=split, history=state.batches
            )
            put_json_once(self._s3, plan.manifest_uri(bucket), manifest)
        log.info(
            "run %s: dataset version %d, %d new file(s), champion %s",
            plan.run_key,
            plan.version,
            plan.files,
            plan.champion,
        )
        return plan.model_dump(mode="json")

    def crawl_request(self, plan: Mapping[str, Any]) -> dict[str, Any] | None:
        """Crawl the landing zone when there is something new in it."""
        return {"Name": self.platform.glue_crawler} if plan["batch"] else None

    def check_schema(self, result: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Compare what the crawler saw with the contract before any row is merged.

        Raises:
            AirflowFailException: columns are missing, added or of another type; nothing is merged.

        """
        for table, columns in result["tables"].items():
            if differences := schema_differences(self.config.contract, [tuple(column) for column in columns]):
                listed = "\n".join(f"  {line}" for line in differences)
                raise AirflowFailException(
                    f"the new data does not have the contract's columns (catalog table {self.platform.glue_database}.{table}); "
                    f"nothing was merged:\n{listed}\nMend the files, or change contract.columns in model.yaml"
                )
        return {"tables": sorted(result["tables"]), "adopted": result["adopted"]}

    def merge_request(self, plan: Mapping[str, Any]) -> dict[str, Any] | None:
        """Merge the plan's batch, if it has one."""
        if not plan["batch"]:
            return None
        return job_requests.glue_job_request(self.config, self.platform, RunPlan.model_validate(plan))

    def check_data_quality(self, plan: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """Judge the merge's report and commit the batch as the next dataset version.

        Returns:
            The dataset version and S3 URIs of its manifests per split, with the batch's row counts.

        Raises:
            DataRefusedError: the batch is over its budget of bad rows and refused as a whole.
            AirflowSkipException: the files add no row to a data set that has a judged model already.
            AirflowFailException: another run committed first, or a split is empty.

        """
        run, bucket = RunPlan.model_validate(plan), self.platform.bucket
        rows = {"rows_new": 0, "rows_accepted": 0, "rows_duplicate": 0, "rows_quarantined": 0}
        if run.batch:
            manifest = get_json(self._s3, run.manifest_uri(bucket))
            report = get_json(self._s3, manifest["report"])
            rows = {name: int(report[name]) for name in rows}
            if report["over_budget"]:
                self._refuse(run, manifest, report, rows)
            try:
                self._dataset.commit(self._version(run, manifest, report, rows))
            except VersionConflictError as error:
                raise AirflowFailException(str(error)) from error
        state = self._dataset.read().at(run.version)
        if run.batch and not rows["rows_accepted"] and not state.untrained and not params.get("force_retrain"):
            raise AirflowSkipException(
                f"the new files add no row ({rows['rows_duplicate']} duplicate, {rows['rows_quarantined']} quarantined of "
                f"{rows['rows_new']}): there is nothing to train on that was not trained on before"
            )
        uris = {}
        for split in ("train", "validation", "test"):
            entries = manifest_entries(bucket, run.prefix, state.training_objects(split))
            if len(entries) == 1:
                raise AirflowFailException(
                    f"dataset version {run.version} has no {split} rows; add real data, or change split in model.yaml"
                )
            uri = f"s3://{bucket}/{run.prefix}dataset/manifests/{run.version:06d}-{split}-{digest(entries)}.json"
            uris[split] = put_json(self._s3, uri, entries)
        totals = state.rows_by_split()
        log.info("dataset version %d: %s; this batch: %s", run.version, totals, rows)
        return {"version": run.version, "manifests": uris, "rows": rows, "rows_by_split": totals}

    def _refuse(
        self, run: RunPlan, manifest: Mapping[str, Any], report: Mapping[str, Any], rows: Mapping[str, int]
    ) -> None:
        share = rows["rows_quarantined"] / max(1, rows["rows_new"])
        worst = sorted(report["reasons"].items(), key=lambda item: -item[1])[:3]
        reason = (
            f"{rows['rows_quarantined']} of {rows['rows_new']} rows ({share:.1%}) break the contract, the budget is "
            f"{self.config.contract.bad_rows.max_share:.1%}; most frequent: {', '.join(f'{name} ({count})' for name, count in worst)}"
        )
        self._dataset.refuse(
            Refusal(batch=str(run.batch), created_at=_now(), files=manifest["files"], rows=dict(rows), reason=reason)
        )
        raise DataRefusedError(
            f"batch {run.batch} is refused, nothing was merged: {reason}. Rejected rows: {manifest['quarantine']}batch={run.batch}/. "
            f"Its files are not tried again unless released: python -m retraining.dataset release {self.config.name} {run.batch}"
        )

    def _version(
        self, run: RunPlan, manifest: Mapping[str, Any], report: Mapping[str, Any], rows: Mapping[str, int]
    ) -> Version:
        root = f"{run.prefix}dataset/"
        training = {
            split: tuple(self._outputs(f"{root}training/batch={run.batch}/split={split}/", ".csv"))
            for split in ("train", "validation", "test")
        }
        return Version(
            version=run.version,
            batch=str(run.batch),
            created_at=_now(),
            files=manifest["files"],
            rows=dict(rows),
            rows_by_split=report["rows_by_split"],
            training=training,
            data=tuple(self._outputs(f"{root}data/batch={run.batch}/", ".parquet")),
            run_key=run.run_key,
        )

    def _outputs(self, prefix: str, suffix: str) -> list[Output]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.platform.bucket, Prefix=prefix)
        items = (item for page in pages for item in page.get("Contents", []))
        return [
            Output(key=item["Key"], size=item["Size"], etag=item["ETag"].strip('"'))
            for item in items
            if item["Key"].endswith(suffix)
        ]

    # -- model ------------------------------------------------------------------------------------------------------------------------

    def training_request(
        self, plan: Mapping[str, Any], dataset: Mapping[str, Any], params: Mapping[str, Any], candidate: str
    ) -> dict[str, Any] | None:
        """Train one candidate, unless the run's parameters left it out."""
        chosen = self._candidate(plan, params, candidate)
        if chosen is None:
            return None
        return job_requests.training_request(
            self.config, self.platform, RunPlan.model_validate(plan), chosen, dataset["manifests"]
        )

    def training_context(
        self, plan: Mapping[str, Any], dataset: Mapping[str, Any], params: Mapping[str, Any], candidate: str
    ) -> SdkContext | None:
        """Tell ``training(ctx)`` of sdk_jobs.py what to train, unless the run's parameters left the candidate out."""
        chosen = self._candidate(plan, params, candidate)
        if chosen is None:
            return None
        return sdk_context.training_context(
            self.config, self.platform, RunPlan.model_validate(plan), chosen, dataset["manifests"]
        )

    def _candidate(self, plan: Mapping[str, Any], params: Mapping[str, Any], name: str) -> Candidate | None:
        """Return a candidate with the run's hyperparameters added; None when the run does not train it."""
        if name not in plan["candidates"]:
            return None
        declared = next(item for item in self.config.training.candidates if item.name == name)
        return declared.model_copy(
            update={"hyperparameters": {**declared.hyperparameters, **(params.get("hyperparameters") or {})}}
        )

    def evaluation_request(
        self, plan: Mapping[str, Any], dataset: Mapping[str, Any], trained: Sequence[Mapping[str, Any] | None]
    ) -> dict[str, Any]:
        """Score the best candidate and the champion on the same test rows."""
        run, models = RunPlan.model_validate(plan), self._judged_models(plan, trained)
        return job_requests.evaluation_request(self.config, self.platform, run, dataset["manifests"]["test"], *models)

    def evaluation_context(
        self, plan: Mapping[str, Any], dataset: Mapping[str, Any], trained: Sequence[Mapping[str, Any] | None]
    ) -> SdkContext:
        """Tell ``evaluation(ctx)`` of sdk_jobs.py what to score."""
        run, models = RunPlan.model_validate(plan), self._judged_models(plan, trained)
        return sdk_context.evaluation_context(self.config, self.platform, run, dataset["manifests"]["test"], *models)

    def _judged_models(
        self, plan: Mapping[str, Any], trained: Sequence[Mapping[str, Any] | None]
    ) -> tuple[str, str | None]:
        """Return the artifacts of the best candidate and of the champion, if there is one."""
        champion = RunPlan.model_validate(plan).champion
        return self.best_candidate(trained)["model_data"], champion.model_data if champion else None

    def best_candidate(self, trained: Sequence[Mapping[str, Any] | None]) -> Mapping[str, Any]:
        """Return the training result with the smallest selection metric.

        Raises:
            AirflowFailException: a job did not report the metric that has to choose between candidates.

        """
        try:
            return judgement.best_candidate(trained, self.config.training.selection_metric)
        except judgement.JudgementError as error:
            raise AirflowFailException(str(error)) from error

    def analyze_results(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Let the Lambda function read the evaluation's rows, and return its statistics."""
        run, platform = RunPlan.model_validate(plan), self.platform
        uri = f"s3://{platform.bucket}/{run.run_prefix}evaluation/rows.csv"
        try:
            analysis = judgement.analyze(self.access, platform.analyze_function, uri)
        except judgement.JudgementError as error:
            raise AirflowFailException(str(error)) from error
        put_json(self._s3, f"s3://{platform.bucket}/{run.run_prefix}analysis.json", analysis)
        return analysis

    def check_threshold(
        self, plan: Mapping[str, Any], analysis: Mapping[str, Any], params: Mapping[str, Any], ti: Any
    ) -> str:
        """Decide on the challenger; return the branch to follow."""
        run = RunPlan.model_validate(plan)
        decision = decide(analysis, self._policy(params))
        document = {
            "decision": decision.decision,
            "promote": decision.promote,
            "reason": decision.reason,
            "numbers": dict(decision.numbers),
        }
        put_json(self._s3, f"s3://{self.platform.bucket}/{run.run_prefix}decision.json", document)
        ti.xcom_push(key="decision", value=document)
        log.info("%s: %s", decision.decision, decision.reason)
        return "approved" if decision.promote else "rejected"

    def after_approval(self, params: Mapping[str, Any]) -> str:
        """Choose what follows a positive decision: a person's word, the registry, or only the report."""
        if params.get("dry_run"):
            return "publish_report"
        return "await_approval" if params.get("require_approval") else "register_model"

    def register_model(
        self,
        plan: Mapping[str, Any],
        dataset: Mapping[str, Any],
        trained: Sequence[Any],
        evaluated: Any,
        decision: Mapping[str, Any],
        params: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """Register the candidate: pending until it serves when it was approved, rejected otherwise; nothing in a dry run."""
        if params.get("dry_run"):
            return None
        run = RunPlan.model_validate(plan)
        challenger = self.best_candidate(trained)
        status = registry.PENDING if decision["promote"] else registry.REJECTED
        try:
            registered = registry.register(
                self._sagemaker,
                self.config.name,
                job_requests.serving_container(self.config, self.platform, challenger["model_data"]),
                status,
                f"s3://{self.platform.bucket}/{run.run_prefix}analysis.json",
                decision["reason"],
                {
                    "run_key": run.run_key,
                    "work_digest": run.work_digest,
                    "dataset_version": str(dataset["version"]),
                    "training_job": challenger["name"],
                    "evaluation_job": evaluated["name"],
                    "code_digest": run.code_digest,
                    "decision": decision["decision"],
                    "champion": run.champion.package_arn if run.champion else "none",
                },
            )
        except registry.AbandonedError as error:
            raise AirflowFailException(str(error)) from error
        return registered.model_dump()

    # -- serving ----------------------------------------------------------------------------------------------------------------------

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

    # -- telling ----------------------------------------------------------------------------------------------------------------------

    def publish_report(
        self,
        plan: Mapping[str, Any],
        dataset: Mapping[str, Any],
        trained: Sequence[Any],
        evaluated: Mapping[str, Any],
        analysis: Mapping[str, Any],
        decision: Mapping[str, Any],
        params: Mapping[str, Any],
        registered: Mapping[str, Any] | None,
        rejected: Mapping[str, Any] | None,
        verified: Mapping[str, Any] | None,
        dag_run: Any,
    ) -> dict[str, Any]:
        """Write the run's summary and report, note in the dataset log that this version has a judged model, and tell the topic."""
        run = RunPlan.model_validate(plan)
        package = registered or rejected
        outcome = decision["decision"]
        if decision["promote"] and not verified:
            outcome = "approved, not deployed (dry run)"
            if not params.get("dry_run"):
                outcome = "declined by a person"
                declined = {**decision, "promote": False, "decision": outcome}
                package = self.register_model(plan, dataset, trained, evaluated, declined, params)
        champion = analysis.get("champion")
        summary = {
            "model": run.model,
            "run_key": run.run_key,
            "dataset_version": dataset["version"],
            **dataset["rows"],
            "rows_by_split": dataset["rows_by_split"],
            "rmse_challenger": analysis["challenger"]["rmse"],
            "rmse_champion": champion["rmse"] if champion else None,
            "decision": outcome,
            "reason": decision["reason"],
            "endpoint": self.config.deployment.endpoint if verified else None,
            "endpoint_config": verified["config"] if verified else None,
            "model_package": package["arn"] if package else None,
            "training_job": self.best_candidate(trained)["name"],
            "smoke": verified["smoke"] if verified else None,
        }
        platform = self.platform
        report = write_report(
            self._s3,
            platform,
            run,
            lineage_of(run, platform, summary, trained, evaluated),
            summary=summary,
            analysis=analysis,
            decision=decision,
            target=self.config.contract.target,
            group=self.config.evaluation.group,
            created_at=_now(),
        )
        summary["report"] = report
        put_json(self._s3, f"s3://{platform.bucket}/{run.run_prefix}summary.json", summary)
        if package:  # a dry run leaves the version unjudged, so that a real run follows
            self._judged(run, outcome, package["arn"])
        self.outcomes.tell(outcome_of(summary, analysis, decision, report, platform.region), dag_run)
        return summary

    def stop_leftovers(self) -> list[str]:
        """Stop what is still in progress when the run ends; a model has one run at a time, so no task waits for it."""
        stopped = leftovers.stop_leftovers(self.access, self.config.name, self.platform.glue_job)
        for title in stopped:
            log.warning("%s was still in progress without a task and is stopped", title)
        return stopped

    def note_failure(self, context: Any) -> None:
        """Note why a task failed, for the message; the failure callback of every task."""
        self.outcomes.note_failure(context)

    def notify_failure(self, context: Any) -> None:
        """Tell the topic that a run failed or refused its data; the DAG's failure callback."""
        self.outcomes.tell_failure(context)

    # -- shared -----------------------------------------------------------------------------------------------------------------------

    def _landed(self) -> list[Any]:
        return landed_files(self._s3, self.platform.bucket, f"{self.config.name}/", self.config.landing)

    def _selected(self, params: Mapping[str, Any]) -> list[str]:
        names = [candidate.name for candidate in self.config.training.candidates]
        wanted = params.get("candidate")
        return names if wanted in (None, "all") else [wanted]

    def _policy(self, params: Mapping[str, Any]) -> Any:
        threshold = params.get("rmse_threshold")
        policy = self.config.gate
        return policy if threshold is None else policy.model_copy(update={"rmse_threshold": threshold})

    def _settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        dumped = self.config.model_dump(mode="json", include={"training", "evaluation", "contract", "split"})
        forms = {"steps": self.config.steps.model_dump()} if self.config.steps.sdk else {}
        return {
            **dumped,
            **forms,
            "gate": self._policy(params).model_dump(mode="json"),
            "candidates": self._selected(params),
            "hyperparameters": params.get("hyperparameters") or {},
        }

    def _judged(self, run: RunPlan, decision: str, package: str) -> None:
        """Note in the dataset log that the run's dataset version has a judged model."""
        self._dataset.note_trained(
            TrainedNote(
                version=run.version, run_key=run.run_key, decision=decision, model_package=package, created_at=_now()
            )
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
