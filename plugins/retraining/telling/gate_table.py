"""The numbers of a comparison as rows of a table, for whatever shows them: a run's report, an experiment on a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.judging.guards import LABELS, SIGNED
from retraining.settings.metrics import GUARDS

NONE = "\u2013"  # a dash


@dataclass(frozen=True)
class Measure:
    """One measure on the test rows; None where there is no champion or no number."""

    name: str
    challenger: float | None
    champion: float | None
    difference: float | None
    """Challenger minus champion."""
    signed: bool
    """Whether the measure itself can be negative."""


@dataclass(frozen=True)
class Condition:
    """One condition of the gate: the value, its limit in words, and whether it holds."""

    name: str
    value: float | None
    limit: str
    passed: bool
    champion: float | None = None
    """What the serving model has."""
    champion_passed: bool = True
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


def odds_text(odds: float | None) -> str:
    """Return odds as ``1.6 to 1`` or ``1 to 5``; a dash for none."""
    if odds is None:
        return NONE
    ratio = max(odds, 1 / odds if odds else math.inf)
    shown = "1,000+" if ratio > 1000 else f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"
    return f"{shown} to 1" if odds >= 1 else f"1 to {shown}"


def label(metric: str) -> str:
    """Return a metric's name as a table begins with it."""
    name = LABELS[metric]
    return name[:1].upper() + name[1:]


def measures(analysis: Mapping[str, Any]) -> list[Measure]:
    """Return the scores of challenger and champion, those that the task has.

    Args:
        analysis: what ``analyze_results`` returned.

    """
    challenger, champion = analysis["challenger"], analysis.get("champion") or {}
    rows = []
    for metric in (name for name in GUARDS if name in challenger):
        own, other = challenger.get(metric), champion.get(metric)
        difference = None if own is None or other is None else own - other
        rows.append(Measure(label(metric), own, other, difference, metric in SIGNED))
    return rows


def conditions(numbers: Mapping[str, Any]) -> list[Condition]:
    """Return the gate's conditions and whether the challenger meets them.

    Args:
        numbers: of the gate's decision; without a policy there are no conditions to show.

    """
    policy = numbers.get("policy")
    if not policy:
        return []
    least = policy["min_test_rows"]
    rows = [Condition("Rows", numbers["n"], f"≥ {number(least)}", numbers["n"] >= least)]
    for guard in numbers.get("guards", ()):
        metric = guard["metric"]
        sign = "±" if metric == "bias" else "≤" if GUARDS[metric][0] == "min" else "≥"
        where = "" if guard["group"] is None else " of the worst group"
        rows.append(
            Condition(
                f"{label(metric)}{where}",
                guard["value"],
                f"{sign} {guard['limit']:g}",
                guard["holds"],
                guard["champion"],
                guard["champion_holds"],
                metric in SIGNED,
            )
        )
    return rows
