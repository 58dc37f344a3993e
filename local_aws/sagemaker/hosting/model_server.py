"""One running model server: the process of one production variant (or of one transform job)."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3

from local_aws.sagemaker.container_jobs import own_variables
from local_aws.sagemaker.images import SERVE, own_command, python_for_image
from local_aws.sagemaker.spares import SparePython, SparePythons
from local_aws.shared.archives import extract_archive
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError
from local_aws.shared.running.processes import ManagedProcess, job_environment, view_of_job
from local_aws.shared.sandbox import S3Files, Sandbox, parse_s3_uri, safe_join
from local_aws.shared.settings import Settings

_PROGRAM = Path(__file__).with_name("serving.py")
_CODE_DIRECTORY = "/opt/ml/model/code"
_SECRET_HEADER = "X-Local-Aws-Secret"  # serving.py stands alone, so it has the name, too

Document = dict[str, Any]


def free_port() -> int:
    """Return a port of the loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ModelServer:
    """A model unpacked into its own folder, served by a process on a free port of the loopback.

    An image of one's own is called with ``serve`` and told its port in ``SAGEMAKER_BIND_TO_PORT``, as SageMaker tells it to containers that
    share an instance. Its server knows no secret: whoever is on the machine can ask it.
    """

    multi_model = False

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        container: Document,
        folder: Path,
        log: Path,
        role: str | None,
        spares: SparePythons | None = None,
    ) -> None:
        """`container` is a ContainerDefinition with an Image and its model data, `role` the ARN of its model's role."""
        self._settings = settings
        self._spares = spares
        self._spare: SparePython | None = None
        self.role = role
        self._files = S3Files(clients.s3_as(role))
        self._keys = clients.job_keys
        self._key = self._keys.issue("endpoint", role)
        self._container = container
        self._sandbox = Sandbox(folder, settings.isolated)
        self.log = log
        self._process: ManagedProcess | None = None
        self._port = 0
        self._secret = ""
        # One connection pool per server: connections stay open between invocations.
        self._pool = urllib3.PoolManager(maxsize=16, retries=False)

    def prepare(self) -> None:
        """Download and unpack the model; JobError when that is not possible."""
        if not own_command(self._settings, self._container["Image"]):
            python = python_for_image(self._settings, self._container["Image"])
            self._spare = self._spares.take(python, network=True) if self._spares else None
        if self._spare:
            self._spare.take_over(self.log)
            self._sandbox = self._spare.sandbox
        self._sandbox.ml.mkdir(parents=True, exist_ok=True)
        model = self._sandbox.ml / "model"
        source = self._container.get("ModelDataSource", {}).get("S3DataSource")
        if source and source.get("CompressionType") == "None":
            self._files.download_prefix(source["S3Uri"], model)
        elif source or self._container.get("ModelDataUrl"):
            if source and source.get("ETag"):
                self._files.require_etag(source["S3Uri"], source["ETag"])
            archive = self._sandbox.root / "model.tar.gz"
            self._files.download_uri(source["S3Uri"] if source else self._container["ModelDataUrl"], archive)
            extract_archive(archive, model)
            archive.unlink()
        else:
            model.mkdir(exist_ok=True)

    def start(self) -> None:
        """Start the process; it answers after `wait_healthy`."""
        own = own_command(self._settings, self._container["Image"])
        python = Path(own[0]) if own else python_for_image(self._settings, self._container["Image"])
        variables = {
            name: self._sandbox.map_text(value) for name, value in self._container.get("Environment", {}).items()
        }
        home = self._sandbox.root / "home"
        home.mkdir(parents=True, exist_ok=True)
        env = job_environment(self._settings, python, home, self._key, variables)
        if self._container.get("EnableNetworkIsolation"):
            # The loopback stays, through which it is asked; it has no way into the account.
            env = {name: value for name, value in env.items() if not name.startswith("AWS_")}
        port_file = self._sandbox.root / "port"
        port_file.unlink(missing_ok=True)
        self._port = 0
        if own:
            self._port, self._secret = free_port(), ""
            env |= own_variables(self._sandbox) | {"SAGEMAKER_BIND_TO_PORT": str(self._port)}
            self._run([*own, SERVE], env)
            return
        program = self._container.get("Environment", {}).get("SAGEMAKER_PROGRAM", "inference.py")
        safe_join(self._sandbox.root, program)
        command = [
            str(python),
            str(_PROGRAM),
            "--model-dir",
            str(self._sandbox.seen(self._sandbox.ml / "model")),
            "--program",
            program,
        ]
        command += ["--code", str(self._sandbox.seen(self._code())), "--port-file", str(port_file)]
        self._run(command, env)

    def _run(self, command: list[str], env: dict[str, str]) -> None:
        if self._spare and not self._process and self._spare.assign(command, env):
            self._process = self._spare
        else:
            ml, scratch = self._sandbox.ml, self._sandbox.root / "home" / "tmp"
            view = view_of_job(self._settings, self._sandbox.root, scratch, str(self._sandbox.seen(ml)), ml)
            self._process = ManagedProcess(command, env, cwd=ml, stdout=self.log, grace_seconds=2.0, view=view)
        self._process.start()

    def _code(self) -> Path:
        directory = self._container.get("Environment", {}).get("SAGEMAKER_SUBMIT_DIRECTORY", _CODE_DIRECTORY)
        if directory.startswith("s3://"):
            archive = self._sandbox.root / "sourcedir.tar.gz"
            self._files.download(*parse_s3_uri(directory), archive)
            code = self._sandbox.ml / "code"
            extract_archive(archive, code)
            return code
        return self._sandbox.local(directory.removeprefix("file://"))

    @property
    def alive(self) -> bool:
        """Return whether the process runs."""
        return self._process is not None and self._process.running

    def wait_healthy(self, timeout_seconds: float, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Wait until GET /ping answers 200; False when that does not happen in time or the process ends."""
        port_file = self._sandbox.root / "port"
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline and self.alive and not cancelled():
            if not self._port and port_file.exists():
                port, self._secret = port_file.read_text().split()
                self._port = int(port)
            if self._port and self._ping():
                return True
            time.sleep(0.05)
        return False

    def _ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/ping", headers={_SECRET_HEADER: self._secret})
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def invoke(
        self, body: bytes, headers: dict[str, str], timeout_seconds: float = 60.0
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one invocation; return status, headers (lower case) and body. OSError when there is no answer."""
        try:
            response = self._pool.request(
                "POST",
                f"http://127.0.0.1:{self._port}/invocations",
                body=body,
                headers=headers | {_SECRET_HEADER: self._secret},
                timeout=urllib3.Timeout(connect=5, read=timeout_seconds),
            )
        except urllib3.exceptions.HTTPError as error:
            raise JobError(f"the model server did not answer: {error}") from error
        return response.status, {name.lower(): value for name, value in response.headers.items()}, response.data

    def stop(self) -> None:
        """Stop the process, end its key and remove its folder."""
        if self._process:
            self._process.stop()
            if self._process.running:
                self._process.wait()
        self._keys.revoke(self._key)
        self._pool.clear()
        if self._spare:
            self._spare.end()
        self._sandbox.remove()

    def kill(self) -> None:
        """End the process at once; its folder stays for the next start."""
        if self._process:
            self._process.kill()
