"""Does a model in use answer as the evaluation did? Only an answer is a verdict on the model.

A wrong number, an answer that cannot be read, or an error of the model's own code is an answer, when it is repeated. A refused connection,
a missing permission, throttling or an expired token say nothing about the model: they are asked again later, and the endpoint stays.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from retraining.aws.errors import error_code, is_not_found
from retraining.aws.naming import digest
from retraining.serving import inference_ids

TRIES = 3
"""A row's answer must be wrong this often, in a row, to be a verdict."""
PAUSE_SECONDS = 1.0


class VerificationError(RuntimeError):
    """The endpoint answers otherwise than the evaluation did: a verdict on the model."""


class UnansweredError(RuntimeError):
    """The endpoint could not be asked; that is no verdict, and the question is asked again later."""


class OvertakenError(RuntimeError):
    """The endpoint serves something else than what is to be verified: somebody changed it meanwhile."""


def smoke_rows(smoke: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the requests of an evaluation's ``smoke.json``: ``body``, ``prediction`` and, of several, what each stands for (``why``)."""
    return [{"body": smoke["body"], "prediction": smoke["prediction"], "why": "first test row"}, *smoke.get("rows", [])]


def verify(
    sagemaker: Any, runtime: Any, endpoint: str, config: str, smoke: Mapping[str, Any], tolerance: float
) -> list[float]:
    """Check that an endpoint serves ``config`` and answers every smoke request as the evaluation did.

    Args:
        sagemaker: boto3 client.
        runtime: boto3 client of the runtime.
        endpoint: its name.
        config: the intended endpoint config.
        smoke: ``content_type``, and requests as ``smoke_rows`` reads them.
        tolerance: largest relative difference that is still the same answer.

    Returns:
        The endpoint's predictions, one per request.

    Raises:
        VerificationError: an answer is wrong, repeatedly.
        UnansweredError: the endpoint is changing, or could not be asked.
        OvertakenError: another config serves.

    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        description = sagemaker.describe_endpoint(EndpointName=endpoint)
    except (BotoCoreError, ClientError) as error:
        if is_not_found(error):
            raise OvertakenError(f"endpoint {endpoint} does not exist any more") from error
        raise UnansweredError(f"endpoint {endpoint} cannot be looked at: {error}") from error
    serving, status = description["EndpointConfigName"], description["EndpointStatus"]
    if status != "InService":
        raise UnansweredError(f"endpoint {endpoint} is {status}")
    if serving != config:
        raise OvertakenError(f"endpoint {endpoint} serves config {serving}, not {config}")
    return [_right_answer(runtime, endpoint, smoke["content_type"], row, tolerance) for row in smoke_rows(smoke)]


def verify_answers(
    package: str, answers: Sequence[Mapping[str, Any]], smoke: Mapping[str, Any], tolerance: float
) -> list[float]:
    """Check that a model without an endpoint answered every smoke request in its job as the evaluation did.

    Args:
        package: what the model is called in messages.
        answers: one document for each request, as ``inside.watching.smoke`` writes them.
        smoke: requests as ``smoke_rows`` reads them.
        tolerance: largest relative difference that is still the same answer.

    Returns:
        The predictions, one per request.

    Raises:
        VerificationError: an answer is wrong, missing or an error.

    """
    rows = smoke_rows(smoke)
    if len(answers) != len(rows):
        raise VerificationError(f"{package} gave {len(answers)} answers to {len(rows)} smoke requests")
    predictions = []
    for row, answer in zip(rows, answers, strict=True):
        request = f"the request {row['body']!r} ({row.get('why') or 'smoke request'})"
        if "error" in answer:
            raise VerificationError(f"{package} does not answer {request}: {answer['error']}")
        prediction, expected = _prediction(package, answer), numbers(row["prediction"])
        if not same(prediction, expected, tolerance):
            raise VerificationError(
                f"{package} answers {_shown(prediction)} where the evaluation predicted {_shown(expected)} for {request}"
            )
        predictions.append(prediction[0])
    return predictions


def _right_answer(runtime: Any, endpoint: str, content_type: str, row: Mapping[str, Any], tolerance: float) -> float:
    """Ask for one row until the answer is right; give up when it was wrong several times."""
    expected, wrong = numbers(row["prediction"]), ""
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE_SECONDS)
        try:
            prediction = _ask(runtime, endpoint, content_type, row["body"])
        except VerificationError as error:
            wrong = str(error)
            continue
        if same(prediction, expected, tolerance):
            return prediction[0]
        wrong = f"endpoint {endpoint} answers {_shown(prediction)} where the evaluation predicted {_shown(expected)}"
    raise VerificationError(f"{wrong} for the request {row['body']!r} ({row.get('why') or 'smoke request'})")


def _ask(runtime: Any, endpoint: str, content_type: str, body: str) -> list[float]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = runtime.invoke_endpoint(
            EndpointName=endpoint,
            ContentType=content_type,
            Accept="application/json",
            Body=body.encode(),
            InferenceId=f"{inference_ids.VERIFICATION}{digest(body)}",
        )["Body"].read()
    except ClientError as error:
        if error_code(error) == "ModelError" and "timed out" not in str(error):
            raise VerificationError(f"endpoint {endpoint} does not answer: {error}") from error
        raise UnansweredError(f"endpoint {endpoint} could not be asked: {error}") from error
    except (BotoCoreError, OSError) as error:
        raise UnansweredError(f"endpoint {endpoint} could not be asked: {error}") from error
    return _prediction(f"endpoint {endpoint}", answer)


def _prediction(who: str, answer: bytes | Mapping[str, Any]) -> list[float]:
    return predictions_in(who, answer)[0]


def predictions_in(who: str, answer: bytes | Mapping[str, Any]) -> list[list[float]]:
    """Return the predictions of an answer, at least one: each as numbers, one for a number, one per class for a classifier's shares.

    Args:
        who: what answered, for messages.
        answer: the body, or the document that it holds.

    Raises:
        VerificationError: it does not have the form of an answer.

    """
    try:
        document = json.loads(answer) if isinstance(answer, bytes) else answer
        predictions: Sequence[Any] = document.get("probabilities") or document["predictions"]
        return [numbers(predictions[0]), *(numbers(prediction) for prediction in predictions[1:])]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        shown = answer[:200].decode(errors="replace") if isinstance(answer, bytes) else json.dumps(answer)[:200]
        raise VerificationError(
            f'{who} answers {shown!r}, which does not have the form {{"predictions": [number]}}'
        ) from error


def numbers(prediction: Any) -> list[float]:
    """Return a prediction as numbers: one for a number, one per class for a classifier's shares."""
    found = [float(value) for value in (prediction if isinstance(prediction, list) else [prediction])]
    if not found:
        raise ValueError("an empty prediction")
    return found


def same(prediction: Sequence[float], expected: Sequence[float], tolerance: float) -> bool:
    """Tell whether two predictions are the same answer: each number within a relative difference of the expected one."""
    near = (abs(got - want) <= tolerance * max(1.0, abs(want)) for got, want in zip(prediction, expected, strict=False))
    return len(prediction) == len(expected) and all(near)


def _shown(prediction: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in prediction)
