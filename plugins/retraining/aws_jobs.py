"""Paid work on AWS as one interface: create or adopt, look at it, stop it.

Every kind of job answers the same three calls, so one operator and one trigger serve them all:

``submit``  starts the work described by a request, or adopts the job that already does it. Names and tags carry a digest of the request,
            so a retry, a cleared task or a second scheduler finds the job instead of paying for it twice.
``poll``    tells whether the work runs, succeeded or failed. Only the truly successful state is success.
``stop``    ends the work.

A *handle* is the small JSON document that identifies a job; it survives in a trigger while the task is deferred.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, Protocol

from retraining.aws_clients import AwsAccess, client
from retraining.documents import split_uri
from retraining.naming import digest, job_name

DIGEST_TAG = "retraining:request-digest"
MAX_ATTEMPTS = 30
GLUE_RUNS_SEARCHED = 200
LOG_TAIL_LINES = 15
STOPPED_REASON = "it was stopped before it completed"
TIME_LIMIT_REASON = "it exceeded its time limit"

Handle = dict[str, Any]


class JobError(RuntimeError):
    """A job cannot be started or was not successful. A retry would fail in the same way."""


class JobBusyError(RuntimeError):
    """The service is busy with other work of the same name; a later retry can succeed."""


@dataclass(frozen=True)
class JobStatus:
    """State of a job: AWS's own word for it, what it means, and why."""

    state: str
    outcome: Literal["running", "succeeded", "failed"]
    reason: str = ""


@dataclass(frozen=True)
class Submitted:
    """The handle of a job and whether it existed before this call."""

    handle: Handle
    adopted: bool


class AwsJob(Protocol):
    """One kind of paid work."""

    def submit(self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any]) -> Submitted:
        """Start the work or adopt the job that does it."""

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the job."""

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Stop the job if it is still in progress."""

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return what later tasks need of a successful job; small and without secrets."""

    def title(self, handle: Handle) -> str:
        """Name the job for logs and errors."""

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines that the job logged, as far as CloudWatch has them."""

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the job in the AWS console."""


def error_code(error: Exception) -> str:
    """Return the AWS error code of a botocore ClientError."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


REQUEST_ERRORS = frozenset(
    {"ValidationException", "ValidationError", "InvalidInputException", "AccessDeniedException", "AccessDenied"}
)


def is_refusal(error: Exception) -> bool:
    """Tell whether AWS, or botocore before it, refused a request for what it says; the same request would be refused again."""
    return error_code(error) in REQUEST_ERRORS or type(error).__name__ == "ParamValidationError"


def is_not_found(error: Exception) -> bool:
    """Tell whether a ClientError means that the named resource does not exist; SageMaker says so with a ValidationException."""
    message = str(getattr(error, "response", {}).get("Error", {}).get("Message", "")).lower()
    missing = any(words in message for words in ("could not find", "not found", "does not exist"))
    return error_code(error) in ("ResourceNotFound", "EntityNotFoundException") or (
        error_code(error) == "ValidationException" and missing
    )


