"""Requests to model servers, and what SageMaker's scikit-learn container answers: status, type, sentence.

The sentence is the whole body where it is short, and a part of it otherwise.
"""

import json
from typing import NamedTuple

import numpy as np

CSV, JSON, NPY, HTML = "text/csv", "application/json", "application/x-npy", "text/html; charset=utf-8"
CSV_ANSWER, PLAIN = "text/csv; charset=utf-8", "text/plain; charset=utf-8"
ERROR, NOT_FOUND, NOT_ALLOWED = "<h1>Internal Server Error</h1>", "<h1>Not Found</h1>", "<h1>Method Not Allowed</h1>"
GOOD = "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15\n"
ROW = ["M", 0.455, 0.365, 0.095, 0.514, 0.2245, 0.101, 0.15]
NAMES = ("sex", "length", "diameter", "height", "whole_weight", "shucked_weight", "viscera_weight", "shell_weight")
NAMED = dict(zip(NAMES, ROW, strict=True))

#: Programs by name. `library` is the library's own serving code with a trained model.
PROGRAMS = {
    "echo": """
def model_fn(folder):
    return None

def transform_fn(model, body, content_type, accept):
    return f"{type(body).__name__} {body!r} {content_type} {accept}", "text/plain"

def execution_parameters_fn():
    return {"MaxPayloadInMB": 6, "BatchStrategy": "MULTI_RECORD"}
""",
    "results": """
from sagemaker_containers.beta.framework import worker

class Teapot(Exception):
    status_code = 418

def model_fn(folder):
    return None

def transform_fn(model, body, content_type, accept):
    if body.startswith("raise"):
        raise {"ValueError": ValueError, "KeyError": KeyError, "Teapot": Teapot, "Exception": Exception}[body[6:]]("lost")
    if body == "exit":
        raise MemoryError("too much")
    return {
        "text": "a text",
        "bytes": b"some bytes",
        "document": {"b": 1, "a": [1.5, None]},
        "list": [{"b": 1}],
        "nothing": None,
        "number": 5,
        "pair": ("1,2", "text/csv"),
        "pair of bytes": (b"12", "application/octet-stream"),
        "pair of parts": ([b"1", b"2"], "application/json"),
        "pair with charset": ("1", "text/csv; charset=ascii"),
        "pair of types": ("1", "image/svg+xml"),
        "triple": ("1", "text/csv", 404),
        "refusal": worker.Response(response="why not", status=422, mimetype="text/plain"),
        "refusal in words": worker.Response("no", status="409 CONFLICT", mimetype="application/xml"),
        "default": worker.Response("{}"),
        "headed": worker.Response("1", headers={"Content-Type": "text/x-own"}),
        "empty": worker.Response(status=204),
    }[body]
""",
    "functions": """
import json

def model_fn(folder):
    return 2

def input_fn(body, content_type):
    if content_type == "application/pdf":
        raise ValueError("no documents")
    return json.loads(body)

def predict_fn(data, model):
    if data == "break":
        raise RuntimeError("broken")
    return [value * model for value in data]

def output_fn(prediction, accept):
    if accept == "image/png":
        raise ValueError("no pictures")
    return json.dumps(prediction), accept
""",
    "defaults": """
import numpy

class Sum:
    def predict(self, data):
        assert data.dtype == numpy.float32 or data.dtype == numpy.float64, data.dtype
        return data.sum(axis=-1) + data.dtype.itemsize

def model_fn(folder):
    return Sum()
""",
    "numbers": """
def model_fn(folder):
    return None

def predict_fn(data, model):
    return [len(data.shape), str(data.dtype)] + list(data.shape)
""",
}
#: Programs with which an endpoint does not come into service.
UNFIT = {
    "no model_fn": "def predict_fn(data, model):\n    return data\n",
    "a model_fn that raises": "def model_fn(folder):\n    raise ValueError('no model')\n",
    "one function too many": (
        "def model_fn(folder):\n    return 1\n\ndef transform_fn(m, b, c, a):\n    return '1', a\n\n"
        "def input_fn(b, c):\n    return b\n"
    ),
    "a program that cannot be imported": "import no_such_module\n\ndef model_fn(folder):\n    return 1\n",
    "a program with a wrong line": "def model_fn(folder)\n    return 1\n",
}


class Request(NamedTuple):
    """A request to a program's server, and the answer; headers that are None are left out."""

    program: str
    body: bytes
    content_type: str | None
    accept: str | None
    status: int
    answer_type: str
    sentence: str
    method: str = "POST"
    path: str = "/invocations"


