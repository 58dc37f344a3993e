"""The promotion gate: whether the challenger may replace the champion.

A pure function of the analysis that the Lambda ``analyze_results`` returns and of the policy in ``model.yaml``. The
challenger must pass absolute guards and then be better than the champion *on the same rows*: the one-sided upper
confidence bound of ``rmse(challenger) - rmse(champion)`` must lie below 0, or below the margin when a non-inferiority
margin is set. Without a champion the guards alone decide. A recorded RMSE from other rows takes no part: at usual test
sizes its noise is several times the differences that matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal

from retraining.settings.gate_policy import GatePolicy


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


def decide(analysis: Mapping[str, Any], policy: GatePolicy) -> Decision:
    """Return whether the challenger is promoted, why, and on which numbers.

    Args:
        analysis: what ``lambda_functions/analyze_results`` documents as its result.
        policy: the ``gate`` section of ``model.yaml``.

    Raises:
        ValueError: the analysis lacks a part that the decision needs. A number that is there but not finite
            is no error, it is a rejection.

    """
    numbers = _numbers(analysis, policy)
    finite = {name: value for name, value in numbers.items() if isinstance(value, float)}
    broken = sorted(name for name, value in finite.items() if not math.isfinite(value))
    if broken:
        clean = {name: None if name in broken else value for name, value in numbers.items()}
        return Decision(False, f"The analysis holds numbers that are not finite: {', '.join(broken)}.", clean)
    failures = _failed_guards(numbers, policy)
    if failures:
        return Decision(False, f"The challenger was not compared further: {'; '.join(failures)}.", numbers)
    n, rmse = numbers["n"], numbers["rmse"]
    if numbers["champion_rmse"] is None:
        return Decision(
            True,
            f"First model: there is no champion to beat, and its RMSE {rmse:.4f} on {n} test rows is within the "
            f"threshold {policy.rmse_threshold:g}.",
            numbers,
        )
    return _compare(numbers, policy)


def student_t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Return the quantile of Student's t, by the expansion around the normal one (Abramowitz and Stegun 1964, 26.7.5).

    The Lambda, deployed on its own, holds the same function; a test keeps the two equal.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / degrees_of_freedom**power for power, term in enumerate(terms, start=1))


def _numbers(analysis: Mapping[str, Any], policy: GatePolicy) -> dict[str, Any]:
    """Return the analysis and the policy as one flat dict, the record of what was looked at."""
    challenger = _section(analysis, "challenger")
    champion = analysis.get("champion")
    n = _count(analysis, "n")
    judged = {
        name: _number(group, "rmse", f"groups.{name}")
        for name, group in (analysis.get("groups") or {}).items()
        if _count(group, "n", f"groups.{name}") >= policy.min_group_rows
    }
    # NaN compares as smaller than nothing, so it is looked for first: a broken group must not hide behind a sound one.
    worst = max(judged, key=lambda name: (math.isnan(judged[name]), judged[name]), default=None)
    numbers: dict[str, Any] = {
        "n": n,
        "rmse": _number(challenger, "rmse", "challenger"),
        "bias": _number(challenger, "bias", "challenger"),
        "worst_group": worst,
        "worst_group_rmse": None if worst is None else judged[worst],
        "champion_rmse": None,
        "rmse_difference": None,
        "standard_error": None,
        "upper_bound": None,
        "limit": None,
        "policy": policy.model_dump(),
    }
    if champion is None:
        return numbers
    paired = _section(analysis, "paired")
    if _count(paired, "n", "paired") != n:
        raise ValueError(
            f"the analysis compares {paired['n']} rows but scored {n}: challenger and champion must share every row"
        )
    numbers["champion_rmse"] = _number(champion, "rmse", "champion")
    numbers["rmse_difference"] = _number(paired, "rmse_difference", "paired")
    if paired.get("standard_error") is not None:  # a single row has none
        numbers["standard_error"] = _number(paired, "standard_error", "paired")
        quantile = student_t_quantile(policy.confidence, n - 1)
        numbers["upper_bound"] = numbers["rmse_difference"] + quantile * numbers["standard_error"]
    numbers["limit"] = policy.noninferiority_margin or 0.0
    return numbers


def _failed_guards(numbers: Mapping[str, Any], policy: GatePolicy) -> list[str]:
    """Return what the challenger fails on its own, as parts of a sentence."""
    failures = []
    if numbers["n"] < policy.min_test_rows:
        failures.append(f"the test set has {numbers['n']} rows, fewer than the {policy.min_test_rows} that can decide")
    if numbers["rmse"] > policy.rmse_threshold:
        failures.append(f"its RMSE {numbers['rmse']:.4f} is above the threshold {policy.rmse_threshold:g}")
    if abs(numbers["bias"]) > policy.max_abs_bias:
        failures.append(f"its bias {numbers['bias']:+.4f} is beyond the allowed {policy.max_abs_bias:g}")
    if numbers["worst_group"] is not None and numbers["worst_group_rmse"] > policy.max_group_rmse:
        group, rmse = numbers["worst_group"], numbers["worst_group_rmse"]
        failures.append(f"its RMSE {rmse:.4f} in group {group!r} is above the allowed {policy.max_group_rmse:g}")
    return failures


def _compare(numbers: dict[str, Any], policy: GatePolicy) -> Decision:
    """Judge the paired comparison; all numbers are finite and the guards have passed."""
    bound, limit = numbers["upper_bound"], numbers["limit"]
    if bound is None:
        raise ValueError("the analysis has no paired standard_error: the comparison needs at least 2 rows")
    promote = bound < limit
    margin = policy.noninferiority_margin
    wanted = "0" if margin is None else f"the non-inferiority margin {margin:g}"
    if promote:
        verdict = "is better than the champion" if bound < 0 else "is worse by less than the margin at most"
    else:
        verdict = (
            "is not shown to be better than the champion" if margin is None else "may be worse by the margin or more"
        )
    reason = (
        f"The challenger {verdict}: RMSE {numbers['rmse']:.4f} against the champion's {numbers['champion_rmse']:.4f} "
        f"on the same {numbers['n']} rows, difference {numbers['rmse_difference']:+.4f}, and the upper "
        f"{policy.confidence:.4g} confidence bound {bound:+.4f} {'is' if promote else 'is not'} below {wanted}."
    )
    return Decision(promote, reason, numbers)


def _section(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = parent.get(key)
    if not isinstance(section, Mapping):
        raise ValueError(
            f"the analysis has no {key!r} section (keys: {sorted(map(str, parent))}): run analyze_results again"
        )
    return section


def _number(section: Mapping[str, Any], key: str, where: str) -> float:
    value = section.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the analysis has {value!r} for {where}.{key}, not a number: run analyze_results again")
    return float(value)


def _count(section: Mapping[str, Any], key: str, where: str = "") -> int:
    value = section.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        name = f"{where}.{key}" if where else key
        raise ValueError(f"the analysis has {value!r} for {name}, not a count of rows: run analyze_results again")
    return value
