"""Task body of the commit: judge what the merge made of each file, and make the next dataset version of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from retraining.aws.clients import client
from retraining.aws.documents import get_json, put_json, utc_now
from retraining.aws.naming import digest
from retraining.contract.notation.training_format import CSV_WITHOUT_HEADER
from retraining.dag.tasks.base import TaskBodies
from retraining.dataset.catalogue import NOT_SHOWN, keep_catalogue, not_shown
from retraining.dataset.contract_change import contract_record
from retraining.dataset.log import VersionConflictError
from retraining.dataset.outputs import SPLITS, batch_outputs
from retraining.dataset.records import MERGED, FileRecord, FileVerdict, Judgement, Version
from retraining.dataset.state import LogState, manifest_entries
from retraining.dataset.verdicts import refusal_lines, refusals, release_command, verdicts_of
from retraining.jobs.plan import RunPlan
from retraining.telling.outcomes import Outcome

NO_ROWS = {"rows_new": 0, "rows_accepted": 0, "rows_duplicate": 0, "rows_quarantined": 0}

log = logging.getLogger(__name__)


class DataRefusedError(AirflowFailException):
    """No file of a batch could be merged and some were refused; the run ends, and its message says ``data refused``."""

    outcome = "data refused"


class CommitTasks(TaskBodies):
    """Task bodies that end the data phase."""

    def check_data_quality(self, plan: Mapping[str, Any], params: Mapping[str, Any], dag_run: Any) -> dict[str, Any]:
        """Read the merge's verdict on each file and commit the merged ones as the next dataset version.

        Returns:
            The dataset version and S3 URIs of its manifests per split, the batch's row counts, and its refused files in words.

        Raises:
            DataRefusedError: no file could be merged, and at least one was refused.
            AirflowSkipException: the files add no row to a data set that has a judged model already, or too few.
            AirflowFailException: another run committed first, or a split is empty.

        """
        run, bucket = RunPlan.model_validate(plan), self.platform.bucket
        rows = dict(NO_ROWS)
        refused: list[FileVerdict] = []
        if run.batch:
            manifest = get_json(self._s3, run.manifest_uri(bucket))
            report = get_json(self._s3, manifest["report"])
            rows = {name: int(report[name]) for name in rows}
            merged, left_out = verdicts_of(report, manifest)
            refused = refusals(left_out)
            for line in refusal_lines(refused):
                log.warning("refused: %s", line)
            known = {entry["key"] for entry in manifest["files"] if entry.get("known")}
            if all(told["key"] in known for told in report["files"] if told["outcome"] == MERGED):
                self._judge(run, left_out, rows)
            try:
                self._dataset.commit(self._version(run, manifest, report, merged, left_out, rows))
            except VersionConflictError as error:
                raise AirflowFailException(str(error)) from error
        whole = self._dataset.read()
        if run.batch:
            self._show_in_catalogue(whole)
        state = whole.at(run.version)
        if run.batch and not rows["rows_accepted"] and not state.untrained and not params.get("force_retrain"):
            self._skip_without_rows(run, rows, refused, dag_run)
        too_few = state.gathering(self.planned(plan).schedule.min_rows)
        if run.batch and too_few and not params.get("force_retrain"):
            self._skip_too_few(run, too_few, refused, dag_run)
        uris, form = {}, self.planned(plan).training.format
        for split in SPLITS:
            entries = manifest_entries(bucket, run.prefix, state.training_objects(split, form))
            if len(entries) == 1:
                raise AirflowFailException(
                    f"dataset version {run.version} has no {split} rows; add real data, or change split in model.yaml"
                )
            uri = f"s3://{bucket}/{run.prefix}dataset/manifests/{run.version:06d}-{split}-{digest(entries)}.json"
            uris[split] = put_json(self._s3, uri, entries)
        totals = state.rows_by_split()
        log.info("dataset version %d: %s; this batch: %s", run.version, totals, rows)
        return {
            "version": run.version,
            "manifests": uris,
            "rows": rows,
            "rows_by_split": totals,
            "refused": refusal_lines(refused),
            "files_refused": len(refused),
        }

    def _show_in_catalogue(self, state: LogState) -> None:
        """Bring the table in the Glue catalogue up to the log; no run fails because of it, only queries of people read it."""
        database = self.platform.glue_database
        try:
            keep_catalogue(client("glue", self.access), database, self.platform.bucket, state)
        except NOT_SHOWN as error:
            log.warning("%s", not_shown(database, self.config.name, error))

    def _judge(self, run: RunPlan, left_out: Sequence[FileVerdict], rows: Mapping[str, int]) -> None:
        """Record a batch without a merged file, and end the run: red when a file was refused."""
        batch = str(run.batch)
        self._dataset.judge(Judgement(batch=batch, created_at=utc_now(), files=tuple(left_out), rows=dict(rows)))
        refused = refusals(left_out)
        if not refused:
            raise AirflowSkipException("nothing but markers and leftovers of tools landed: there is nothing to merge")
        lines = "\n".join(f"  {line}" for line in refusal_lines(refused))
        model = self.config.name
        are = "file is" if len(refused) == 1 else "files are"
        raise DataRefusedError(
            f"{len(refused)} {are} refused, nothing was merged:\n{lines}\n"
            "Upload mended files under the same or another name. The rejected rows:\n"
            f"  make dataset-log COMMAND='quarantine {model} {batch}'\n"
            "To take the files as they are (with --accept also beyond the budget of bad rows):\n"
            f"  {release_command(model, batch)}"
        )

    def _skip_without_rows(
        self, run: RunPlan, rows: Mapping[str, int], refused: Sequence[FileVerdict], dag_run: Any
    ) -> None:
        """End a run whose files add no row; people are told when rows or files were turned away."""
        words = (
            f"the new files add no row ({rows['rows_duplicate']} duplicate, {rows['rows_quarantined']} quarantined of "
            f"{rows['rows_new']}): there is nothing to train on that was not trained on before"
        )
        if refused or rows["rows_quarantined"]:
            sentence = "\n".join([*(f"Refused: {line}" for line in refusal_lines(refused)), words])
            facts = [("Run", run.run_key), ("Dataset version", str(run.version)), ("Batch", run.batch)]
            self.outcomes.tell(Outcome("no new rows", sentence, facts), dag_run)
        raise AirflowSkipException(words)

    def _skip_too_few(self, run: RunPlan, words: str, refused: Sequence[FileVerdict], dag_run: Any) -> None:
        """End a run whose rows wait for others; people are told when files were turned away."""
        words = f"{words}. Dataset version {run.version} has the rows, and the run that trains takes them along"
        if refused:
            sentence = "\n".join([*(f"Refused: {line}" for line in refusal_lines(refused)), words])
            facts = [("Run", run.run_key), ("Dataset version", str(run.version)), ("Batch", run.batch)]
            self.outcomes.tell(Outcome("rows gathered", sentence, facts), dag_run)
        raise AirflowSkipException(words)

    def _version(
        self,
        run: RunPlan,
        manifest: Mapping[str, Any],
        report: Mapping[str, Any],
        merged: Sequence[FileRecord],
        left_out: Sequence[FileVerdict],
        rows: Mapping[str, int],
    ) -> Version:
        return Version(
            version=run.version,
            batch=str(run.batch),
            created_at=utc_now(),
            files=tuple(merged),
            left_out=tuple(left_out),
            rows=dict(rows),
            rows_by_split=report["rows_by_split"],
            **batch_outputs(self._s3, self.platform.bucket, f"{run.prefix}dataset/", str(run.batch)),
            run_key=run.run_key,
            contract=contract_record(manifest["contract"], manifest["split"]),
            training_format=manifest.get("training_format") or CSV_WITHOUT_HEADER,
            boundaries=report.get("boundaries") or {},
            starts_anew=bool(manifest.get("starts_anew")),
        )
