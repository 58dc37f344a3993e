"""The course of an experiment: read production, train, evaluate, judge, and write down what came out beside production."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

from experiment.comparison import Change, Outcome
from experiment.jobs import Interruption, JobRunner, Step
from experiment.model_folder import ModelFolder
from experiment.overrides import Options, Override, OverrideError, check_hyperparameters, configure, effective, find
from experiment.overrides import apply as with_overrides
from experiment.plan import data_at, experiment_context, job_owner, make_plan, manifest_uris
from experiment.progress import Progress
from retraining import registry
from retraining.aws_clients import client
from retraining.code_bundle import code_digest, code_files
from retraining.config import Candidate
from retraining.dataset_log import DatasetLog
from retraining.documents import put_json, put_json_once, split_uri
from retraining.gate import decide
from retraining.judgement import analyze, best_candidate
from retraining.platform_settings import Platform, reach_platform
from retraining.report import summarise_rows
from retraining.sdk_context import evaluation_context, training_context


class Experiment:
    """A variation of a model.

    Args:
        folder: the model folder.
        settings: ``PATH=VALUE`` each.
        candidate: train this candidate only; also the one that short forms are about.

    Raises:
        OverrideError: a setting is wrong, or there is no such candidate.

    """

    def __init__(self, folder: ModelFolder, settings: Sequence[str], candidate: str | None) -> None:
        values, options = folder.values, folder.options
        names = [item.name for item in configure(values, []).training.candidates]
        if candidate is not None and candidate not in names:
            raise OverrideError(f"there is no candidate {candidate!r}; model.yaml has {', '.join(names)}")
        self.folder = folder
        self.overrides = find(values, settings, candidate, options)
        self.config = configure(values, self.overrides)
        if options:
            check_hyperparameters(with_overrides(values, self.overrides), options)
        self.changes = [_change(values, override, options) for override in self.overrides]
        self.candidates = [
            item
            for item, name in zip(self.config.training.candidates, names, strict=False)
            if candidate in (None, name)
        ]

    def run(self, version: int | None, progress: Progress, interruption: Interruption) -> Outcome:
        """Carry it out.

        Args:
            version: dataset version, None for the newest.
            progress: told what goes on.
            interruption: whose signals to hold while a job is created.

        Raises:
            UnreachableError: there is no data platform.
            LookupError: there is no such dataset version, or no data.
            JobError: a job cannot be started or failed.
            JudgementError: the jobs do not give what the decision needs.

        """
        config = self.config
        # An Airflow connection is Airflow's matter: here the standard AWS variables say where to.
        access = config.aws.model_copy(update={"conn_id": None})
        platform = reach_platform(config.platform_parameter, access)
        progress.say(f"{config.name}: {_account(platform)}")
        s3, sagemaker = client("s3", access), client("sagemaker", access)
        state, data = data_at(
            DatasetLog(s3, platform.bucket, f"{config.name}/").read(), version, config.name, platform.bucket
        )
        champion = registry.champion(sagemaker, config.name)
        digest = code_digest(code_files(self.folder.path))
        plan = make_plan(config, state, digest, self.candidates, champion)
        against = f"champion version {champion.package_arn.rsplit('/', 1)[-1]}" if champion else "no champion yet"
        progress.say(f"experiment {plan.run_key} on dataset version {plan.version}, {against}")
        manifests = manifest_uris(data, plan, platform.bucket)
        for split, uri in manifests.items():
            put_json_once(s3, uri, data.manifests[split])
        runner = JobRunner(
            self.folder.path, access, job_owner(config.name), platform.poll_seconds, progress, interruption
        )
        trained = runner.run(
            [
                Step(
                    f"training of {item.name}",
                    "training",
                    experiment_context(training_context(config, platform, plan, item, manifests)),
                )
                for item in self.candidates
            ]
        )
        best = best_candidate(trained, config.training.selection_metric)
        model = champion.model_data if champion else None
        scoring = evaluation_context(config, platform, plan, manifests["test"], best["model_data"], model)
        [evaluated] = runner.run([Step("evaluation", "evaluation", experiment_context(scoring))])
        root = f"s3://{platform.bucket}/{plan.run_prefix}"
        progress.tick("analysis: the Lambda function reads the evaluation's rows")
        analysis = analyze(access, platform.analyze_function, f"{root}evaluation/rows.csv")
        outcome = Outcome(
            model=config.name,
            key=plan.run_key,
            dataset_version=plan.version,
            rows_by_split=dict(data.rows_by_split),
            changes=self.changes,
            training=[_trained(item, job, best) for item, job in zip(self.candidates, trained, strict=True)],
            evaluation=_job(evaluated),
            champion=champion.package_arn if champion else None,
            analysis=analysis,
            groups=_groups(s3, f"{root}evaluation/rows.csv"),
            group=config.evaluation.group,
            decision=decide(analysis, config.gate).as_dict(),
            outputs=root,
        )
        put_json(s3, f"{root}experiment.json", outcome.as_dict())
        progress.clear()
        return outcome


def _change(values: dict[str, Any], override: Override, options: Options | None) -> Change:
    before, default = effective(values, override, options)
    return Change(override.path, before, override.value, default)


def _account(platform: Platform) -> str:
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    where = f"at {endpoint}" if endpoint else f"in {platform.region}"
    return f"account {platform.account} {where}"


def _trained(candidate: Candidate, job: dict[str, Any], best: Any) -> dict[str, Any]:
    return {
        "candidate": candidate.name,
        **_job(job),
        "metrics": job["metrics"],
        "model_data": job["model_data"],
        "chosen": job is best,
    }


def _job(job: dict[str, Any]) -> dict[str, Any]:
    return {"name": job["name"], "seconds": job.get("seconds"), "reused": job["reused"]}


def _groups(s3: Any, uri: str) -> dict[str, Any]:
    """Read the RMSE of both models by group; the analysis has the challenger's only."""
    bucket, key = split_uri(uri)
    with io.TextIOWrapper(s3.get_object(Bucket=bucket, Key=key)["Body"], encoding="utf-8", newline="") as lines:
        return dict(summarise_rows(lines, sample=1)["groups"])
