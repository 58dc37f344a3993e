"""The model server of an endpoint, run by the interpreter that matches the container image.

Usage: ``python serving.py --model-dir DIR --program inference.py --code DIR --port-file FILE``. It follows the
contract of the SageMaker scikit-learn container: the program may define ``model_fn(model_dir)`` (needed),
``input_fn(body, content_type)``, ``predict_fn(data, model)``, ``output_fn(prediction, accept)`` or, in place of the
last three, ``transform_fn(model, body, content_type, accept)``. ``GET /ping`` answers 200 when the model is loaded,
``POST /invocations`` predicts. It listens on a free port of the loopback and writes the port and a secret to FILE, which only this user
reads: a request without the secret in ``X-Local-Aws-Secret`` is refused, for everybody on the machine reaches the port.

Everything about a request is as in that container, whose own packages answer the same table of requests (``tests/conformance``): headers
reach the functions whole; a body of exactly ``text/csv`` or ``application/json`` as text, any other as bytes; an exception is a 500 with a
page that does not tell why, and its traceback goes to the log. A function that wants to answer otherwise returns a
``sagemaker_containers.beta.framework.worker.Response``.

This file stands alone: it is run outside of the package, with nothing but the standard library (NumPy for the
default functions).
"""

import argparse
import csv
import hmac
import importlib.util
import io
import json
import os
import secrets
import socket
import sys
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

_MAX_BODY_BYTES = 25 * 1024 * 1024
_JSON, _CSV, _NPY = "application/json", "text/csv", "application/x-npy"
_TEXT = (_JSON, _CSV)
_HTML = "text/html; charset=utf-8"
_TEXTUAL = (
    "application/ecmascript",
    "application/javascript",
    "application/sql",
    "application/xml",
    "application/xml-dtd",
)
SECRET_HEADER = "X-Local-Aws-Secret"


def _page(status: int, title: str, sentence: str) -> bytes:
    """Return what the container's web server says of an error."""
    return (
        f"<!doctype html>\n<html lang=en>\n<title>{status} {title}</title>\n<h1>{title}</h1>\n<p>{sentence}</p>\n"
    ).encode()


_ERROR_PAGE = _page(
    500,
    "Internal Server Error",
    "The server encountered an internal error and was unable to complete your request. Either the server is overloaded or there is an "
    "error in the application.",
)
_NO_SUCH_PAGE = _page(
    404,
    "Not Found",
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.",
)
_NO_SUCH_METHOD = _page(405, "Method Not Allowed", "The method is not allowed for the requested URL.")


class Response:
    """An answer with a status of its own: ``Response(response="...", status=400, mimetype="text/plain")``."""

    def __init__(
        self,
        response: Any = None,
        accept: str | None = None,
        status: Any = 200,
        headers: Any = None,
        mimetype: str | None = None,
        direct_passthrough: bool = False,
    ) -> None:
        self.body = _bytes(response)
        self.status_code = int(str(getattr(status, "value", status)).split()[0])
        given = {str(name).lower(): value for name, value in dict(headers or {}).items()}
        self.content_type = _with_charset(mimetype) if mimetype else given.get("content-type", _JSON)

    def get_data(self, as_text: bool = False) -> Any:
        """Return the body."""
        return self.body.decode() if as_text else self.body


def _bytes(content: Any) -> bytes:
    """Return a body given as text, bytes, or parts of them."""
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, bytes | bytearray):
        return bytes(content)
    return b"".join(_bytes(part) for part in content or ())


def _with_charset(mimetype: str) -> str:
    textual = mimetype.startswith("text/") or mimetype.endswith("+xml") or mimetype in _TEXTUAL
    return f"{mimetype}; charset=utf-8" if textual else mimetype


