"""The course of an experiment: read production, train, evaluate, judge, and write down what came out beside production."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiment import sweep
from experiment.account import Consent
from experiment.comparison import Change, Outcome
from experiment.jobs import Interruption, JobRunner, Step
from experiment.model_folder import ModelFolder
from experiment.overrides import Options, Override, OverrideError, check_hyperparameters, configure, effective, find
from experiment.overrides import apply as with_overrides
from experiment.plan import Data, ExperimentPlan, data_at, experiment_context, job_owner, make_plan, manifest_uris
from experiment.progress import Progress
from retraining.aws.clients import client
from retraining.aws.documents import put_bytes_once, put_json, put_json_once
from retraining.aws.platform_parameter import reach_platform
from retraining.dataset.log import DatasetLog, LogState
from retraining.jobs.code_bundle import (
    code_digest,
    code_files,
    document_bytes,
    document_uri,
    evaluation_document,
    put_code,
    training_document,
)
from retraining.jobs.job import JobError
from retraining.judging.candidates import analyze, choose
from retraining.judging.evaluation_rows import analysis_event
from retraining.judging.gate import decide
from retraining.judging.looks import note_look, rows_digest
from retraining.judging.model_card import with_metric
from retraining.judging.paired_losses import read_losses
from retraining.sdk.context import evaluation_context, training_context
from retraining.serving.champion import standing
from retraining.settings.access import AwsAccess
from retraining.settings.platform import Platform
from retraining.settings.training.candidate import Candidate


@dataclass(frozen=True)
class Surroundings:
    """What production has, as the experiment found it."""

    access: AwsAccess
    platform: Platform
    state: LogState
    data: Data
    plan: ExperimentPlan
    manifests: Mapping[str, str]
    """S3 URI of the dataset version's manifest by split."""


