"""Jobs that run in a container: their sandbox, process, environment and log, alike for training, processing and transform jobs."""

from __future__ import annotations

import logging
import os
import shutil
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from local_aws.sagemaker.images import own_command, python_for_image
from local_aws.sagemaker.jobs import ActiveJob, Document, JobService, StoppedEarly
from local_aws.sagemaker.spares import SparePython, SparePythons
from local_aws.shared import running
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError, ServiceError, describe_exception
from local_aws.shared.logs import LogShipper
from local_aws.shared.running.hosts import Host
from local_aws.shared.running.processes import ManagedProcess, job_environment, view_of_job
from local_aws.shared.sandbox import S3Files, Sandbox
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

_LOG = logging.getLogger(__name__)

#: Where a job finds a ``pip`` that installs nothing and says what is missing.
_INSTALLER = Path(running.__file__).with_name("installer")


class ContainerJobs(JobService):
    """A kind of job that runs one process for each of its instances, in a sandbox of its own."""

    log_group: ClassVar[str]
    default_limit_seconds: ClassVar[int] = 86_400

    def __init__(self, settings: Settings, store: Store, clients: Clients, spares: SparePythons) -> None:
        super().__init__(settings, store, clients)
        self.spares = spares
        self._taken: dict[Path, SparePython] = {}

    def folder(self, name: str) -> Path:
        """Return the folder that keeps the job's logs."""
        return self.settings.jobs_dir / self.kind / name

    def instances(self, document: Document) -> int:
        """Return on how many instances a job runs."""
        return 1

    def _hosts(self, name: str, document: Document) -> list[Host]:
        """Make the empty containers of a job."""
        folder = self.folder(name)
        # What an earlier life of this data folder left under the name is not this job's.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        count, hosts = self.instances(document), []
        for number in range(count):
            suffix = f"-{number + 1}" if number else ""
            log = folder / f"log{suffix}.txt"
            log.touch()
            spare = self._spare(document) if count == 1 else None
            if spare:
                spare.take_over(log)
                self._taken[spare.sandbox.root] = spare
            sandbox = spare.sandbox if spare else Sandbox(folder / f"container{suffix}", self.settings.isolated)
            sandbox.ml.mkdir(parents=True, exist_ok=True)
            hosts.append(Host(number, count, sandbox, log))
        return hosts

    def _spare(self, document: Document) -> SparePython | None:
        """Return a Python that waits for a job of this image."""
        try:
            image, network = self.image(document)
            if own_command(self.settings, image):
                return None
            return self.spares.take(python_for_image(self.settings, image), network)
        except (JobError, LookupError):  # the job itself says what is wrong
            return None

    def _execute(self, name: str, job: ActiveJob) -> None:
        document = self._get(name)
        hosts = self._hosts(name, document)
        log, began = hosts[0].log, int(time.time())
        job.shippers = [
            LogShipper(self.clients.logs, host.log, self.log_group, f"{name}/{host.name}-{began}").start()
            for host in hosts
        ]
        try:
            self.run(name, document, hosts, job)
        except StoppedEarly:
            self.finish(name, "Stopped")
        except JobError as error:
            self._fail(name, log, f"ClientError: {error}")
        except ServiceError as error:
            self._fail(name, log, f"ClientError: {error.message}")
        except Exception as error:
            _LOG.exception("%s %s", self.kind, name)
            self._fail(name, log, f"InternalServerError: {describe_exception(error)}")
        finally:
            for shipper in job.shippers:
                shipper.close()
            self.clients.job_keys.revoke(job.key)
            with self._lock:
                self.active.pop(name, None)
            keep = self.settings.keep_job_folders
            for host in hosts:
                if spare := self._taken.pop(host.sandbox.root, None):
                    spare.end(self.folder(name) / "container" if keep else None)
                elif not keep:
                    host.sandbox.remove()

    def _fail(self, name: str, log: Path, reason: str) -> None:
        with log.open("a") as file:
            file.write(reason + "\n")
        self.finish(name, "Failed", reason=reason)

    def environment(self, python: Path, sandbox: Sandbox, job: ActiveJob, extra: dict[str, str]) -> dict[str, str]:
        """Return the environment of the job's process; /opt/ml in the request's variables is mapped."""
        mapped = {key: sandbox.map_text(value) for key, value in extra.items()}
        home = sandbox.root / "home"
        home.mkdir(exist_ok=True)
        return job_environment(self.settings, python, home, job.key, mapped)

    def process(
        self, argv: list[str], env: dict[str, str], host: Host, cwd: Path, network: bool = True
    ) -> ManagedProcess:
        """Return the process of an instance, which sees its own /opt/ml and /tmp and knows the others by name."""
        sandbox = host.sandbox
        spare = self._taken.get(sandbox.root)
        if spare and spare.assign(argv, env, str(sandbox.seen(cwd))):
            return spare
        view = view_of_job(
            self.settings,
            sandbox.root,
            sandbox.root / "home" / "tmp",
            str(sandbox.seen(cwd)),
            sandbox.ml,
            network,
            host.write_names(),
        )
        if view is None:
            refuse_literal_paths(sandbox)
        return ManagedProcess(argv, env, cwd=cwd, stdout=host.log, view=view)

    def files(self, document: Document) -> S3Files:
        """Return copies from and to S3, made in the job's role."""
        return S3Files(self.clients.s3_as(self.role_of(document)))

    def limit_seconds(self, document: Document) -> int:
        """Return the job's own limit."""
        return document.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", self.default_limit_seconds)

    @abstractmethod
    def image(self, document: Document) -> tuple[str, bool]:
        """Return the image that the job's own process runs in, and whether it has a network; LookupError when there is none."""

    @abstractmethod
    def run(self, name: str, document: Document, hosts: list[Host], job: ActiveJob) -> None:
        """Do the work; call `finish` or raise."""


