"""What the server of a model does with requests that are none; in this process, without a job."""

import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from local_aws.sagemaker.hosting import serving


class Quick(serving.Handler):
    """The same with less patience."""

    timeout = 0.3
    secret = "s"
    model = SimpleNamespace(
        invoke=lambda body, content_type, accept: serving.Response(body, mimetype=content_type),
        execution_parameters_fn=None,
    )


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Quick)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def sent(port: int, text: bytes) -> bytes:
    """Return all that comes back until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text)
        answer = b""
        while block := connection.recv(65_536):
            answer += block
    return answer


HEAD = b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX-Local-Aws-Secret: s\r\n"


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (b"", b"411"),
        (b"Content-Length: -1\r\n", b"400"),
        (b"Content-Length: abc\r\n", b"400"),
        (b"Content-Length: 1e9\r\n", b"400"),
        (b"Content-Length: +5\r\n", b"400"),
        (b"Content-Length: \xb2\r\n", b"400"),
        (b"Content-Length: " + b"9" * 5_000 + b"\r\n", b"413"),
        (b"Content-Length: 26214401\r\n", b"413"),
        (b"Content-Length: 2\r\n", b"200"),
    ],
)
def test_a_length_that_is_none_is_a_mistake_of_the_client(port, length, status):
    answer = sent(port, HEAD + length + b"\r\nhi")
    assert answer.split(b" ")[1] == status, answer


@pytest.mark.parametrize("half", [b"POST /invo", HEAD, HEAD + b"Content-Length: 500\r\n\r\nhi", b""])
def test_half_a_request_holds_no_thread_for_ever(port, half):
    assert b" 200 " not in sent(port, half)
    assert serving.Handler.timeout <= 60
