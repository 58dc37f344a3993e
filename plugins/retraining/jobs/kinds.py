"""Every kind of paid work by its name, as operators and triggers ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retraining.jobs.endpoint_update import EndpointUpdate
from retraining.jobs.glue_crawl import GlueCrawl
from retraining.jobs.glue_job_run import GlueJobRun
from retraining.jobs.job import Asker, AwsJob, Handle, JobStatus, Submitted
from retraining.jobs.live_log import LiveLog
from retraining.jobs.sagemaker_job import SageMakerJob
from retraining.jobs.tuning.job import TuningJob
from retraining.settings.access import AwsAccess

PROCESSING = SageMakerJob("Processing", "processing-jobs")
TRANSFORM = SageMakerJob("Transform", "transform-jobs")


class ScoringJob:
    """What asks a model for its answers: the library's code in a processing job, or the model's own container in a transform job.

    The request says which, and the handle remembers it as ``transform``.
    """

    @staticmethod
    def _of(handle: Handle) -> SageMakerJob:
        return TRANSFORM if handle.get("transform") else PROCESSING

    def submit(
        self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any], asker: Asker | None = None
    ) -> Submitted:
        """Create or adopt the job."""
        transform = "TransformInput" in request
        found = (TRANSFORM if transform else PROCESSING).submit(access, model, step, request, asker)
        return Submitted({**found.handle, "transform": transform}, found.adopted)

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the job."""
        return self._of(handle).poll(access, handle)

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Stop the job."""
        self._of(handle).stop(access, handle)

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return name, ARN and seconds."""
        return self._of(handle).result(access, handle)

    def title(self, handle: Handle) -> str:
        """Name the job."""
        return self._of(handle).title(handle)

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines of the job's log stream."""
        return self._of(handle).log_tail(access, handle)

    def live_log(self, access: AwsAccess, handle: Handle) -> LiveLog | None:
        """Return a reader of the job's log streams."""
        return self._of(handle).live_log(access, handle)

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the job."""
        return self._of(handle).console_url(region, handle)


JOB_KINDS: dict[str, AwsJob] = {
    "training": SageMakerJob("Training", "jobs"),
    "tuning": TuningJob("HyperParameterTuning", "hyper-tuning-jobs", longest_name=32),
    "processing": PROCESSING,
    "transform": TRANSFORM,
    "scoring": ScoringJob(),
    "glue_job": GlueJobRun(),
    "glue_crawler": GlueCrawl(),
    "endpoint": EndpointUpdate(),
}
