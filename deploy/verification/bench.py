"""What the stages of a verification share: sessions, model, journal, and how they note what they saw."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from deploy import artifacts, data_platform
from deploy.environment import Project
from deploy.settings import Deployment
from deploy.stacks import StackRequest, deploy_stack, outputs
from deploy.verification import playing, removal
from deploy.verification.journal import AWS, Journal
from deploy.verification.questions import AS_EXPECTED, DIFFERS, NEEDS_AWS, QUESTIONS
from retraining.settings.model_config import ModelConfig, load_model_config

GUARD_TEMPLATE = artifacts.ROOT / "infra" / "verification.yaml"
LONGEST_SEEN = 500


@dataclass
class Bench:
    """One verification.

    Args:
        session: boto3 session of who deploys.
        deployment: the deployment that it makes.
        folder: of the model.
        journal: what was done and found so far.
        hours: until the timer deletes the endpoint.
        say: takes one line of progress.

    """

    session: Any
    deployment: Deployment
    folder: Path
    journal: Journal
    hours: float
    say: Callable[[str], None]
    config: ModelConfig = field(init=False)

    def __post_init__(self) -> None:
        """Read the model."""
        self.config = load_model_config(self.folder / "model.yaml")

    @property
    def on_aws(self) -> bool:
        """Whether the account is AWS's own, so that every question can be asked."""
        return self.journal.place.where == AWS

    @cached_property
    def project(self) -> Project:
        """The deployment, without MWAA."""
        return Project(self.session, self.deployment, self.say, with_environment=False, chosen=[self.config])

    @cached_property
    def player(self) -> playing.Player:
        """The tasks, played in the role that has the policies of the DAGs."""
        return playing.Player(self.folder, self.journal, self.say)

    @property
    def guard_name(self) -> str:
        """Name of the stack with role and timer."""
        return f"{self.deployment.environment_name}-verification"

    @property
    def bucket(self) -> str:
        """The model's data bucket."""
        return data_platform.data_bucket(self.session, self.deployment.name, self.config.name)

    @property
    def run_prefix(self) -> str:
        """Where the run's documents lie in the bucket."""
        return f"{self.config.name}/runs/{self.journal.results['claim_new_data']['run_key']}/"

    @property
    def estate(self) -> removal.Estate:
        """What has to be taken down."""
        merged = self.journal.results.get("preprocess_data") or {}
        runs = tuple(str(merged[name]) for name in ("run_id", "name") if merged.get(name))
        return removal.Estate(self.session, self.deployment.name, self.config.name, runs)

    def result(self, task: str) -> Any:
        """Return what a task returned."""
        return self.journal.results[task]

    def answer(self, question: str, as_expected: bool, seen: str) -> None:
        """Note what was seen."""
        text = " ".join(str(seen).split()).replace(self.journal.place.account, "ACCOUNT")[:LONGEST_SEEN]
        self.say(f"  {'ok' if as_expected else 'DIFFERS'}  {question}: {text}")
        self.journal.answer(question, AS_EXPECTED if as_expected else DIFFERS, text)

    def asks(self, question: str) -> bool:
        """Tell whether a question can be asked here; one that only AWS can answer is noted as such elsewhere."""
        [known] = [item for item in QUESTIONS if item.name == question]
        if known.only_aws and not self.on_aws:
            self.journal.answer(question, NEEDS_AWS, "a local account has nothing that could answer it")
            return False
        return True

    def stored(self, prefix: str = "") -> list[str]:
        """Return the keys of the model's bucket."""
        pages = self.session.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def document(self, name: str) -> Any:
        """Return a document of the run."""
        body = self.session.client("s3").get_object(Bucket=self.bucket, Key=f"{self.run_prefix}{name}")["Body"].read()
        return json.loads(body)

    def guard(self, seconds: float | None = None) -> None:
        """Make role and timer, or set the timer anew: to ``hours`` from now, or to so many seconds."""
        ends = datetime.now(UTC) + (timedelta(hours=self.hours) if seconds is None else timedelta(seconds=seconds))
        access = f"{self.deployment.environment_name}-{self.config.name}-access"
        policies = outputs(self.session, access)
        request = StackRequest(
            self.guard_name,
            GUARD_TEMPLATE.read_text(encoding="utf-8"),
            {
                "EndpointName": str(self.project.endpoint(self.config)).lower(),
                "TaskPolicyArns": f"{policies['DataAccessArn']},{policies['ModelAccessArn']}",
                "DeleteAt": ends.strftime("%Y-%m-%dT%H:%M:%S"),
            },
            self.project.tags,
        )
        deploy_stack(self.session, request, lambda line: None)
        self.say(f"  the timer in the account deletes the endpoint at {ends:%Y-%m-%d %H:%M} UTC")

    def act_as_tasks(self) -> None:
        """Let what is played from now on have the rights of the DAGs, and no others."""
        playing.take_on(self.session, outputs(self.session, self.guard_name)["TaskRoleArn"])
