"""All task bodies of a retraining run, and those that end it: report and leftovers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from retraining.aws.documents import put_json, utc_now
from retraining.dag.asking import answer_url, environment_name, page_url, run_is_over
from retraining.dag.tasks.commit import CommitTasks
from retraining.dag.tasks.data import DataTasks
from retraining.dag.tasks.serving import ServingTasks
from retraining.dataset.crawl_note import crawl_note
from retraining.jobs import leftovers
from retraining.jobs.job import Asker
from retraining.jobs.plan import RunPlan
from retraining.judging.gate import HEADLINES
from retraining.telling.outcomes import Outcome
from retraining.telling.run_report import lineage_of, outcome_of, write_report

SILENCE = "approval timed out"
SUMMARISED = ("n", "difference", "standard_error", "odds", "required_odds")
"""Numbers of the decision that stand in a run's summary, too."""

log = logging.getLogger(__name__)


class RetrainingTasks(DataTasks, CommitTasks, ServingTasks):
    """Task bodies of one model's retraining DAG."""

    def publish_report(
        self,
        plan: Mapping[str, Any],
        dataset: Mapping[str, Any],
        trained: Sequence[Any],
        evaluated: Mapping[str, Any],
        analysis: Mapping[str, Any],
        decision: Mapping[str, Any],
        crawled: Mapping[str, Any] | None,
        params: Mapping[str, Any],
        registered: Mapping[str, Any] | None,
        rejected: Mapping[str, Any] | None,
        verified: Mapping[str, Any] | None,
        answer: Mapping[str, Any] | None,
        dag_run: Any,
        merged: Mapping[str, Any] | None = None,
        scored: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write the run's summary and report, note in the log that this version has a judged model, and publish a message to the topic."""
        run = RunPlan.model_validate(plan)
        package = registered or rejected
        outcome = decision["decision"]
        if decision["promote"] and not verified:
            outcome = "approved, not deployed (dry run)"
            if not params.get("dry_run"):
                outcome = "declined by a person" if (answer or {}).get("responded_by_user") else SILENCE
            if outcome == "declined by a person":
                declined = {**decision, "promote": False, "decision": outcome}
                package = self.register_model(plan, dataset, trained, evaluated, declined, params)
        known: dict[str, Any] = {"dataset": dataset, "trained": trained, "evaluated": evaluated, "analysis": analysis}
        known |= {"merged": merged, "scored": scored}
        summary = self._report(run, outcome, decision, crawled, package, verified, **known)
        if (
            package
        ):  # a dry run and a question without an answer leave the version unjudged, so that another run follows
            self._judged(run, outcome, package["arn"])
        self.outcomes.tell(self._told(summary, analysis, decision), dag_run)
        return summary

    def ask_for_approval(
        self,
        plan: Mapping[str, Any],
        dataset: Mapping[str, Any],
        trained: Sequence[Any],
        evaluated: Mapping[str, Any],
        analysis: Mapping[str, Any],
        decision: Mapping[str, Any],
        crawled: Mapping[str, Any] | None,
        dag_run: Any,
        merged: Mapping[str, Any] | None = None,
        scored: Mapping[str, Any] | None = None,
    ) -> str:
        """Write the report and publish a message that a person's approval is awaited, with the link to give it; before the wait begins."""
        run, config = RunPlan.model_validate(plan), self.planned(plan)
        known: dict[str, Any] = {"dataset": dataset, "trained": trained, "evaluated": evaluated, "analysis": analysis}
        known |= {"merged": merged, "scored": scored}
        summary = self._report(run, "approval waits", decision, crawled, None, None, **known)
        told = self._told(summary, analysis, decision)
        link = answer_url(dag_run.dag_id, dag_run.run_id, "await_approval")
        hours = config.approval.timeout_hours
        sentence = (
            f"{decision['reason']} It waits up to {hours} h for a person's approval; no answer keeps the old model."
        )
        waiting = replace(told, sentence=sentence, links=[("Answer here", link), *told.links])
        self.outcomes.tell(waiting, dag_run)
        return link

    def _report(
        self,
        run: RunPlan,
        outcome: str,
        decision: Mapping[str, Any],
        crawled: Mapping[str, Any] | None,
        package: Mapping[str, Any] | None,
        verified: Mapping[str, Any] | None,
        *,
        dataset: Mapping[str, Any],
        trained: Sequence[Any],
        evaluated: Mapping[str, Any],
        analysis: Mapping[str, Any],
        merged: Mapping[str, Any] | None,
        scored: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """Write summary and report; return the summary with the report's URI."""
        plan = run.model_dump(mode="json")
        config, choice = self.planned(plan), self.choice(plan, trained)
        champion, metric = analysis.get("champion"), HEADLINES[analysis["task"]]
        summary = {
            "model": run.model,
            "run_key": run.run_key,
            "created_at": utc_now(),
            "dataset_version": dataset["version"],
            **dataset["rows"],
            "refused": dataset["refused"],
            "files_refused": dataset["files_refused"],
            "crawl": crawl_note(config.contract, crawled),
            "rows_by_split": dataset["rows_by_split"],
            "metric": metric,
            "score_challenger": analysis["challenger"][metric],
            "score_champion": champion[metric] if champion else None,
            "decision": outcome,
            "reason": decision["reason"],
            "numbers": {name: decision.get("numbers", {}).get(name) for name in SUMMARISED},
            "standing": run.standing,
            "champion_scored": _scored_where(run, scored),
            "endpoint": config.endpoint if verified else None,
            "endpoint_config": verified["config"] if verified else None,
            "promoted": bool(verified),
            "model_package": package["arn"] if package else None,
            "training_job": choice.best["name"],
            "selection_metric": config.training.selection_metric,
            "candidates": choice.as_rows(),
            "search": choice.search,
            "jobs": _jobs(merged, trained, scored, evaluated, (verified or {}).get("job")),
            "smoke": verified["smoke"] if verified else None,
        }
        platform = self.platform
        report = write_report(
            self._s3,
            platform,
            run,
            lineage_of(run, platform, summary, trained, evaluated, self._link),
            summary=summary,
            analysis=analysis,
            decision=decision,
            target=config.contract.target,
            group=config.evaluation.group or "",
            created_at=summary["created_at"],
        )
        summary["report"] = report
        put_json(self._s3, f"s3://{platform.bucket}/{run.run_prefix}summary.json", summary)
        return summary

    def _told(self, summary: Mapping[str, Any], analysis: Mapping[str, Any], decision: Mapping[str, Any]) -> Outcome:
        page = page_url(self.config.name, str(summary["run_key"]))
        return outcome_of(summary, analysis, decision, page=page, region=self.platform.region, link=self._link)

    def stop_leftovers(self, dag_run: Any) -> list[str]:
        """Stop the jobs of this run that are still in progress when it ends, and those of earlier runs that are over."""
        asker = Asker(environment_name(), dag_run.dag_id, dag_run.run_id)
        stopped = leftovers.stop_leftovers(
            self.access, self.config.name, self.platform.glue_job, asker, lambda run: run_is_over(dag_run.dag_id, run)
        )
        for title in stopped:
            log.warning("%s was still in progress without a task and is stopped", title)
        return stopped


def _scored_where(run: RunPlan, scored: Mapping[str, Any] | None) -> str:
    """Return where the champion was scored, if not simply beside the challenger."""
    if not scored or run.champion is None:
        return ""
    if "warning" in scored and run.champion.own:
        return f"nowhere: its container {run.champion.image} did not answer: {scored['warning']}"
    if "warning" in scored:
        return f"in the challenger's image, as it was not possible in {run.champion.image}: {scored['warning']}"
    what = "by its own container" if run.champion.own else "in the image that it serves in"
    return f"{what}, {run.champion.image}"


def _jobs(
    merged: Mapping[str, Any] | None,
    trained: Sequence[Any],
    scored: Mapping[str, Any] | None,
    evaluated: Mapping[str, Any],
    smoke: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """Return step, name and seconds of the jobs that succeeded; a retry that took a job over tells that job's seconds."""
    jobs = [("tuning" if job and "trials" in job else "training", job) for job in trained]
    alone = scored if scored and "name" in scored else None
    steps = [("merge", merged), *jobs, ("champion", alone), ("evaluation", evaluated), ("smoke", smoke)]
    return [{"step": step, "name": job["name"], "seconds": job.get("seconds")} for step, job in steps if job]
