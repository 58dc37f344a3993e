"""A sweep: every combination of some values of a candidate's hyperparameters, and the best of them against the candidate as it is declared.

The best of many looks better than it is. So it goes on only when it loses less than the declared candidate by more than one standard error
of the difference on the same validation rows, the rule that ``training.tuning`` goes by, too.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiment.overrides import Options, Override, OverrideError, check_hyperparameters, configure, find, parse
from experiment.overrides import apply as with_overrides
from retraining.judging.candidates import JudgementError, compared
from retraining.judging.paired_losses import Losses
from retraining.settings.model_config import ModelConfig
from retraining.settings.training.candidate import Candidate
from retraining.settings.training.tuning import LOSSES, searched_name

MOST_POINTS = 50
"""Each is a training, which is paid on AWS."""
AT_ONCE = 4
"""How many train side by side where ``training.parallel`` does not say."""

Job = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """One combination of values."""

    overrides: tuple[Override, ...]
    settings: tuple[str, ...]
    """``PATH=VALUE`` each, as ``--set`` would take them."""
    candidate: Candidate
    """The candidate with these values."""

    @property
    def values(self) -> dict[str, Any]:
        """The values by the path of the hyperparameter below the candidate's."""
        return {override.path.partition(".hyperparameters.")[2]: override.value for override in self.overrides}


def points(
    values: Mapping[str, Any],
    settings: Sequence[str],
    sweeps: Sequence[str],
    candidate: str | None = None,
    options: Options | None = None,
) -> list[Point]:
    """Return every combination, in the order in which the values stand.

    Args:
        values: content of ``model.yaml``.
        settings: what holds for all of them, ``PATH=VALUE`` each.
        sweeps: ``PATH=VALUE,VALUE,...`` each.
        candidate: whose hyperparameters short forms mean.
        options: what the hyperparameters can be; None leaves them to train.py.

    Raises:
        OverrideError: a path is no hyperparameter, the paths are of several candidates, a value is wrong, or there are too many points.

    """
    ranges = [_range(text) for text in sweeps]
    count = math.prod(len(written) for _, written in ranges)
    if count > MOST_POINTS:
        raise OverrideError(
            f"the sweep has {count} points, and each is a training: at most {MOST_POINTS}. Give fewer values, or let training.tuning search"
        )
    found = []
    for chosen in itertools.product(*(written for _, written in ranges)):
        own = tuple(f"{path}={json.dumps(value)}" for (path, _), value in zip(ranges, chosen, strict=True))
        overrides = find(values, [*settings, *own], candidate, options)
        swept = tuple(overrides[len(settings) :])
        config = configure(values, overrides)
        if options:
            check_hyperparameters(with_overrides(values, overrides), options)
        whose = config.training.candidates[_whose(swept)]
        if candidate not in (None, whose.name):
            raise OverrideError(
                f"the sweep is about candidate {whose.name}, and --candidate says {candidate}: give one of them"
            )
        found.append(Point(swept, own, whose))
    return found


def check(config: ModelConfig) -> None:
    """Check that a sweep's models can be compared by their losses.

    Raises:
        OverrideError: ``selection_metric`` does not order them by their loss.

    """
    metric = config.training.selection_metric
    if config.task not in LOSSES.get(metric, ()):
        fitting = [name for name, tasks in LOSSES.items() if config.task in tasks]
        raise OverrideError(
            f"the points of a sweep are compared by their losses on validation rows: selection_metric {metric!r} of a {config.task} must "
            f"be {' or '.join(fitting)}"
        )


def best_of(
    swept: Sequence[tuple[Point, Job | None]], declared: Job, config: ModelConfig, losses: Callable[[str], Losses]
) -> tuple[Job, dict[str, Any]]:
    """Return the training that goes on, and the leaderboard.

    Args:
        swept: the points with the results of their trainings; None where one failed.
        declared: the result of the candidate as it is declared.
        config: says which metric orders the points.
        losses: returns the losses that the training of an artifact left, and raises ValueError when it left none.

    Returns:
        The result with its name as ``candidate``, and ``trials`` with ``value`` and ``hyperparameters``, best first, ``counts``,
        ``difference`` and ``standard_error`` to the declared candidate, ``chosen`` and ``why``.

    Raises:
        JudgementError: no point reports the metric.

    """
    training, name = config.training, str(declared["candidate"])
    metric, sign = training.selection_metric, -1.0 if training.selection_direction == "max" else 1.0
    valued = [(point, job, float(job["metrics"][metric])) for point, job in swept if job and _reports(job, metric)]
    if not valued:
        raise JudgementError(
            f"none of the {len(swept)} points of the sweep trained and reports {metric}: see the logs of their jobs"
        )
    valued.sort(key=lambda item: sign * item[2])
    search = {
        "name": f"sweep of {name}",
        "trials": [
            {"name": job["name"], "value": value, "hyperparameters": point.values} for point, job, value in valued
        ],
        "counts": {"completed": len(valued), "failed": len(swept) - len(valued), "stopped": 0},
    }
    best = {**valued[0][1], "candidate": searched_name(name)}
    board = compared(search, best, declared, losses)
    return (best if board["chosen"] else declared), {**board, "metric": metric, "settings": list(valued[0][0].settings)}


def shown(board: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the leaderboard as rows of texts: a head, then the points, best first."""
    names = list(board["trials"][0]["hyperparameters"])
    yield [*names, board["metric"]]
    for trial in board["trials"]:
        yield [*(json.dumps(trial["hyperparameters"][name]) for name in names), f"{trial['value']:.6g}"]


def _reports(job: Job, metric: str) -> bool:
    value = job["metrics"].get(metric)
    return value is not None and math.isfinite(float(value))


def _range(text: str) -> tuple[str, list[Any]]:
    """Split ``PATH=VALUE,VALUE``; each value is read as that of a setting is."""
    path, found, written = text.partition("=")
    if not found or not path.strip():
        raise OverrideError(f"{text!r} is not PATH=VALUE,VALUE,...; write for example algorithm.svr.C=1,3,10")
    values = [parse(f"{path}={part}")[1] for part in written.split(",")]
    if len({json.dumps(value) for value in values}) < len(values):
        raise OverrideError(f"{path}: a value stands twice in {written!r}")
    return path.strip(), values


def _whose(overrides: Sequence[Override]) -> int:
    """Return the position of the candidate whose hyperparameters are swept."""
    places = set()
    for override in overrides:
        place = override.location
        if len(place) < 5 or place[:2] != ("training", "candidates") or place[3] != "hyperparameters":
            raise OverrideError(
                f"{override.path} is no hyperparameter of a candidate, and a sweep goes through those: give it with --set"
            )
        places.add(int(place[2]))
    if len(places) > 1:
        raise OverrideError(
            "a sweep is about the hyperparameters of one candidate: sweep the others in a command of their own"
        )
    return places.pop()
