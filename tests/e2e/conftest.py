"""A whole stack of its own: local_aws and a real Airflow, in a temporary folder and on free ports."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session
from local_account import free_port

from local_stack import layout
from local_stack.airflow_api import AirflowApi
from local_stack.airflow_settings import aws_environment
from local_stack.started import ENFORCE

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 900.0
"""Limit of one run, and of what follows from it. A machine that does other work takes many times the seconds of an idle one."""
COMMAND_SECONDS = 3000.0
"""Limit of a command, which may start a stack and play several runs."""


def until(condition: Callable[[], Any], what: str, seconds: float = RUN_SECONDS) -> Any:
    """Wait until a condition is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(1)
    return answer


class Stack:
    """The stack's command line, and clients for what it starts."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder = folder
        self.root = root
        self.marked_secret = "of-the-shell-and-not-to-be-written"
        folder.mkdir()
        (folder / "venvs").symlink_to(layout.VENVS)
        self.environment = {
            **os.environ,
            "RETRAINING_LOCAL_DIR": str(folder),
            "LOCAL_AWS_PORT": str(free_port()),
            "AIRFLOW_PORT": str(free_port()),
            "PYTHONPATH": f"{root}:{root / 'plugins'}",
            # What a person's shell may hold; nothing of it may be written anywhere.
            "AWS_SECRET_ACCESS_KEY": self.marked_secret,
            "DATABASE_PASSWORD": self.marked_secret,
            # What make test-e2e ENFORCE=1 asks for; that of a person's shell does not come this far.
            **({ENFORCE: "1"} if os.environ.get("E2E_ENFORCE") == "1" else {}),
        }
        for name in [name for name in self.environment if name.startswith("AIRFLOW_") and name != "AIRFLOW_PORT"]:
            del self.environment[name]
        self.summary: dict[str, Any] = {}

    def run(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        python = str(layout.VENVS / "airflow" / "bin" / "python")
        return self._called([python, "-m", "local_stack", *arguments], self.environment, seconds)

    def play(self, command: str) -> dict[str, Any]:
        """Play a demo as its documented command says, stop what it left, and return what it wrote."""
        done = self._called(shlex.split(command), self.environment, COMMAND_SECONDS)
        self.run("down")
        assert done.returncode == 0, done.stdout + done.stderr
        summary: dict[str, Any] = json.loads((self.folder / "demo.json").read_text())
        return summary

    def dataset(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._with_credentials("retraining.command.dataset", *arguments)

    def survey(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._with_credentials("survey", *arguments)

    def _with_credentials(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(layout.VENVS / "airflow" / "bin" / "python"), "-m", module, *arguments]
        return self._called(command, {**self.environment, **aws_environment()}, COMMAND_SECONDS)

    def _called(
        self, command: list[str], environment: dict[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack after a demo and an ``up``: two versions, a promoted model, everything running."""
    stack = Stack(tmp_path_factory.mktemp("stack") / "local")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "LOCAL", stack.folder)
        patch.setattr(layout, "SECRETS", stack.folder / "secrets.json")
        patch.setattr(layout, "AWS_URL", f"http://127.0.0.1:{stack.environment['LOCAL_AWS_PORT']}")
        patch.setattr(layout, "AIRFLOW_URL", f"http://127.0.0.1:{stack.environment['AIRFLOW_PORT']}")
        try:
            up = stack.run("up")
            assert up.returncode == 0, up.stdout + up.stderr
            demo = stack.run("demo")
            assert demo.returncode == 0, demo.stdout + demo.stderr
            stack.summary = json.loads((stack.folder / "demo.json").read_text())
            yield stack
        finally:
            stack.run("down")


@pytest.fixture(scope="session")
def api(stack: Stack) -> AirflowApi:
    return AirflowApi()


@pytest.fixture(scope="session")
def session(stack: Stack) -> Iterator[Session]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws_environment().items():
            patch.setenv(name, value)
        yield Session(region_name=layout.REGION)


@pytest.fixture(scope="session")
def bucket(session: Session) -> str:
    """Name the data bucket of the model abalone."""
    parameter = session.client("ssm").get_parameter(Name="/retraining/dev/abalone/platform")
    return str(json.loads(parameter["Parameter"]["Value"])["bucket"])


@pytest.fixture(scope="session")
def run_dag(stack: Stack) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """Start a run with parameters and return it when it has ended, with its tasks' states."""
    script = (
        "import json, sys; from local_stack.airflow_api import AirflowApi; from local_stack.progress import ended;"
        "api = AirflowApi(); run = api.trigger(sys.argv[1], json.loads(sys.argv[2]));"
        f"run = ended(api, sys.argv[1], run['dag_run_id'], {RUN_SECONDS});"
        "tasks = api.tasks(sys.argv[1], run['dag_run_id']);"
        "print(json.dumps({**run, 'tasks': {t['task_id']: t['state'] for t in tasks}}))"
    )

    def start(dag_id: str, params: dict[str, Any]) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", script, dag_id, json.dumps(params)],
            cwd=ROOT,
            env=stack.environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS + 100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return start
