"""Serves an artifact: the functions that the SageMaker scikit-learn container calls, through ``code/inference.py``.

Requests are ``text/csv`` (rows without the target, columns in the contract's order) or ``application/json`` (a list, or ``{"instances":
[...]}``, of rows: lists in that order or objects by column name; further keys are ignored). A value is typed by the contract, as in
training, and held against the contract's limits, allowed values and rules.
Answers are ``application/json``: ``{"predictions": [...]}``, of a classification with ``"probabilities"`` in the order of
``"classes"``; or ``text/csv``: a line for each row, the prediction first. A JSON request with ``"explain": true`` gets ``"explanations"``
beside them, one for each row: ``of`` what, ``base``, ``values`` by column, of sampled ones ``standard_errors``; see ``explaining.shapley``.

A request that cannot be answered is answered with 400 (406 and 415 for content types) and a sentence: a client's mistake is no server
error, which alarms count and clients retry.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController

from retraining.contract.plain_text import plain
from retraining.contract.rules import Column, Contract
from retraining.inside.answers import UnsoundModelError, labels_of, model_answers
from retraining.inside.artifact import MODEL_FILE, read_card
from retraining.inside.explaining.background import read_background
from retraining.inside.explaining.shapley import Explanation, asked_rows, explain
from retraining.inside.frames import check_limits, request_frame
from retraining.inside.job_file import classes_of, inputs_of

CSV = "text/csv"
JSON = "application/json"
NAMED = 100
"""Characters of a header of the request that a refusal repeats."""
EXPLAIN = "explain"
"""Field of a JSON request that asks for explanations. Whether the header of Clarify's explainer reaches a container is not documented."""
MOST_ASKED = 500_000
"""Rows that a model answers to explain those of one request: SageMaker waits a minute for an answer."""


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
    """Has ``predict(frame)``, or ``predict_proba(frame)``."""
    columns: tuple[Column, ...]
    """The inputs, in the contract's order."""
    contract: Contract
    """What it was trained under."""
    classes: tuple[str, ...]
    """Of a classification."""
    threshold: float | None
    """See ``answers.labels_of``."""
    threads: ThreadpoolController
    """Of the numeric libraries that the estimator has loaded."""
    background: pd.DataFrame | None
    """What explanations compare rows with; None for an artifact that was made without."""


def model_fn(model_dir: str) -> Model:
    """Return the model of an unpacked artifact."""
    folder = Path(model_dir)
    card = read_card(folder)
    contract = Contract.of(card["contract"])
    classes = classes_of(contract.column(contract.target), card["task"])
    estimator, threshold = joblib.load(folder / MODEL_FILE), card.get("threshold")
    columns = inputs_of(contract)
    background = read_background(folder, columns, contract)
    return Model(estimator, columns, contract, classes, threshold, ThreadpoolController(), background)


def transform_fn(model: Model, body: str | bytes, content_type: str, accept: str) -> Any:
    """Answer a request: the body of the answer and its content type, or the container's response for a request that cannot be answered.

    Raises:
        InvalidRequest: the same, outside of SageMaker's container; ``status_code`` is the HTTP status.
        ValueError: the model's own answer is not sound.

    """
    try:
        answer_as = _accepted(accept)
        frame = _request_frame(read_request(body, content_type, model.columns), model, limits=True)
        answers = _answers(model, frame)
        explanations = None
        if asks_why(body, content_type):
            if answer_as != JSON:
                raise NotAcceptable(f"explanations are not answered as '{plain(accept, NAMED)}': accept {JSON}")
            explanations = _by_row(model, answers, _explained(model, frame, answers))
        return write_answer(answers, model.classes, answer_as, model.threshold, explanations), answer_as
    except InvalidRequest as error:
        try:
            from sagemaker_containers.beta.framework import worker
        except ImportError:
            raise error from None
        return worker.Response(response=str(error), status=error.status_code, mimetype="text/plain")


