"""Lambda ``analyze_results``: turn the evaluation's rows into the numbers that the promotion gate judges.

The event names the rows, ``{"rows_uri": "s3://BUCKET/KEY", "task": "binary", "classes": ["no", "yes"], "weights": [1.0, 0.5]}``: the
``rows.csv`` that the evaluation job wrote, the task (``regression`` when it is left out), the classes of the target, and the weight of a
row by the number of its file. Or it carries a small document, ``{"GroundTruth": [...], "Predictions": [...]}``, itself or as a JSON text
under ``body``.

Rows are read once, in blocks, in constant memory. Only the standard library and boto3 are used: this folder is the whole deployment
package.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from analysis import TASKS, Analysis
from row_blocks import BLOCK_ROWS, Readable, Rows


def handler(event: Mapping[str, Any], context: object = None) -> dict[str, Any]:
    """Return the scores of both models, by group too, and the paired comparison of their losses.

    Returns:
        ``{"task", "classes", "n", "challenger": scores, "champion": scores or None, "paired": {"n", "files", "weight", "loss_challenger",
        "loss_champion", "difference", "standard_error"} or None, "groups": {name: {"n", "challenger", "champion"}}, "curves"}``.
        Scores of numbers are rmse, mae, bias (mean of prediction - truth), r2, loss, of counts deviance too, in the unit of the target;
        of classes accuracy, balanced_accuracy, f1, auc, pr_auc (of two classes), log_loss, brier, calibration_error, loss. One that the
        rows cannot tell is None. ``paired`` weighs rows by their file; its difference is challenger - champion, of the mean losses.

    Raises:
        ValueError: the event or a row is malformed; the message names the key or the line.

    """
    document = _document(event)
    if "rows_uri" not in document:
        return analyze_lists(document)
    uri = document["rows_uri"]
    bucket, key = _bucket_and_key(uri)
    import boto3  # only this branch needs it, and it takes a large part of a cold start

    body = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
    try:
        return analyze_csv(
            body,
            name=uri,
            task=document.get("task") or "regression",
            classes=document.get("classes"),
            weights=document.get("weights"),
        )
    finally:
        body.close()


def analyze_csv(
    body: Readable,
    *,
    name: str = "rows.csv",
    task: str = "regression",
    classes: list[str] | None = None,
    weights: list[float] | None = None,
) -> dict[str, Any]:
    """Return the statistics of the CSV rows in ``body``; ``name`` stands for them in error messages.

    Raises:
        ValueError: task, classes or weights are not what ``handler`` documents, or a row is malformed.

    """
    if task not in TASKS:
        raise ValueError(f"'task' is {task!r}, expected one of {', '.join(TASKS)}")
    if (task in ("binary", "multiclass")) != bool(classes) or (task == "binary" and len(classes or ()) != 2):
        raise ValueError(f"'classes' is {classes!r}: binary has two, multiclass several, a number none")
    if weights is not None and not all(_is_finite_number(value) and value > 0 for value in weights):
        raise ValueError("'weights' must be a list of numbers above 0")
    rows, analysis = Rows(body, name, classes), Analysis(task, classes, weights)
    for block in rows.blocks():
        try:
            analysis.add(block)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{rows.place(len(block['truth']))}: {error}") from error
    return analysis.result()


def analyze_lists(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statistics of ``{"GroundTruth": [...], "Predictions": [...]}``, without champion and groups.

    Raises:
        ValueError: a key is missing, the lists are empty or of unequal length, or a value is no finite number.

    """
    for key in ("GroundTruth", "Predictions"):
        if key not in document:
            keys = sorted(map(str, document))
            raise ValueError(f"no {key!r} in the event (keys: {keys}): send rows_uri, or GroundTruth and Predictions")
        values = document[key]
        if not isinstance(values, list):
            raise ValueError(f"{key!r} must be a list of numbers, got {type(values).__name__}")
        for index, value in enumerate(values):
            if not _is_finite_number(value):
                raise ValueError(f"{key}[{index}] is {value!r}, not a finite number")
    truth, predictions = document["GroundTruth"], document["Predictions"]
    if len(truth) != len(predictions):
        raise ValueError(
            f"'GroundTruth' has {len(truth)} values, 'Predictions' {len(predictions)}: they must match row by row"
        )
    if not truth:
        raise ValueError("'GroundTruth' and 'Predictions' are empty: nothing was scored")
    analysis = Analysis("regression", None, None)
    for start in range(0, len(truth), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        try:
            columns = {"truth": truth[block], "challenger": predictions[block]}
            analysis.add({name: [float(value) for value in values] for name, values in columns.items()})
        except (ValueError, OverflowError) as error:
            raise ValueError(f"in the {BLOCK_ROWS} rows from index {start} on: {error}") from error
    return analysis.result()


def _document(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the event, or the document in its ``body`` as an HTTP front end passes it on."""
    if not isinstance(event, Mapping):
        raise ValueError(f"the event must be a JSON object, got {type(event).__name__}")
    body = event.get("body")
    if "rows_uri" in event or not isinstance(body, str):
        return event
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise ValueError(f"the event's 'body' is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"the event's 'body' must hold a JSON object, got {type(document).__name__}")
    return document


def _bucket_and_key(uri: object) -> tuple[str, str]:
    match = re.fullmatch(r"s3://([^/]+)/(.+)", uri) if isinstance(uri, str) else None
    if match is None:
        raise ValueError(f"'rows_uri' is {uri!r}, expected s3://BUCKET/KEY")
    return match[1], match[2]


def _is_finite_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False
