"""The promotion from end to end: find, test, take over, judge, register, deploy, verify, report.

Each step finds what an earlier try did, so that a repetition goes on where that one ended.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import BotoCoreError, ClientError

from retraining.command.promote.playing import played
from retraining.dag.operators import AwsJobOperator
from retraining.dag.tasks.promotion import NO_JOB, PromotionTasks
from retraining.dag.verify_operator import VerifyOperator
from retraining.jobs.plan import RunPlan
from retraining.serving.promoting.source import PromotionError, Source
from retraining.serving.promoting.system_tests import Result
from retraining.settings.environment import environment
from retraining.telling.outcomes import FAILED, Outcome

PATIENCE = timedelta(minutes=30)
"""How long an endpoint that is busy or cannot be asked is asked again."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """What is to be promoted, and against what."""

    source: Source
    sha256: str
    plan: RunPlan | None
    """None when the model is the champion already."""
    standing: str = ""
    """Then the package that it is."""


class Promotion:
    """One promotion.

    Args:
        steps: the bodies of its steps.
        say: takes one line of progress.
        limit_ms: of the latency test.
        uncompared: whether the model may take over by the guards alone where there is no data set to compare on.

    """

    def __init__(self, steps: PromotionTasks, say: Say, limit_ms: float, uncompared: bool = False) -> None:
        self.steps = steps
        self.say = say
        self.limit_ms = limit_ms
        self.uncompared = uncompared

    def find(self) -> Found:
        """Find what is to be promoted; reads only.

        Raises:
            PromotionError: there is nothing to promote, or it cannot be.

        """
        steps = self.steps
        source = steps.find_source()
        sha256 = steps.fingerprint(source)
        package = source.package
        known = source.lineage
        self.say(
            f"from {source.deployment}: model package {package.version}, trained in {known['trained_in']} on dataset version "
            f"{known['trained_on_version'] or '?'} by {known['training_job'] or '?'}, SHA-256 {sha256[:16]}..."
        )
        if before := steps.promoted_before(sha256):
            return Found(source, sha256, None, f"model package {before.version} ({before.arn})")
        return Found(source, sha256, steps.plan(source, sha256, self.uncompared))

    def settle(self) -> None:
        """Finish a deployment that nobody finished, an interrupted promotion's too: verify what serves pending, approve it or take it back.

        Raises:
            PromotionError: somebody else is changing the endpoint, or holds it for a while yet.

        """
        steps = self.steps
        if steps.config.endpoint is None:
            return
        run = self._run(f"settling-{uuid.uuid4().hex[:8]}")
        if settled := played(
            self._verifying("settle_endpoint", steps.settle_endpoint, steps.settled_back, {}),
            self._context(run),
            self.say,
        ):
            self.say(str(settled))
        if pending := steps.pending():
            raise PromotionError(
                f"endpoint {steps.config.endpoint} serves {pending.arn}, which is not verified yet, and another run holds it: repeat the "
                f"command when that run has ended, at the latest in {steps.longest_hold} seconds"
            )

    def told(self, found: Found) -> list[str]:
        """Return in words what ``play`` would do."""
        source, plan, here = found.source, found.plan, environment()
        if plan is None:
            return [f"nothing to do: it is {found.standing} of {here} already, and the champion there"]
        against = (plan.champion.package_arn or plan.champion.model_data) if plan.champion else "no champion"
        rows = f"the test rows of dataset version {plan.version} of {here}"
        if not plan.version:
            rows = f"the guards of {here} alone, on the test rows of {source.deployment}, as {here} has no data set"
        config = self.steps.config
        use = f"endpoint {config.endpoint}" if config.endpoint else "a job, as there is no endpoint"
        tests = f"endpoint {source.endpoint} (answers within {self.limit_ms:g} ms)" if source.endpoint else None
        return [
            f"1. system tests of {tests}" if tests else "1. no system tests: the model has no endpoint",
            f"2. copy the artifact to {self.steps.artifact_uri(found.sha256)}",
            f"3. judge it against {against} by {rows}",
            f"4. register it in {here}, bring it into service, and verify it by {use}; run {plan.run_key}",
        ]

    def play(self, found: Found) -> dict[str, Any]:
        """Promote; return the summary of the run, whose ``promoted`` says how it ended.

        Raises:
            SystemTestError: the source failed a test; nothing was changed.
            AirflowFailException: a step failed; what was in service before still is, or serves again.

        """
        assert found.plan is not None, "what is the champion already is not promoted again"
        steps, source = self.steps, found.source
        tested = steps.test_source(source, self.limit_ms)
        self._tell_tests(tested)
        run = self._run(found.plan.run_key)
        plan = steps.begin(found.plan, source, found.sha256, tested)
        try:
            return self._judged(plan, source, found.sha256, run)
        except BaseException as error:
            with contextlib.suppress(
                BotoCoreError, ClientError
            ):  # what ended the promotion is worth more than who hears of it
                steps.lease(run).release()
                if isinstance(error, Exception):
                    steps.outcomes.tell(Outcome(FAILED, f"promotion from {source.deployment}: {error}"), run)
            raise

    def _tell_tests(self, tested: Sequence[Result]) -> None:
        """Say what was tested; promotion.json has each wrong request with its answer."""
        refusals = [result for result in tested if result.refusal]
        for result in tested:
            if not result.refusal:
                self.say(f"  ok  {result.test}: {result.seen}")
        if refusals:
            self.say(
                f"  ok  {len(refusals)} wrong requests refused with a sentence, such as {refusals[-1].test}: {refusals[-1].seen}"
            )
        if not tested:
            self.say("  no system tests: the model has no endpoint")

    def _judged(self, plan: dict[str, Any], source: Source, sha256: str, run: Any) -> dict[str, Any]:
        steps = self.steps
        trained = steps.take_over(plan, source, sha256)
        self.say(f"artifact and source package lie in {environment()}: {trained[0]['model_data']}")
        dataset = steps.find_test_rows(plan, source, run)
        evaluated: dict[str, Any] = {"name": NO_JOB}
        scored: dict[str, Any] | None = None
        if dataset["version"]:
            self.say(f"scoring it on the test rows of dataset version {dataset['version']} of {environment()}")
            scored = self._champion_s_answers(plan, dataset, run)
            known = {"plan": plan, "dataset": dataset, "trained": trained, "scored": scored}
            evaluated = self._job("processing", "evaluate", steps.evaluation_request, known, run)
        analysis = steps.analyze(plan, dataset, source)
        decision = steps.judge(plan, dataset, analysis)
        self.say(f"{decision['decision']}: {decision['reason']}")
        package = steps.register_model(plan, dataset, trained, evaluated, decision, {})
        self.say(f"registered as {package['arn'] if package else NO_JOB}")
        verified = self._deployed(plan, trained, package, run) if decision["promote"] else None
        return steps.publish_report(
            plan,
            dataset,
            trained,
            evaluated,
            analysis,
            decision,
            None,
            {},
            package if decision["promote"] else None,
            None if decision["promote"] else package,
            verified,
            None,
            run,
            scored=scored,
        )

    def _champion_s_answers(self, plan: dict[str, Any], dataset: dict[str, Any], run: Any) -> dict[str, Any] | None:
        """Score the champion in its own image where that is another; one that cannot be is scored with the other model."""
        try:
            answers: dict[str, Any] | None = self._job(
                "processing", "champion", self.steps.champion_request, {"plan": plan, "dataset": dataset}, run
            )
        except AirflowFailException as error:
            return {"warning": str(error)}
        return answers

    def _deployed(
        self, plan: dict[str, Any], trained: list[dict[str, Any]], package: Mapping[str, Any] | None, run: Any
    ) -> dict[str, Any]:
        """Bring the model into service and verify it there, as a retraining does."""
        steps, config = self.steps, self.steps.config
        known = {"plan": plan, "trained": trained}
        kind, step, request = "endpoint", "deploy", steps.deploy_request
        body: Callable[..., Any] = steps.verify_endpoint
        arguments: dict[str, Any] = {"plan": plan, "package": package}
        if config.endpoint is None:
            kind, step, request = "processing", "smoke", steps.smoke_request
            body, arguments = steps.verify_smoke, {**arguments, "trained": trained}
        self.say(f"bringing it into service: {config.endpoint or 'a job answers its smoke requests'}")
        failed = functools.partial(self._failed, plan, package)
        deployed = self._job(kind, step, request, known, run, on_failure=failed)
        operator = self._verifying("verify_endpoint", body, steps.taken_back, {**arguments, "deployed": deployed})
        verified: dict[str, Any] = played(operator, self._context(run), self.say)
        self.say("it answers as it was evaluated")
        return verified

    def _verifying(
        self, name: str, body: Callable[..., Any], taken_back: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> VerifyOperator:
        steps, config = self.steps, self.steps.config
        return VerifyOperator(
            task_id=name,
            model=config.name,
            access=steps.access,
            python_callable=body,
            op_kwargs=dict(arguments),
            taken_back=taken_back,
            max_wait=timedelta(seconds=config.deployment.max_wait_seconds),
            patience=PATIENCE,
            poll_seconds=steps.poll_seconds,
        )

    def _run(self, key: str) -> Any:
        """Return what stands for the run of a DAG: who holds the endpoint, and who tells the topic."""
        return SimpleNamespace(dag_id=f"{self.steps.config.name}_promotion", run_id=key, clear_number=0)

    def _failed(self, plan: dict[str, Any], package: Any, message: str, context: Any, **_: Any) -> None:
        self.steps.deployment_failed(message, context, plan, package)

    def _job(
        self,
        kind: str,
        step: str,
        request: Callable[..., Any],
        known: Mapping[str, Any],
        run: Any,
        on_failure: Callable[..., Any] | None = None,
    ) -> Any:
        config = self.steps.config
        longest = config.deployment.max_wait_seconds if on_failure else config.evaluation.max_runtime_seconds + 900
        operator = AwsJobOperator(
            task_id=step,
            kind=kind,
            model=config.name,
            step=step,
            access=self.steps.access,
            python_callable=request,
            op_kwargs=dict(known),
            max_wait=timedelta(seconds=longest),
            poll_seconds=self.steps.poll_seconds,
            longest_pause=60.0,
            patience=PATIENCE,
            on_failure=on_failure,
        )
        return played(operator, self._context(run), self.say)

    def _context(self, run: Any) -> dict[str, Any]:
        """Return what a task's context has of this; a person asks, who may repeat what failed."""
        return {"dag_run": run, "params": {"force_retrain": True}, "ti": None, "run_id": run.run_id}
