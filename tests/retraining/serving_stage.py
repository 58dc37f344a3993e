"""A model of a test's own in a running local_aws: its platform, artifacts, packages and endpoint, and readers of what was told."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from airflow.sdk.exceptions import TaskDeferred
from botocore.exceptions import ClientError
from local_account import ROLE, Account, archive, wait_for

from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.dag.tasks.rollback import RollbackTasks
from retraining.dag.verify_operator import VerifyOperator
from retraining.jobs import requests as job_requests
from retraining.jobs.job import JobStatus
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.plan import Champion, RunPlan
from retraining.serving import registry
from retraining.serving.champion import standing
from retraining.settings.access import AwsAccess
from retraining.settings.environment import in_environment
from retraining.settings.machines.deployment import Deployment
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform
from retraining.telling.outcomes import Outcomes

#: A model that multiplies the first number of each row.
MULTIPLIES = """
import json

def model_fn(model_dir):
    return {factor}

def input_fn(body, content_type):
    return [float(line.split(",")[0]) for line in body.splitlines()]

def predict_fn(data, model):
    return [value * model for value in data]

def output_fn(prediction, accept):
    return json.dumps({{"predictions": prediction}}), "application/json"
"""
FOLDER = Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone"
BROKEN = "raise RuntimeError('this model is broken')\n"


@dataclass(frozen=True)
class Run:
    """What a DAG run hands to callables."""

    run_id: str
    dag_id: str = "stage_retraining"
    clear_number: int = 0
    run_after: datetime = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    triggering_user_name: str | None = None


RETRAINING = Run("manual__0")


def played(operator: Any, context: dict[str, Any]) -> Any:
    """Run an operator and all its triggers to the end, as Airflow would."""

    async def first_event(trigger: Any) -> Any:
        async for event in trigger.run():
            return event.payload

    following, arguments = operator.execute, {}
    while True:
        try:
            return following(context, **arguments)
        except TaskDeferred as deferral:
            event = asyncio.run(first_event(deferral.trigger))
            following, arguments = getattr(operator, deferral.method_name), {"event": event, **deferral.kwargs}


class Stage:
    """One model: the same code as in production, against a local_aws."""

    def __init__(
        self,
        account: Account,
        access: AwsAccess,
        config: ModelConfig,
        bucket: str,
        deployment: Deployment | None = None,
    ) -> None:
        self.account = account
        self.name = f"m{uuid.uuid4().hex[:8]}"
        self.bucket = bucket
        topic = account.sns.create_topic(Name=f"{self.name}-outcomes")["TopicArn"]
        self.queue = account.sqs.create_queue(QueueName=f"{self.name}-mail")["QueueUrl"]
        queue_arn = account.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]
        account.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn["QueueArn"])
        platform = Platform(
            account="000000000000",
            region="us-east-1",
            bucket=bucket,
            queue_url=self.queue,
            glue_database="unused",
            glue_crawler="unused",
            glue_job="unused",
            analyze_function="unused",
            topic_arn=topic,
            train_role_arn=ROLE,
            evaluate_role_arn=ROLE,
            serve_role_arn=ROLE,
            survey_role_arn=ROLE,
            experiment_role_arn=ROLE,
            poll_seconds=0.1,
            settle_seconds=0,
        )
        account.ssm.put_parameter(
            Name=f"/retraining/dev/{self.name}/platform", Value=platform.model_dump_json(), Type="String"
        )
        deployment = deployment or config.deployment.model_copy(
            update={"endpoint": self.name, "keep": 1, "data_capture_percent": 0, "startup_timeout_seconds": 60}
        )
        self.endpoint = in_environment(self.name)
        self.access = access
        self.use(config.model_copy(update={"name": self.name, "aws": access, "deployment": deployment}))
        self.outcomes = Outcomes(self.name, access, lambda: self.steps.platform)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the endpoint, if there is one."""
        try:
            self.account.sagemaker.delete_endpoint(EndpointName=self.endpoint)
        except ClientError as error:
            assert "Could not find" in str(error)

    def use(self, config: ModelConfig) -> None:
        """Go on with another configuration, as after a change of model.yaml."""
        self.config = config
        self.steps = RetrainingTasks(config, FOLDER)
        self.rollback = RollbackTasks(config, FOLDER)

    def plan(self, key: str, champion: Champion | None = None) -> dict[str, Any]:
        version = int(key[1:]) if key[1:].isdigit() else 1
        run = RunPlan(
            model=self.name,
            run_key=key,
            work_digest=f"work-{key}",
            version=version,
            batch=None,
            code_digest="c" * 16,
            candidates=("one",),
            champion=champion,
        )
        return run.model_dump(mode="json")

    def champion(self) -> Champion | None:
        """With what a new model is compared."""
        return standing(self.account.sagemaker, self.name, self.config.endpoint).champion

    def candidate(self, key: str, factor: float = 2, inference: str = MULTIPLIES) -> list[dict[str, Any]]:
        """Store an artifact as if a training job had made it, and the evaluation's smoke request of its run."""
        code = inference.format(factor=factor) if inference == MULTIPLIES else inference
        artifact = f"{self.name}/models/train-{key}/output/model.tar.gz"
        self.account.s3.put_object(Bucket=self.bucket, Key=artifact, Body=archive({"code/inference.py": code}))
        self.put(
            f"runs/{key}/evaluation/smoke.json", {"content_type": "text/csv", "body": "3", "prediction": 3 * factor}
        )
        uri = f"s3://{self.bucket}/{artifact}"
        return [{"name": f"train-{key}", "candidate": "one", "model_data": uri, "metrics": {"validation:rmse": 2.0}}]

    def put(self, key: str, document: Any) -> None:
        self.account.s3.put_object(Bucket=self.bucket, Key=f"{self.name}/{key}", Body=json.dumps(document))

    def get(self, key: str) -> Any:
        return json.loads(self.account.s3.get_object(Bucket=self.bucket, Key=f"{self.name}/{key}")["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        listed = self.account.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.name}/{prefix}")
        return [item["Key"].removeprefix(f"{self.name}/") for item in listed.get("Contents", [])]

    def register(self, key: str, trained: list[dict[str, Any]], champion: Champion | None = None) -> dict[str, Any]:
        decision = {"promote": True, "decision": "approved", "reason": "better"}
        registered = self.steps.register_model(
            self.plan(key, champion), {"version": 1}, trained, {"name": f"evaluate-{key}"}, decision, {}
        )
        assert registered
        return registered

    def bring(
        self, request: dict[str, Any], step: str = "deploy", kind_name: str = "endpoint"
    ) -> tuple[JobStatus, dict[str, Any]]:
        """Do what a request asks for as the operator does; return how that ended, and the task's result."""
        kind = JOB_KINDS[kind_name]
        handle = kind.submit(self.access, self.name, step, request).handle

        def ended() -> JobStatus | None:
            status = kind.poll(self.access, handle)
            return status if status.outcome != "running" else None

        status = wait_for(ended, 60)
        return status, kind.result(self.access, handle) if status.outcome == "succeeded" else {}

    def promote(self, key: str, factor: float = 2, champion: Champion | None = None) -> dict[str, Any]:
        """Take a model through registry, deployment and verification; return the verification's result."""
        champion = champion or self.champion()
        trained = self.candidate(key, factor)
        package = self.register(key, trained, champion)
        plan = self.plan(key, champion)
        status, deployed = self.bring(self.steps.deploy_request(plan, trained, RETRAINING))
        assert status.outcome == "succeeded", status
        return self.verify(plan, package, deployed)

    def verify(self, plan: dict[str, Any], package: dict[str, Any], deployed: dict[str, Any], run: Any = None) -> Any:
        """Verify the endpoint as the DAG does, the way back included."""
        arguments = {"plan": plan, "package": package, "deployed": deployed}
        return self.question(self.steps.verify_endpoint, self.steps.taken_back, run or RETRAINING, **arguments)

    def settle(self, run: Any = None) -> Any:
        """Finish what another run left, as the DAG does at both ends of a run."""
        return self.question(self.steps.settle_endpoint, self.steps.settled_back, run or RETRAINING)

    def question(self, body: Any, taken_back: Any, run: Any, **arguments: Any) -> Any:
        """Run a task that asks the endpoint, through all its triggers, as Airflow does."""
        operator = VerifyOperator(
            task_id="verify",
            model=self.name,
            access=self.access,
            python_callable=body,
            op_kwargs=arguments,
            taken_back=taken_back,
            max_wait=timedelta(seconds=60),
            patience=timedelta(seconds=60),
            poll_seconds=lambda: 0.1,
        )
        return played(operator, {"dag_run": run})

    def packages(self) -> dict[int, registry.Package]:
        return {item.version: item for item in registry.packages(self.account.sagemaker, self.name)}

    def statuses(self) -> dict[int, str]:
        return {version: item.status for version, item in sorted(self.packages().items())}

    def serving(self) -> dict[str, Any]:
        return self.account.sagemaker.describe_endpoint(EndpointName=self.endpoint)

    def ask(self, value: float = 3) -> float:
        return float(json.loads(self.account.invoke(self.endpoint, str(value)))["predictions"][0])

    def config_request(self, uri: str) -> dict[str, Any]:
        return job_requests.serving_container(self.config, self.steps.platform, uri)

    def mail(self) -> list[dict[str, Any]]:
        """Take what the topic was told since the last call."""
        letters = []
        while True:
            answer = self.account.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
            if not answer.get("Messages"):
                return letters
            for message in answer["Messages"]:
                letters.append(json.loads(message["Body"]))
                self.account.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])

    @contextmanager
    def load(self, threads: int = 3) -> Iterator[Load]:
        load = Load(self, threads)
        try:
            wait_for(lambda: len(load.answers) > 10)
            yield load
            count = len(load.answers)
            wait_for(lambda: len(load.answers) > count + 10)
        finally:
            load.stop()


class Load:
    """Constant requests to the endpoint, with every answer and every failure."""

    def __init__(self, stage: Stage, threads: int) -> None:
        self.answers: list[float] = []
        self.failures: list[Exception] = []
        self._stage = stage
        self._client = stage.account.sagemaker_runtime
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._done.is_set():
            try:
                body = self._client.invoke_endpoint(EndpointName=self._stage.endpoint, ContentType="text/csv", Body="3")
                self.answers.append(float(json.loads(body["Body"].read())["predictions"][0]))
            except Exception as error:
                self.failures.append(error)

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
