"""The promotion gate: whether the challenger may replace the champion.

A pure function of the analysis that the Lambda ``analyze_results`` returns and of the policy in ``model.yaml``. The challenger must keep
absolute guards. Then both models' losses *on the same rows* give the odds that the challenger is the better one, and it is promoted when
they reach ``required_odds``. By default that is 1 to 2: a challenger is kept out only when the rows speak against it, because it has
learnt from more rows and the next run decides again; a strict gate makes the champion old, which costs more than the few promotions that
the next run takes back (``make bench-gate``). Without a champion the guards alone decide. A recorded score from other rows takes no part:
at usual test sizes its noise is several times the differences that matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal

from retraining.judging.guards import LABELS, Guard, count, guards, number, section
from retraining.settings.gate_policy import GatePolicy

HEADLINES = {"regression": "rmse", "count": "rmse", "binary": "log_loss", "multiclass": "log_loss"}
"""The metric that stands for a model in one sentence, by task."""
SHOWN_BETTER = 9.0
"""Odds that are asked for when the training rows have not grown by ``min_growth``."""
CERTAIN = 1e9


@dataclass(frozen=True)
class Decision:
    """The gate's answer, for the log, the XCom, the model package and the report."""

    promote: bool
    reason: str
    """One sentence with the numbers that decided."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """Every number that took part, JSON-ready; None where there is none."""

    @property
    def decision(self) -> Literal["approved", "rejected"]:
        """The branch of the DAG that follows."""
        return "approved" if self.promote else "rejected"

    def as_dict(self) -> dict[str, Any]:
        """Return the decision as plain JSON types."""
        return {"promote": self.promote, "decision": self.decision, "reason": self.reason, "numbers": self.numbers}


def decide(
    analysis: Mapping[str, Any],
    policy: GatePolicy,
    *,
    growth: float | None = None,
    looks: int | None = None,
    rows: str = "test rows",
) -> Decision:
    """Return whether the challenger is promoted, why, and on which numbers.

    Args:
        analysis: what ``lambda_functions/analyze_results`` documents as its result.
        policy: the ``gate`` section of ``model.yaml``.
        growth: share by which the training rows have grown since the champion was trained; None when it is not known.
        looks: how many runs have judged a model on these very rows, this one included; None when nobody counted.
        rows: what the rows are, for the sentence.

    Raises:
        ValueError: the analysis lacks a part that the decision needs. A number that is there but not finite
            is no error, it is a rejection.

    """
    limits = list(guards(analysis, policy))
    numbers = _numbers(analysis, policy, growth, looks)
    broken = _not_finite(numbers, limits)
    numbers["guards"] = [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in found.items()
        }
        for found in (guard.as_dict() for guard in limits)
    ]
    if broken:
        clean = {name: None if name in broken else value for name, value in numbers.items()}
        return Decision(False, f"The analysis holds numbers that are not finite: {', '.join(broken)}.", clean)
    failures = [*_failures(numbers, limits, policy), *_classes_without_rows(analysis)]
    if failures:
        reason = f"The challenger was not compared further: {'; '.join(failures)}{_champion_breaks(limits)}."
        return Decision(False, reason, numbers)
    if failed := analysis.get("champion_failed"):
        return _without_champion(str(failed), numbers, policy)
    if analysis.get("champion") is None:
        kept = ", ".join(f"{guard.label} {guard.value:.4f}" for guard in limits if guard.group is None)
        return Decision(
            True,
            f"First model: there is no champion to beat, and on {numbers['n']:,} {rows} it keeps its guards ({kept}).",
            numbers,
        )
    return _compare(numbers, limits, rows)


def _without_champion(failed: str, numbers: dict[str, Any], policy: GatePolicy) -> Decision:
    """Judge beside a champion that serves but cannot be scored; the challenger keeps its guards."""
    cause = " ".join(failed.split())[:300].rstrip(".")
    if policy.champion_broken == "replace":
        return Decision(
            True, f"Promoted: the challenger keeps its guards, and the champion cannot be scored ({cause}).", numbers
        )
    return Decision(
        False,
        f"Kept: the challenger keeps its guards, but the champion cannot be scored to compare with ({cause}); "
        "gate.champion_broken: replace lets the challenger replace it.",
        numbers,
    )


def probability_better(difference: float, standard_error: float) -> float:
    """Return the probability that the challenger is the better model, from the mean difference of the losses and its error."""
    if standard_error > 0:
        return NormalDist().cdf(-difference / standard_error)
    return 0.5 if difference == 0 else float(difference < 0)


def _numbers(
    analysis: Mapping[str, Any], policy: GatePolicy, growth: float | None, looks: int | None
) -> dict[str, Any]:
    """Return analysis and policy as the record of what was looked at."""
    challenger, champion = section(analysis, "challenger"), analysis.get("champion")
    n, headline = count(analysis, "n"), HEADLINES[str(analysis.get("task") or "regression")]
    numbers: dict[str, Any] = {
        "n": n,
        "metric": headline,
        "challenger": number(challenger, headline, "challenger"),
        "champion": None,
        "difference": None,
        "standard_error": None,
        "weight": None,
        "files": None,
        "odds": None,
        "required_odds": policy.required_odds,
        "growth": growth,
        "looks": looks,
        "policy": policy.model_dump(),
    }
    if champion is None:
        return numbers
    paired = section(analysis, "paired")
    if count(paired, "n", "paired.n") != n:
        raise ValueError(
            f"the analysis compares {paired['n']} rows but scored {n}: challenger and champion must share every row"
        )
    numbers["champion"] = number(champion, headline, "champion")
    numbers["difference"] = number(paired, "difference", "paired")
    numbers["weight"] = number(paired, "weight", "paired")
    numbers["files"] = count(paired, "files", "paired.files")
    numbers["standard_error"] = number(paired, "standard_error", "paired")  # None for a single row
    if growth is not None and growth < policy.min_growth:
        numbers["required_odds"] = max(policy.required_odds, SHOWN_BETTER)
    return numbers


def _not_finite(numbers: Mapping[str, Any], limits: list[Guard]) -> list[str]:
    broken = [name for name, value in numbers.items() if isinstance(value, float) and not math.isfinite(value)]
    for guard in limits:
        if guard.value is not None and not math.isfinite(guard.value):
            broken.append(guard.label)
    return sorted(set(broken))


def _failures(numbers: Mapping[str, Any], limits: list[Guard], policy: GatePolicy) -> list[str]:
    """Return what the challenger fails on its own, as parts of a sentence."""
    failures = []
    if numbers["n"] < policy.min_test_rows:
        failures.append(f"the test set has {numbers['n']} rows, fewer than the {policy.min_test_rows} that can decide")
    for guard in limits:
        waived = policy.champion_broken == "replace" and guard.less_broken
        if not guard.holds and not waived:
            failures.append(f"its {guard.sentence(guard.value)}")
    return failures


def _classes_without_rows(analysis: Mapping[str, Any]) -> list[str]:
    """Return which classes no test row has, as part of a sentence: of them the rows say nothing."""
    classes = analysis.get("classes") or ()
    confusion = ((analysis.get("curves") or {}).get("challenger") or {}).get("confusion")
    if not classes or confusion is None:
        return []
    absent = [name for name, row in zip(classes, confusion, strict=True) if not sum(row)]
    if not absent:
        return []
    kind = "class" if len(absent) == 1 else "classes"
    return [
        f"no test row is of the {kind} {', '.join(map(repr, absent))} (deliver rows of it, give the test split a larger share, or "
        "take it out of 'allowed')"
    ]


def _champion_breaks(limits: list[Guard]) -> str:
    """Return what the serving model breaks itself, as the end of a sentence."""
    broken = [guard.sentence(guard.champion) for guard in limits if not guard.champion_holds]
    return f"; the serving champion breaks its guards itself: {', '.join(broken)}" if broken else ""


def _compare(numbers: dict[str, Any], limits: list[Guard], rows: str) -> Decision:
    """Judge the paired comparison; all numbers are finite and the guards have passed."""
    if numbers["standard_error"] is None:
        raise ValueError("the analysis has no paired standard_error: the comparison needs at least 2 rows")
    p = probability_better(numbers["difference"], numbers["standard_error"])
    odds = min(p / (1 - p), CERTAIN) if p < 1 else CERTAIN
    required = numbers["required_odds"]
    numbers["odds"] = odds
    same = numbers["difference"] == 0 and numbers["standard_error"] == 0
    promote = odds >= required and not (same and required > 0)
    label = LABELS[numbers["metric"]]
    found = (
        f"on the same {numbers['n']:,} {rows} ({label} {numbers['challenger']:.4f} against the champion's "
        f"{numbers['champion']:.4f}) "
    )
    found += "both models lose the same" if same else f"the odds are {_odds(odds)}"
    why = f"{found}{_enough(odds, required, promote, numbers['growth'])}"
    if (looks := numbers["looks"]) is not None and looks > 1:
        why += f"; it is look {looks} at these rows, which favours the luckiest"
    return Decision(promote, f"{'Promoted' if promote else 'Kept'}: {why}{_champion_breaks(limits)}.", numbers)


def _enough(odds: float, required: float, promote: bool, growth: float | None) -> str:
    """Return what is asked for, as the middle of the sentence."""
    if not promote:
        if required < 1:
            return f"; more than {1 / required:.3g} to 1 against it is too much" if odds < required else ""
        return f"; {required:.3g} to 1 is asked for"
    if required >= 1:
        return f"; {required:.3g} to 1 is enough"
    asked = f"1 to {1 / required:.3g} is enough" if required else "no odds are asked for"
    learnt = "it has learnt from more rows and " if growth is not None and growth > 0 else ""
    return f"; {asked}, because {learnt}the next run decides again"


def _odds(odds: float) -> str:
    """Return odds in words."""
    against, ratio = odds < 1, max(odds, 1 / odds if odds else CERTAIN)
    shown = "more than 1,000" if ratio > 1000 else f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"
    return f"{shown} to 1 {'against the challenger' if against else 'that the challenger is the better model'}"
