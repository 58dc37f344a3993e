"""SageMaker jobs: what all kinds have in common.

A job is a document (what Describe answers) and a thread that does its work. The document is written through at every step, so that a
restart finds the truth.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from local_aws.shared.clients import Clients
from local_aws.shared.errors import ServiceError, validation_error
from local_aws.shared.job_keys import JobKey
from local_aws.shared.listing import list_page
from local_aws.shared.logs import LogShipper
from local_aws.shared.running.processes import ManagedProcess, Outcome
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

_LOG = logging.getLogger(__name__)

Document = dict[str, Any]

#: Reason of a job whose process died together with local_aws.
INTERRUPTED = "InternalServerError: local_aws stopped while the job was running; start the job again."


class StoppedEarly(Exception):
    """The job was stopped before its process started."""


class ActiveJob:
    """Handle of a running job: where a Stop request reaches it."""

    def __init__(self, key: JobKey) -> None:
        self.key = key
        self._lock = threading.Lock()
        self._process: ManagedProcess | None = None
        self.stop_requested = False
        self.aborted = False
        self.shipper: LogShipper | None = None
        self.thread: threading.Thread | None = None

    def stop(self) -> None:
        """Ask the job to end."""
        with self._lock:
            self.stop_requested = True
            if self._process:
                self._process.stop()

    def kill(self) -> None:
        """End the job's process at once; nothing of it is uploaded."""
        with self._lock:
            self.stop_requested = self.aborted = True
            if self._process:
                self._process.kill()

    def check(self) -> None:
        """Raise StoppedEarly after a Stop request."""
        if self.stop_requested:
            raise StoppedEarly

    def run(self, process: ManagedProcess, limit_seconds: float | None) -> Outcome:
        """Run the job's process to its end."""
        with self._lock:
            self.check()
            self._process = process
            process.start()
        outcome = process.wait(limit_seconds)
        if self.aborted:
            raise StoppedEarly
        return outcome


class JobService(ABC):
    """Create, Describe, List and Stop of one kind of job."""

    kind: ClassVar[str]  # also the resource part of the ARN
    title: ClassVar[str]  # as it stands in AWS's messages
    prefix: ClassVar[str]  # of the members: TrainingJob -> TrainingJobName, TrainingJobArn, TrainingJobStatus
    summary_fields: ClassVar[Sequence[str]]
    default_order: ClassVar[str] = "Descending"
    status_after_page: ClassVar[bool] = False

    def __init__(self, settings: Settings, store: Store, clients: Clients) -> None:
        self.settings = settings
        self.store = store
        self.clients = clients
        self.active: dict[str, ActiveJob] = {}
        self._lock = threading.Lock()

    # -- the API ---------------------------------------------------------------------------------------------------

    @property
    def _status(self) -> str:
        return f"{self.prefix}Status"

    def create(self, params: Document) -> Document:
        """Record the job and start it; ResourceInUse when the name was used before."""
        name = params[f"{self.prefix}Name"]
        arn = self.settings.arn("sagemaker", f"{self.kind}/{name}")
        now = time.time()
        document = {key: value for key, value in params.items() if key != "Tags"}
        document |= {
            f"{self.prefix}Arn": arn,
            self._status: "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        self.on_create(document)
        if not self.store.insert(self.kind, name, document):
            raise ServiceError(
                "ResourceInUse",
                f"{self.title} names must be unique within an AWS account and region, "
                f"and a {self.title.lower()} with this name already exists ({arn})",
            )
        self.store.put("tags", arn, {"Arn": arn, "Tags": params.get("Tags", [])})
        job = ActiveJob(self.clients.job_keys.issue(self.kind.removesuffix("-job"), self.role_of(document)))
        with self._lock:
            self.active[name] = job
        job.thread = threading.Thread(target=self._execute, args=(name, job), name=f"{self.kind}-{name}", daemon=True)
        job.thread.start()
        return {f"{self.prefix}Arn": arn}

    def describe(self, params: Document) -> Document:
        """Return the job's document."""
        return self._get(params[f"{self.prefix}Name"])

    def list_jobs(self, params: Document) -> Document:
        """Return a page of summaries."""
        return list_page(
            self.store.all(self.kind),
            params,
            result=f"{self.prefix}Summaries",
            fields=self.summary_fields,
            name_field=f"{self.prefix}Name",
            status_field=self._status,
            default_order=self.default_order,
            status_after_page=self.status_after_page,
        )

    def stop(self, params: Document) -> Document:
        """Ask a job in progress to end; ValidationException when it has ended."""
        name = params[f"{self.prefix}Name"]
        with self.store.locked():
            document = self._get(name)
            status = document[self._status]
            if status not in ("InProgress", "Stopping"):
                raise validation_error(
                    f"The request was rejected because the {self.title.lower()} is in status {status}."
                )
            self.change(name, **self.stopping_fields())
        job = self.active.get(name)
        if job:
            job.stop()
        return {}

    def _get(self, name: str) -> Document:
        document = self.store.get(self.kind, name)
        if document is None:
            raise validation_error("Requested resource not found.")
        return document

    # -- life of a job ---------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Report the jobs that ran when the process died as failed."""
        for document in self.store.all(self.kind):
            if document[self._status] in ("InProgress", "Stopping"):
                self.finish(document[f"{self.prefix}Name"], "Failed", reason=INTERRUPTED)

    def shutdown(self) -> None:
        """End all running jobs; they are reported as failed, with this reason."""
        with self._lock:
            jobs = dict(self.active)
        for name, job in jobs.items():
            self.finish(name, "Failed", reason=INTERRUPTED)
            job.kill()
        for job in jobs.values():
            if job.thread:
                job.thread.join(timeout=5)

    def change(self, name: str, **fields: Any) -> None:
        """Write members of a job in progress; a job that has ended stays as it is."""

        def apply(document: Document) -> None:
            if document[self._status] in ("InProgress", "Stopping"):
                document.update(fields, LastModifiedTime=time.time())

        self.store.update(self.kind, name, apply)

    def finish(self, name: str, status: str, reason: str | None = None, **fields: Any) -> None:
        """Write the end of a job, once; its log is complete by then."""
        job = self.active.get(name)
        if job and job.shipper:
            job.shipper.close()

        def apply(document: Document) -> None:
            if document[self._status] in ("InProgress", "Stopping"):
                now = time.time()
                document.update(fields, LastModifiedTime=now)
                document[self._status] = status
                if reason:
                    document["FailureReason"] = reason[:1024]
                self.on_finish(document, now)

        self.store.update(self.kind, name, apply)

    def role_of(self, document: Document) -> str | None:
        """Return the ARN of the role that the job acts in."""
        return document.get("RoleArn")

    # -- what a kind of job adds -----------------------------------------------------------------------------------

    @abstractmethod
    def _execute(self, name: str, job: ActiveJob) -> None:
        """Do the work of a job and write its end, in a thread of its own."""

    @abstractmethod
    def on_create(self, document: Document) -> None:
        """Complete the document of a new job; refuse what the service refuses."""

    @abstractmethod
    def on_finish(self, document: Document, now: float) -> None:
        """Complete the document of a job that ends."""

    def stopping_fields(self) -> Document:
        """Return what a Stop request changes."""
        return {self._status: "Stopping"}


def one_instance(config: Document, path: str) -> None:
    """Refuse a cluster: there would be one host where the request counts on several."""
    if (count := config.get("InstanceCount", 1)) > 1:
        raise validation_error(f"{path}.InstanceCount is {count}: local_aws runs a job on one instance (algo-1).")
