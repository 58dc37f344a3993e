"""A row typed into a form, held against the contract, and what the serving model answers, in the model's own words."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from retraining.aws.errors import error_code, is_not_found
from retraining.contract.plain_text import plain
from retraining.page.known_models import KnownModel
from retraining.serving import inference_ids

ROWS = 100
CELLS = 20_000
"""Values in one request about the rows of a file: below what an endpoint takes, and answered within its time."""


class InvalidRowsError(ValueError):
    """Rows break the contract; ``reasons`` has a list for each row."""

    def __init__(self, reasons: Sequence[Sequence[str]]) -> None:
        first = next(row for row in reasons if row)
        super().__init__("; ".join(first))
        self.reasons = [list(row) for row in reasons]


class NoAnswerError(RuntimeError):
    """The endpoint does not answer; the message says why."""


def predict(model: KnownModel, rows: Sequence[Mapping[str, Any]], *, explain: bool = False) -> list[dict[str, Any]]:
    """Return what the endpoint says about rows.

    Args:
        model: whose endpoint is asked.
        rows: text, number, truth value or None by column; the target is not among them.
        explain: also ask why; a model that cannot tell has no ``explanation``.

    Raises:
        InvalidRowsError: a row breaks the contract, or names something that is no feature.
        NoAnswerError: nothing serves, or the endpoint fails.

    """
    contract = model.contract
    features = contract.feature_columns
    reasons = []
    for row in rows:
        unknown = [f"{plain(name, 40)}: not a column of the form" for name in row if name not in features]
        reasons.append([*unknown[:5], *contract.request_reasons(row)])
    if any(reasons):
        raise InvalidRowsError(reasons)
    typed = [{name: _cell(row.get(name)) for name in features} for row in rows]
    body = {"instances": typed, **({"explain": True} if explain else {})}
    answer = _asked(model, json.dumps(body, allow_nan=False).encode())
    why, shares = _explanations(answer), _probabilities(answer)
    return [
        {
            "prediction": prediction,
            "words": _words(model, prediction),
            "probabilities": shares[at],
            "explanation": why[at],
        }
        for at, prediction in enumerate(answer["predictions"])
    ]


def answers(model: KnownModel, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return ``prediction`` and ``probabilities`` by class, None of a regression, for rows that keep the contract.

    Raises:
        NoAnswerError: nothing serves, the endpoint fails, or does not answer each row.

    """
    found: list[dict[str, Any]] = []
    size = max(1, CELLS // max(1, len(model.contract.feature_columns)))
    for start in range(0, len(rows), size):
        piece = rows[start : start + size]
        answer = _asked(model, json.dumps({"instances": piece}, allow_nan=False).encode())
        predictions, shares = answer["predictions"], _probabilities(answer)
        if len(predictions) != len(piece):
            raise NoAnswerError(
                f"endpoint {model.config.endpoint} gives {len(predictions)} answers for {len(piece)} rows"
            )
        found += [{"prediction": one, "probabilities": share} for one, share in zip(predictions, shares, strict=True)]
    return found


def _probabilities(answer: Mapping[str, Any]) -> list[dict[str, float] | None]:
    """Return the probabilities of each row by class, None where the serving code, which may be a model folder's own, gives none."""
    shares, classes, rows = answer.get("probabilities"), answer.get("classes"), len(answer["predictions"])
    if not isinstance(shares, list) or not isinstance(classes, list) or len(shares) != rows:
        return [None] * rows
    return [
        dict(zip(classes, row, strict=True)) if isinstance(row, list) and len(row) == len(classes) else None
        for row in shares
    ]


def _explanations(answer: Mapping[str, Any]) -> list[dict[str, Any] | None]:
    """Return the explanation of each row, None where the serving code, which may be a model folder's own, gives none."""
    found, rows = answer.get("explanations"), len(answer["predictions"])
    if not isinstance(found, list) or len(found) != rows:
        return [None] * rows
    needed = {"of", "base", "values"}
    return [one if isinstance(one, dict) and needed <= one.keys() else None for one in found]


def _words(model: KnownModel, prediction: Any) -> dict[str, Any] | None:
    present = model.config.present
    if present is None or isinstance(prediction, bool) or not isinstance(prediction, int | float):
        return None
    return present.shown(model.config.contract.target, prediction)


def _cell(value: Any) -> Any:
    """Return a cell as the endpoint takes it: an empty text is a missing value."""
    return None if isinstance(value, str) and not value.strip() else value


def _asked(model: KnownModel, body: bytes) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    endpoint = model.config.endpoint
    if endpoint is None:
        raise NoAnswerError(f"this model has no endpoint: upload a file to {model.config.name}/batch/in/")
    try:
        answer = model.runtime.invoke_endpoint(
            EndpointName=endpoint,
            ContentType="application/json",
            Accept="application/json",
            InferenceId=f"{inference_ids.TRYING}{uuid.uuid4().hex}",
            Body=body,
        )["Body"].read()
        document = json.loads(answer)
    except ClientError as error:
        if is_not_found(error) or error_code(error) == "ValidationError":
            raise NoAnswerError(
                f"endpoint {endpoint} serves nothing yet: the first run that judges a model deploys it"
            ) from error
        raise NoAnswerError(f"endpoint {endpoint} does not answer: {plain(error)}") from error
    except (BotoCoreError, ValueError) as error:
        raise NoAnswerError(f"endpoint {endpoint} does not answer: {plain(error)}") from error
    if not isinstance(document, dict) or not isinstance(document.get("predictions"), list):
        raise NoAnswerError(f"endpoint {endpoint} answers {plain(document, 100)}, which has no predictions")
    return document