def asked(program, body, content_type, accept, status, answer_type, sentence, method="POST", path="/invocations"):
    """Return a row, its body as bytes."""
    body = body if isinstance(body, bytes) else body.encode()
    return Request(program, body, content_type, accept, status, answer_type, sentence, method, path)


def npy(array):
    """Return an array in NumPy's own format."""
    import io

    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def rows(*values):
    """Return a JSON body."""
    return json.dumps({"instances": list(values)})


PREDICTED = '{"predictions": ['
TABLE = [
    # -- the library: good requests --------------------------------------------------------------------------------
    asked("library", GOOD, CSV, None, 200, JSON, PREDICTED),
    asked("library", GOOD * 3, CSV, "*/*", 200, JSON, PREDICTED),
    asked("library", GOOD.replace("\n", "\r\n"), CSV, JSON, 200, JSON, PREDICTED),
    asked("library", GOOD, CSV, CSV, 200, CSV_ANSWER, "\n"),
    asked("library", GOOD, "text/csv; charset=utf-8", "application/json, text/plain", 200, JSON, PREDICTED),
    asked("library", GOOD, "TEXT/CSV", "text/html, */*;q=0.8", 200, JSON, PREDICTED),
    asked("library", rows(ROW), JSON, None, 200, JSON, PREDICTED),
    asked("library", rows(ROW), None, None, 200, JSON, PREDICTED),
    asked("library", rows(NAMED, NAMED), JSON, CSV, 200, CSV_ANSWER, "\n"),
    asked("library", json.dumps([ROW]), "application/json;charset=UTF-8", JSON, 200, JSON, PREDICTED),
    asked(
        "library",
        json.dumps({"instances": [ROW], "explain": True}),
        JSON,
        JSON,
        200,
        JSON,
        '"explanations": [{"of": "rings"',
    ),
    # -- the library: requests that cannot be answered -------------------------------------------------------------
    asked("library", "", CSV, None, 400, PLAIN, "the request holds no rows"),
    asked("library", "", JSON, None, 400, PLAIN, "the request is not JSON: Expecting value: line 1 column 1 (char 0)"),
    asked("library", "\n\n", CSV, None, 400, PLAIN, "the request holds no rows"),
    asked("library", rows(), JSON, None, 400, PLAIN, "the request holds no rows"),
    asked("library", "M,0.455\n", CSV, None, 400, PLAIN, "row 1 has 2 values, expected 8: sex, length"),
    asked("library", GOOD + GOOD.strip() + ",9\n", CSV, None, 400, PLAIN, "row 2 has 9 values, expected 8"),
    asked("library", "sex,length\n" + GOOD, CSV, None, 400, PLAIN, "row 1 has 2 values"),
    asked(
        "library", GOOD.replace("M", "X"), CSV, None, 400, PLAIN, "row 1 breaks the contract: sex: not one of M, F, I"
    ),
    asked("library", GOOD.replace("0.455", ""), CSV, None, 400, PLAIN, "row 1: length is missing, expected a number"),
    asked(
        "library", GOOD.replace("0.455", "nan"), CSV, None, 400, PLAIN, "row 1: length is 'nan', not a finite number"
    ),
    asked("library", GOOD.replace("0.455", "91"), CSV, None, 400, PLAIN, "row 1 breaks the contract: length: above 1"),
    asked(
        "library", GOOD.replace("0.455", "-1"), CSV, None, 400, PLAIN, "row 1 breaks the contract: length: not above 0"
    ),
    asked("library", '"M,0.4', CSV, None, 400, PLAIN, "the request is not CSV: unexpected end of data"),
    asked("library", "\ufeff" + GOOD, CSV, None, 400, PLAIN, "row 1 breaks the contract: sex: not one of M, F, I"),
    asked("library", b"\xff\xfe", CSV, None, 400, PLAIN, "row 1 has 1 values, expected 8"),
    asked(
        "library",
        b"\xff\xfe",
        "text/csv; header=absent",
        None,
        400,
        PLAIN,
        "the request is not UTF-8: invalid start byte at byte 0",
    ),
    asked(
        "library",
        "{",
        JSON,
        None,
        400,
        PLAIN,
        "the request is not JSON: Expecting property name enclosed in double quotes",
    ),
    asked("library", '{"instances": ' + "[" * 100_000, JSON, None, 400, PLAIN, "the request is not JSON"),
    asked("library", "3", JSON, None, 400, PLAIN, "no list of rows"),
    asked("library", json.dumps(ROW), JSON, None, 400, PLAIN, "no list of rows"),
    asked("library", rows({"sex": "M"}), JSON, None, 400, PLAIN, "row 1 has no length, diameter"),
    asked("library", rows([None, *ROW[1:]]), JSON, None, 400, PLAIN, "row 1: sex is missing"),
    asked("library", rows(["M", "9" * 400, *ROW[2:]]), JSON, None, 400, PLAIN, "row 1: length is '9999"),
    asked("library", rows(["M", True, *ROW[2:]]), JSON, None, 400, PLAIN, "row 1: length is True"),
    asked("library", rows(["\ud800", *ROW[1:]]), JSON, None, 400, PLAIN, "no Unicode text"),
    asked(
        "library",
        json.dumps({"instances": [ROW], "explain": 1}),
        JSON,
        None,
        400,
        PLAIN,
        'the field "explain" is 1: send true or false',
    ),
    asked(
        "library",
        GOOD,
        "image/png",
        None,
        415,
        PLAIN,
        "content type 'image/png' is not served: send text/csv or application/json",
    ),
    asked(
        "library",
        GOOD,
        "application/x-www-form-urlencoded",
        None,
        415,
        PLAIN,
        "is not served: send text/csv or application/json",
    ),
    asked(
        "library",
        GOOD,
        CSV,
        "image/png",
        406,
        PLAIN,
        "cannot answer as 'image/png': accept text/csv or application/json",
    ),
    asked("library", "9" * 1_000_000, CSV, None, 400, PLAIN, "the request is not CSV: field larger than field limit"),
    # -- what reaches a function -----------------------------------------------------------------------------------
    asked("echo", "1", CSV, None, 200, PLAIN, "str '1' text/csv application/json"),
    asked("echo", "1", CSV, "*/*", 200, PLAIN, "str '1' text/csv application/json"),
    asked("echo", "1", CSV, "", 200, PLAIN, "str '1' text/csv application/json"),
    asked("echo", "1", CSV, "text/csv;q=0.5, */*", 200, PLAIN, "str '1' text/csv text/csv;q=0.5, */*"),
    asked("echo", "1", JSON, CSV, 200, PLAIN, "str '1' application/json text/csv"),
    asked("echo", "1", None, None, 200, PLAIN, "str '1' application/json application/json"),
    asked(
        "echo", "1", "text/csv; charset=utf-8", None, 200, PLAIN, "bytes b'1' text/csv; charset=utf-8 application/json"
    ),
    asked("echo", "1", "Text/CSV", None, 200, PLAIN, "bytes b'1' Text/CSV application/json"),
    asked("echo", "1", NPY, NPY, 200, PLAIN, "bytes b'1' application/x-npy application/x-npy"),
    asked("echo", "", CSV, None, 200, PLAIN, "str '' text/csv application/json"),
    asked(
        "echo", "", "application/octet-stream", None, 200, PLAIN, "bytes b'' application/octet-stream application/json"
    ),
    asked("echo", b"\xff1", CSV, None, 200, PLAIN, "str '\ufffd1' text/csv application/json"),
    asked("echo", b"\xff1", "text/plain", None, 200, PLAIN, "bytes b'\\xff1' text/plain application/json"),
    asked(
        "echo",
        "a=1&b=2",
        "application/x-www-form-urlencoded",
        None,
        200,
        PLAIN,
        "bytes b'a=1&b=2' application/x-www-form-urlencoded",
    ),
    asked("echo", "1", CSV, None, 200, PLAIN, "str '1' text/csv application/json", "POST", "/invocations?x=1"),
    # -- what becomes of a function's result -----------------------------------------------------------------------
    asked("results", "text", CSV, None, 200, HTML, "a text"),
    asked("results", "bytes", CSV, CSV, 200, HTML, "some bytes"),
    asked("results", "document", CSV, None, 200, JSON, '{"a":[1.5,null],"b":1}\n'),
    asked("results", "list", CSV, None, 200, JSON, '[{"b":1}]\n'),
    asked("results", "nothing", CSV, None, 500, HTML, ERROR),
    asked("results", "number", CSV, None, 500, HTML, ERROR),
    asked("results", "pair", CSV, None, 200, CSV_ANSWER, "1,2"),
    asked("results", "pair of bytes", CSV, None, 200, "application/octet-stream", "12"),
    asked("results", "pair of parts", CSV, None, 200, JSON, "12"),
    asked("results", "pair with charset", CSV, None, 200, "text/csv; charset=ascii; charset=utf-8", "1"),
    asked("results", "pair of types", CSV, None, 200, "image/svg+xml; charset=utf-8", "1"),
    asked("results", "triple", CSV, None, 200, CSV_ANSWER, "1"),
    asked("results", "refusal", CSV, None, 422, PLAIN, "why not"),
    asked("results", "refusal in words", CSV, None, 409, "application/xml; charset=utf-8", "no"),
    asked("results", "default", CSV, None, 200, JSON, "{}"),
    asked("results", "headed", CSV, None, 200, "text/x-own", "1"),
    asked("results", "empty", CSV, None, 204, JSON, ""),
    asked("results", "raise ValueError", CSV, None, 500, HTML, ERROR),
    asked("results", "raise KeyError", CSV, None, 500, HTML, ERROR),
    asked("results", "raise Exception", CSV, None, 500, HTML, ERROR),
    asked("results", "raise Teapot", CSV, None, 500, HTML, ERROR),
    asked("results", "exit", CSV, None, 500, HTML, ERROR),
    asked("results", "unknown", CSV, None, 500, HTML, ERROR),
    # -- input_fn, predict_fn, output_fn ---------------------------------------------------------------------------
    asked("functions", "[1, 2]", JSON, None, 200, JSON, "[2, 4]"),
    asked("functions", "[1, 2]", "application/x-own", CSV, 200, CSV_ANSWER, "[2, 4]"),
    asked("functions", "[1, 2]", "application/pdf", None, 500, HTML, ERROR),
    asked("functions", "[1, 2", JSON, None, 500, HTML, ERROR),
    asked("functions", "", JSON, None, 500, HTML, ERROR),
    asked("functions", '"break"', JSON, None, 500, HTML, ERROR),
    asked("functions", "[1]", JSON, "image/png", 500, HTML, ERROR),
    # -- and what stands in for them -------------------------------------------------------------------------------
    asked("defaults", "1,2\n3,4\n", CSV, None, 200, JSON, "[7.0, 11.0]"),
    asked("defaults", "1,2\n3,4.1\n", CSV, CSV, 200, CSV_ANSWER, "7.0\n11.1\n"),
    asked("defaults", "[[1, 2], [3, 4.5]]", JSON, CSV, 200, CSV_ANSWER, "7.0\n11.5\n"),
    asked("defaults", npy(np.array([[1.0, 2.0]])), NPY, JSON, 200, JSON, "[11.0]"),
    asked("defaults", "1,x\n", CSV, None, 500, HTML, ERROR),
    asked("defaults", "1,2\n3\n", CSV, None, 500, HTML, ERROR),
    asked("defaults", '"1', CSV, None, 500, HTML, ERROR),
    asked("defaults", "[1", JSON, None, 500, HTML, ERROR),
    asked("defaults", "1,2", "text/csv; charset=utf-8", None, 500, HTML, ERROR),
    asked("defaults", "<a/>", "application/xml", None, 500, HTML, ERROR),
    asked("defaults", "1,2\n3,4\n", CSV, "application/xml", 500, HTML, ERROR),
    asked("defaults", b"no array", NPY, None, 500, HTML, ERROR),
    asked("numbers", "1,2\n3,4\n", CSV, None, 200, JSON, '[2, "float32", 2, 2]'),
    asked("numbers", "1,2\n", CSV, None, 200, JSON, '[1, "float32", 2]'),
    asked("numbers", "1\n2\n", CSV, None, 200, JSON, '[1, "float32", 2]'),
    asked("numbers", "[[1], [2]]", JSON, None, 200, JSON, '[2, "float32", 2, 1]'),
    asked("numbers", "", CSV, None, 200, JSON, '[1, "float32", 0]'),
    # -- other paths and methods -----------------------------------------------------------------------------------
    asked("echo", "", None, None, 200, JSON, "", "GET", "/ping"),
    asked("echo", "", None, None, 200, JSON, "", "HEAD", "/ping"),
    asked("echo", "", None, None, 405, HTML, NOT_ALLOWED, "POST", "/ping"),
    asked("echo", "", None, None, 405, HTML, NOT_ALLOWED, "GET", "/invocations"),
    asked(
        "echo",
        "",
        None,
        None,
        200,
        JSON,
        '{"BatchStrategy":"MULTI_RECORD","MaxPayloadInMB":6}\n',
        "GET",
        "/execution-parameters",
    ),
    asked("results", "", None, None, 404, HTML, NOT_FOUND, "GET", "/execution-parameters"),
    asked("echo", "", None, None, 404, HTML, NOT_FOUND, "GET", "/"),
    asked("echo", "1", CSV, None, 404, HTML, NOT_FOUND, "POST", "/models/x/invoke"),
    asked("echo", "1", CSV, None, 404, HTML, NOT_FOUND, "POST", "/invocations/"),
]
