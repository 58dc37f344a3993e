"""Serve the model: the four functions that the SageMaker scikit-learn container calls.

``model_fn`` loads the artifact, ``input_fn`` reads a request, ``predict_fn`` scores it, ``output_fn`` writes the
answer. The evaluation job scores through the same functions, so what was judged is what is served. Requests are
``text/csv`` (rows without the target, columns in the order of training) or ``application/json`` (``{"instances":
[...]}`` with lists in that order or objects by column name; further keys are ignored). Answers are ``application/json``
(``{"predictions": [...]}``) or ``text/csv`` (one prediction a line).
"""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:  # model.joblib's classes are in features.py beside this file
    sys.path.insert(0, HERE)

import joblib  # noqa: E402 -- after the path, as everything that could import features
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from threadpoolctl import ThreadpoolController  # noqa: E402

CSV = "text/csv"
JSON = "application/json"


class InvalidRequest(ValueError):
    """The request cannot be answered and its sender must change it; ``status_code`` is the HTTP status."""

    status_code = 400


class UnsupportedContent(InvalidRequest):
    """The content type of the request is not served."""

    status_code = 415


class NotAcceptable(InvalidRequest):
    """The content type that the client accepts is not served."""

    status_code = 406


class Model(NamedTuple):
    """A loaded artifact."""

    estimator: Any
    """Has ``predict(frame)``."""
    columns: list[str]
    """Names of the inputs, in the order of training."""
    threads: ThreadpoolController
    """Of the numeric libraries that the estimator has loaded."""


def model_fn(model_dir: str) -> Model:
    """Return the model in ``model_dir`` (``model.joblib`` and ``model_card.json``)."""
    folder = Path(model_dir)
    card = json.loads((folder / "model_card.json").read_text(encoding="utf-8"))
    return Model(joblib.load(folder / "model.joblib"), list(card["columns"]), ThreadpoolController())


def input_fn(body: str | bytes, content_type: str = CSV) -> list[Any]:
    """Return the rows of a request: lists of values in the order of training, or objects by column name.

    Raises:
        InvalidRequest: the body is empty or malformed (400) or of another content type (415).

    """
    text = _text(body)
    kind = _media_type(content_type)
    if kind == CSV:
        try:
            rows: list[Any] = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
        except csv.Error as error:
            raise InvalidRequest(f"the request is not CSV: {error}") from error
    elif kind == JSON:
        rows = _instances(text)
    else:
        raise UnsupportedContent(f"content type {content_type!r} is not served: send {CSV} or {JSON}")
    if not rows:
        raise InvalidRequest("the request holds no rows")
    return rows


def predict_fn(data: list[Any], model: Model) -> np.ndarray:
    """Return the prediction for each row, shape (rows,).

    Raises:
        InvalidRequest: a row has the wrong number of values, lacks a column or holds a value the model is not defined
        for. ValueError: the model's own answer is not one finite number per row.

    """
    frame = pd.DataFrame([_values(row, number, model.columns) for number, row in enumerate(data, start=1)])
    frame.columns = model.columns
    try:
        # A server works on several requests at once; threads within one only wait for each other's processors.
        with model.threads.limit(limits=1):
            predictions = np.asarray(model.estimator.predict(frame), dtype=float)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    if predictions.shape != (len(data),):
        raise ValueError(f"the model returned shape {predictions.shape} for {len(data)} rows")
    bad = np.flatnonzero(~np.isfinite(predictions))
    if bad.size:
        raise ValueError(f"the model predicted {predictions[bad[0]]} for row {bad[0] + 1}: {data[bad[0]]}")
    return predictions


def output_fn(prediction: np.ndarray, accept: str = JSON) -> tuple[str, str]:
    """Return the answer and its content type.

    Raises:
        NotAcceptable: neither CSV nor JSON is accepted.

    """
    kinds = [_media_type(part) for part in (accept or JSON).split(",")]
    if JSON in kinds or "*/*" in kinds:
        return json.dumps({"predictions": [float(value) for value in prediction]}, allow_nan=False), JSON
    if CSV in kinds:
        return "".join(f"{float(value)!r}\n" for value in prediction), CSV
    raise NotAcceptable(f"cannot answer as {accept!r}: accept {CSV} or {JSON}")


def _text(body: str | bytes) -> str:
    if isinstance(body, str):
        return body
    try:
        return bytes(body).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the request is not UTF-8: {error.reason} at byte {error.start}") from error


def _media_type(content_type: str) -> str:
    return content_type.split(";")[0].strip().lower()


def _instances(text: str) -> list[Any]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"the request is not JSON: {error}") from error
    instances = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(instances, list):
        raise InvalidRequest('the request has no list "instances": send {"instances": [[...], ...]}')
    return instances


def _values(row: Any, number: int, columns: list[str]) -> list[Any]:
    """Return a row's values in the order of ``columns``."""
    if isinstance(row, dict):
        missing = [name for name in columns if name not in row]
        if missing:
            raise InvalidRequest(f"row {number} has no {', '.join(missing)}: the model needs {', '.join(columns)}")
        return [_value(row[name], number, name) for name in columns]
    if not isinstance(row, list):
        raise InvalidRequest(f"row {number} is {row!r}, expected a list or an object")
    if len(row) != len(columns):
        raise InvalidRequest(f"row {number} has {len(row)} values, expected {len(columns)}: {', '.join(columns)}")
    return [_value(value, number, name) for name, value in zip(columns, row, strict=True)]


def _value(value: Any, number: int, column: str) -> str | float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidRequest(f"row {number}: {column} is {value!r}, expected a number or a text")
    return value.strip() if isinstance(value, str) else value