def _offer_framework() -> None:
    """Let ``from sagemaker_containers.beta.framework import worker, encoders, content_types`` work where the package is not installed."""
    if importlib.util.find_spec("sagemaker_containers") is not None:
        return
    framework = "sagemaker_containers.beta.framework"
    offered: dict[str, dict[str, Any]] = {
        "sagemaker_containers": {},
        "sagemaker_containers.beta": {},
        framework: {},
        f"{framework}.worker": {"Response": Response},
        f"{framework}.encoders": {"encode": encode, "decode": decode},
        f"{framework}.content_types": {"JSON": _JSON, "CSV": _CSV, "NPY": _NPY, "ANY": "*/*"},
    }
    for name, content in offered.items():
        module = ModuleType(name)
        module.__path__ = []
        module.__dict__.update(content)
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)


def decode(body: Any, content_type: str) -> Any:
    """Read text/csv, application/json or application/x-npy into an array; one row or column of CSV has one dimension."""
    import numpy

    if content_type == _CSV:
        texts = numpy.array(list(csv.reader(io.StringIO(body), strict=True))).squeeze()
        try:
            return texts.astype(float)
        except ValueError:
            return texts
    if content_type == _JSON:
        return numpy.array(json.loads(body))
    if content_type == _NPY:
        return numpy.load(io.BytesIO(body), allow_pickle=False)
    raise ValueError(f"Content type {content_type} is not supported by this framework.")


def encode(prediction: Any, accept: str) -> Any:
    """Write text/csv, application/json or application/x-npy."""
    import numpy

    if accept == _JSON:
        return json.dumps(prediction, default=lambda value: value.tolist())
    if accept == _CSV:
        array = numpy.array(prediction)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(array.reshape(-1, 1) if array.ndim == 1 else array)
        return text.getvalue()
    if accept == _NPY:
        buffer = io.BytesIO()
        numpy.save(buffer, prediction, allow_pickle=False)
        return buffer.getvalue()
    raise ValueError(f"Content type {accept} is not supported by this framework.")


def default_input_fn(body: Any, content_type: str) -> Any:
    """Read a body into an array; what was text becomes numbers of single precision."""
    array = decode(body, content_type)
    return array.astype("float32") if content_type in _TEXT else array


def default_predict_fn(data: Any, model: Any) -> Any:
    """Call the model's predict."""
    return model.predict(data)


def default_output_fn(prediction: Any, accept: str) -> Response:
    """Write a prediction."""
    return Response(encode(prediction, accept), mimetype=accept)


class Model:
    """The loaded model and the user's functions."""

    def __init__(self, model_dir: Path, program: Path) -> None:
        module = _import_program(program)
        if not hasattr(module, "model_fn"):
            raise RuntimeError(f"{program.name} defines no model_fn(model_dir)")
        self._transform_fn = getattr(module, "transform_fn", None)
        own = [name for name in ("input_fn", "predict_fn", "output_fn") if hasattr(module, name)]
        if self._transform_fn is not None and own:
            raise RuntimeError(
                f"{program.name} defines transform_fn and {', '.join(own)}: it is either one or the others"
            )
        self._input_fn = getattr(module, "input_fn", default_input_fn)
        self._predict_fn = getattr(module, "predict_fn", default_predict_fn)
        self._output_fn = getattr(module, "output_fn", default_output_fn)
        self.execution_parameters_fn: Callable[[], Any] | None = getattr(module, "execution_parameters_fn", None)
        self._model = module.model_fn(str(model_dir))

    def invoke(self, body: bytes, content_type: str, accept: str) -> Response:
        """Return the answer to a request."""
        content: Any = body.decode("utf-8", "replace") if content_type in _TEXT else body
        if self._transform_fn is not None:
            return answer_of(self._transform_fn(self._model, content, content_type, accept))
        prediction = self._predict_fn(self._input_fn(content, content_type), self._model)
        return answer_of(self._output_fn(prediction, accept))


def answer_of(result: Any) -> Response:
    """Return what becomes of a function's result: a response, a body with its type, a text, or a document.

    Raises:
        TypeError: it is none of them.

    """
    if isinstance(result, tuple):
        return Response(result[0], mimetype=result[1])
    if isinstance(result, str | bytes | bytearray):
        return Response(result, headers={"Content-Type": _HTML})
    if isinstance(result, dict | list):
        return Response(json.dumps(result, sort_keys=True, separators=(",", ":")) + "\n")
    if isinstance(result, Response):
        return result
    raise TypeError(f"a function of the model returned {type(result).__name__}, which is no answer")