def evaluate_fn(rows: Sequence[Mapping[str, Any]], model: Model) -> dict[str, Any]:
    """Answer rows of the data set, by column name: ``predictions`` as numbers, or ``probabilities`` in the order of the classes.

    Limits and allowed values are not asked for: a contract may have been widened since a champion was trained.

    Raises:
        InvalidRequest: a column is missing, or a value is of another type than the contract says.

    """
    missing = [column.name for column in model.columns if rows and column.name not in rows[0]]
    if missing:
        raise InvalidRequest(f"the rows have no {', '.join(missing)}, which the model needs")
    answers = _answers(model, _request_frame(rows, model, limits=False))
    return {"probabilities" if model.classes else "predictions": answers.tolist()}


def explain_fn(rows: Sequence[Mapping[str, Any]], model: Model) -> dict[str, Any]:
    """Explain rows of the data set, which are taken as ``evaluate_fn`` takes them.

    Returns:
        ``columns``, ``outputs`` (the target, of a classification the classes), ``base`` (a number for each), ``explanations`` (for each
        row, column and output), ``errors`` (as many of sampled values, None of exact ones), ``background`` (rows behind the base).

    Raises:
        InvalidRequest: the artifact cannot explain, or not so many rows at once.

    """
    frame = _request_frame(rows, model, limits=False)
    found = _explained(model, frame, _answers(model, frame))
    assert model.background is not None
    return {
        "columns": [column.name for column in model.columns],
        "outputs": list(model.classes) or [model.contract.target],
        "base": found.base.tolist(),
        "explanations": found.values.tolist(),
        "errors": None if found.errors is None else found.errors.tolist(),
        "background": len(model.background),
    }


def asks_why(body: str | bytes, content_type: str) -> bool:
    """Return whether a request asks for explanations.

    Raises:
        InvalidRequest: it says neither yes nor no.

    """
    if _media_type(content_type or JSON) != JSON or f'"{EXPLAIN}"' not in (text := _text(body)):
        return False
    document = json.loads(text)
    wanted = document.get(EXPLAIN, False) if isinstance(document, dict) else False
    if not isinstance(wanted, bool):
        raise InvalidRequest(f'the field "explain" is {json.dumps(wanted)[:60]}: send true or false')
    return wanted


