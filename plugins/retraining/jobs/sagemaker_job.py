"""Training, processing and transform jobs of SageMaker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.aws.clients import client
from retraining.aws.documents import split_uri
from retraining.aws.errors import error_code, is_not_found
from retraining.aws.naming import JOB_NAME_LIMIT, digest, job_name
from retraining.jobs.job import (
    DIGEST_TAG,
    STOPPED_REASON,
    TIME_LIMIT_REASON,
    Asker,
    Handle,
    JobBusyError,
    JobError,
    JobStatus,
    Submitted,
    failed_before,
    is_final,
)
from retraining.jobs.live_log import LiveLog
from retraining.jobs.log_tail import cloudwatch_tail
from retraining.settings.access import AwsAccess

MAX_ATTEMPTS = 60


@dataclass(frozen=True)
class SageMakerJob:
    """Training, processing and transform jobs: the same life, other words.

    A completed job that left nothing where its output belongs is a failure: its container ended with exit code 0 without doing its work.
    """

    noun: str
    """As in CreateTrainingJob: ``Training``, ``Processing``, ``Transform`` or ``HyperParameterTuning``."""
    console_path: str
    longest_name: int = JOB_NAME_LIMIT

    @property
    def _snake(self) -> str:
        return f"{re.sub('(?<!^)(?=[A-Z])', '_', self.noun).lower()}_job"

    @property
    def _words(self) -> str:
        return self._snake.replace("_", " ")

    @property
    def _name_key(self) -> str:
        return f"{self.noun}JobName"

    def submit(
        self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any], asker: Asker | None = None
    ) -> Submitted:
        """Create the job, or adopt the one whose name and tag carry the same digest.

        A stopped one, or one that failed for the service's sake, is followed by a new attempt; one whose work failed only when a person
        asks for it. An adopted job becomes the asker's.

        Raises:
            JobError: the name belongs to a job with another digest, its work failed before, or too many attempts failed.
            JobBusyError: the account's quota is used up, or an earlier attempt is just being stopped.

        """
        from botocore.exceptions import ClientError

        sagemaker = client("sagemaker", access)
        short, full = digest(request), digest(request, 64)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            name = job_name(model, step, short, attempt, self.longest_name)
            handle = {"name": name}
            try:
                description = self._describe(sagemaker, name)
            except ClientError as error:
                if not is_not_found(error):
                    raise
                tags = {DIGEST_TAG: full, "retraining:model": model, **(asker.names() if asker else {})}
                try:
                    getattr(sagemaker, f"create_{self._snake}")(
                        **{**request, self._name_key: name, "Tags": [*request.get("Tags", []), *_tag_list(tags)]}
                    )
                except ClientError as refused:
                    if error_code(refused) == "ResourceLimitExceeded":
                        raise JobBusyError(f"{self.title(handle)} has to wait for room: {refused}") from refused
                    if error_code(refused) != "ResourceInUse":
                        raise
                    description = self._describe(
                        sagemaker, name
                    )  # another writer was faster, or an earlier reply was lost
                else:
                    return Submitted(handle, adopted=False)
            tags = self._check_digest(sagemaker, name, description, full)
            status = self._judge(access, description)
            if status.state == "Stopping":
                raise JobBusyError(f"{self.title(handle)} is being stopped; its next attempt waits for its end")
            if status.outcome != "failed":
                if asker and status.outcome == "running" and not asker.names().items() <= tags.items():
                    arn = description[f"{self.noun}JobArn"]
                    sagemaker.add_tags(ResourceArn=arn, Tags=_tag_list(asker.names()))
                return Submitted(handle, adopted=True)
            if asker and not asker.repeat and is_final(status):
                raise JobError(failed_before(self.title(handle), status.reason))
        first = job_name(model, step, short, limit=self.longest_name)
        raise JobError(f"{self._words} {first} failed {MAX_ATTEMPTS} times with the same inputs; change them")

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

    def live_log(self, access: AwsAccess, handle: Handle) -> LiveLog | None:
        """Return a reader of the job's log streams."""
        return LiveLog(access, f"/aws/sagemaker/{self.noun}Jobs", handle["name"] + "/")

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the job."""
        return f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/{self.console_path}/{handle['name']}"

    def _describe(self, sagemaker: Any, name: str) -> dict[str, Any]:
        return getattr(sagemaker, f"describe_{self._snake}")(**{self._name_key: name})

    def _check_digest(self, sagemaker: Any, name: str, description: Mapping[str, Any], full: str) -> dict[str, str]:
        """Return the job's tags, which must carry the digest of the request."""
        tags = {
            tag["Key"]: tag["Value"]
            for tag in sagemaker.list_tags(ResourceArn=description[f"{self.noun}JobArn"])["Tags"]
        }
        if tags.get(DIGEST_TAG) != full:
            raise JobError(
                f"{self._words} {name} exists but was not started for these inputs (tag {DIGEST_TAG} is "
                f"{tags.get(DIGEST_TAG, 'missing')!r}); it is not adopted. Rename the model or change an input"
            )
        return tags

    def _judge(self, access: AwsAccess, description: Mapping[str, Any]) -> JobStatus:
        status = self._status(description)
        if status.outcome == "succeeded":
            for uri in self._outputs(description):
                if not has_objects(access, uri):
                    return JobStatus(status.state, "failed", f"it ended with exit code 0 but wrote nothing to {uri}")
        return status

    def _outputs(self, description: Mapping[str, Any]) -> list[str]:
        """S3 URIs at or below which a successful job has written; a folder's ends with a slash, so that none beside it counts."""
        if self.noun == "Training":
            return [description["ModelArtifacts"]["S3ModelArtifacts"]]
        if self.noun == "Transform":
            return [f"{description['TransformOutput']['S3OutputPath'].rstrip('/')}/"]
        outputs = description.get("ProcessingOutputConfig", {}).get("Outputs", [])
        return [f"{output['S3Output']['S3Uri'].rstrip('/')}/" for output in outputs if "S3Output" in output]

    def _status(self, description: Mapping[str, Any]) -> JobStatus:
        state = description[f"{self.noun}JobStatus"]
        if state == "Completed":
            return JobStatus(state, "succeeded")
        if state in ("InProgress", "Stopping"):
            return JobStatus(state, "running", description.get("SecondaryStatus", ""))
        reason = description.get("FailureReason") or description.get("ExitMessage") or ""
        if state == "Stopped":
            secondary = description.get("SecondaryStatus", "")
            over = secondary == "MaxRuntimeExceeded" or self._took_all_its_time(description)
            reason = reason or (TIME_LIMIT_REASON if over else STOPPED_REASON)
        return JobStatus(state, "failed", reason)

    def _took_all_its_time(self, description: Mapping[str, Any]) -> bool:
        """Tell whether a stopped job ran to its limit; a processing job's description does not say why it was stopped."""
        limit = description.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
        start, end = (description.get(f"{self.noun}{moment}Time") for moment in ("Start", "End"))
        return bool(limit and start and end and (end - start).total_seconds() >= limit)


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def has_objects(access: AwsAccess, uri: str) -> bool:
    """Tell whether anything lies at or below an S3 URI."""
    bucket, key = split_uri(uri)
    return bool(client("s3", access).list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents"))
