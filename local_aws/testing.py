"""A local account for anybody's tests: ``pytest_plugins = ["local_aws.testing"]`` gives the fixture ``local_account``."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

_PACKAGE = Path(__file__).resolve().parent
_START_SECONDS = 60.0
_REGION = "us-east-1"

#: Where the virtual environments of the jobs lie, for who gives no option; without it jobs run in that of the tests.
ENVIRONMENTS_VARIABLE = "LOCAL_AWS_ENVIRONMENTS"


class LocalAccount:
    """A local_aws process on a free port of the loopback, with keys of its own, and clients that lead to it.

    Use it as a context: what it holds lies in ``data_dir``, which a second process may take over.
    """

    def __init__(self, data_dir: Path, environments: Path | None, *options: str) -> None:
        self.data_dir = data_dir
        self.environments = environments
        self.options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.access_key, self.secret_key = "local-account", secrets.token_hex(16)
        self.process: subprocess.Popen[bytes] | None = None
        self._clients: dict[str, Any] = {}

    @property
    def python(self) -> Path:
        """Return the interpreter that runs local_aws: its own environment's, else that of the tests."""
        own = self.environments / "local_aws" / "bin" / "python" if self.environments else None
        return own if own and own.exists() else Path(sys.executable)

    @property
    def variables(self) -> dict[str, str]:
        """Return the standard variables that lead a client here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": _REGION,
        }

    def start(self, **variables: str) -> None:
        """Start the process, with more variables in its environment; return when it answers.

        Raises:
            RuntimeError: it ended, or did not answer within a minute; its log is in the message.

        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        keys = f"[default]\naws_access_key_id = {self.access_key}\naws_secret_access_key = {self.secret_key}\n"
        (self.data_dir / "credentials").write_text(keys)
        command = [str(self.python), "-m", "local_aws", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        command += [*(["--environments", str(self.environments)] if self.environments else []), *self.options]
        with (self.data_dir / "process.log").open("ab") as log:
            environment = dict(os.environ) | variables
            self.process = subprocess.Popen(command, cwd=_PACKAGE.parent, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise RuntimeError(f"local_aws does not answer:\n{(self.data_dir / 'process.log').read_text()[-3000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_local_aws/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process; return its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service; it is made once."""
        if service not in self._clients:
            import boto3
            from botocore.config import Config

            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.url,
                region_name=_REGION,
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
            )
        return self._clients[service]

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.stop()


def free_port() -> int:
    """Return a port of the loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the environments of jobs."""
    parser.addini(
        "local_aws_environments", f"folder of the virtual environments of jobs (default: ${ENVIRONMENTS_VARIABLE})"
    )


@pytest.fixture(scope="session")
def local_account_process(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[LocalAccount]:
    """Yield the account that all tests of a session share; it ends with them."""
    named = pytestconfig.getini("local_aws_environments") or os.environ.get(ENVIRONMENTS_VARIABLE)
    environments = (pytestconfig.rootpath / str(named)).resolve() if named else None
    with LocalAccount(tmp_path_factory.mktemp("local_aws") / "data", environments) as account:
        yield account


@pytest.fixture
def local_account(local_account_process: LocalAccount, monkeypatch: pytest.MonkeyPatch) -> LocalAccount:
    """Return the account; during the test each AWS client of this process, and of those that it starts, leads to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in local_account_process.variables.items():
        monkeypatch.setenv(name, value)
    return local_account_process
