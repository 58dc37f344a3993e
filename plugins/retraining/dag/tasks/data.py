"""Task bodies from the landing zone to a dataset version: sense, claim, crawl, merge, commit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from retraining.aws.documents import get_json, put_bytes_once, put_json, put_json_once, utc_now
from retraining.aws.naming import digest
from retraining.dag.tasks.base import TaskBodies
from retraining.dataset.landing_zone import landed_files, split_settled
from retraining.dataset.log import (
    Output,
    Refusal,
    Version,
    VersionConflictError,
    batch_digest,
    manifest_entries,
    new_files,
)
from retraining.jobs import requests as job_requests
from retraining.jobs.code_bundle import code_digest, code_files, source_archive
from retraining.jobs.plan import RunPlan, make_plan, merge_manifest
from retraining.serving import registry
from retraining.settings.contract_keys import schema_differences

log = logging.getLogger(__name__)


class DataRefusedError(AirflowFailException):
    """A batch is over its budget of bad rows; the run ends, and its message says ``data refused``."""

    outcome = "data refused"


class DataTasks(TaskBodies):
    """Task bodies of the data phase."""

    def look_for_work(self, context: Any) -> tuple[str | None, float | None]:
        """Return the reason to run, if any, and how many seconds unsettled files still need."""
        self._check_parameters(context["params"])
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
        self._check_parameters(params)
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
            Refusal(batch=str(run.batch), created_at=utc_now(), files=manifest["files"], rows=dict(rows), reason=reason)
        )
        raise DataRefusedError(
            f"batch {run.batch} is refused, nothing was merged: {reason}. Rejected rows: {manifest['quarantine']}batch={run.batch}/. "
            f"Its files are not tried again unless released: python -m retraining.command.dataset release {self.config.name} {run.batch}"
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
            created_at=utc_now(),
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

    def _landed(self) -> list[Any]:
        return landed_files(self._s3, self.platform.bucket, f"{self.config.name}/", self.config.landing)

    def _selected(self, params: Mapping[str, Any]) -> list[str]:
        names = [candidate.name for candidate in self.config.training.candidates]
        wanted = params.get("candidate")
        return names if wanted in (None, "all") else [wanted]

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
