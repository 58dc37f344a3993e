"""Takes down everything that a verification made, and lists what is left: both read one table of kinds."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from deploy.data_platform import glue_database
from deploy.stacks import delete_stack, describe
from retraining.aws.errors import error_code

Say = Callable[[str], None]
STACKS = ("{prefix}-verification", "{prefix}-{model}-access", "{prefix}-{model}")
"""In the order in which they go: the role first, then its policies, then what they are about."""
JOBS = ("Training", "Processing")
SAGEMAKER_LOGS = ("TrainingJobs", "ProcessingJobs")
GLUE_LOGS = ("/aws-glue/jobs/output", "/aws-glue/jobs/error", "/aws-glue/jobs/logs-v2")
WAIT_SECONDS = 1200
EMPTYINGS = 6
SETTLE_SECONDS = 60
"""How long a list of AWS may still name what is gone."""


@dataclass(frozen=True)
class Estate:
    """What belongs to a verification, by its names.

    Args:
        session: boto3 session of who deploys.
        env: name of the deployment.
        model: name of the model.
        runs: ids of its Glue runs, whose log streams have their names.

    """

    session: Any
    env: str
    model: str
    runs: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """What names of stacks, buckets, queues and roles begin with."""
        return f"retraining-{self.env}"

    @property
    def owner(self) -> str:
        """What names of jobs, models and endpoints begin with."""
        return f"{self.env}-"

    def client(self, service: str) -> Any:
        """Return a boto3 client."""
        return self.session.client(service)

    def pages(self, service: str, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
        """Yield the items of a list."""
        for page in self.client(service).get_paginator(operation).paginate(**arguments):
            yield from page.get(key, [])


def remove(estate: Estate, say: Say) -> None:
    """Delete everything, the endpoint first, because it costs by the hour; what is gone already is no error.

    Raises:
        StackError: a stack could not be deleted.
        TimeoutError: an endpoint or a job did not end.

    """
    _endpoints(estate, say)
    _running_jobs(estate, say)
    for kind in ("EndpointConfig", "Model"):
        for name in _sagemaker_names(estate, kind):
            getattr(estate.client("sagemaker"), _operation("delete", kind))(**{f"{kind}Name": name})
            say(f"{kind} {name}: deleted")
    _registry(estate, say)
    _glue_work(estate, say)
    for form in STACKS:
        name = form.format(prefix=estate.prefix, model=estate.model)
        if delete_stack(estate.session, name, say):
            say(f"stack {name}: deleted")
    for name in _buckets(estate):
        _empty_and_delete(estate.session.resource("s3").Bucket(name))
        say(f"bucket {name}: deleted with its objects")
    _logs(estate, say)
    _job_records(estate, say)


def leftovers(estate: Estate, say: Say, seconds: float = SETTLE_SECONDS) -> tuple[list[str], list[str]]:
    """Return what is left, as ``kind name``, and the kinds that the account has no list of.

    Lists that lag behind are asked again for a while.
    """
    began = time.monotonic()
    while True:
        unlisted: list[str] = []
        found = sorted(_everything(estate, unlisted))
        if not found or time.monotonic() - began > seconds:
            return found, unlisted
        say(f"  {len(found)} still listed, such as {found[0]}; asking again")
        time.sleep(5)


def endpoints(estate: Estate) -> list[str]:
    """Return the endpoints that stand."""
    return _sagemaker_names(estate, "Endpoint")


def _everything(estate: Estate, unlisted: list[str]) -> Iterator[str]:
    prefix = f"{estate.prefix}-"
    for kind in ("Endpoint", "EndpointConfig", "Model"):
        yield from (f"{kind} {name}" for name in _sagemaker_names(estate, kind))
    yield from (f"ModelPackageGroup {name}" for name in _groups(estate))
    yield from (f"{kind}Job {name}" for kind in JOBS for name in _jobs(estate, kind, running=True))
    for form in STACKS:
        name = form.format(prefix=estate.prefix, model=estate.model)
        if describe(estate.session, name) is not None:
            yield f"stack {name}"
    yield from (f"bucket {name}" for name in _buckets(estate))
    yield from (f"log group {name}" for name in _log_groups(estate))
    yield from (f"log stream {group} {name}" for group, name in _log_streams(estate))
    named: tuple[tuple[str, str, str, str, str, str], ...] = (
        ("iam", "list_roles", "Roles", "RoleName", "role", prefix),
        ("lambda", "list_functions", "Functions", "FunctionName", "function", prefix),
        ("glue", "get_databases", "DatabaseList", "Name", "database", glue_database(estate.env, "")),
        ("glue", "get_crawlers", "Crawlers", "Name", "crawler", prefix),
        ("glue", "get_jobs", "Jobs", "Name", "Glue job", prefix),
        ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName", "alarm", prefix),
        ("scheduler", "list_schedules", "Schedules", "Name", "schedule", prefix),
    )
    for service, operation, key, name, word, begins in named:
        try:
            items = list(estate.pages(service, operation, key))
        except ClientError as error:
            if error_code(error) != "UnknownOperationException":
                raise
            unlisted.append(f"{word}s")
            continue
        yield from (f"{word} {item[name]}" for item in items if item[name].startswith(begins))
    for item in estate.pages("iam", "list_policies", "Policies", Scope="Local"):
        if item["PolicyName"].startswith(prefix):
            yield f"policy {item['PolicyName']}"
    for url in estate.pages("sqs", "list_queues", "QueueUrls", QueueNamePrefix=prefix):
        yield f"queue {url.rsplit('/', 1)[-1]}"
    for item in estate.pages("sns", "list_topics", "Topics"):
        if (name := item["TopicArn"].rsplit(":", 1)[-1]).startswith(prefix):
            yield f"topic {name}"
    filters = [{"Key": "Name", "Option": "BeginsWith", "Values": [f"/retraining/{estate.env}/"]}]
    for item in estate.pages("ssm", "describe_parameters", "Parameters", ParameterFilters=filters):
        yield f"parameter {item['Name']}"


def _operation(verb: str, kind: str) -> str:
    """Return boto3's name of an operation of SageMaker."""
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind)
    return f"{verb}{words}"


