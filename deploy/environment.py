"""A deployment from end to end: what would change, doing it, and taking it down again.

Order matters twice. Plugins and requirements are uploaded before the environment is told their S3 versions, and DAG files last, because
a new DAG file may need the new library. Each step compares first, so a repeated or interrupted deployment goes on where it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy import artifacts, data_platform, mwaa, prediction_api, sync, zones
from deploy.code_writers import check_caller_writes
from deploy.preflight import Caller, check_caller, check_network, check_orphan, check_readiness
from deploy.settings import Deployment, models
from deploy.stacks import StackDifference, StackRequest, compare, delete_stack, deploy_stack, outputs
from retraining.settings.environment import platform_parameter
from retraining.settings.model_config import ModelConfig

Say = Callable[[str], None]
ACCESS_TEMPLATE = artifacts.ROOT / "infra" / "mwaa_access.yaml"
ENVIRONMENT_TEMPLATE = artifacts.ROOT / "infra" / "mwaa.yaml"
STARTUP = "startup.sh"
PURPOSES = ("train", "evaluate", "serve", "survey")  # not experiment: no DAG makes one
UNKNOWN = "(known after the steps above)"
ENVIRONMENT_SECONDS = 5400  # creation takes 20 to 40 minutes, a failed update is rolled back after as long again


@dataclass(frozen=True)
class Step:
    """A part of a deployment and what it would change."""

    title: str
    difference: StackDifference


class Project:
    """One deployment of this project.

    Args:
        session: boto3 session of the account and region.
        deployment: its settings.
        say: takes one line of progress.
        root: the project's folder.
        with_environment: False leaves MWAA alone: for an account whose Airflow is run by other means.
        chosen: the models that it has, all of dags/models when not given.

    """

    def __init__(
        self,
        session: Any,
        deployment: Deployment,
        say: Say,
        root: Path = artifacts.ROOT,
        with_environment: bool = True,
        chosen: list[ModelConfig] | None = None,
    ) -> None:
        self.session = session
        self.deployment = deployment
        self.say = say
        self.root = root
        self.with_environment = with_environment
        self.s3 = session.client("s3")
        self.models = models(root) if chosen is None else chosen

    # -- what there is to deploy -------------------------------------------------------------------------------------------------------

    @property
    def bucket(self) -> str:
        """The artifacts bucket, which is the environment's source bucket, too."""
        return data_platform.artifacts_bucket(self.session, self.deployment.name)

    @property
    def tags(self) -> dict[str, str]:
        """Tags of everything that the stacks create."""
        return {"environment": self.deployment.name, **self.deployment.tags}

    def dags(self) -> sync.SyncPlan:
        """Compare dags/ with its copy in S3."""
        return sync.plan_sync(
            self.s3, self.bucket, f"{self.deployment.name}/dags/", sync.folder_files(self.root / "dags")
        )

    def packages(self) -> dict[str, bytes]:
        """Return plugins.zip, the same bytes for the same files, requirements.txt of the environment's Airflow version, and startup.sh.

        startup.sh makes the SageMaker SDK's environment; without a step that is written with the SDK there is none.
        """
        version = self.deployment.environment.get("AirflowVersion", "3.3.1")
        own = self.root / "deploy" / "environments" / f"requirements-{version}.txt"
        requirements = own if own.exists() else self.root / "requirements.txt"
        return {
            "plugins.zip": artifacts.deterministic_zip(sync.folder_files(self.root / "plugins")),
            "requirements.txt": requirements.read_bytes(),
            **({STARTUP: artifacts.startup_script()} if any(config.steps.sdk for config in self.models) else {}),
        }

    def platform_request(self, config: ModelConfig) -> StackRequest:
        """Return the stack of a model's data platform."""
        settings = {"EndpointName": (self.endpoint(config) or "").lower(), **self.deployment.platform}
        name, named = self.deployment.name, self.deployment.deployers
        return data_platform.request(self.session, name, config.name, settings, self.root, self.tags, named)

    def deploy_access(self, config: ModelConfig) -> list[str]:
        """Bring up to date what the DAGs of a model may do, whose platform is deployed; return the ARNs of the policies."""
        access = self.access_request(config, str(self._roles(config)))
        self._stack(access)
        return self._policies(access)

    def access_request(self, config: ModelConfig, role_arns: str) -> StackRequest:
        """Return the stack with what the DAGs of a model may do."""
        parameters = {
            "EnvironmentName": self.deployment.name,
            "ModelName": config.name,
            "DataBucketName": data_platform.data_bucket(self.session, self.deployment.name, config.name),
            "EndpointName": (self.endpoint(config) or "").lower(),
            "JobRoleArns": role_arns,
            "Autoscaling": "yes" if config.deployment.autoscaling else "no",
        }
        name = f"{self.deployment.environment_name}-{config.name}-access"
        return StackRequest(name, ACCESS_TEMPLATE.read_text(encoding="utf-8"), parameters, self.tags)

    def zones(self) -> dict[str, str]:
        """Return the Availability Zones of the network: those it has, or two that have all it needs."""
        if all(name in self.deployment.environment for name in zones.PARAMETERS):
            return {}  # the deployment's file names them
        standing = zones.standing_zones(self.session, f"{self.deployment.environment_name}-environment")
        return standing or zones.find(self.session, self.deployment.environment.get("Egress", "endpoints"))

    def environment_request(self, versions: dict[str, str], policies: list[str]) -> StackRequest:
        """Return the stack of network, role and environment."""
        parameters = {
            "EnvironmentName": self.deployment.name,
            "ArtifactsBucket": self.bucket,
            "PluginsVersion": versions["plugins.zip"],
            "RequirementsVersion": versions["requirements.txt"],
            "StartupVersion": versions.get(STARTUP, ""),
            "ModelPolicyArns": ",".join(policies),
            **self.zones(),
            **self.deployment.environment,
        }
        return StackRequest(
            f"{self.deployment.environment_name}-environment",
            ENVIRONMENT_TEMPLATE.read_text(encoding="utf-8"),
            parameters,
            self.tags,
            ENVIRONMENT_SECONDS,
        )

    # -- plan --------------------------------------------------------------------------------------------------------------------------

    def preflight(self) -> Caller:
        """Check credentials, account and names.

        Raises:
            PreflightError: something is in the way; nothing was changed.

        """
        caller = check_caller(self.session, self.deployment)
        self.say(f"account {caller.account}, region {self.session.region_name}, as {caller.arn}")
        for config in self.models:
            check_orphan(self.session, self.deployment.name, config.name)
        if self.with_environment:
            check_network(
                self.deployment,
                sdk_steps=any(config.steps.sdk for config in self.models),
                scaled=any(config.deployment.autoscaling for config in self.models),
            )
        return caller

    def check_writes(self) -> None:
        """Ask whether the buckets let the caller write what is deployed.

        Raises:
            CodeWritersError: they do not.

        """
        check_caller_writes(self.session, self.bucket, self.deployment.deployers)

    def check_readiness(self, rights: bool = True) -> None:
        """Ask the account whether it has what the deployment needs: zones, instance types, quotas, rights.

        Args:
            rights: False leaves out the caller's: who only plans need not be who deploys.

        Raises:
            PreflightError: something is missing; everything that is, is named.

        """
        check_readiness(self.session, self.deployment, self.models, self.with_environment, self.zones, self.say, rights)

    def plan(self) -> Iterator[Step]:
        """Yield what deploying would change, without changing anything."""
        present = self._has_bucket()
        yield Step(f"bucket {self.bucket}", StackDifference("none" if present else "create"))
        new = [part.key for part in data_platform.parts(self.root).values() if not self._version(part.key, None)]
        yield Step("Glue script and Lambda archive", StackDifference("create" if new else "none", tuple(new)))
        policies: list[str] = []
        for config in self.models:
            yield self._compared(self.platform_request(config))
            access = self.access_request(config, self._roles(config) or UNKNOWN)
            yield self._compared(access)
            policies += self._policies(access)
            yield from (Step(*part) for part in self._api(config).plan())
        versions = {}
        for name, body in self.packages().items():
            versions[name] = self._version(self._key(name), sync.content_hash(body)) or UNKNOWN
            yield Step(name, StackDifference("update" if versions[name] == UNKNOWN else "none", (self._key(name),)))
        if self.with_environment:
            yield self._compared(self.environment_request(versions, policies))
        yield Step("dags/", self._dag_difference(present))

    # -- do ----------------------------------------------------------------------------------------------------------------------------

    def up(self) -> int:
        """Deploy everything that differs; return how many parts changed.

        Raises:
            StackError: CloudFormation failed.
            VerificationError: the environment does not run what was deployed.

        """
        created = not self._has_bucket()
        data_platform.ensure_artifacts_bucket(self.session, self.deployment.name, self.deployment.deployers)
        changes, policies = int(created), []
        for part in data_platform.parts(self.root).values():
            changes += self._done(part.key, artifacts.upload(self.s3, self.bucket, part))
        for config in self.models:
            changes += self._stack(self.platform_request(config))
            access = self.access_request(config, str(self._roles(config)))
            changes += self._stack(access)
            policies += self._policies(access)
            changes += self._api(config).up()
        versions = {}
        for name, body in self.packages().items():
            versions[name], uploaded = self._put(name, body)
            changes += self._done(name, uploaded)
        if self.with_environment:
            changes += self._stack(self.environment_request(versions, policies))
        changes += self.sync_dags()
        if self.with_environment:
            self.verify(versions)
        return changes

    def sync_dags(self) -> int:
        """Bring the copy of dags/ up to date; return how many objects changed."""
        plan = self.dags()
        sync.apply(self.s3, self.bucket, plan)
        for key in plan.upload:
            self.say(f"uploaded s3://{self.bucket}/{key}")
        for key in plan.delete:
            self.say(f"deleted s3://{self.bucket}/{key}")
        self.say(f"dags/: {len(plan.upload)} uploaded, {len(plan.delete)} deleted, {plan.unchanged} unchanged")
        return len(plan.upload) + len(plan.delete)

    def verify(self, versions: dict[str, str] | None = None) -> None:
        """Prove that the environment runs what lies in S3."""
        if versions is None:
            versions = {name: self._version(self._key(name), None) or UNKNOWN for name in self.packages()}
        files = [name for name in sync.folder_files(self.root / "dags") if "/" not in name and name.endswith(".py")]
        expected = mwaa.Expected(
            airflow_version=self.deployment.environment.get("AirflowVersion", "3.3.1"),
            plugins_version=versions["plugins.zip"],
            requirements_version=versions["requirements.txt"],
            startup_version=versions.get(STARTUP),
            dag_files=tuple(files),
        )
        mwaa.verify(self.session.client("mwaa"), self.deployment.environment_name, expected, self.say)

    def dry_run(self) -> None:
        """Let every model's retraining DAG run once without deploying."""
        for config in self.models:
            dag_id = f"{config.name.replace('-', '_')}_retraining"
            mwaa.dry_run(self.session.client("mwaa"), self.deployment.environment_name, dag_id, self.say)

    def destroy(self) -> None:
        """Delete environment, network and access policies. What holds data or serves stays, and is named."""
        for name in (
            f"{self.deployment.environment_name}-environment",
            *(f"{self.deployment.environment_name}-{config.name}-access" for config in self.models),
        ):
            self.say(f"stack {name}: {'deleted' if delete_stack(self.session, name, self.say) else 'there is none'}")
        self._delete_logs()  # their key is pending deletion: they could neither be read nor written any more
        for config in self.models:
            name = data_platform.stack_name(self.deployment.name, config.name)
            if bucket := outputs(self.session, name).get("DataBucketName"):
                self.say(f"kept: stack {name} with the data in s3://{bucket}; idle it costs its storage")
            if url := self._api(config).url():
                self.say(f"kept: the HTTP API {url}, which the endpoint answers for")
            if endpoint := self.endpoint(config):
                self.say(
                    f"kept: endpoint {endpoint} if it exists, which serves and costs by the hour: "
                    f"aws sagemaker delete-endpoint --endpoint-name {endpoint}"
                )
        self.say(f"kept: s3://{self.bucket}/{self.deployment.name}/ with DAGs, plugins.zip and requirements.txt")

    def _delete_logs(self) -> None:
        logs = self.session.client("logs")
        prefix = f"airflow-{self.deployment.environment_name}-"
        for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
            for group in page["logGroups"]:
                logs.delete_log_group(logGroupName=group["logGroupName"])
                self.say(f"log group {group['logGroupName']}: deleted")

    # -- parts -------------------------------------------------------------------------------------------------------------------------

    def _compared(self, request: StackRequest) -> Step:
        return Step(f"stack {request.name}", compare(self.session, request))

    def _stack(self, request: StackRequest) -> int:
        change = deploy_stack(self.session, request, self.say)
        self.say(f"stack {request.name}: {change}")
        return int(change != "unchanged")

    def _api(self, config: ModelConfig) -> prediction_api.HttpApi:
        return prediction_api.HttpApi(self.session, self.deployment, config, self.say, self.root, self.tags)

    def _done(self, name: str, uploaded: bool) -> int:
        self.say(f"{name}: {'uploaded' if uploaded else 'unchanged'}")
        return int(uploaded)

    def _key(self, name: str) -> str:
        return f"{self.deployment.name}/{name}"

    def _put(self, name: str, body: bytes) -> tuple[str, bool]:
        """Upload an object unless its content is there; return the S3 version of that content."""
        if version := self._version(self._key(name), sync.content_hash(body)):
            return version, False
        return str(self.s3.put_object(Bucket=self.bucket, Key=self._key(name), Body=body)["VersionId"]), True

    def _version(self, key: str, content: str | None) -> str | None:
        """Return the S3 version of an object, None when there is none or it has another content."""
        try:
            head = self.s3.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return str(head["VersionId"]) if content in (None, head["ETag"].strip('"')) else None

    def endpoint(self, config: ModelConfig) -> str | None:
        """Return the name of a model's endpoint in this deployment, None of a model that has none."""
        return f"{self.deployment.name}-{config.deployment.endpoint}" if config.deployment.endpoint else None

    def _roles(self, config: ModelConfig) -> str | None:
        """Return the roles that a model's DAGs hand to jobs and endpoint, None before its platform is deployed."""
        ssm = self.session.client("ssm")
        try:
            name = platform_parameter(config.name, self.deployment.name)
            value = ssm.get_parameter(Name=name)["Parameter"]["Value"]
        except ssm.exceptions.ParameterNotFound:
            return None
        platform = json.loads(value)
        return ",".join(platform[f"{purpose}_role_arn"] for purpose in PURPOSES)

    def _policies(self, access: StackRequest) -> list[str]:
        standing = outputs(self.session, access.name)
        return [standing.get("DataAccessArn", UNKNOWN), standing.get("ModelAccessArn", UNKNOWN)]

    def _has_bucket(self) -> bool:
        try:
            self.s3.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return True

    def _dag_difference(self, present: bool) -> StackDifference:
        if not present:
            files = sync.folder_files(self.root / "dags")
            return StackDifference("create", tuple(f"upload {self.deployment.name}/dags/{name}" for name in files))
        plan = self.dags()
        lines = (*(f"upload {key}" for key in plan.upload), *(f"delete {key}" for key in plan.delete))
        return StackDifference("none" if plan.is_empty else "update", lines)