def _import_program(program: Path) -> ModuleType:
    if not program.is_file():
        raise RuntimeError(f"the program {program.name} is not in {program.parent}")
    sys.path.insert(0, str(program.parent))
    specification = importlib.util.spec_from_file_location(program.stem, program)
    if specification is None or specification.loader is None:
        raise RuntimeError(f"the program {program.name} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[program.stem] = module
    specification.loader.exec_module(module)
    return module


class Handler(BaseHTTPRequestHandler):
    """GET /ping and POST /invocations."""

    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds for which a connection may say nothing: half a request holds no thread for ever
    server_version = "local_aws"
    sys_version = ""
    model: Model
    secret: str

    def parse_request(self) -> bool:
        """Refuse whoever does not know the secret: another user, a job, a page in a browser."""
        if not super().parse_request():
            return False
        if hmac.compare_digest((self.headers.get(SECRET_HEADER) or "").encode(), self.secret.encode()):
            return True
        self.close_connection = True
        self._answer(403, b"This model server answers to local_aws only: ask the endpoint.", "text/plain")
        return False

    def do_GET(self) -> None:
        """Answer the health check, and how a batch transform may ask, if the program says."""
        path = self.path.partition("?")[0]
        if path == "/ping":
            self._answer(200, b"", _JSON)
        elif path == "/execution-parameters" and (asked := self.model.execution_parameters_fn):
            self._tell(lambda: answer_of(asked()))
        else:
            self._refuse(path)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Answer an invocation."""
        given = self.headers.get("Content-Length")
        if given is None or not (given.isascii() and given.isdigit()):
            self.close_connection = True
            self._answer(411 if given is None else 400, b"Content-Length must say how many bytes come.", "text/plain")
            return
        length = int(given[:20])
        if length > _MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(413, b"The body is larger than 25 MB.", "text/plain")
            return
        body = self.rfile.read(length)
        path = self.path.partition("?")[0]
        if path != "/invocations":
            self._refuse(path)
            return
        content_type = self.headers.get("ContentType") or self.headers.get("Content-Type") or _JSON
        accept = self.headers.get("Accept") or ""
        if accept in ("", "*/*"):
            accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", _JSON)
        self._tell(lambda: self.model.invoke(body, content_type, accept))

    def _refuse(self, path: str) -> None:
        more = ("/execution-parameters",) if self.model.execution_parameters_fn else ()
        known = path in ("/ping", "/invocations", *more)
        self._answer(*((405, _NO_SUCH_METHOD, _HTML) if known else (404, _NO_SUCH_PAGE, _HTML)))

    def _tell(self, ask: Callable[[], Response]) -> None:
        try:
            answer = ask()
        except Exception:
            traceback.print_exc()
            self._answer(500, _ERROR_PAGE, _HTML)
            return
        self._answer(answer.status_code, answer.body, answer.content_type)

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log invocations, not health checks."""
        if getattr(self, "path", "") != "/ping":
            sys.stdout.write(f"{self.log_date_time_string()} {format % args}\n")


class Server(ThreadingHTTPServer):
    """One thread per connection, answers sent without delay."""

    daemon_threads = True
    request_queue_size = 128

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection with Nagle's algorithm off."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address


def main() -> None:
    """Load the model, then listen."""
    parser = argparse.ArgumentParser(description="model server of one endpoint variant")
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    arguments = parser.parse_args()
    _offer_framework()
    Handler.model = Model(arguments.model_dir, arguments.code / arguments.program)
    Handler.secret = secrets.token_urlsafe()
    server = Server(("127.0.0.1", 0), Handler)
    partial = arguments.port_file.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(f"{server.server_address[1]} {Handler.secret}")
    partial.rename(arguments.port_file)
    sys.stdout.write(f"listening on port {server.server_address[1]}\n")
    server.serve_forever()


if __name__ == "__main__":
    main()
