"""Asks the model's endpoint, and says of an endpoint that does not answer no more than a client needs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

from lambda_functions.prediction_api.model import Model
from lambda_functions.prediction_api.refusal import RefusalError
from lambda_functions.prediction_api.rows import Question
from retraining.contract.plain_text import plain
from retraining.settings.present.wording import worded

READ_SECONDS, CONNECT_SECONDS = 20, 3
"""Below the 30 s after which API Gateway gives up."""
PLAIN_AGAIN_SECONDS = 5
"""After a refusal that came sooner there is time to ask once more before API Gateway gives up."""
ABSENT = ("Could not find", "not found")
BUSY = (
    "ThrottlingException",
    "Throttling",
    "ServiceUnavailable",
    "ModelNotReadyException",
    "InternalDependencyException",
    "InternalFailure",
)


def client() -> Any:
    """Return a client of SageMaker's runtime that gives up before API Gateway does."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "sagemaker-runtime",
        config=Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": 1}),
    )


def ask(runtime: Any, endpoint: str, question: Question, model: Model, request_id: str) -> list[dict[str, Any]]:
    """Return the prediction of each row: with the probabilities of the classes, or in the model's own words where it has some.

    Args:
        runtime: a client of SageMaker's runtime.
        endpoint: the name of the endpoint.
        question: the rows, and whether each prediction has an ``explanation``: ``of``, ``base``, ``values``, ``standard_errors``.
        model: whose contract and words they are.
        request_id: of the request; the captured one carries it.

    Raises:
        RefusalError: 503 when nothing serves or it is busy, 502 when the model refuses rows that the contract allows or answers nonsense,
            422 when it does not explain its answers.

    """
    started = time.monotonic()
    try:
        return _asked(runtime, endpoint, question, model, request_id)
    except RefusalError as refusal:
        late = time.monotonic() - started > PLAIN_AGAIN_SECONDS
        if not question.explain or refusal.code != "model_refused" or late:
            raise
        _asked(runtime, endpoint, Question(question.rows), model, request_id)  # refused again: it is the rows
        raise _unexplained(model, refusal.detail) from refusal


def _asked(runtime: Any, endpoint: str, question: Question, model: Model, request_id: str) -> list[dict[str, Any]]:
    from botocore.exceptions import BotoCoreError, ClientError

    body = {"instances": question.rows, **({"explain": True} if question.explain else {})}
    try:
        answer = runtime.invoke_endpoint(
            EndpointName=endpoint,
            ContentType="application/json",
            Accept="application/json",
            InferenceId=f"api-{request_id}"[:64],
            Body=json.dumps(body, allow_nan=False).encode(),
        )["Body"].read()
    except ClientError as error:
        raise _failed(error, model) from error
    except BotoCoreError as error:
        raise RefusalError(
            503, "no_answer", f"The model {model.name} did not answer in time: try again later.", detail=plain(error)
        ) from error
    try:
        document = json.loads(answer)
        predictions = _predictions(document, len(question.rows), model)
        if not question.explain:
            return predictions
        if "explanations" not in document:
            raise _unexplained(model, "the answer has no explanations")
        why = _explanations(document, predictions, model)
        return [{**one, "explanation": moved} for one, moved in zip(predictions, why, strict=True)]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RefusalError(
            502, "bad_answer", f"The model {model.name} answered something that is no prediction.", detail=plain(error)
        ) from error


def _failed(error: Any, model: Model) -> RefusalError:
    code, text = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    detail = plain(error)
    if code in ("ValidationError", "ValidationException") and any(words in text for words in ABSENT):
        return RefusalError(503, "no_model", f"No model serves {model.name} now: try again later.", detail=detail)
    if code in BUSY:
        return RefusalError(503, "busy", f"The model {model.name} is busy or starts: try again later.", detail=detail)
    if code == "ModelError" and 400 <= int(error.response.get("OriginalStatusCode") or 500) < 500:
        return RefusalError(
            502,
            "model_refused",
            f"The model that serves {model.name} does not take rows that this API's contract allows: one of them is out of date.",
            detail=detail,
        )
    return RefusalError(502, "model_failed", f"The model {model.name} failed to answer.", detail=detail)


def _predictions(document: Mapping[str, Any], count: int, model: Model) -> list[dict[str, Any]]:
    found = document["predictions"]
    if not isinstance(found, list) or len(found) != count:
        raise ValueError(f"{count} predictions were asked for")
    if model.classes:
        shares, classes = document["probabilities"], [str(name) for name in document["classes"]]
        if len(shares) != count or any(len(row) != len(classes) for row in shares):
            raise ValueError("there is not one probability for each row and class")
        return [
            {"prediction": str(label), "probabilities": dict(zip(classes, map(_number, row), strict=True))}
            for label, row in zip(found, shares, strict=True)
        ]
    answers = []
    for value in map(_number, found):
        words = worded(model.present, model.contract.target, value) if model.present else None
        answers.append({"prediction": value, "words": words} if model.present else {"prediction": value})
    return answers


def _explanations(document: Mapping[str, Any], predictions: list[dict[str, Any]], model: Model) -> list[dict[str, Any]]:
    found, features = document["explanations"], model.contract.feature_columns
    if len(found) != len(predictions):
        raise ValueError("there is not one explanation for each row")
    told = []
    for one in found:
        if str(one["of"]) not in (model.classes or (model.contract.target,)):
            raise ValueError("an explanation is of nothing that the model predicts")
        moves = {"of": str(one["of"]), "base": _number(one["base"])}
        for name in ("values", "standard_errors"):
            if name in one or name == "values":
                moves[name] = {column: _number(one[name][column]) for column in features}
        told.append(moves)
    return told


def _unexplained(model: Model, detail: str) -> RefusalError:
    return RefusalError(
        422,
        "not_explained",
        f"The model that serves {model.name} does not explain its answers to these rows: send them without explain.",
        detail=detail,
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number is none")
    return float(value)
