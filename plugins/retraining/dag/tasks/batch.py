"""Task bodies of batch scoring: claim files, score them, publish the results."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from retraining.aws.documents import copy_as_listed, get_json, put_bytes_once, put_json_once, split_uri, utc_now
from retraining.aws.naming import digest
from retraining.contract.plain_text import plain
from retraining.dag.asking import environment_name, run_is_over
from retraining.dag.tasks.base import TaskBodies
from retraining.jobs import leftovers
from retraining.jobs.code_bundle import code_digest, code_files, document_bytes, put_code
from retraining.jobs.job import Asker
from retraining.serving import batch
from retraining.serving.batch import BatchFile, Scorer
from retraining.telling.outcomes import Outcome

log = logging.getLogger(__name__)


class BatchTasks(TaskBodies):
    """Task bodies of one model's batch scoring."""

    @property
    def _prefix(self) -> str:
        return f"{self.config.name}/"

    def claim_files(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Fix what this run scores, and with which model: the files are copied as they are now, code and job.json are uploaded.

        Raises:
            AirflowSkipException: there is nothing to score.
            AirflowFailException: there are files, but no model, or its artifact was exchanged.

        """
        config, bucket = self.config, self.platform.bucket
        files, ignored = batch.listed_files(self._listing(batch.IN), self._prefix)
        for key, reason in ignored.items():
            log.info("%s is passed over: %s", plain(key), reason)
        if not files:
            raise AirflowSkipException(f"no file lies below s3://{bucket}/{self._prefix}{batch.IN}")
        scorer = batch.scorer(self._sagemaker, config.name, config.endpoint)
        if scorer is None:
            raise AirflowFailException(
                f"{len(files)} file(s) wait below s3://{bucket}/{self._prefix}{batch.IN}, but {config.name} has no approved model "
                f"to score them with: let {config.name.replace('-', '_')}_retraining make one"
            )
        if scorer.own:
            raise AirflowFailException(
                f"model {scorer.version} of {config.name} serves from a container of its own, which has no code that reads files: "
                f"{len(files)} file(s) wait. Ask its endpoint, or take them out of s3://{bucket}/{self._prefix}{batch.IN}"
            )
        known = batch.standings((item["Key"] for item in self._listing(batch.OUT)), self._prefix)
        again = bool(params.get("again"))
        chosen, left = batch.due(files, known, scorer.version, config.batch.volume_gb, again)
        if not chosen:
            raise AirflowSkipException(f"all {len(files)} file(s) have been scored: nothing to do")
        pinned = self.pinned(f"model {scorer.version}", scorer.model_data, scorer.sha256)
        scorer = scorer.model_copy(update={"sha256": pinned})
        work = f"{self._prefix}{batch.WORK}{digest({'files': [file.model_dump() for file in chosen], 'by': scorer.version})}/"
        kept: list[BatchFile] = []
        for file in chosen:
            if self._pinned(file, f"{work}in/{batch.numbered(len(kept))}"):
                kept.append(file)
        if not kept:
            raise AirflowSkipException(
                "the files changed while they were claimed; the next run takes them as they are now"
            )
        log.info("model %s scores %d file(s); %d wait for the next run", scorer.version, len(kept), left)
        return self._plan(scorer, kept, work)

    def score_request(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Build the request of the job that scores the claimed files."""
        return batch.batch_request(self.config, self.platform, Scorer.model_validate(plan["scorer"]), plan["places"])

    def publish_scores(self, plan: Mapping[str, Any], dag_run: Any) -> dict[str, Any]:
        """Put the results of each file into its folder, and then its record; publish a message about what was scored."""
        scorer = Scorer.model_validate(plan["scorer"])
        output, root = plan["places"]["output"], f"s3://{self.platform.bucket}/{self._prefix}"
        records = []
        for number, entry in enumerate(plan["files"]):
            file, made = BatchFile.model_validate(entry), f"{output}{batch.numbered(number)}/"
            report = get_json(self._s3, f"{made}report.json")
            folder = root + batch.folder_of(file, scorer.version)
            refused = report["outcome"] == "refused"
            for name in () if refused else batch.RESULTS:
                self._copy(made + name, folder + name)
            record = {
                **report,
                "etag": file.etag,
                "model_package": scorer.package_arn,
                "model_data": scorer.model_data,
                "folder": None if refused else folder,
                "published_at": utc_now(),
            }
            records.append(put_json_once(self._s3, folder + (batch.REFUSED if refused else batch.RECORD), record))
        self.outcomes.tell(batch_outcome(records, scorer.version), dag_run)
        return {
            "model": scorer.version,
            "files": len(records),
            "refused": sum(record["outcome"] == "refused" for record in records),
            "rows": sum(record["scored"] for record in records),
            "rejected": sum(record["rejected"] for record in records),
            "folders": [record["folder"] for record in records if record["folder"]][:20],
        }

    def stop_leftovers(self, dag_run: Any) -> list[str]:
        """Stop the jobs of this run that are still in progress when it ends, and those of earlier runs that are over."""
        asker = Asker(environment_name(), dag_run.dag_id, dag_run.run_id)
        return leftovers.stop_leftovers(
            self.access, self.config.name, self.platform.glue_job, asker, lambda run: run_is_over(dag_run.dag_id, run)
        )

    def _plan(self, scorer: Scorer, files: Sequence[BatchFile], work: str) -> dict[str, Any]:
        root = f"s3://{self.platform.bucket}/"
        code = code_files(self.folder, self.config)
        document = batch.job_document(self.config, scorer, files)
        places = {
            "code": f"{root}{self._prefix}code/{code_digest(code)}/",
            "job": f"{root}{self._prefix}code/jobs/{digest(document)}/",
            "files": f"{root}{work}in/",
            "output": f"{root}{work}out-{digest(document)}/",
        }
        put_code(self._s3, places["code"], code)
        put_bytes_once(self._s3, f"{places['job']}job.json", document_bytes(document), "application/json")
        return {
            "scorer": scorer.model_dump(),
            "files": [file.model_dump() for file in files],
            "places": places,
        }

    def _listing(self, folder: str) -> Iterator[Mapping[str, Any]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.platform.bucket, Prefix=self._prefix + folder
        )
        return (item for page in pages for item in page.get("Contents", []))

    def _pinned(self, file: BatchFile, target: str) -> bool:
        """Copy a file as it was listed; False when it has changed or gone since."""
        key = f"{self._prefix}{batch.IN}{file.path}"
        if copy_as_listed(self._s3, self.platform.bucket, key, file.etag, target):
            return True
        log.info("%s changed since it was listed; the next run takes it", plain(key))
        return False

    def _copy(self, source: str, target: str) -> None:
        (bucket, key), (_, to) = split_uri(source), split_uri(target)
        self._s3.copy({"Bucket": bucket, "Key": key}, bucket, to, ExtraArgs={"TaggingDirective": "REPLACE"})


def batch_outcome(records: Sequence[Mapping[str, Any]], version: str) -> Outcome:
    """Return what the topic is told of a batch: how many rows were scored, and which files somebody should look at."""
    scored, rejected = (sum(record[name] for record in records) for name in ("scored", "rejected"))
    refused = [record for record in records if record["outcome"] == "refused"]
    odd = refused + [record for record in records if record["outcome"] != "refused" and record["reason"]]
    sentence = f"{len(records) - len(refused)} file(s) scored with model {version}: {scored:,} rows"
    if rejected:
        sentence += f", {rejected:,} set aside with their reasons"
    if unexplained := [record for record in records if record.get("unexplained")]:
        rows = sum(record["unexplained"] for record in unexplained)
        sentence += f"; {rows:,} row(s) without the explanation that batch.explain asks for: {unexplained[0]['why_unexplained']}"
    if refused:
        sentence += f"; {len(refused)} file(s) refused"
    facts = [(plain(record["key"], 60), record["reason"]) for record in odd[:10]]
    links = [("Results", record["folder"]) for record in records if record["folder"]][:10]
    return Outcome("batch scored" if not odd else "batch needs a look", f"{sentence}.", facts, links)