class Experiment:
    """A variation of a model.

    Args:
        folder: the model folder.
        settings: ``PATH=VALUE`` each.
        candidate: train this candidate only; also the one that short forms are about.
        sweeps: ``PATH=VALUE,VALUE,...`` each, hyperparameters of one candidate: every combination trains, and the candidate as it is.

    Raises:
        OverrideError: a setting is wrong, or there is no such candidate.

    """

    def __init__(
        self, folder: ModelFolder, settings: Sequence[str], candidate: str | None, sweeps: Sequence[str] = ()
    ) -> None:
        values, options = folder.values, folder.options
        self.folder = folder
        self.overrides = find(values, settings, candidate, options)
        self.config = configure(values, self.overrides)
        if options:
            check_hyperparameters(with_overrides(values, self.overrides), options)
        self.changes = [_change(values, override, options) for override in self.overrides]
        self.points = sweep.points(values, settings, sweeps, candidate, options) if sweeps else []
        if self.points:
            sweep.check(self.config)
            candidate = self.points[0].candidate.name
        declared = self.config.training.candidates
        self.candidates = [item for item in declared if candidate in (None, item.name)]
        if own := [item.name for item in self.candidates if item.container]:
            raise OverrideError(
                f"candidate {own[0]!r} has a container, and an experiment asks no container: leave it out with --candidate, or let a dry "
                "run of the DAG judge it"
            )
        if not self.candidates:
            names = ", ".join(item.name for item in declared)
            raise OverrideError(f"there is no candidate {candidate!r}; model.yaml has {names}")

    def run(self, version: int | None, progress: Progress, interruption: Interruption, consent: Consent) -> Outcome:
        """Carry it out.

        Args:
            version: dataset version, None for the newest.
            progress: told what goes on.
            interruption: whose signals to hold while a job is created.
            consent: asked before the first job, when the account is not this machine's.

        Raises:
            RefusedError: the jobs may not be started.
            UnreachableError: there is no data platform.
            LookupError: there is no such dataset version, or no data.
            JobError: a job cannot be started or failed.
            JudgementError: the jobs do not give what the decision needs.

        """
        found = self._look_around(version, progress, consent)
        owner, seconds = job_owner(self.config.name), found.platform.poll_seconds
        runner = JobRunner(self.folder.path, found.access, owner, seconds, progress, interruption)
        board: Mapping[str, Any] | None = None
        results: Sequence[Mapping[str, Any]]
        if self.points:
            results, best, board = self._swept(found, runner)
        else:
            results, best = self._trained(found, runner)
        [evaluated] = runner.run([self._evaluation(found, best["model_data"])])
        outcome = self._judge(found, results, best, evaluated, progress, board)
        progress.clear()
        return outcome

    def _trained(self, found: Surroundings, runner: JobRunner) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
        """Train the candidates; return the results, and the one that goes on."""
        trained = runner.run([self._training(found, item) for item in self.candidates])
        names = [item.name for item in self.candidates]
        metric = self.config.training.selection_metric
        if len(names) > 1:
            trained = [with_metric(found.access, job, metric) for job in trained]
        results = [{**job, "candidate": name} for name, job in zip(names, trained, strict=True)]
        return results, choose(names, results, self.config.training).best

    def _swept(
        self, found: Surroundings, runner: JobRunner
    ) -> tuple[list[Mapping[str, Any]], Mapping[str, Any], dict[str, Any]]:
        """Train the candidate and the points of the sweep; return the results that count, the one that goes on, and the leaderboard.

        Raises:
            JobError: the candidate as it is declared failed.
            JudgementError: no point reports the selection metric.

        """
        [declared], training = self.candidates, self.config.training
        others = [point for point in self.points if point.candidate != declared]
        steps = [self._training(found, declared)]
        for point in others:
            words = ", ".join(f"{name} {value}" for name, value in point.values.items())
            steps.append(self._training(found, point.candidate, f" with {words}"))
        jobs = runner.run_some(steps, training.parallel or sweep.AT_ONCE)
        known = [job and with_metric(found.access, job, training.selection_metric) for job in jobs]
        if known[0] is None:
            raise JobError(
                f"candidate {declared.name} failed as it is declared: there is nothing to compare the sweep with"
            )
        base = {**known[0], "candidate": declared.name}
        swept = [
            (point, known[0] if point.candidate == declared else known[1 + others.index(point)])
            for point in self.points
        ]
        best, board = sweep.best_of(swept, base, self.config, lambda artifact: read_losses(found.access, artifact))
        return [base] if best is base else [base, best], best, board

    def _look_around(self, version: int | None, progress: Progress, consent: Consent) -> Surroundings:
        """Read what production has, fix what the experiment works on, and write down the lists of its data."""
        config = self.config
        # An Airflow connection is Airflow's matter: here the standard AWS variables say where to.
        access = config.aws.model_copy(update={"conn_id": None})
        production = reach_platform(config.platform_parameter, access)
        roles = dict.fromkeys(("train_role_arn", "evaluate_role_arn"), production.experiment_role_arn)
        platform = production.model_copy(
            update=roles
        )  # its jobs may read what production has, and write experiments only
        progress.say(f"{config.name}: {_account(platform)}")
        s3 = client("s3", access)
        log = DatasetLog(s3, platform.bucket, f"{config.name}/").read()
        state, data = data_at(log, version, config.name, platform.bucket, config.training.format)
        champion = standing(client("sagemaker", access), config.name, config.endpoint).champion
        if champion and champion.own:
            raise OverrideError(
                "the champion serves from a container of its own, and an experiment asks no container: let a dry run of the DAG judge the "
                "change"
            )
        code = code_files(self.folder.path, config)
        trained = [*self.candidates, *(point.candidate for point in self.points)]
        plan = make_plan(config, state, code_digest(code), trained, champion)
        against = f"champion version {champion.package_arn.rsplit('/', 1)[-1]}" if champion else "no champion yet"
        progress.say(f"experiment {plan.run_key} on dataset version {plan.version}, {against}")
        consent.to(_account(platform))
        put_code(s3, plan.code_uri(platform.bucket), code)
        manifests = manifest_uris(data, plan, platform.bucket)
        for split, uri in manifests.items():
            put_json_once(s3, uri, data.manifests[split])
        return Surroundings(access, platform, state, data, plan, manifests)

    def _training(self, found: Surroundings, candidate: Candidate, words: str = "") -> Step:
        self._tell_job(found, training_document(self.config, found.plan, candidate))
        context = training_context(self.config, found.platform, found.plan, candidate, found.manifests)
        return Step(f"training of {candidate.name}{words}", "training", experiment_context(context))

    def _tell_job(self, found: Surroundings, document: Mapping[str, Any]) -> None:
        """Put job.json where the job's context says it is."""
        uri = f"{document_uri(found.platform.bucket, found.plan, document)}job.json"
        put_bytes_once(client("s3", found.access), uri, document_bytes(document), "application/json")

    def _evaluation(self, found: Surroundings, challenger: str) -> Step:
        champion = found.plan.champion.model_data if found.plan.champion else None
        # Never the test rows: who tries many variations on them would choose the luckiest, and the gate could not tell.
        seen = found.manifests["validation"]
        known = found.plan.champion.artifact_sha256 if found.plan.champion else ""
        digests = {"champion": known} if known else {}
        self._tell_job(found, evaluation_document(self.config, found.plan, digests))
        context = evaluation_context(self.config, found.platform, found.plan, seen, challenger, champion, digests)
        return Step("evaluation", "evaluation", experiment_context(context))

    def _judge(
        self,
        found: Surroundings,
        trained: Sequence[Mapping[str, Any]],
        best: Mapping[str, Any],
        evaluated: Mapping[str, Any],
        progress: Progress,
        board: Mapping[str, Any] | None,
    ) -> Outcome:
        """Analyse and decide as the DAG does, and write the outcome down beside the evaluation."""
        plan, s3 = found.plan, client("s3", found.access)
        root = f"s3://{found.platform.bucket}/{plan.run_prefix}"
        progress.tick("analysis: the Lambda function reads the evaluation's rows")
        event, failed = analysis_event(s3, f"{root}evaluation/", found.state, self.config.gate)
        analysis = {**analyze(found.access, found.platform.analyze_function, event), "champion_failed": failed}
        digest = rows_digest(found.manifests["validation"])
        looks = note_look(s3, found.platform.bucket, plan.prefix, digest, plan.run_key, "experiment")
        outcome = Outcome(
            model=self.config.name,
            key=plan.run_key,
            dataset_version=plan.version,
            rows_by_split=dict(found.data.rows_by_split),
            changes=[*self.changes, *self._swept_changes(board)],
            training=[_trained(job, best) for job in trained],
            sweep=board,
            evaluation=_job(evaluated),
            champion=plan.champion.package_arn if plan.champion else None,
            analysis=analysis,
            group=self.config.evaluation.group or "",
            decision=decide(analysis, self.config.gate, looks=looks, rows="validation rows").as_dict(),
            outputs=root,
        )
        put_json(s3, f"{root}experiment.json", outcome.as_dict())
        return outcome

    def _swept_changes(self, board: Mapping[str, Any] | None) -> list[Change]:
        """Return what the best point of a sweep changes, if it goes on."""
        if not board or not board["chosen"]:
            return []
        best = next(point for point in self.points if list(point.settings) == board["settings"])
        return [_change(self.folder.values, override, self.folder.options) for override in best.overrides]


def _change(values: dict[str, Any], override: Override, options: Options | None) -> Change:
    before, default = effective(values, override, options)
    return Change(override.path, before, override.value, default)


def _account(platform: Platform) -> str:
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    where = f"at {endpoint}" if endpoint else f"in {platform.region}"
    return f"account {platform.account} {where}"


def _trained(job: Mapping[str, Any], best: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "candidate": job["candidate"],
        **_job(job),
        "metrics": job["metrics"],
        "model_data": job["model_data"],
        "chosen": best["candidate"] == job["candidate"],
    }


def _job(job: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": job["name"], "seconds": job.get("seconds"), "reused": job["reused"]}
