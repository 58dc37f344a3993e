"""A year of daily retrainings under each promotion rule: what the serving model's true risk comes to, and how often it gets worse.

**Regret** is the true risk of the serving model against the best artifact made so far, which no rule can know, in percent of its risk (RMSE
or log loss), mean over the days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.gate_worlds import Path
from retraining.judging.gate import decide
from retraining.settings.gate_policy import GatePolicy

DEFAULT = "1 to 2 (default)"
STRICT = "19 to 1, no fading, 5 % of the rows"
"""The one-sided paired test at 95 %, on half as many rows that all count alike."""
STATIONARY = "stationary"
WORSE = 0.005
"""A promotion to a model whose risk is higher by this share counts as one to a truly worse model."""
GUARD = {"rmse": 2.6}


class Year(NamedTuple):
    """What one rule made of one path."""

    regret: float
    """Percent, mean over the days."""
    promotions: float
    """In 365 days."""
    worse: float
    """Of them to a truly worse model."""
    worst_day: float
    """Largest regret of a day, percent."""
    recovery: float
    """Days until what serves is as good again after a promotion to a truly worse model, mean; NaN without one."""


class Moment(NamedTuple):
    """What a rule may look at on a day."""

    challenger: np.ndarray
    """Its losses on the test rows that have arrived, shape (rows,)."""
    champion: np.ndarray
    ages: np.ndarray
    """Of the rows in days."""
    files: np.ndarray
    growth: float
    recorded: float
    """The champion's mean loss when it was promoted."""


Rule = Callable[[Moment], bool]


def shipped_gate(share: float = 1.0, **policy: Any) -> Rule:
    """Return the shipped gate with a policy, on a share of the test rows."""
    settings = GatePolicy.model_validate({"guards": GUARD, "min_test_rows": 5, **policy})

    def rule(moment: Moment) -> bool:
        rows = slice(None, None, round(1 / share))
        analysis = analysis_of(*(column[rows] for column in moment[:4]), settings.half_life_days)
        return decide(analysis, settings, growth=moment.growth).promote

    return rule


def recorded(moment: Moment) -> bool:
    """Promote what measures better today than the champion measured on its own day."""
    return bool(moment.challenger.mean() < moment.recorded)


RULES: Mapping[str, Rule] = {
    DEFAULT: shipped_gate(),
    "1 to 3": shipped_gate(required_odds=1 / 3),
    "1 to 1, the better mean": shipped_gate(required_odds=1),
    "1 to 2, training rows +5 %": shipped_gate(min_growth=0.05),
    "1 to 2, no fading": shipped_gate(half_life_days=None),
    "4 to 1": shipped_gate(required_odds=4),
    "19 to 1 (prove_better)": shipped_gate(required_odds=19),
    "19 to 1, no fading": shipped_gate(required_odds=19, half_life_days=None),
    STRICT: shipped_gate(0.5, required_odds=19, half_life_days=None),
    "always the latest (guards)": shipped_gate(required_odds=0),
    "recorded score": recorded,
    "never": lambda moment: False,
}


def analysis_of(
    challenger: np.ndarray, champion: np.ndarray, ages: np.ndarray, files: np.ndarray, half_life: float | None
) -> dict[str, Any]:
    """Return what the gate needs of the function ``analyze_results``, whose stream a test compares with this formula."""
    weights = np.ones(len(ages)) if half_life is None else 2.0 ** (-ages / half_life)
    gaps, total = challenger - champion, weights.sum()
    mean = float(weights @ gaps / total)
    pulls = weights * (gaps - mean)
    by_file = np.bincount(files, weights=pulls)
    return {
        "n": len(gaps),
        "challenger": {"rmse": float(np.sqrt(challenger.mean()))},
        "champion": {"rmse": float(np.sqrt(champion.mean()))},
        "paired": {
            "n": len(gaps),
            "files": len(np.unique(files)),
            "weight": float(total),
            "difference": mean,
            "standard_error": float(np.sqrt(max(pulls @ pulls, by_file @ by_file)) / total),
        },
    }


