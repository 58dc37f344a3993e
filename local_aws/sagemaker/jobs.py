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
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, ClassVar

from local_aws.shared.clients import Clients
from local_aws.shared.errors import ServiceError, validation_error
from local_aws.shared.job_keys import JobKey
from local_aws.shared.listing import list_page
from local_aws.shared.logs import LogShipper
from local_aws.shared.running.hosts import MOST_INSTANCES
from local_aws.shared.running.processes import ManagedProcess, Outcome
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store
from local_aws.shared.trust import require_assumable

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
        self._processes: list[ManagedProcess] = []
        self.stop_requested = False
        self.aborted = False
        self.shippers: list[LogShipper] = []
        self.thread: threading.Thread | None = None

    def stop(self) -> None:
        """Ask the job to end."""
        with self._lock:
            self.stop_requested = True
            for process in self._processes:
                process.stop()

    def kill(self) -> None:
        """End the job's processes at once; nothing of it is uploaded."""
        with self._lock:
            self.stop_requested = self.aborted = True
            for process in self._processes:
                process.kill()

    def check(self) -> None:
        """Raise StoppedEarly after a Stop request."""
        if self.stop_requested:
            raise StoppedEarly

    def run(self, processes: Sequence[ManagedProcess], limit_seconds: float | None) -> list[Outcome]:
        """Run the job's processes, one for each instance, to their end; when one fails, the others are asked to end."""
        with self._lock:
            self.check()
            self._processes = list(processes)
            try:
                for process in processes:
                    process.start()
            except OSError:
                for process in processes:
                    process.kill()
                raise
        with ThreadPoolExecutor(len(processes)) as pool:
            waiting = [pool.submit(process.wait, limit_seconds) for process in processes]
            for ended in as_completed(waiting):
                if ended.result().exit_code:
                    for process in processes:
                        if process.running:
                            process.stop()
        if self.aborted:
            raise StoppedEarly
        return [ended.result() for ended in waiting]


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
        if role := self.handed_role(document):
            require_assumable(self.clients, self.settings, role, arn)
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
        for shipper in job.shippers if job else []:
            shipper.close()

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

    def handed_role(self, document: Document) -> str | None:
        """Return the ARN of the role that the request hands to SageMaker."""
        return self.role_of(document)

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


def check_instances(settings: Settings, config: Document, title: str, network: bool) -> None:
    """Refuse a cluster that is too large for this machine, or whose instances could not talk to each other."""
    count = config.get("InstanceCount", 1)
    if count > MOST_INSTANCES:
        raise ServiceError(
            "ResourceLimitExceeded",
            f"The account-level service limit 'instances for one {title.lower()}' is {MOST_INSTANCES} Instances, with current utilization "
            f"of 0 Instances and a request delta of {count} Instances. All of them share the machine that local_aws runs on.",
        )
    if count > 1 and not settings.isolated:
        raise validation_error(
            f"InstanceCount is {count}: where the kernel gives jobs no mount namespace, local_aws runs a job on one instance."
        )
    if count > 1 and not network:
        raise validation_error(
            f"InstanceCount is {count}: with EnableNetworkIsolation instances cannot talk to each other in local_aws; take one."
        )
