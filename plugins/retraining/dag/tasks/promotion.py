"""The bodies of a promotion's steps: those of a retraining, with a model that another deployment trained and serves.

Champion, test rows, gate, registry, endpoint, verification, report and message are those of the deployment of this process.
"""

from __future__ import annotations

import base64
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retraining.aws.clients import client
from retraining.aws.documents import get_json, put_bytes_once, put_json, put_json_once
from retraining.aws.platform_parameter import read_platform
from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.jobs import requests as job_requests
from retraining.jobs.code_bundle import code_digest, code_files, put_code
from retraining.jobs.plan import RunPlan
from retraining.judging.gate import decide
from retraining.serving import champion, registry, verification
from retraining.serving.pinning import SHA256
from retraining.serving.promoting import source as sources
from retraining.serving.promoting import system_tests
from retraining.serving.promoting.source import PromotionError, Source
from retraining.serving.registry import Package
from retraining.settings.environment import environment, platform_parameter
from retraining.settings.model_config import ModelConfig
from retraining.telling.outcomes import Outcome
from retraining.telling.run_report import outcome_of

CANDIDATE = "promoted"
NO_JOB = "none"
JUDGED_BY = {"training", "evaluation", "contract", "split", "gate", "deployment", "task"}
"""Sections of the configuration that take part in judging and serving."""

log = logging.getLogger(__name__)


