"""The model server of an endpoint, run by the interpreter that matches the container image.

Usage: ``python serving.py --model-dir DIR --program inference.py --code DIR --port-file FILE``. It follows the
contract of the SageMaker scikit-learn container: the program may define ``model_fn(model_dir)`` (needed),
``input_fn(body, content_type)``, ``predict_fn(data, model)``, ``output_fn(prediction, accept)`` or, in place of the
last three, ``transform_fn(model, body, content_type, accept)``. ``GET /ping`` answers 200 when the model is loaded,
``POST /invocations`` predicts. It listens on a free port of the loopback and writes the port to FILE.

Any exception of these functions answers 500 with a page that does not tell why; its traceback goes to the log. A function that wants to
answer otherwise returns a ``sagemaker_containers.beta.framework.worker.Response``, as in that container.

This file stands alone: it is run outside of the package, with nothing but the standard library (NumPy for the
default functions).
"""

import argparse
import csv
import importlib.util
import io
import json
import os
import socket
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

_MAX_BODY_BYTES = 25 * 1024 * 1024


#: What the container's web server answers when a function raises.
_ERROR_PAGE = (
    b"<!doctype html>\n<html lang=en>\n<title>500 Internal Server Error</title>\n<h1>Internal Server Error</h1>\n"
    b"<p>The server encountered an internal error and was unable to complete your request. Either the server is overloaded or there is an "
    b"error in the application.</p>\n"
)
_JSON = "application/json"


class Response:
    """An answer with a status of its own: ``Response(response="...", status=400, mimetype="text/plain")``."""

    def __init__(
        self,
        response: Any = b"",
        accept: str | None = None,
        status: int = 200,
        headers: Any = None,
        mimetype: Any = None,
    ) -> None:
        self.body = response.encode("utf-8") if isinstance(response, str) else bytes(response or b"")
        self.status = int(status)
        self.content_type = mimetype or accept or dict(headers or {}).get("Content-Type", "text/html; charset=utf-8")


def _offer_framework() -> None:
    """Let ``from sagemaker_containers.beta.framework import worker`` find `Response`, where the container's package is not installed."""
    if importlib.util.find_spec("sagemaker_containers") is not None:
        return
    parent = None
    for name in ("sagemaker_containers", "sagemaker_containers.beta", "sagemaker_containers.beta.framework"):
        module = ModuleType(name)
        module.__path__ = []
        sys.modules[name] = module
        if parent is not None:
            setattr(parent, name.rsplit(".", 1)[-1], module)
        parent = module
    worker = ModuleType("sagemaker_containers.beta.framework.worker")
    worker.Response = Response  # type: ignore[attr-defined]
    sys.modules[worker.__name__] = worker
    parent.worker = worker  # type: ignore[union-attr]


def default_input_fn(body: Any, content_type: str) -> Any:
    """Read text/csv, application/json or application/x-npy into an array."""
    import numpy

    if content_type == "text/csv":
        rows = [row for row in csv.reader(io.StringIO(body)) if row]
        return numpy.array(rows, dtype=float)
    if content_type == "application/json":
        return numpy.array(json.loads(body))
    if content_type == "application/x-npy":
        return numpy.load(io.BytesIO(body), allow_pickle=False)
    raise ValueError(f"Content type {content_type} is not supported by this model.")


def default_predict_fn(data: Any, model: Any) -> Any:
    """Call the model's predict."""
    return model.predict(data)


def default_output_fn(prediction: Any, accept: str) -> tuple[Any, str]:
    """Write text/csv, application/json or application/x-npy."""
    import numpy

    array = numpy.asarray(prediction)
    if accept == "application/json":
        return json.dumps(array.tolist()), accept
    if accept == "text/csv":
        rows = array.reshape(len(array), -1).tolist()
        return "\n".join(",".join(str(value) for value in row) for row in rows) + "\n", accept
    if accept == "application/x-npy":
        buffer = io.BytesIO()
        numpy.save(buffer, array, allow_pickle=False)
        return buffer.getvalue(), accept
    raise ValueError(f"Accept type {accept} is not supported by this model.")


class Model:
    """The loaded model and the user's functions."""

    def __init__(self, model_dir: Path, program: Path) -> None:
        module = _import_program(program)
        if not hasattr(module, "model_fn"):
            raise RuntimeError(f"{program.name} defines no model_fn(model_dir)")
        self._input_fn = getattr(module, "input_fn", default_input_fn)
        self._predict_fn = getattr(module, "predict_fn", default_predict_fn)
        self._output_fn = getattr(module, "output_fn", default_output_fn)
        self._transform_fn = getattr(module, "transform_fn", None)
        self._model = module.model_fn(str(model_dir))

    def invoke(self, body: bytes, content_type: str, accept: str) -> tuple[int, bytes, str]:
        """Return status, body and content type of the answer."""
        if self._transform_fn is not None:
            return _answer_of(self._transform_fn(self._model, body, content_type, accept), accept)
        data = self._input_fn(_decoded(body, content_type), content_type)
        prediction = self._predict_fn(data, self._model)
        return _answer_of(self._output_fn(prediction, accept), accept)


def _decoded(body: bytes, content_type: str) -> str | bytes:
    # As the inference toolkit does: CSV and JSON reach input_fn as str, everything else as bytes.
    if content_type not in ("text/csv", "application/json"):
        return body
    return body.decode("utf-8")


def _answer_of(result: Any, accept: str) -> tuple[int, bytes, str]:
    if isinstance(result, Response):
        return result.status, result.body, result.content_type
    body, content_type = result if isinstance(result, tuple) else (result, accept)
    return 200, bytes(body) if isinstance(body, bytes | bytearray) else str(body).encode("utf-8"), content_type


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

    def parse_request(self) -> bool:
        """Refuse requests under another name than the loopback's: a page of another site sends them (DNS rebinding)."""
        if not super().parse_request():
            return False
        if (self.headers.get("Host") or "").rpartition(":")[0] in ("127.0.0.1", "localhost"):
            return True
        self.close_connection = True
        self._answer(403, b"This model server answers to 127.0.0.1 and localhost only.", "text/plain")
        return False

    def do_GET(self) -> None:
        """Answer the health check."""
        self._answer(200 if self.path == "/ping" else 404, b"", "text/plain")

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
        if self.path != "/invocations":
            self._answer(404, b"", "text/plain")
            return
        content_type = (self.headers.get("Content-Type") or _JSON).split(";")[0].strip()
        accept = (self.headers.get("Accept") or "").split(",")[0].split(";")[0].strip()
        if accept in ("", "*/*"):
            accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", _JSON)
        try:
            status, answer, answer_type = self.model.invoke(body, content_type, accept)
        except Exception:
            traceback.print_exc()
            self._answer(500, _ERROR_PAGE, "text/html; charset=utf-8")
            return
        self._answer(status, answer, answer_type)

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
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
    server = Server(("127.0.0.1", 0), Handler)
    partial = arguments.port_file.with_suffix(".partial")
    partial.write_text(str(server.server_address[1]))
    partial.rename(arguments.port_file)
    sys.stdout.write(f"listening on port {server.server_address[1]}\n")
    server.serve_forever()


if __name__ == "__main__":
    main()
