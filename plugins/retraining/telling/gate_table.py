"""The numbers of a comparison as rows of a table, for whatever shows them: a run's report, an experiment on a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NONE = "\u2013"  # a dash
MEASURES = (("rmse", "RMSE"), ("mae", "MAE"), ("r2", "R²"), ("bias", "Bias"))


@dataclass(frozen=True)
class Measure:
    """One error measure on the test rows; None where there is no champion or no number."""

    name: str
    challenger: float | None
    champion: float | None
    difference: float | None
    """Challenger minus champion."""
    signed: bool
    """Whether the measure itself can be negative."""


@dataclass(frozen=True)
class Guard:
    """One condition of the gate: the value, its limit in words, and whether it holds."""

    name: str
    value: float
    limit: str
    passed: bool
    signed: bool = False


def number(value: Any, digits: int = 4, sign: bool = False) -> str:
    """Return a number for people: four significant digits, thousands apart, a dash for none."""
    if value is None:
        return NONE
    if isinstance(value, int):
        return f"{value:+,}" if sign else f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    places = max(0, min(digits, digits - 1 - math.floor(math.log10(abs(value))) if value else digits - 1))
    return f"{value:+,.{places}f}" if sign else f"{value:,.{places}f}"


def confidence(numbers: Mapping[str, Any]) -> str:
    """Return the confidence of the gate's bound in words, such as ``95 %``."""
    value = numbers.get("policy", {}).get("confidence", 0.95)
    return f"{value:.4g}" if value > 1 else f"{100 * value:.4g} %"


def measures(analysis: Mapping[str, Any]) -> list[Measure]:
    """Return the error measures of challenger and champion.

    Args:
        analysis: what ``analyze_results`` returned.

    """
    challenger, champion = analysis["challenger"], analysis.get("champion") or {}
    rows = []
    for key, name in MEASURES:
        own, other = challenger.get(key), champion.get(key)
        difference = None if own is None or other is None else own - other
        rows.append(Measure(name, own, other, difference, key == "bias"))
    return rows


def guards(numbers: Mapping[str, Any]) -> list[Guard]:
    """Return the gate's conditions and whether the challenger meets them.

    Args:
        numbers: of the gate's decision; without a policy there are no conditions to show.

    """
    policy = numbers.get("policy")
    if not policy:
        return []
    rows = [
        Guard(
            "Test rows", numbers["n"], f"≥ {number(policy['min_test_rows'])}", numbers["n"] >= policy["min_test_rows"]
        )
    ]
    for name, key, limit in (
        ("RMSE", "rmse", "rmse_threshold"),
        ("Bias", "bias", "max_abs_bias"),
        ("RMSE of the worst group", "worst_group_rmse", "max_group_rmse"),
    ):
        value = numbers.get(key)
        if value is not None:
            sign = "± " if key == "bias" else "≤ "
            held = abs(value) <= policy[limit]
            rows.append(Guard(name, float(value), f"{sign}{policy[limit]:g}", held, key == "bias"))
    if numbers.get("upper_bound") is not None:
        bound, limit_value = float(numbers["upper_bound"]), float(numbers["limit"])
        rows.append(Guard("Bound of the difference", bound, f"< {limit_value:g}", bound < limit_value, True))
    return rows