class PromotionTasks(RetrainingTasks):
    """Step bodies of one model's promotion.

    Args:
        config: the model's configuration.
        folder: the model's folder, whose code evaluates.
        origin: the deployment that the model comes from.
        who: who promotes, for the registry.

    """

    def __init__(self, config: ModelConfig, folder: Path, origin: str, who: str) -> None:
        super().__init__(config, folder)
        self.origin = origin
        self.who = who

    # -- what there is to promote ------------------------------------------------------------------------------------------------------

    def find_source(self) -> Source:
        """Return the model that serves in the other deployment; see ``source.find_source``."""
        parameter = platform_parameter(self.config.name, self.origin)
        return sources.find_source(
            self._sagemaker, self.config, self.origin, read_platform(parameter, self.access).bucket
        )

    def fingerprint(self, source: Source) -> str:
        """Return the SHA-256 of the source's artifact, which is still the one that was judged there.

        Raises:
            PromotionError: it is gone, or was exchanged.

        """
        found = sources.fetch(self._s3, source.package.model_data)
        known = source.package.metadata.get(SHA256, found)
        if found != known:
            raise PromotionError(
                f"the artifact of model package {source.package.version} of deployment {self.origin}, {source.package.model_data}, was "
                f"exchanged: its SHA-256 was {known} after its training and is {found} now. Restore the version of the object that "
                "has the first digest"
            )
        return found

    def artifact_uri(self, sha256: str) -> str:
        """Return where an artifact lies once it is promoted."""
        return f"s3://{self.platform.bucket}/{sources.artifact_key(self.config.name, sha256)}"

    def promoted_before(self, sha256: str) -> Package | None:
        """Return this deployment's package of an artifact if it is the champion.

        Raises:
            PromotionError: a rollback of this deployment took the model out of service.

        """
        uri = self.artifact_uri(sha256)
        known = [item for item in registry.packages(self._sagemaker, self.config.name) if item.model_data == uri]
        now = champion.standing(self._sagemaker, self.config.name, self.config.endpoint)
        for package in known:
            if registry.ABANDONED in package.metadata:
                raise PromotionError(
                    f"deployment {environment()} went back from this model ({package.arn}: {package.reason}). The rollback DAG brings it "
                    "back if it shall serve: name this package there"
                )
        approved = [item for item in known if item.status == registry.APPROVED]
        return approved[0] if approved and now.champion and now.champion.model_data == uri else None

    def plan(self, source: Source, sha256: str, uncompared: bool = False) -> RunPlan:
        """Return the plan of the promotion; nothing is written.

        Args:
            source: the model.
            sha256: of its artifact.
            uncompared: whether it may take over without being compared with the champion, where there is no data set to compare on.

        Raises:
            PromotionError: this deployment would use another model than was tested, or cannot compare it with its champion.

        """
        config = self.config
        image = job_requests.serving_container(config, self.platform, "")["Image"]
        made = sources.document(self._s3, source, "plan.json")
        if wrong := sources.unlike(config, image, source, made):
            raise PromotionError(
                f"model package {source.package.version} of deployment {self.origin} was made under another configuration than "
                f"model.yaml has here: {'; '.join(wrong)}. Deploy the same model.yaml to both, and let a run there make the model anew"
            )
        if kept := champion.conversion(self._sagemaker, config):
            raise PromotionError(kept)
        now = champion.standing(self._sagemaker, config.name, config.endpoint)
        state = self._dataset.read()
        self._require_same_contract(state, None)
        if now.champion and not state.latest and not uncompared:
            raise PromotionError(
                f"deployment {environment()} has no data set of {config.name}, so the model cannot be compared with the champion there "
                f"({now.champion.package_arn or now.champion.model_data}): send data there first, or let it take over by the guards alone "
                "with UNCOMPARED=1"
            )
        against = (now.champion.package_arn or now.champion.model_data) if now.champion else None
        settings = config.model_dump(mode="json", include=JUDGED_BY)
        key = sources.run_key(state.latest, sha256, against, settings)
        return RunPlan(
            model=config.name,
            run_key=key,
            work_digest="",
            version=state.latest,
            batch=None,
            code_digest=code_digest(code_files(self.folder, config)),
            candidates=(CANDIDATE,),
            champion=now.champion,
            reason=f"promoted from {self.origin}, package {source.package.version}",
            standing=now.disagreement,
            config=config.model_dump(mode="json", exclude={"aws"}),
        )

    # -- the steps ---------------------------------------------------------------------------------------------------------------------

    def test_source(self, source: Source, limit_ms: float) -> list[system_tests.Result]:
        """Play the system tests against the other deployment's endpoint; none of a model without an endpoint.

        Raises:
            SystemTestError: one failed.
            VerificationError: it answers otherwise than its evaluation did.
            UnansweredError: it could not be asked.
            OvertakenError: it serves another model by now.

        """
        if source.endpoint is None or source.endpoint_config is None:
            return []
        smoke = sources.document(self._s3, source, "evaluation/smoke.json")
        runtime = client("sagemaker-runtime", self.access)
        tolerance = self.config.deployment.smoke_tolerance
        verification.verify(self._sagemaker, runtime, source.endpoint, source.endpoint_config, smoke, tolerance)
        rows = len(verification.smoke_rows(smoke))
        first = system_tests.Result(
            test="answers of its own evaluation", passed=True, seen=f"{rows} requests answered as the evaluation did"
        )
        results = system_tests.play(system_tests.Endpoint(runtime, source.endpoint), self.config, smoke, limit_ms)
        system_tests.require([first, *results], source.endpoint)
        return [first, *results]

    def begin(
        self, plan: RunPlan, source: Source, sha256: str, tested: Sequence[system_tests.Result]
    ) -> dict[str, Any]:
        """Write down plan, origin and system tests, and put the code where jobs find it; return the plan as the first call wrote it."""
        root = f"s3://{self.platform.bucket}/{plan.run_prefix}"
        standing = put_json_once(self._s3, f"{root}plan.json", plan.model_dump(mode="json"))
        put_json(
            self._s3,
            f"{root}promotion.json",
            {
                "source": source.model_dump(mode="json"),
                "artifact_sha256": sha256,
                "who": self.who,
                "system_tests": [result.model_dump(mode="json") for result in tested],
            },
        )
        put_code(self._s3, plan.code_uri(self.platform.bucket), code_files(self.folder, self.config), archive=True)
        return dict(standing)

    def take_over(self, plan: Mapping[str, Any], source: Source, sha256: str) -> list[dict[str, Any]]:
        """Copy the artifact and its source package, byte for byte; return the artifact as a training job's result would name it.

        Raises:
            PromotionError: the artifact is another one by now, or what lies under its name here is.

        """
        from botocore.exceptions import ClientError

        bucket, key = self.platform.bucket, sources.artifact_key(self.config.name, sha256)
        with tempfile.TemporaryFile() as file:
            found = sources.fetch(self._s3, source.package.model_data, file)
            file.seek(0)
            try:
                self._s3.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=file,
                    ContentType="application/gzip",
                    IfNoneMatch="*",
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(found)).decode(),
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                    raise
        copied = sources.fetch(self._s3, f"s3://{bucket}/{key}")
        if not found == copied == sha256:
            raise PromotionError(
                f"the artifact of model package {source.package.version} is not the one that was tested: SHA-256 {sha256} was tested, "
                f"{found} lies there now, {copied} at s3://{bucket}/{key}. Repeat the command"
            )
        code = source.lineage["code_digest"]
        if code:
            folder = f"{self.config.name}/code/{code}/"
            put_code(self._s3, f"s3://{bucket}/{folder}", dict(sources.objects(self._s3, source.bucket, folder)))
        return [
            {
                "name": source.lineage["training_job"] or NO_JOB,
                "candidate": CANDIDATE,
                "model_data": f"s3://{bucket}/{key}",
                SHA256: sha256,
                "metrics": {},
            }
        ]

    def find_test_rows(self, plan: Mapping[str, Any], source: Source, dag_run: Any) -> dict[str, Any]:
        """Return the data set whose test rows judge; without one take over what the other deployment's evaluation left."""
        run = RunPlan.model_validate(plan)
        if run.version:
            return self.check_data_quality(plan, {}, dag_run)
        for name, content in sources.objects(self._s3, source.bucket, source.evaluation):
            uri = f"s3://{self.platform.bucket}/{run.run_prefix}evaluation/{name}"
            put_bytes_once(self._s3, uri, content, "application/octet-stream")
        rows = {"rows_new": 0, "rows_accepted": 0, "rows_duplicate": 0, "rows_quarantined": 0}
        return {
            "version": 0,
            "manifests": {},
            "rows": rows,
            "rows_by_split": {},
            "refused": [],
            "files_refused": 0,
        }

    def analyze(self, plan: Mapping[str, Any], dataset: Mapping[str, Any], source: Source) -> dict[str, Any]:
        """Return the statistics of the evaluation; without a data set those of the other deployment, without its champion."""
        if dataset["version"]:
            return self.analyze_results(plan, dataset)
        run = RunPlan.model_validate(plan)
        theirs = sources.document(self._s3, source, "analysis.json")
        analysis = {**theirs, "champion": None, "paired": None, "looks": None, "champion_failed": None}
        if "groups" in theirs:
            alone = {name: {**group, "champion": None} for name, group in (theirs["groups"] or {}).items()}
            analysis["groups"] = alone
        put_json(self._s3, f"s3://{self.platform.bucket}/{run.run_prefix}analysis.json", analysis)
        return analysis

    def judge(self, plan: Mapping[str, Any], dataset: Mapping[str, Any], analysis: Mapping[str, Any]) -> dict[str, Any]:
        """Return the gate's decision, by the rules of this deployment."""
        run = RunPlan.model_validate(plan)
        own = bool(dataset["version"])
        rows = "test rows" if own else f"test rows of deployment {self.origin}"
        decided = decide(analysis, self._policy({}, self.planned(plan)), looks=analysis.get("looks"), rows=rows)
        document = decided.as_dict()
        if not own:
            document["reason"] = f"Nothing was compared, as {environment()} has no data set. {decided.reason}"
        put_json(self._s3, f"s3://{self.platform.bucket}/{run.run_prefix}decision.json", document)
        return document

    # -- where a promotion differs from a retraining -----------------------------------------------------------------------------------

    def _lineage(self, run: RunPlan, dataset: Mapping[str, Any], challenger: Mapping[str, Any]) -> dict[str, str]:
        """Return what made the model, wherever that was, and how it came here.

        Neither ``dataset_version`` nor ``work_digest``: they would be taken for those of this deployment's own data set.
        """
        root = f"s3://{self.platform.bucket}/{run.run_prefix}"
        noted = get_json(self._s3, f"{root}promotion.json")
        source = Source.model_validate(noted["source"])
        return {
            **source.lineage,
            "promoted_from": source.package.arn,
            "promoted_by": self.who,
            "judged_on_version": str(dataset["version"]),
        }

    def _note_judged(self, version: int, run_key: str, decision: str, package: str) -> None:
        """Note nothing: no model was trained on this deployment's data set, and its own runs still have that to do."""

    def _told(self, summary: Mapping[str, Any], analysis: Mapping[str, Any], decision: Mapping[str, Any]) -> Outcome:
        return outcome_of(summary, analysis, decision, page="", region=self.platform.region, link=self._link)