@dataclass(frozen=True)
class SageMakerJob:
    """Training, processing and transform jobs: the same life, other words.

    A completed job that left nothing where its output belongs is a failure: its container ended with exit code 0 without doing its work.
    """

    noun: str
    """As in CreateTrainingJob: ``Training``, ``Processing`` or ``Transform``."""
    console_path: str

    @property
    def _snake(self) -> str:
        return f"{self.noun.lower()}_job"

    @property
    def _name_key(self) -> str:
        return f"{self.noun}JobName"

    def submit(self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any]) -> Submitted:
        """Create the job, or adopt the one whose name and tag carry the same digest; a failed one is followed by a new attempt.

        Raises:
            JobError: the name belongs to a job with another digest, or too many attempts failed.

        """
        from botocore.exceptions import ClientError

        sagemaker = client("sagemaker", access)
        short, full = digest(request), digest(request, 64)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            name = job_name(model, step, short, attempt)
            handle = {"name": name}
            try:
                description = self._describe(sagemaker, name)
            except ClientError as error:
                if not is_not_found(error):
                    raise
                tags = [{"Key": DIGEST_TAG, "Value": full}, {"Key": "retraining:model", "Value": model}]
                try:
                    getattr(sagemaker, f"create_{self._snake}")(
                        **{**request, self._name_key: name, "Tags": [*request.get("Tags", []), *tags]}
                    )
                except ClientError as refused:
                    if error_code(refused) != "ResourceInUse":
                        raise
                    description = self._describe(
                        sagemaker, name
                    )  # another writer was faster, or an earlier reply was lost
                else:
                    return Submitted(handle, adopted=False)
            self._check_digest(sagemaker, name, description, full)
            if (
                self._judge(access, description).outcome != "failed"
                and description[f"{self.noun}JobStatus"] != "Stopping"
            ):
                return Submitted(handle, adopted=True)
        raise JobError(
            f"{self.noun.lower()} job {job_name(model, step, short)} failed {MAX_ATTEMPTS} times with the same inputs; change them"
        )

    def arn(self, access: AwsAccess, handle: Handle) -> str:
        """Return the job's ARN."""
        return str(self._describe(client("sagemaker", access), handle["name"])[f"{self.noun}JobArn"])

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the job."""
        return self._judge(access, self._describe(client("sagemaker", access), handle["name"]))

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Stop the job; one that has ended already stays as it is."""
        from botocore.exceptions import ClientError

        try:
            getattr(client("sagemaker", access), f"stop_{self._snake}")(**{self._name_key: handle["name"]})
        except ClientError as error:
            if error_code(error) != "ValidationException":  # it ended meanwhile
                raise

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return name, ARN, seconds and, of a training job, the artifact and the metrics."""
        description = self._describe(client("sagemaker", access), handle["name"])
        result: dict[str, Any] = {"name": handle["name"], "arn": description[f"{self.noun}JobArn"]}
        if started := description.get(f"{self.noun}StartTime"):
            result["seconds"] = round((description[f"{self.noun}EndTime"] - started).total_seconds(), 3)
        if self.noun == "Training":
            result["model_data"] = description["ModelArtifacts"]["S3ModelArtifacts"]
            result["metrics"] = {
                metric["MetricName"]: metric["Value"] for metric in description.get("FinalMetricDataList", [])
            }
            result["hyperparameters"] = description.get("HyperParameters", {})
        return result

    def title(self, handle: Handle) -> str:
        """Name the job."""
        return f"SageMaker {self.noun.lower()} job {handle['name']}"

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines of the job's log stream."""
        return cloudwatch_tail(access, f"/aws/sagemaker/{self.noun}Jobs", handle["name"] + "/")

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the job."""
        return f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/{self.console_path}/{handle['name']}"

    def _describe(self, sagemaker: Any, name: str) -> dict[str, Any]:
        return getattr(sagemaker, f"describe_{self._snake}")(**{self._name_key: name})

    def _check_digest(self, sagemaker: Any, name: str, description: Mapping[str, Any], full: str) -> None:
        tags = {
            tag["Key"]: tag["Value"]
            for tag in sagemaker.list_tags(ResourceArn=description[f"{self.noun}JobArn"])["Tags"]
        }
        if tags.get(DIGEST_TAG) != full:
            raise JobError(
                f"{self.noun.lower()} job {name} exists but was not started for these inputs (tag {DIGEST_TAG} is "
                f"{tags.get(DIGEST_TAG, 'missing')!r}); it is not adopted. Rename the model or change an input"
            )

    def _judge(self, access: AwsAccess, description: Mapping[str, Any]) -> JobStatus:
        status = self._status(description)
        if status.outcome == "succeeded":
            for uri in self._outputs(description):
                if not _has_objects(access, uri):
                    return JobStatus(status.state, "failed", f"it ended with exit code 0 but wrote nothing to {uri}")
        return status

    def _outputs(self, description: Mapping[str, Any]) -> list[str]:
        """S3 URIs at or below which a successful job has written."""
        if self.noun == "Training":
            return [description["ModelArtifacts"]["S3ModelArtifacts"]]
        if self.noun == "Transform":
            return [description["TransformOutput"]["S3OutputPath"]]
        outputs = description.get("ProcessingOutputConfig", {}).get("Outputs", [])
        return [output["S3Output"]["S3Uri"] for output in outputs if "S3Output" in output]

    def _status(self, description: Mapping[str, Any]) -> JobStatus:
        state = description[f"{self.noun}JobStatus"]
        if state == "Completed":
            return JobStatus(state, "succeeded")
        if state in ("InProgress", "Stopping"):
            return JobStatus(state, "running", description.get("SecondaryStatus", ""))
        reason = description.get("FailureReason") or description.get("ExitMessage") or ""
        if state == "Stopped":
            secondary = description.get("SecondaryStatus", "")
            reason = reason or (TIME_LIMIT_REASON if secondary == "MaxRuntimeExceeded" else STOPPED_REASON)
        return JobStatus(state, "failed", reason)


@dataclass(frozen=True)
class GlueJobRun:
    """A run of a Glue job. Glue gives runs random ids, so the request's digest travels as the argument ``--request_digest``."""

    def submit(self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any]) -> Submitted:
        """Start a run, or adopt the newest one with the same digest that is in progress or succeeded.

        StartJobRun is not retried blindly: when its reply is lost, the runs are searched again first.

        Raises:
            JobBusyError: the job runs with other inputs.

        """
        from botocore.exceptions import BotoCoreError, ClientError

        job, full = request["JobName"], digest(request, 64)
        started = {**request, "Arguments": {**request.get("Arguments", {}), "--request_digest": full}}
        glue = client("glue", access)
        for _ in range(3):
            if found := self._find(glue, job, full):
                return Submitted({"job": job, "run_id": found}, adopted=True)
            try:
                run_id = client("glue", access, retry=False).start_job_run(**started)["JobRunId"]
            except ClientError as error:
                if error_code(error) == "ConcurrentRunsExceededException":
                    if found := self._find(glue, job, full):
                        return Submitted({"job": job, "run_id": found}, adopted=True)
                    raise JobBusyError(
                        f"Glue job {job} is busy with a run of other inputs; this task tries again later"
                    ) from error
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 and "Throttling" not in error_code(error):
                    raise
            except BotoCoreError:
                pass  # the request may have arrived: look for the run before asking again
            else:
                return Submitted({"job": job, "run_id": run_id}, adopted=False)
        if found := self._find(glue, job, full):
            return Submitted({"job": job, "run_id": found}, adopted=True)
        raise JobBusyError(f"Glue did not confirm the start of {job}; this task tries again later")

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the run."""
        return self._status(self._run(access, handle))

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Stop the run."""
        client("glue", access).batch_stop_job_run(JobName=handle["job"], JobRunIds=[handle["run_id"]])

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return the run's id, seconds and DPU seconds."""
        run = self._run(access, handle)
        return {
            "name": handle["job"],
            "run_id": handle["run_id"],
            "seconds": run.get("ExecutionTime", 0),
            "dpu_seconds": run.get("DPUSeconds"),
        }

    def title(self, handle: Handle) -> str:
        """Name the run."""
        return f"Glue job {handle['job']} run {handle['run_id']}"

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines of the run's error log."""
        return cloudwatch_tail(access, "/aws-glue/jobs/error", handle["run_id"])

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the run."""
        return f"https://{region}.console.aws.amazon.com/gluestudio/home?region={region}#/job/{handle['job']}/run/{handle['run_id']}"

    @staticmethod
    def _run(access: AwsAccess, handle: Handle) -> dict[str, Any]:
        return client("glue", access).get_job_run(JobName=handle["job"], RunId=handle["run_id"])["JobRun"]

    def _find(self, glue: Any, job: str, full: str) -> str | None:
        pages = glue.get_paginator("get_job_runs").paginate(
            JobName=job, PaginationConfig={"MaxItems": GLUE_RUNS_SEARCHED, "PageSize": 100}
        )
        for run in (run for page in pages for run in page["JobRuns"]):
            same = run.get("Arguments", {}).get("--request_digest") == full
            if same and self._status(run).outcome != "failed" and run["JobRunState"] != "STOPPING":
                return str(run["Id"])
        return None

    @staticmethod
    def _status(run: Mapping[str, Any]) -> JobStatus:
        state = run["JobRunState"]
        if state == "SUCCEEDED":
            return JobStatus(state, "succeeded")
        if state in ("STARTING", "RUNNING", "STOPPING", "WAITING"):
            return JobStatus(state, "running")
        default = {"STOPPED": STOPPED_REASON, "TIMEOUT": TIME_LIMIT_REASON}.get(state, "")
        return JobStatus(state, "failed", run.get("ErrorMessage") or default)


@dataclass(frozen=True)
class GlueCrawl:
    """A run of a Glue crawler that began after it was asked for; one already running may have listed S3 before the files landed."""

    def submit(self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any]) -> Submitted:
        """Start the crawler; one already running is waited for, then started again."""
        return Submitted({"crawler": request["Name"], "after": self._start(access, request["Name"])}, adopted=False)

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the crawler. When an earlier crawl has ended, ours is started."""
        crawler = client("glue", access).get_crawler(Name=handle["crawler"])["Crawler"]
        state, last = crawler["State"], crawler.get("LastCrawl", {})
        if state != "READY":
            return JobStatus(state, "running")
        started: datetime | None = last.get("StartTime")
        if started is None or started.timestamp() < int(handle["after"]):
            self._start(access, handle["crawler"])
            return JobStatus(state, "running", "an earlier crawl ended, ours is starting")
        if last.get("Status") == "SUCCEEDED":
            return JobStatus("SUCCEEDED", "succeeded")
        return JobStatus(last.get("Status", "UNKNOWN"), "failed", last.get("ErrorMessage", ""))

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Stop the crawler."""
        from botocore.exceptions import ClientError

        try:
            client("glue", access).stop_crawler(Name=handle["crawler"])
        except ClientError as error:
            if error_code(error) not in ("CrawlerNotRunningException", "CrawlerStoppingException"):
                raise

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return the catalog tables below the crawler's prefix, with columns."""
        glue = client("glue", access)
        crawler = glue.get_crawler(Name=handle["crawler"])["Crawler"]
        pages = glue.get_paginator("get_tables").paginate(DatabaseName=crawler["DatabaseName"])
        prefix = crawler.get("TablePrefix", "")
        tables = [table for page in pages for table in page["TableList"] if table["Name"].startswith(prefix)]
        return {
            "name": handle["crawler"],
            "tables": {
                table["Name"]: [(column["Name"], column["Type"]) for column in table["StorageDescriptor"]["Columns"]]
                for table in tables
            },
        }

    def title(self, handle: Handle) -> str:
        """Name the crawler."""
        return f"Glue crawler {handle['crawler']}"

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines of the crawler's log."""
        return cloudwatch_tail(access, "/aws-glue/crawlers", handle["crawler"])

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the crawler."""
        return f"https://{region}.console.aws.amazon.com/glue/home?region={region}#/v2/data-catalog/crawlers/view/{handle['crawler']}"

    @staticmethod
    def _start(access: AwsAccess, name: str) -> float:
        """Start the crawler and return the service's own time of the call, so that clock skew does not matter."""
        from botocore.exceptions import ClientError

        try:
            answer = client("glue", access).start_crawler(Name=name)
        except ClientError as error:
            if error_code(error) != "CrawlerRunningException":
                raise
            answer = error.response
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()