def _sagemaker_names(estate: Estate, kind: str) -> list[str]:
    found = estate.pages("sagemaker", f"{_operation('list', kind)}s", f"{kind}s", NameContains=estate.owner)
    return [item[f"{kind}Name"] for item in found if item[f"{kind}Name"].startswith(estate.owner)]


def _endpoints(estate: Estate, say: Say) -> None:
    sagemaker = estate.client("sagemaker")
    for name in endpoints(estate):
        _until(functools.partial(_settled, sagemaker, name), f"endpoint {name} to settle, so that it can be deleted")
        if name in endpoints(estate):
            sagemaker.delete_endpoint(EndpointName=name)
    if left := endpoints(estate):
        _until(lambda: not endpoints(estate), f"endpoint {', '.join(left)} to be deleted")
        say(f"endpoint {', '.join(left)}: deleted")


def _settled(sagemaker: Any, name: str) -> bool:
    try:
        status = sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]
    except ClientError as error:
        if "Could not find" in str(error):
            return True
        raise
    return status in ("InService", "Failed", "OutOfService", "Deleting", "UpdateRollbackFailed")


def _jobs(estate: Estate, kind: str, running: bool) -> list[str]:
    found = []
    for item in estate.pages(
        "sagemaker", _operation("list", f"{kind}Jobs"), f"{kind}JobSummaries", NameContains=estate.owner
    ):
        ended = item[f"{kind}JobStatus"] not in ("InProgress", "Stopping")
        if item[f"{kind}JobName"].startswith(estate.owner) and ended != running:
            found.append(item[f"{kind}JobName"])
    return found


def _running_jobs(estate: Estate, say: Say) -> None:
    sagemaker = estate.client("sagemaker")
    for kind in JOBS:
        for name in _jobs(estate, kind, running=True):
            try:
                getattr(sagemaker, _operation("stop", f"{kind}Job"))(**{f"{kind}JobName": name})
            except ClientError as error:  # it ended by itself, or is being stopped
                if error_code(error) != "ValidationException":
                    raise
            say(f"{kind}Job {name}: stopped")
        _until(functools.partial(_none_runs, estate, kind), f"{kind.lower()} jobs to stop")


def _none_runs(estate: Estate, kind: str) -> bool:
    return not _jobs(estate, kind, running=True)


def _job_records(estate: Estate, say: Say) -> None:
    """Delete the records of ended jobs where the service can; they cost nothing."""
    sagemaker = estate.client("sagemaker")
    for kind in JOBS:
        for name in _jobs(estate, kind, running=False):
            try:
                getattr(sagemaker, _operation("delete", f"{kind}Job"))(**{f"{kind}JobName": name})
            except ClientError as error:
                say(f"{kind}Job {name}: its record stays, at no cost ({error_code(error)})")


