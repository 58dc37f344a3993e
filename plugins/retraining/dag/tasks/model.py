"""Task bodies from a dataset version to a decision: train, evaluate, analyse, decide, register."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from retraining.aws.documents import get_json, put_bytes_once, put_json
from retraining.contract.notation.training_format import CSV_WITHOUT_HEADER
from retraining.dag.tasks.base import TaskBodies
from retraining.jobs import requests as job_requests
from retraining.jobs.code_bundle import (
    champion_document,
    document_bytes,
    document_uri,
    evaluation_document,
    training_document,
)
from retraining.jobs.plan import Champion, RunPlan
from retraining.jobs.tuning.request import trial_document, tuning_request
from retraining.judging import candidates as judgement
from retraining.judging.evaluation_rows import CLARIFY_ANALYSIS, analysis_event, explanation
from retraining.judging.gate import decide
from retraining.judging.looks import note_look, rows_digest
from retraining.judging.model_card import with_metric
from retraining.judging.paired_losses import read_losses
from retraining.sdk import context as sdk_context
from retraining.sdk.context import SdkContext
from retraining.serving import registry
from retraining.serving.deployment import SCORED, ensure_model
from retraining.serving.pinning import SHA256
from retraining.settings.contract_keys import Contract
from retraining.settings.model_config import ModelConfig
from retraining.settings.training.candidate import Candidate

CHAMPION_ANSWERS = "champion_answers.jsonl"
"""What an evaluation reads of a champion that was scored apart, as ``inside.elsewhere.written`` has it."""

log = logging.getLogger(__name__)


def branches(promote: bool, params: Mapping[str, Any]) -> list[str]:
    """Return the tasks that follow a decision; where a run asks a person, the question is one of them. A dry run asks nobody."""
    if not promote:
        return ["rejected"]
    asked = params.get("require_approval") and not params.get("dry_run")
    return ["approved", "ask_for_approval"] if asked else ["approved"]


class ModelTasks(TaskBodies):
    """Task bodies of the model phase."""

    def list_candidates(self, plan: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return what the training task is mapped over: the candidates of the plan, whatever model.yaml says by now."""
        return [{"candidate": name} for name in plan["candidates"]]

    def training_request(
        self, plan: Mapping[str, Any], dataset: Mapping[str, Any], params: Mapping[str, Any], candidate: str
    ) -> dict[str, Any] | None:
        """Train one candidate, unless the run's parameters left it out."""
        chosen = self._candidate(plan, params, candidate)
        if chosen is None:
            return None
        run, config = RunPlan.model_validate(plan), self.planned(plan)
        self._tell_job(run, training_document(config, run, chosen))
        return job_requests.training_request(config, self.platform, run, chosen, dataset["manifests"])

    def tuning_request(
        self, plan: Mapping[str, Any], dataset: Mapping[str, Any], params: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Search the hyperparameters of a candidate, if the run has any to search."""
        run, config = RunPlan.model_validate(plan), self.planned(plan)
        tuning = config.training.tuning
        if tuning is None or not run.searched:
            return None
        chosen = self._candidate(plan, params, tuning.candidate or config.training.candidates[0].name)
        if chosen is None:
            return None
        self._tell_job(run, trial_document(config, run, chosen))
        return tuning_request(config, self.platform, run, chosen, dataset["manifests"])

    def tuned(self, plan: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result of a search: with what its best trial is called beside the candidates, and what it is chosen by."""
        training = self.planned(plan).training
        best = with_metric(self.access, self._pinned_result(result["best"]), training.selection_metric)
        return {**result, "best": best, "candidate": training.tuned_name}

    def _pinned_choice(self, best: Mapping[str, Any]) -> str:
        """Return the digest of the artifact of the chosen candidate, which is still the one that its training left."""
        return self.pinned(f"candidate {judgement.candidate_of(best)}", str(best["model_data"]), best.get(SHA256, ""))

    def _pinned_champion(self, champion: Champion) -> str:
        return self.pinned("the champion", champion.model_data, champion.artifact_sha256)

    def _pinned_result(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result of a training job with the digest of its artifact, which is fixed by this."""
        return {**result, SHA256: self.pinned(f"training job {result['name']}", result["model_data"])}

    def training_context(
        self, plan: Mapping[str, Any], dataset: Mapping[str, Any], params: Mapping[str, Any], candidate: str
    ) -> SdkContext | None:
        """Tell ``training(ctx)`` of sdk_jobs.py what to train, unless the run's parameters left the candidate out."""
        chosen = self._candidate(plan, params, candidate)
        if chosen is None:
            return None
        run, config = RunPlan.model_validate(plan), self.planned(plan)
        self._tell_job(run, training_document(config, run, chosen))
        return sdk_context.training_context(config, self.platform, run, chosen, dataset["manifests"])

    def _tell_job(self, run: RunPlan, document: Mapping[str, Any]) -> None:
        """Put job.json where the job's request says it is."""
        uri = f"{document_uri(self.platform.bucket, run, document)}job.json"
        put_bytes_once(self._s3, uri, document_bytes(document), "application/json")

    def _candidate(self, plan: Mapping[str, Any], params: Mapping[str, Any], name: str) -> Candidate | None:
        """Return a candidate with the run's hyperparameters added; None when the run does not train it."""
        if name not in plan["candidates"]:
            return None
        declared = next(item for item in self.planned(plan).training.candidates if item.name == name)
        return declared.model_copy(
            update={"hyperparameters": {**declared.hyperparameters, **(params.get("hyperparameters") or {})}}
        )

    def champion_request(self, plan: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any] | None:
        """Score the champion where it serves: in its own container, or in its image if the challenger would serve in another one.

        Raises:
            AirflowFailException: it serves in its own container, which cannot be asked for the rows as they are now.

        """
        run, config = RunPlan.model_validate(plan), self.planned(plan)
        champion = run.champion
        if champion is None or not job_requests.scored_apart(config, self.platform, champion):
            return None
        digests = {"champion": self._pinned_champion(champion)}
        if champion.own:
            if unfit := self._unfit(config, run, champion):
                raise AirflowFailException(unfit)
            container = {"Image": champion.image, "ModelDataUrl": champion.model_data}
            return self._transform(config, container, dataset, run.champion_uri(self.platform.bucket))
        self._tell_job(run, champion_document(config, run, digests))
        rows = dataset["manifests"]["test"]
        return job_requests.champion_request(config, self.platform, run, rows, champion, digests)

    def challenger_request(
        self, plan: Mapping[str, Any], dataset: Mapping[str, Any], trained: Sequence[Mapping[str, Any] | None]
    ) -> dict[str, Any] | None:
        """Ask the best candidate for its answers to the test rows, if it has a container of its own."""
        run, config = RunPlan.model_validate(plan), self.planned(plan)
        best = self.choice(plan, trained).best
        if not config.training.container_of(judgement.candidate_of(best)):
            return None
        self._pinned_choice(best)
        return self._transform(config, self._serving(plan, best), dataset, run.challenger_uri(self.platform.bucket))

    def _transform(
        self, config: ModelConfig, container: Mapping[str, Any], dataset: Mapping[str, Any], output: str
    ) -> dict[str, Any]:
        """Return the request of the job that asks a container for the test rows, in the role of evaluations."""
        role, isolated = self.platform.evaluate_role_arn, config.evaluation.network_isolation
        model = ensure_model(self._sagemaker, config.name, container, role, isolated, SCORED)
        return job_requests.transform_request(config, model, dataset["manifests"]["test"], output)

    def _serving(self, plan: Mapping[str, Any], best: Mapping[str, Any]) -> dict[str, Any]:
        """Return the container that serves the chosen candidate."""
        name = judgement.candidate_of(best)
        return job_requests.serving_container(self.planned(plan), self.platform, str(best["model_data"]), name)

    def _unfit(self, config: ModelConfig, run: RunPlan, champion: Champion) -> str:
        """Return why a champion with a container of its own cannot be asked for the test rows; empty when it can.

        It takes values by their place. Rows of other columns than those it was trained with would be answered, and wrongly.
        """
        if config.training.format != CSV_WITHOUT_HEADER:
            return (
                f"the champion takes lines of CSV without a header, and training.format is {config.training.format} now"
            )
        try:
            made = get_json(self._s3, f"s3://{self.platform.bucket}/{run.prefix}runs/{champion.run_key}/plan.json")
            then = Contract.model_validate(made["config"]["contract"]).training_columns
        except (LookupError, ValueError):
            return "the champion takes values by their place, and nothing says which columns it was trained with"
        now = config.contract.training_columns
        if then != now:
            return f"the champion takes values by their place: it was trained with {', '.join(then)}; there are {', '.join(now)} now"
        return ""

    def _no_answers(self, run: RunPlan) -> str:
        return f"{run.champion_uri(self.platform.bucket)}{CHAMPION_ANSWERS}"

    def evaluation_request(
        self,
        plan: Mapping[str, Any],
        dataset: Mapping[str, Any],
        trained: Sequence[Mapping[str, Any] | None],
        scored: Mapping[str, Any] | None = None,
        asked: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Score the best candidate and the champion on the same test rows, or take the answers of those that were scored apart."""
        run, config = RunPlan.model_validate(plan), self.planned(plan)
        models, digests = self._judged_models(plan, trained)
        challenger, champion = models
        if scored and "warning" in scored and not (run.champion and run.champion.own):
            log.warning("the champion is scored in the image of the evaluation: in its own %s", scored["warning"])
        elif scored and run.champion:
            champion = run.champion_uri(self.platform.bucket)
            if "warning" in scored:  # its container did not answer, and the evaluation goes on without it
                words = json.dumps({"failed": scored["warning"]}).encode()
                put_bytes_once(self._s3, self._no_answers(run), words, "application/json")
        if asked:
            challenger = run.challenger_uri(self.platform.bucket)
        self._tell_job(run, evaluation_document(config, run, digests))
        rows = dataset["manifests"]["test"]
        return job_requests.evaluation_request(config, self.platform, run, rows, challenger, champion, digests)

    def evaluation_context(
        self, plan: Mapping[str, Any], dataset: Mapping[str, Any], trained: Sequence[Mapping[str, Any] | None]
    ) -> SdkContext:
        """Tell ``evaluation(ctx)`` of sdk_jobs.py what to score."""
        run, config = RunPlan.model_validate(plan), self.planned(plan)
        models, digests = self._judged_models(plan, trained)
        self._tell_job(run, evaluation_document(config, run, digests))
        rows = dataset["manifests"]["test"]
        return sdk_context.evaluation_context(config, self.platform, run, rows, *models, digests)

    def _judged_models(
        self, plan: Mapping[str, Any], trained: Sequence[Mapping[str, Any] | None]
    ) -> tuple[tuple[str, str | None], dict[str, str]]:
        """Return the artifacts of the best candidate and of the champion, if there is one, and the digests of both by role.

        Raises:
            AirflowFailException: one was exchanged since its training ended.

        """
        champion = RunPlan.model_validate(plan).champion
        choice = self.choice(plan, trained)
        for name, why in choice.left_out.items():
            log.warning("candidate %s goes no further: %s", name, why)
        best, digests = str(choice.best["model_data"]), {"challenger": self._pinned_choice(choice.best)}
        if champion is None:
            return (best, None), digests
        digests["champion"] = self._pinned_champion(champion)
        return (best, champion.model_data), digests

    def trained(self, plan: Mapping[str, Any], result: Mapping[str, Any], task: Any) -> dict[str, Any]:
        """Return the result of a training job with the candidate that it trained, what it is chosen by, and its artifact's digest."""
        training, candidate = self.planned(plan).training, task.op_kwargs["candidate"]
        result = self._pinned_result(result)
        chosen = len(training.candidates) > 1 or training.tuning
        known = with_metric(self.access, result, training.selection_metric) if chosen else result
        return {**known, "candidate": candidate}

    def choice(self, plan: Mapping[str, Any], trained: Sequence[Mapping[str, Any] | None]) -> judgement.Choice:
        """Choose between the candidates of a run, as the configuration in its plan says.

        Raises:
            AirflowFailException: too few candidates trained and report a finite metric.

        """
        try:
            training = self.planned(plan).training
            planned = [*plan["candidates"], *([training.tuned_name] if plan.get("searched") else [])]
            return judgement.choose(planned, trained, training, lambda artifact: read_losses(self.access, artifact))
        except judgement.JudgementError as error:
            raise AirflowFailException(str(error)) from error

    def analyze_results(self, plan: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
        """Let the Lambda function read the evaluation's rows, count this look at them, and return the statistics."""
        run, platform = RunPlan.model_validate(plan), self.platform
        evaluation = f"s3://{platform.bucket}/{run.run_prefix}evaluation/"
        event, champion_failed = analysis_event(self._s3, evaluation, self._dataset.read(), self.planned(plan).gate)
        try:
            analysis = judgement.analyze(self.access, platform.analyze_function, event)
        except judgement.JudgementError as error:
            raise AirflowFailException(str(error)) from error
        analysis["champion_failed"] = champion_failed
        rows = rows_digest(dataset["manifests"]["test"])
        analysis["looks"] = note_look(self._s3, platform.bucket, run.prefix, rows, run.run_key, "retraining")
        put_json(self._s3, f"s3://{platform.bucket}/{run.run_prefix}analysis.json", analysis)
        return analysis

    def check_threshold(
        self,
        plan: Mapping[str, Any],
        dataset: Mapping[str, Any],
        analysis: Mapping[str, Any],
        params: Mapping[str, Any],
        ti: Any,
    ) -> list[str]:
        """Decide on the challenger; return the branches to follow."""
        run = RunPlan.model_validate(plan)
        growth = self._growth(run, dataset["rows_by_split"]) if run.champion else None
        decision = decide(
            analysis, self._policy(params, self.planned(plan)), growth=growth, looks=analysis.get("looks")
        )
        document = decision.as_dict()
        put_json(self._s3, f"s3://{self.platform.bucket}/{run.run_prefix}decision.json", document)
        ti.xcom_push(key="decision", value=document)
        log.info("%s: %s", decision.decision, decision.reason)
        return branches(decision.promote, params)

    def _growth(self, run: RunPlan, rows_by_split: Mapping[str, int]) -> float | None:
        """Return by which share the training rows have grown since the champion's; None when its version is not known."""
        version = run.champion.dataset_version if run.champion else None
        state = self._dataset.read()
        if version is None or not 1 <= version <= state.latest:
            return None
        before = state.at(version).rows_by_split().get("train", 0)
        return rows_by_split.get("train", 0) / before - 1 if before else None

    def register_model(
        self,
        plan: Mapping[str, Any],
        dataset: Mapping[str, Any],
        trained: Sequence[Any],
        evaluated: Any,
        decision: Mapping[str, Any],
        params: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """Register the candidate: pending until it serves when it was approved, rejected otherwise; nothing in a dry run.

        Raises:
            AirflowSkipException: a dry run approves it; so nothing is deployed either.

        """
        if params.get("dry_run"):
            if decision["promote"]:
                raise AirflowSkipException("a dry run registers and deploys nothing")
            return None
        run = RunPlan.model_validate(plan)
        challenger = self.choice(plan, trained).best
        status = registry.PENDING if decision["promote"] else registry.REJECTED
        evaluation = f"s3://{self.platform.bucket}/{run.run_prefix}evaluation/"
        explained = explanation(self._s3, evaluation, CLARIFY_ANALYSIS) is not None
        try:
            registered = registry.register(
                self._sagemaker,
                self.config.name,
                self._serving(plan, challenger),
                status,
                f"s3://{self.platform.bucket}/{run.run_prefix}analysis.json",
                decision["reason"],
                {
                    "run_key": run.run_key,
                    **self._lineage(run, dataset, challenger),
                    SHA256: self._pinned_choice(challenger),
                    "evaluation_job": evaluated["name"],
                    "decision": decision["decision"],
                    "champion": run.champion.package_arn if run.champion else "none",
                },
                f"{evaluation}{CLARIFY_ANALYSIS}" if explained else None,
            )
        except registry.AbandonedError as error:
            raise AirflowFailException(str(error)) from error
        return registered.model_dump()

    def _lineage(self, run: RunPlan, dataset: Mapping[str, Any], challenger: Mapping[str, Any]) -> dict[str, str]:
        """Return what made the challenger, for its package."""
        return {
            "work_digest": run.work_digest,
            "dataset_version": str(dataset["version"]),
            "training_job": challenger["name"],
            "code_digest": run.code_digest,
        }