@dataclass(frozen=True)
class EndpointUpdate:
    """Bringing an endpoint to an endpoint config. SageMaker's own roll-back ends ``InService`` on the old config: that is a failure."""

    def submit(self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any]) -> Submitted:
        """Create or update the endpoint, or adopt the change that already leads to this config.

        Raises:
            JobBusyError: the endpoint is changing to another config.

        """
        from botocore.exceptions import ClientError

        try:
            return self._change(access, model, request)
        except ClientError as error:
            if not _is_changed_meanwhile(error):
                raise
            return self._change(access, model, request)  # an earlier reply was lost, or another writer was faster

    def _change(self, access: AwsAccess, model: str, request: Mapping[str, Any]) -> Submitted:
        from botocore.exceptions import ClientError

        sagemaker = client("sagemaker", access)
        name, config = request["EndpointName"], request["EndpointConfigName"]
        handle = {"endpoint": name, "config": config}
        try:
            endpoint = sagemaker.describe_endpoint(EndpointName=name)
        except ClientError as error:
            if not is_not_found(error):
                raise
            endpoint = None
        if (
            endpoint and endpoint["EndpointStatus"] == "Failed"
        ):  # a failed creation cannot be updated, and serves nothing
            sagemaker.delete_endpoint(EndpointName=name)
            sagemaker.get_waiter("endpoint_deleted").wait(
                EndpointName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 60}
            )
            endpoint = None
        if endpoint is None:
            sagemaker.create_endpoint(**request, Tags=[{"Key": "retraining:model", "Value": model}])
            return Submitted(handle, adopted=False)
        if endpoint["EndpointStatus"] == "InService":
            if endpoint["EndpointConfigName"] == config:
                return Submitted(handle, adopted=True)
            sagemaker.update_endpoint(**request)
            return Submitted(handle, adopted=False)
        pending = endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName", endpoint["EndpointConfigName"])
        if pending == config:
            return Submitted(handle, adopted=True)
        raise JobBusyError(
            f"endpoint {name} is {endpoint['EndpointStatus']} with config {pending}; this task tries again later"
        )

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the endpoint; it must be in service *on the intended config*."""
        endpoint = client("sagemaker", access).describe_endpoint(EndpointName=handle["endpoint"])
        state, config = endpoint["EndpointStatus"], endpoint["EndpointConfigName"]
        reason = endpoint.get("FailureReason", "")
        if state in ("Creating", "Updating", "SystemUpdating", "RollingBack"):
            return JobStatus(state, "running")
        if state == "InService" and config == handle["config"]:
            return JobStatus(state, "succeeded")
        if state == "InService":
            return JobStatus(
                "RolledBack", "failed", f"{handle['config']} did not come up, {config} still serves. {reason}".strip()
            )
        return JobStatus(state, "failed", reason)

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Do nothing: an endpoint update cannot be stopped, and ends in a serving state by itself."""

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return endpoint and config."""
        return {"name": handle["endpoint"], "endpoint": handle["endpoint"], "config": handle["config"]}

    def title(self, handle: Handle) -> str:
        """Name the endpoint."""
        return f"SageMaker endpoint {handle['endpoint']}"

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines that the endpoint's containers logged."""
        return cloudwatch_tail(access, f"/aws/sagemaker/Endpoints/{handle['endpoint']}", "")

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the endpoint."""
        return f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/endpoints/{handle['endpoint']}"


def _is_changed_meanwhile(error: Exception) -> bool:
    """Tell whether AWS refused to create or update an endpoint because it exists or changes already."""
    message = str(getattr(error, "response", {}).get("Error", {}).get("Message", "")).lower()
    refusals = ("already exist", "cannot update in-progress")
    return error_code(error) == "ValidationException" and any(words in message for words in refusals)


def _has_objects(access: AwsAccess, uri: str) -> bool:
    bucket, key = split_uri(uri)
    return bool(client("s3", access).list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents"))


def cloudwatch_tail(access: AwsAccess, group: str, stream_prefix: str, lines: int = LOG_TAIL_LINES) -> list[str]:
    """Return the last lines of the newest matching log stream, oldest first; empty when there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    logs = client("logs", access)
    try:
        query = (
            {"logStreamNamePrefix": stream_prefix}
            if stream_prefix
            else {"orderBy": "LastEventTime", "descending": True}
        )
        streams = logs.describe_log_streams(logGroupName=group, **query, limit=10)["logStreams"]
        if not streams:
            return []
        # Of an endpoint, the container that started last: the old one goes on logging requests while the new one fails.
        order = "lastEventTimestamp" if stream_prefix else "creationTime"
        newest = max(streams, key=lambda stream: stream.get(order, 0))
        events = logs.get_log_events(
            logGroupName=group, logStreamName=newest["logStreamName"], limit=lines, startFromHead=False
        )["events"]
    except (ClientError, BotoCoreError):  # a missing log must not hide the failure that it would explain
        return []
    return [event["message"].rstrip() for event in events[-lines:]]


def failure_text(job: AwsJob, access: AwsAccess, handle: Handle, state: str, reason: str) -> str:
    """Return what a person needs of a job that failed: why, the last lines of its log, and where to look."""
    lines = [f"{job.title(handle)} ended {state}: {reason or 'AWS gives no reason'}"]
    if tail := job.log_tail(access, handle):
        lines += ["Last lines of its log:", *(f"  {line}" for line in tail)]
    lines.append(f"Console: {job.console_url(access.region or _default_region(), handle)}")
    return "\n".join(lines)


def _default_region() -> str:
    from boto3.session import Session

    return Session().region_name or "us-east-1"


JOB_KINDS: dict[str, AwsJob] = {
    "training": SageMakerJob("Training", "jobs"),
    "processing": SageMakerJob("Processing", "processing-jobs"),
    "transform": SageMakerJob("Transform", "transform-jobs"),
    "glue_job": GlueJobRun(),
    "glue_crawler": GlueCrawl(),
    "endpoint": EndpointUpdate(),
}