def read_request(body: str | bytes, content_type: str, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return the rows of a request, values by column name.

    Raises:
        InvalidRequest: the body is empty or malformed (400) or of another content type (415).

    """
    text, kind = _text(body), _media_type(content_type or JSON)
    if kind == CSV:
        try:
            rows: list[Any] = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
        except csv.Error as error:
            raise InvalidRequest(f"the request is not CSV: {error}") from error
    elif kind == JSON:
        rows = _instances(text)
    else:
        raise UnsupportedContent(f"content type '{plain(content_type, NAMED)}' is not served: send {CSV} or {JSON}")
    if not rows:
        raise InvalidRequest("the request holds no rows")
    names = [column.name for column in columns]
    return [_by_name(row, number, names) for number, row in enumerate(rows, start=1)]


def write_answer(
    answers: np.ndarray,
    classes: Sequence[str],
    kind: str,
    threshold: float | None = None,
    explanations: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """Return the body of an answer, as JSON or CSV; explanations, if there are, stand in JSON alone."""
    extra = {} if explanations is None else {"explanations": explanations}
    if not classes:
        values = [float(value) for value in answers]
        if kind == JSON:
            return json.dumps({"predictions": values, **extra}, allow_nan=False)
        return "".join(f"{value!r}\n" for value in values)
    labels = labels_of(answers, classes, threshold)
    if kind == JSON:
        document = {"predictions": labels, "probabilities": answers.tolist(), "classes": list(classes), **extra}
        return json.dumps(document, allow_nan=False)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [label, *map(repr, row)] for label, row in zip(labels, answers.tolist(), strict=True)
    )
    return text.getvalue()


def _answers(model: Model, frame: pd.DataFrame) -> np.ndarray:
    try:
        # A server works on several requests at once; threads within one only wait for each other's processors.
        with model.threads.limit(limits=1):
            answers = model_answers(model.estimator, frame, model.classes)
    except UnsoundModelError:
        raise
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    bad = np.flatnonzero(~np.isfinite(answers).reshape(len(frame), -1).all(axis=1))
    if bad.size:
        raise ValueError(f"the model answers {answers[bad[0]]} for row {bad[0] + 1}: not finite")
    return answers


def _explained(model: Model, frame: pd.DataFrame, answers: np.ndarray) -> Explanation:
    """Return why rows got their answers.

    Raises:
        InvalidRequest: the artifact has no background rows, the rows are too many, or the model refuses mixtures of them.

    """
    if model.background is None:
        raise InvalidRequest("this model was trained before models could explain themselves: train it again")
    most = max(1, MOST_ASKED // asked_rows(len(model.columns), len(model.background)))
    if len(frame) > most:
        raise InvalidRequest(
            f"explanations of {len(frame)} rows take too long for one request: send at most {most} rows"
        )
    try:
        return explain(lambda mixed: _answers(model, mixed), frame, answers, model.background)
    except UnsoundModelError:
        raise
    except ValueError as error:
        raise InvalidRequest(
            f"the model refuses mixtures of the rows with others, which explain it: {error}"
        ) from error


def _by_row(model: Model, answers: np.ndarray, found: Explanation) -> list[dict[str, Any]]:
    """Return explanations: of the prediction, of two classes of the second one's probability, of more of the likeliest one's."""
    names, classes = [column.name for column in model.columns], model.classes
    told = []
    for row, values in enumerate(found.values):
        output = 0 if not classes else 1 if len(classes) == 2 else int(answers[row].argmax())
        one = {
            "of": classes[output] if classes else model.contract.target,
            "base": float(found.base[output]),
            "values": dict(zip(names, values[:, output].tolist(), strict=True)),
        }
        if found.errors is not None:
            one["standard_errors"] = dict(zip(names, found.errors[row, :, output].tolist(), strict=True))
        told.append(one)
    return told


def _request_frame(rows: Sequence[Mapping[str, Any]], model: Model, limits: bool) -> pd.DataFrame:
    try:
        frame = request_frame(rows, model.columns, model.contract)
        if limits:
            check_limits(frame, model.columns, model.contract)
        return frame
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


def _text(body: str | bytes) -> str:
    if isinstance(body, str):
        return body
    try:
        return bytes(body).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the request is not UTF-8: {error.reason} at byte {error.start}") from error


def _media_type(content_type: str) -> str:
    return content_type.split(";")[0].strip().lower()


def _accepted(accept: str) -> str:
    kinds = [_media_type(part) for part in (accept or JSON).split(",")]
    if JSON in kinds or "*/*" in kinds or "application/*" in kinds:
        return JSON
    if CSV in kinds:
        return CSV
    raise NotAcceptable(f"cannot answer as '{plain(accept, NAMED)}': accept {CSV} or {JSON}")


def _instances(text: str) -> list[Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the request is not JSON: {error}") from error
    instances = document.get("instances") if isinstance(document, dict) else document
    if not isinstance(instances, list) or not all(isinstance(row, list | dict) for row in instances):
        raise InvalidRequest(
            'the request is no list of rows: send {"instances": [[...], ...]}, each row a list or an object by column name'
        )
    return instances


def _by_name(row: Any, number: int, names: Sequence[str]) -> dict[str, Any]:
    """Return the values of a row by the names of the columns."""
    if isinstance(row, dict):
        missing = [name for name in names if name not in row]
        if missing:
            raise InvalidRequest(f"row {number} has no {', '.join(missing)}: the model needs {', '.join(names)}")
        return {name: row[name] for name in names}
    if len(row) != len(names):
        raise InvalidRequest(f"row {number} has {len(row)} values, expected {len(names)}: {', '.join(names)}")
    return dict(zip(names, row, strict=True))
