"""The rows of a file beside what the serving model says about them: predicted against actual, and the error of the model on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from retraining.page import trying
from retraining.page.files import check, sending
from retraining.page.known_models import KnownModel
from retraining.serving import batch

MOST = 2_000
"""Rows of a file that are asked about; whole files are the batch DAG's."""
CLIP = 1e-15
"""A probability of the true class below it counts as this much, as in the evaluation."""


def compare(model: KnownModel, file: sending.Received, name: str) -> dict[str, Any]:
    """Return the model's answers for the good rows of a file, and where it holds the target their errors.

    Returns:
        What `check.rows` says of the file, its ``rows`` without features but with ``prediction``, ``probabilities`` and, of a labelled
        file, ``loss``: squared error, or log loss of a class. ``scores``: see `scores`; None of a file without target.

    Raises:
        NoAnswerError: nothing serves, or the endpoint fails.
        UncheckedError: the file cannot be read here.

    """
    sending.refuse_unreadable(model, name, batch.IN)
    key = sending.key_of(model, name, file.digest)
    found = check.rows(file.path, key, model.config.contract.model_dump(), MOST)
    answers = trying.answers(model, [row["features"] for row in found["rows"]])
    rows = [
        {"line": row["line"], **answer, **(judged(row["actual"], answer) if found["labelled"] else {})}
        for row, answer in zip(found["rows"], answers, strict=True)
    ]
    return {**found, "file": name, "rows": rows, "scores": scores(rows) if found["labelled"] and rows else None}


def judged(actual: Any, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's ``actual`` value and ``loss``, with the ``error`` of a number or whether a class is ``right``.

    Raises:
        NoAnswerError: the answer is no number, and has no probabilities.

    """
    shares = answer["probabilities"]
    if shares is None:
        error = _number(answer["prediction"]) - float(actual)
        return {"actual": actual, "error": error, "loss": error * error}
    label = str(actual)
    loss = -math.log(max(shares.get(label, 0.0), CLIP))
    return {"actual": label, "right": str(answer["prediction"]) == label, "loss": loss}


def _number(prediction: Any) -> float:
    """Return a prediction as a number.

    Raises:
        NoAnswerError: it is none.

    """
    if isinstance(prediction, bool) or not isinstance(prediction, int | float) or not math.isfinite(prediction):
        raise trying.NoAnswerError(f"the endpoint's prediction {prediction!r:.40} is no number")
    return float(prediction)


def scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the model's figures on rows that were judged.

    Returns:
        ``rmse``, ``mae``, ``bias`` (mean of prediction - actual) and ``r2`` (None when the actual values do not vary) in the unit of the
        target; of classes ``log_loss`` and ``accuracy``.

    """
    count = len(rows)
    if "right" in rows[0]:
        return {
            "log_loss": math.fsum(row["loss"] for row in rows) / count,
            "accuracy": sum(row["right"] for row in rows) / count,
        }
    squared = math.fsum(row["loss"] for row in rows)
    mean = math.fsum(row["actual"] for row in rows) / count
    spread = math.fsum((row["actual"] - mean) ** 2 for row in rows)
    return {
        "rmse": math.sqrt(squared / count),
        "mae": math.fsum(abs(row["error"]) for row in rows) / count,
        "bias": math.fsum(row["error"] for row in rows) / count,
        "r2": 1.0 - squared / spread if spread else None,
    }
