"""Settings of one local_aws process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Where the account listens, keeps its state and finds the interpreters of its jobs."""

    port: int
    data_dir: Path
    environments: Path
    """Folder of the virtual environments that run the jobs."""
    host: str = "127.0.0.1"
    allowed_hosts: frozenset[str] = field(default_factory=frozenset)
    credentials: Path | None = None
    """File of the keys of those who may call, in the form of ``~/.aws/credentials``; None lets everybody call."""
    keys: Mapping[str, str] | None = field(default=None, repr=False)
    """What that file holds: secret key by access key id."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """ARN of the role that a key of that file is for, by access key id; a key without one is the account's."""
    enforce_policies: bool = False
    """Whether a request that is signed for a role is refused unless the role's policies allow it."""
    java_home: str | None = None
    region: str = "us-east-1"
    account: str = "000000000000"
    own_environment: bool = False
    """Whether all of them are the one that runs this process."""
    keep_job_folders: bool = False
    access_log: Path | None = None
    spares: bool = False
    """Whether processes are kept ready for the next jobs."""
    images: Path | None = None
    """File of the commands that stand for images of one's own."""
    isolated: bool = False
    """Whether each job gets a mount namespace, in which /opt/ml is its own."""

    @property
    def endpoint_url(self) -> str:
        """Return the URL under which jobs on this machine reach the account."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{host}:{self.port}"

    @property
    def jobs_dir(self) -> Path:
        """Return the folder that keeps the logs of all jobs."""
        return self.data_dir / "jobs"

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of this account, e.g. ``arn("sagemaker", "model/m")``."""
        # SageMaker's are in lower case, whatever the name is.
        resource = resource.lower() if service == "sagemaker" else resource
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def python(self, environment: str) -> Path:
        """Return the interpreter of a virtual environment by its name."""
        return self.environments / environment / "bin" / "python"
