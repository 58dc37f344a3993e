"""The whole loop of a model folder by its task bodies against local_aws, where every job really executes."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from boto3.session import Session
from local_account import wait_for

from deploy import data_platform
from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.jobs.kinds import JOB_KINDS
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import load_model_config


class ModelLoop:
    """A deployed model; each ``run`` merges a file, trains, evaluates, decides and deploys."""

    def __init__(self, session: Session, folder: Path) -> None:
        self.session = session
        self.folder = folder
        self.config = load_model_config(folder / "model.yaml")
        outputs = data_platform.deploy(
            session, "dev", self.config.name, {"PollSeconds": "0.2", "SettleSeconds": "0"}, lambda line: None
        )[1]
        self.bucket = outputs["DataBucketName"]

    def run(self, name: str, data: str = "", **params: Any) -> dict[str, Any]:
        """Run the DAG's tasks on a new file, or on what is there; return what each of them returned."""
        if data:
            key = f"{self.config.name}/new/{name}"
            self.session.client("s3").put_object(Bucket=self.bucket, Key=key, Body=data.encode())
        steps, pushed = RetrainingTasks(self.config, self.folder), {}
        ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}), task_id="training", log_url=None)
        run = SimpleNamespace(dag_id=f"{self.config.name}_retraining", run_id=name, clear_number=0)
        known: dict[str, Any] = {"params": params, "ti": ti, "dag_run": run, "rejected": None, "answer": None}

        def body(function: Any, **more: Any) -> Any:
            offered = {**known, **more}
            wanted = inspect.signature(function).parameters
            return function(**{key: offered[key] for key in wanted if key in offered})

        known["plan"] = body(steps.claim_new_data)
        known["crawled"] = None
        if data:
            known["crawled"] = self.job("glue_crawler", "crawl", body(steps.crawl_request))
            self.job("glue_job", "preprocess", body(steps.merge_request))
        known["dataset"] = body(steps.check_data_quality)
        known["trained"] = [
            {
                **self.job("training", "training", body(steps.training_request, candidate=candidate.name)),
                "candidate": candidate.name,
            }
            for candidate in self.config.training.candidates
        ]
        known["scored"] = self.asked("champion", body(steps.champion_request))
        known["asked"] = self.asked("challenger", body(steps.challenger_request))
        known["evaluated"] = self.job("processing", "evaluate", body(steps.evaluation_request))
        known["analysis"] = body(steps.analyze_results)
        [known["branch"]] = body(steps.check_threshold)
        known["decision"] = pushed["decision"]
        known["package"] = body(steps.register_model)
        known["registered"], known["verified"] = None, None
        known[{"approved": "registered"}.get(known["branch"], "rejected")] = known["package"]
        if known["branch"] == "approved":
            known["deployed"] = self.job("endpoint", "deploy", body(steps.deploy_request))
            known["verified"] = body(steps.verify_endpoint)
        known["summary"] = body(steps.publish_report)
        return known

    def asked(self, step: str, request: Any) -> dict[str, Any] | None:
        """Let a model answer in a job of its own, if it has to."""
        return self.job("scoring", step, request) if request else None

    def job(self, kind: str, step: str, request: Any) -> dict[str, Any]:
        """Do what an operator and its trigger do."""
        job, access = JOB_KINDS[kind], AwsAccess()
        handle = job.submit(access, self.config.name, step, request).handle
        status = wait_for(lambda: (s := job.poll(access, handle)).outcome != "running" and s, 600)
        assert status.outcome == "succeeded", (status, job.log_tail(access, handle))
        return {**job.result(access, handle), "adopted": False}
