"""From finished jobs to the numbers that the gate judges: which candidate goes on, and what the analysis function says of it.

Shared by the DAG's tasks and by experiments, so that both come to the same verdict.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retraining.aws.clients import client
from retraining.judging.paired_losses import Losses, paired
from retraining.settings.access import AwsAccess
from retraining.settings.training.step import Training

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
    search: Mapping[str, Any] | None = None
    """What came of the search for hyperparameters, as the report shows it; None without one."""

    def as_rows(self) -> list[dict[str, Any]]:
        """Return what the report shows of each candidate, the best first: name, value, chosen, and why one was left out."""
        chosen = candidate_of(self.best)
        rows = [{"name": name, "value": value, "chosen": name == chosen} for name, value in self.values.items()]
        rows.sort(key=lambda row: not row["chosen"])
        return rows + [{"name": name, "chosen": False, "left_out": why} for name, why in self.left_out.items()]


def choose(
    planned: Sequence[str],
    trained: Sequence[Mapping[str, Any] | None],
    training: Training,
    losses: Callable[[str], Losses] | None = None,
) -> Choice:
    """Choose the candidate with the best value of the selection metric, which is measured on validation rows.

    A failed candidate does not veto the others. Of equal values the first in ``planned`` wins. The best trial of a search takes its place
    only when it loses less by more than one standard error on the same rows: the best of many trials looks better than it is.

    Args:
        planned: names of the candidates that the run trains; that of a search is ``searched_name``'s.
        trained: results of training jobs, ``candidate`` says whose; that of a search has its ``best`` trial and others. None stands for a
            job that did not finish.
        training: says which metric chooses, whether small or large values are good, and how many candidates must be left.
        losses: returns the losses that the training of an artifact left, and raises ValueError when it left none; of a search.

    Raises:
        JudgementError: fewer candidates than ``min_candidates`` are left to choose from.

    """
    searches = {candidate_of(result): result for result in trained if result and "trials" in result}
    finished: dict[str, Mapping[str, Any]] = {name: _best_trial(result) for name, result in searches.items()}
    finished |= {candidate_of(result): result for result in trained if result and "trials" not in result}
    metric = training.selection_metric
    tuned = training.tuned_name
    left_out = {
        name: f"its {'tuning' if name == tuned else 'training'} job failed" for name in planned if name not in finished
    }
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
    declared = {name: value for name, value in values.items() if name != tuned}
    best = min(declared or values, key=lambda name: sign * values[name])
    if tuned is None or tuned not in values:
        return Choice(finished[best], left_out, values)
    search = compared(searches[tuned], finished[tuned], finished[best] if declared else None, losses)
    return Choice(finished[tuned if search["chosen"] else best], left_out, values, search)


def _best_trial(search: Mapping[str, Any]) -> dict[str, Any]:
    """Return the best trial of a search as the result of a training job."""
    return {**search["best"], "candidate": candidate_of(search)}


def compared(
    search: Mapping[str, Any],
    trial: Mapping[str, Any],
    declared: Mapping[str, Any] | None,
    losses: Callable[[str], Losses] | None,
) -> dict[str, Any]:
    """Return the leaderboard of a search, and whether its best trial goes on in place of the best declared candidate.

    Args:
        search: ``name``, ``trials`` and ``counts``.
        trial: result of the best trial.
        declared: result of the best declared candidate; None when none trained.
        losses: returns the losses that the training of an artifact left, and raises ValueError when it left none.

    Returns:
        What the report shows: ``trials``, ``counts``, ``against``, ``difference`` with ``standard_error`` on ``rows``, ``chosen``, ``why``.

    """
    board = {
        "job": search["name"],
        "best": trial["name"],
        "trials": search["trials"],
        "counts": search["counts"],
        "against": candidate_of(declared) if declared else None,
        "difference": None,
        "standard_error": None,
        "rows": None,
    }
    if declared is None or losses is None:
        return {**board, "chosen": True, "why": "no declared candidate trained to compare it with"}
    name = candidate_of(declared)
    try:
        found = paired(losses(str(trial["model_data"])), losses(str(declared["model_data"])))
    except ValueError as error:
        return {**board, "chosen": False, "why": f"it cannot be compared with {name}, which stays: {error}"}
    board |= {"difference": found.difference, "standard_error": found.standard_error, "rows": found.rows}
    less = "loses less" if found.difference < 0 else "does not lose less"
    if found.clearly_less:
        why = f"it {less} than {name} by more than one standard error on the same {found.rows} validation rows"
    else:
        within = ", but not by more than one standard error" if found.difference < 0 else ""
        why = f"it {less} than {name} on the same {found.rows} validation rows{within}: {name} stays"
    return {**board, "chosen": found.clearly_less, "why": why}


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