def argv_in_sandbox(command: Sequence[str], python: Path, sandbox: Sandbox) -> list[str]:
    """Return a container's command for this machine: paths mapped, python replaced by the environment's."""
    argv = [sandbox.map_text(part) for part in command]
    if argv and Path(argv[0]).name in ("python", "python3"):
        argv[0] = str(python)
    return argv


def own_variables(sandbox: Sandbox) -> dict[str, str]:
    """Return what a command that stands for an image is told and the image is not: where its /opt/ml is, and to stay on the loopback."""
    return {"LOCAL_AWS_ML": str(sandbox.seen(sandbox.ml)), "LOCAL_AWS_ADDRESS": "127.0.0.1"}


def map_shell_scripts(argv: Sequence[str], sandbox: Sandbox) -> None:
    """Map the paths inside the shell scripts of a container's command, such as the ``runproc.sh`` of the SageMaker SDK."""
    for part in argv:
        path = Path(part)
        if path.suffix == ".sh" and path.is_relative_to(sandbox.ml) and path.is_file():
            sandbox.map_script(path)


def refuse_literal_paths(sandbox: Sandbox) -> None:
    """Refuse scripts that name /opt/ml where that is no folder of the job but one of this machine that they could write to.

    Raises:
        JobError: one does; it says where.

    """
    nearest = next(path for path in (Path("/opt/ml"), Path("/opt"), Path("/")) if path.exists())
    if not os.access(nearest, os.W_OK):
        return
    for folder in (sandbox.ml / "code", sandbox.ml / "processing" / "input" / "code"):
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else []:
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
                if "/opt/ml" in line and not line.lstrip().startswith("#"):
                    raise JobError(
                        f"{path.name} line {number} names /opt/ml: this kernel gives jobs no mount namespace, so that would be this "
                        "machine's own folder; take paths from the SM_* variables or the arguments"
                    )


def give_pip(sandbox: Sandbox, env: dict[str, str]) -> None:
    """Put a ``pip`` on the job's paths that is content with what the environment has, and refuses the rest by its name."""
    folder = sandbox.root / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("pip", "pip3"):
        (folder / name).write_text('#!/bin/sh\nexec python -m pip "$@"\n')
        (folder / name).chmod(0o755)
    env["PATH"] = f"{folder}{os.pathsep}{env['PATH']}"
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [env.get("PYTHONPATH"), str(_INSTALLER)]))
