"""What a model goes by on the whole: how far each column moves its answers to a sample of the test rows.

Written below ``explanations/``: ``overview.json`` for the report; and, in the layout of SageMaker Clarify, ``analysis.json`` with mean
absolute values by output, and ``explanations_shap/out.csv`` with the values of each row.
"""

from __future__ import annotations

import csv
import heapq
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retraining.inside.artifact_process import ArtifactError, ArtifactProcess
from retraining.inside.elsewhere.written import TransformedAnswers
from retraining.inside.explaining.background import BACKGROUND_ROWS
from retraining.inside.explaining.shapley import asked_rows
from retraining.inside.job_file import Job

FOLDER = "explanations"
ROWS = 100
"""At most so many, as far as the job's time reaches."""
LONGEST = 30.0
"""Seconds that one row may be expected to take; a model that is slower is not explained."""
DRAWN = 6
"""Columns whose effect is given row by row, those that move most."""
_GOLDEN, _WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1

Row = Mapping[str, Any]


class SampledRows:
    """Rows spread evenly over all that were seen, by their places alone; each beginning of ``rows`` is spread likewise."""

    def __init__(self) -> None:
        self._seen = 0
        self._kept: list[tuple[int, int, Row]] = []

    def see(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for place, row in enumerate(rows, start=self._seen):
            entry = (-((place * _GOLDEN) & _WORD), place, row)
            if len(self._kept) < ROWS:
                heapq.heappush(self._kept, entry)
            elif entry > self._kept[0]:
                heapq.heapreplace(self._kept, entry)
        self._seen += len(rows)

    @property
    def rows(self) -> list[Row]:
        """What is kept, at most ``ROWS``."""
        return [row for _, _, row in sorted(self._kept, key=lambda entry: -entry[0])]


def write_overview(
    model: ArtifactProcess | TransformedAnswers, rows: Sequence[Row], job: Job, output: Path
) -> str | None:
    """Explain rows and write what they say together.

    Args:
        model: is asked.
        rows: inputs by name, a missing value as None.
        job: says what the columns are, and how long the model is asked.
        output: folder of the evaluation.

    Returns:
        Why nothing was written; None when it was.

    """
    if not job.explain_seconds:
        return "evaluation.explain_seconds is 0"
    try:
        answers = explained(model, rows, len(job.inputs), job.explain_seconds)
    except ArtifactError as error:
        return str(error)
    folder = output / FOLDER
    (folder / "explanations_shap").mkdir(parents=True, exist_ok=True)
    values = np.concatenate([np.asarray(answer["explanations"], dtype=float) for answer in answers])
    first = answers[0]
    _write_json(folder / "overview.json", overview(first, values, rows))
    _write_json(folder / "analysis.json", clarify_analysis(first, values))
    with (folder / "explanations_shap" / "out.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        labels = range(len(first["outputs"]))
        writer.writerow(f"{name}_label{label}" for name in first["columns"] for label in labels)
        writer.writerows(map(repr, row) for row in values.reshape(len(values), -1).tolist())
    return None


def explained(
    model: ArtifactProcess | TransformedAnswers, rows: Sequence[Row], columns: int, seconds: float
) -> list[dict[str, Any]]:
    """Return the model's explanations of rows, one answer for each, as many as the seconds last, but one at least.

    Raises:
        ArtifactError: the model does not explain itself, or would take too long.

    """
    timed = list(rows) * -(-ROWS // len(rows))
    for asked in (timed[:1], timed):  # the first request loads what the model needs
        started = time.monotonic()
        model.ask(rows=asked)
        model.answer()
    expected = (time.monotonic() - started) / len(timed) * asked_rows(columns, BACKGROUND_ROWS)
    if expected > LONGEST:
        raise ArtifactError(
            f"the {model.role} would take about {expected:.0f} s to explain a row, more than {LONGEST:.0f} s"
        )
    answers: list[dict[str, Any]] = []
    started = time.monotonic()
    for row in rows:
        if answers and time.monotonic() - started > seconds:
            break
        model.ask(rows=[row], explain=True)
        answers.append(model.answer())
    return answers


def overview(answer: Mapping[str, Any], values: np.ndarray, rows: Sequence[Row]) -> dict[str, Any]:
    """Return how far each column moves the answers.

    Args:
        answer: of the artifact's ``explain_fn``.
        values: shape (rows, columns, outputs).
        rows: those that are explained come first.

    Returns:
        ``of``, what is explained: the target, the second of two classes, None of more classes; ``base``, the mean answer to the background
        rows, None of more classes; ``rows``; ``background``; ``exact``; ``columns`` by their size: ``name``, ``mean`` absolute value with
        its 95 % interval over the rows, ``low`` and ``high``; ``dependence`` of the first ``DRAWN``: ``name`` and ``points`` of the
        column's value and effect, none of more than two classes. Of more classes a value is the probability that a column moves from some
        classes to others.

    """
    outputs = answer["outputs"]
    drawn = {1: 0, 2: 1}.get(len(outputs))
    sizes = np.abs(values).sum(axis=2) / (2 if len(outputs) > 2 else len(outputs))
    means = sizes.mean(axis=0)
    errors = 1.96 * sizes.std(axis=0, ddof=1) / np.sqrt(len(sizes)) if len(sizes) > 1 else np.zeros_like(means)
    order = [int(place) for place in np.argsort(-means, kind="stable")]
    return {
        "of": None if drawn is None else outputs[drawn],
        "outputs": outputs,
        "base": None if drawn is None else answer["base"][drawn],
        "rows": len(values),
        "background": answer["background"],
        "exact": answer["errors"] is None,
        "columns": [
            {
                "name": answer["columns"][place],
                "mean": float(means[place]),
                "low": max(0.0, float(means[place] - errors[place])),
                "high": float(means[place] + errors[place]),
            }
            for place in order
        ],
        "dependence": []
        if drawn is None
        else [
            {
                "name": name,
                "points": [
                    [row[name], float(effect)]
                    for row, effect in zip(rows, values[:, place, drawn], strict=False)
                    if row[name] is not None
                ],
            }
            for place in order[:DRAWN]
            for name in [answer["columns"][place]]
        ],
    }


def clarify_analysis(answer: Mapping[str, Any], values: np.ndarray) -> dict[str, Any]:
    """Return ``analysis.json`` as Clarify lays it out: ``label0`` is the first output, and so on."""
    sizes = np.abs(values).mean(axis=0)
    labels = {
        f"label{at}": {
            "global_shap_values": dict(zip(answer["columns"], sizes[:, at].tolist(), strict=True)),
            "expected_value": answer["base"][at],
        }
        for at in range(len(answer["outputs"]))
    }
    return {"version": "1.0", "explanations": {"kernel_shap": labels}}


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