def _groups(estate: Estate) -> list[str]:
    found = estate.pages(
        "sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList", NameContains=estate.owner
    )
    return [item["ModelPackageGroupName"] for item in found if item["ModelPackageGroupName"].startswith(estate.owner)]


def _registry(estate: Estate, say: Say) -> None:
    sagemaker = estate.client("sagemaker")
    for group in _groups(estate):
        for item in list(
            estate.pages("sagemaker", "list_model_packages", "ModelPackageSummaryList", ModelPackageGroupName=group)
        ):
            sagemaker.delete_model_package(ModelPackageName=item["ModelPackageArn"])
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)
        say(f"ModelPackageGroup {group}: deleted")


def _glue_work(estate: Estate, say: Say) -> None:
    """End what Glue is doing: a crawler that runs cannot be deleted."""
    glue, prefix = estate.client("glue"), f"{estate.prefix}-"
    for item in estate.pages("glue", "get_crawlers", "Crawlers"):
        if item["Name"].startswith(prefix) and item["State"] != "READY":
            name = item["Name"]
            if item["State"] == "RUNNING":
                glue.stop_crawler(Name=name)
            _until(functools.partial(_ready, glue, name), f"crawler {name} to stop")
            say(f"crawler {name}: stopped")
    for item in estate.pages("glue", "get_jobs", "Jobs"):
        if item["Name"].startswith(prefix):
            runs = glue.get_job_runs(JobName=item["Name"])["JobRuns"]
            if going := [run["Id"] for run in runs if run["JobRunState"] in ("STARTING", "RUNNING", "WAITING")]:
                glue.batch_stop_job_run(JobName=item["Name"], JobRunIds=going)
                say(f"Glue job {item['Name']}: {len(going)} run(s) stopped")


def _ready(glue: Any, crawler: str) -> bool:
    return bool(glue.get_crawler(Name=crawler)["Crawler"]["State"] == "READY")


def _buckets(estate: Estate) -> list[str]:
    listed = estate.client("s3").list_buckets()["Buckets"]
    return [item["Name"] for item in listed if item["Name"].startswith(f"{estate.prefix}-")]


def _empty_and_delete(bucket: Any) -> None:
    """Delete a bucket; requests that the endpoint captured last may still arrive."""
    for tries_left in range(EMPTYINGS - 1, -1, -1):
        bucket.object_versions.delete()
        try:
            bucket.delete()
        except ClientError as error:
            if error_code(error) != "BucketNotEmpty" or not tries_left:
                raise
            time.sleep(5)
        else:
            return


def _log_groups(estate: Estate) -> list[str]:
    prefixes = (f"/aws/lambda/{estate.prefix}-", f"/aws/sagemaker/Endpoints/{estate.owner}")
    return [
        item["logGroupName"]
        for prefix in prefixes
        for item in estate.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
    ]


def _log_streams(estate: Estate) -> list[tuple[str, str]]:
    wanted = [(f"/aws/sagemaker/{name}", estate.owner) for name in SAGEMAKER_LOGS]
    wanted += [(group, run) for group in GLUE_LOGS for run in estate.runs]
    wanted += [("/aws-glue/crawlers", f"{estate.prefix}-")]
    found = []
    for group, prefix in wanted:
        try:
            streams = list(
                estate.pages(
                    "logs", "describe_log_streams", "logStreams", logGroupName=group, logStreamNamePrefix=prefix
                )
            )
        except ClientError as error:
            if error_code(error) != "ResourceNotFoundException":
                raise
            continue
        found += [(group, item["logStreamName"]) for item in streams]
    return found


def _logs(estate: Estate, say: Say) -> None:
    logs = estate.client("logs")
    for group in _log_groups(estate):
        logs.delete_log_group(logGroupName=group)
        say(f"log group {group}: deleted")
    streams = _log_streams(estate)
    for group, name in streams:
        logs.delete_log_stream(logGroupName=group, logStreamName=name)
    if streams:
        say(f"{len(streams)} log stream(s) of its jobs: deleted")


def _until(ready: Callable[[], Any], what: str) -> None:
    began, pause = time.monotonic(), 0.5
    while not ready():
        if time.monotonic() - began > WAIT_SECONDS:
            raise TimeoutError(f"waited {WAIT_SECONDS} s for {what}; repeat the command with DOWN=1")
        time.sleep(pause)
        pause = min(pause * 1.5, 15)
