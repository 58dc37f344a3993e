"""From finished jobs to the numbers that the gate judges: which candidate goes on, and what the analysis function says of it.

Shared by the DAG's tasks and by experiments, so that both come to the same verdict.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retraining.aws.clients import client
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import Training

LONGEST_ANALYSIS = 930
"""Seconds; a Lambda function may run for 900, and its answer has to be waited for."""


class JudgementError(RuntimeError):
    """Finished jobs do not give what the decision needs; a retry would not either."""


@dataclass(frozen=True)
class Choice:
    """Which candidate goes on to the test rows, and why the others do not."""

    best: Mapping[str, Any]
    """The training result that goes on."""
    left_out: Mapping[str, str]
    """Why a candidate was no choice, by its name: its job failed, or it has no finite metric."""
    values: Mapping[str, float]
    """The selection metric of the others, by their names."""

    def as_rows(self) -> list[dict[str, Any]]:
        """Return what the report shows of each candidate, the best first: name, value, chosen, and why one was left out."""
        chosen = candidate_of(self.best)
        rows = [{"name": name, "value": value, "chosen": name == chosen} for name, value in self.values.items()]
        rows.sort(key=lambda row: not row["chosen"])
        return rows + [{"name": name, "chosen": False, "left_out": why} for name, why in self.left_out.items()]


def choose(planned: Sequence[str], trained: Sequence[Mapping[str, Any] | None], training: Training) -> Choice:
    """Choose the candidate with the best value of the selection metric, which is measured on validation rows.

    A failed candidate does not veto the others. Of equal values the first in ``planned`` wins.

    Args:
        planned: names of the candidates that the run trains.
        trained: results of training jobs, ``candidate`` says whose. None stands for a job that did not finish.
        training: says which metric chooses, whether small or large values are good, and how many candidates must be left.

    Raises:
        JudgementError: fewer candidates than ``min_candidates`` are left to choose from.

    """
    finished = {candidate_of(result): result for result in trained if result}
    metric = training.selection_metric
    left_out = {name: "its training job failed" for name in planned if name not in finished}
    values: dict[str, float] = {}
    for name in planned:
        if name not in finished:
            continue
        value = finished[name].get("metrics", {}).get(metric)
        if value is not None and math.isfinite(float(value)):
            values[name] = float(value)
        elif len(planned) > 1:
            said = "reports no" if value is None else "reports a value that is not finite for"
            left_out[name] = f"its training job {finished[name]['name']} {said} {metric}"
        else:
            values[name] = 0.0  # there is nothing to choose between
    needed = min(training.min_candidates, len(planned))
    if len(values) < max(1, needed):
        listed = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise JudgementError(
            f"{len(values)} of {len(planned)} candidates can be chosen, training.min_candidates asks for {max(1, needed)} ({listed}). "
            "See the logs of these jobs"
        )
    sign = -1.0 if training.selection_direction == "max" else 1.0
    return Choice(finished[min(values, key=lambda name: sign * values[name])], left_out, values)


def candidate_of(result: Mapping[str, Any]) -> str:
    """Return the name of the candidate that a training result is of, or of its job where it does not say."""
    return str(result.get("candidate") or result["name"])


def analyze(access: AwsAccess, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Let the Lambda function read an evaluation's rows, and return its statistics.

    Args:
        access: how to reach AWS.
        function: name of the function ``analyze_results``.
        event: what the function's ``handler`` documents; ``rows_uri`` is the S3 URI of the evaluation's ``rows.csv``.

    Raises:
        JudgementError: the function failed; its words follow.

    """
    answer = client("lambda", access, retry=False, read_timeout=LONGEST_ANALYSIS).invoke(
        FunctionName=function, Payload=json.dumps(event).encode()
    )
    payload = answer["Payload"].read().decode()
    if "FunctionError" in answer:
        raise JudgementError(f"Lambda {function} could not analyse {event.get('rows_uri')}: {payload}")
    return dict(json.loads(payload))