def year_of(path: Path, rule: Rule) -> Year:
    """Let a rule promote along a path."""
    days = len(path.losses)
    champion, recorded_loss = 0, float(path.losses[0, path.arrived == 0].mean())
    best = np.minimum.accumulate(np.where(np.tri(days, dtype=bool).T, path.risk, np.inf), axis=0).diagonal()
    regret, promotions, worse, recoveries = np.zeros(days), 0, 0, []
    waiting: list[tuple[int, int]] = []
    for today in range(1, days):
        seen = path.arrived <= today
        moment = Moment(
            path.losses[today, seen],
            path.losses[champion, seen],
            today - path.arrived[seen],
            path.arrived[seen],
            path.training_rows[today] / path.training_rows[champion] - 1,
            recorded_loss,
        )
        if rule(moment):
            promotions += 1
            if path.risk[today, today] > (1 + WORSE) * path.risk[champion, today]:
                worse += 1
                waiting.append((today, champion))
            champion, recorded_loss = today, float(moment.challenger.mean())
        regret[today] = 100 * (path.risk[champion, today] / best[today] - 1)
        for item in list(waiting):
            if path.risk[champion, today] <= path.risk[item[1], today]:
                recoveries.append(today - item[0])
                waiting.remove(item)
    recoveries += [days - start for start, _ in waiting]
    scale = 365 / days
    return Year(
        float(regret[1:].mean()),
        promotions * scale,
        worse * scale,
        float(regret.max()),
        float(np.mean(recoveries)) if recoveries else float("nan"),
    )


Years = Mapping[str, Mapping[str, list[Year]]]
"""By world and rule, one year for each seed."""


def table(years: Years) -> list[str]:
    """Return the lines of two tables, rules down: means over the worlds, and the regret in each world; errors are those over seeds."""
    worlds, rules = list(years), sorted(next(iter(years.values())), key=lambda name: _mean(years, name, "regret")[0])
    columns = {"regret": 3, "promotions": 0, "worse": 1, "worst_day": 1, "recovery": 0}
    lines = [f"{'rule':<38}" + "".join(f"{name.replace('_', ' '):>16}" for name in columns)]
    for rule in rules:
        cells = (_cell(_mean(years, rule, name), digits) for name, digits in columns.items())
        lines.append(f"{rule:<38}" + "".join(f"{cell:>16}" for cell in cells))
    lines += ["", f"{'regret in':<38}" + "".join(f"{world:>18}" for world in worlds)]
    for rule in rules:
        cells = (_cell(_mean({world: years[world]}, rule, "regret"), 2) for world in worlds)
        lines.append(f"{rule:<38}" + "".join(f"{cell:>18}" for cell in cells))
    return lines


def verdict(years: Years) -> tuple[list[str], bool]:
    """Return whether the default is what the documentation says it is, in sentences, and whether that holds.

    It is no more than one standard error from the best rule over the worlds, and better than the test at 95 % in every world but a
    stationary one. Both errors are those of the difference on the same paths.
    """
    best = min(next(iter(years.values())), key=lambda name: _mean(years, name, "regret")[0])
    behind, error = _saved(years, best, DEFAULT)
    near = best == DEFAULT or behind <= error
    lines = [f"{DEFAULT} is {behind:.3f} ({error:.3f}) behind {best}, the best rule over the worlds: {_met(near)}"]
    saved = {world: _saved({world: years[world]}, DEFAULT, STRICT) for world in years}
    better = all(value > 0 for world, (value, _) in saved.items() if world != STATIONARY)
    listed = ", ".join(f"{world} {_cell(found, 2)}" for world, found in saved.items())
    lines.append(f"regret that it saves against {STRICT}: {listed}: {_met(better)}")
    return lines, near and better


def _met(holds: bool) -> str:
    return "met" if holds else "MISSED"


def _cell(found: tuple[float, float], digits: int) -> str:
    return f"{found[0]:.{digits}f} ({found[1]:.{max(1, digits)}f})"


def _saved(years: Years, rule: str, other: str) -> tuple[float, float]:
    """Return by how much the regret under a rule is below that under another one on the same paths, and the error."""
    gaps = [
        np.array([theirs.regret - ours.regret for ours, theirs in zip(rules[rule], rules[other], strict=True)])
        for rules in years.values()
    ]
    return _with_error(gaps)


def _mean(years: Years, rule: str, figure: str) -> tuple[float, float]:
    """Return the mean of a figure over the worlds, and its error; where it is missing in some years, over those that have it."""
    found = [np.array([getattr(year, figure) for year in rules[rule]]) for rules in years.values()]
    known = np.concatenate(found)
    known = known[~np.isnan(known)]
    return _with_error(found if len(known) == sum(map(len, found)) else [known] if len(known) else [])


def _with_error(worlds: list[np.ndarray]) -> tuple[float, float]:
    """Return the mean over worlds, equal weights, and its Monte Carlo error over seeds; NaN where a world has one seed."""
    if not worlds:
        return float("nan"), float("nan")
    errors = [values.var(ddof=1) / len(values) if len(values) > 1 else float("nan") for values in worlds]
    return float(np.mean([values.mean() for values in worlds])), float(np.sqrt(np.sum(errors)) / len(worlds))
