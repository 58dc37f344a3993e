"""One table of requests, played against SageMaker's own serving packages and against local_aws's model server: the same answers from both.

The packages are in the environment `toolkits`, which `make conformance` creates where a C compiler is. nginx, which stands in front of them
in SageMaker's container, is not played: it hands on what reaches an endpoint.
"""

import http.client
import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from toolkits.library_model import abalone, write_channels
from toolkits.serving_table import PROGRAMS, TABLE, UNFIT, Request

from local_aws.sagemaker.hosting import serving
from local_stack import layout

HERE = Path(__file__).parent
SERVERS = {
    "container": (layout.python("toolkits"), HERE / "toolkits" / "sklearn_container.py"),
    "local_aws": (layout.python("jobs"), Path(serving.__file__)),
}
pytestmark = pytest.mark.skipif(
    not layout.python("toolkits").exists(), reason="SageMaker's packages are not here: make conformance installs them"
)


class Answer(NamedTuple):
    """Status, content type and body."""

    status: int
    answer_type: str
    body: bytes


class Server:
    """One program, served by one of both."""

    def __init__(self, folder: Path, model: Path, code: Path, which: str) -> None:
        python, program = SERVERS[which]
        folder.mkdir(parents=True)
        self._note, self._log = folder / "port", (folder / "log.txt").open("wb")
        options = ["--model-dir", model, "--program", "inference.py", "--code", code, "--port-file", self._note]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "SAGEMAKER_SUBMIT_DIRECTORY": str(code)}
        self._process = subprocess.Popen(
            [python, program, *options], stdout=self._log, stderr=self._log, env=environment, cwd=folder
        )
        self._connection: http.client.HTTPConnection | None = None
        self._headers: dict[str, str] = {}

    def listens(self) -> bool:
        """Wait until it listens, and tell whether it does."""
        until = time.monotonic() + 60
        while not self._note.exists() and self._process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        if not self._note.exists():
            return False
        port, *secret = self._note.read_text().split()
        self._headers = {serving.SECRET_HEADER: secret[0]} if secret else {}
        self._connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        return True

    def ask(self, request: Request) -> Answer:
        """Send a request; nothing is added to its headers but its length and what lets it in."""
        assert self._connection is not None
        self._connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        headers = self._headers | {"Content-Length": str(len(request.body))}
        headers |= {"Content-Type": request.content_type} if request.content_type is not None else {}
        headers |= {"Accept": request.accept} if request.accept is not None else {}
        for name, value in headers.items():
            self._connection.putheader(name, value)
        self._connection.endheaders(request.body)
        response = self._connection.getresponse()
        answer = Answer(response.status, response.headers["Content-Type"], response.read())
        self._connection.close()
        return answer

    def stop(self) -> None:
        """End the process and all of its children."""
        self._process.terminate()
        self._process.wait()
        self._log.close()


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Return the folder of each program: the library's own with a model that was trained, the others with none."""
    folder = tmp_path_factory.mktemp("programs")
    for name, text in (PROGRAMS | UNFIT).items():
        (folder / name / "model" / "code").mkdir(parents=True)
        (folder / name / "model" / "code" / "inference.py").write_text(text)
    channels = folder / "channels"
    write_channels(channels)
    abalone.train_artifact(channels, folder / "library" / "model", algorithm="linear")
    assert (folder / "library" / "model" / "code" / "inference.py").exists()
    return folder


@pytest.fixture(scope="module")
def servers(programs, tmp_path_factory):
    """Return a running server by program and kind."""
    folder = tmp_path_factory.mktemp("servers")
    started = {
        (name, which): Server(
            folder / name / which, programs / name / "model", programs / name / "model" / "code", which
        )
        for name in sorted({row.program for row in TABLE})
        for which in SERVERS
    }
    try:
        for (name, which), server in started.items():
            assert server.listens(), (folder / name / which / "log.txt").read_text()
        yield started
    finally:
        for server in started.values():
            server.stop()


def test_the_table_has_at_least_sixty_requests_and_each_is_another_one():
    assert len({row[:4] + row[7:] for row in TABLE}) == len(TABLE) >= 60


@pytest.mark.parametrize("number", range(len(TABLE)))
def test_both_answer_a_request_with_the_same_status_type_and_sentence(servers, number):
    row = TABLE[number]
    answers = {which: servers[row.program, which].ask(row) for which in SERVERS}
    told = answers["container"]
    assert (told.status, told.answer_type) == (row.status, row.answer_type), (row, told)
    assert row.sentence in told.body.decode() and bool(row.sentence) == bool(told.body), (row, told)
    assert answers["local_aws"] == told, row


@pytest.mark.parametrize("name", UNFIT)
def test_neither_gets_healthy_with_a_program_that_is_none(programs, tmp_path, name):
    """The container listens and answers its health check with an error; local_aws's server ends."""
    ping = Request(name, b"", None, None, 200, "", "", "GET", "/ping")
    folder = programs / name / "model"
    for which in SERVERS:
        server = Server(tmp_path / which, folder, folder / "code", which)
        try:
            assert not server.listens() or server.ask(ping).status == 500, which
        finally:
            server.stop()
