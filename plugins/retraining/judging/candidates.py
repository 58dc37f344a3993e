"""From finished jobs to the numbers that the gate judges: which candidate goes on, and what the analysis function says of it.

Shared by the DAG's tasks and by experiments, so that both come to the same verdict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from retraining.aws.clients import client
from retraining.settings.access import AwsAccess


class JudgementError(RuntimeError):
    """Finished jobs do not give what the decision needs; a retry would not either."""


def best_candidate(trained: Sequence[Mapping[str, Any] | None], metric: str) -> Mapping[str, Any]:
    """Return the training result with the smallest value of ``metric``; a candidate that was left out is None.

    Raises:
        JudgementError: a job did not report the metric that has to choose between candidates.

    """
    finished = [result for result in trained if result]
    if len(finished) == 1:
        return finished[0]
    silent = [result["name"] for result in finished if metric not in result["metrics"]]
    if silent or not finished:
        raise JudgementError(f"training jobs {silent or 'none'} report no {metric!r}; cannot choose between candidates")
    return min(finished, key=lambda result: float(result["metrics"][metric]))


def analyze(access: AwsAccess, function: str, rows_uri: str) -> dict[str, Any]:
    """Let the Lambda function read an evaluation's rows, and return its statistics.

    Args:
        access: how to reach AWS.
        function: name of the function ``analyze_results``.
        rows_uri: S3 URI of the evaluation's ``rows.csv``.

    Raises:
        JudgementError: the function failed; its words follow.

    """
    answer = client("lambda", access, retry=False).invoke(
        FunctionName=function, Payload=json.dumps({"rows_uri": rows_uri}).encode()
    )
    payload = answer["Payload"].read().decode()
    if "FunctionError" in answer:
        raise JudgementError(f"Lambda {function} could not analyse {rows_uri}: {payload}")
    return dict(json.loads(payload))
