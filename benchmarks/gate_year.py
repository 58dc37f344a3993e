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
    "1 to 2 (default)": shipped_gate(),
    "1 to 3": shipped_gate(required_odds=1 / 3),
    "1 to 1, the better mean": shipped_gate(required_odds=1),
    "1 to 2, training rows +5 %": shipped_gate(min_growth=0.05),
    "1 to 2, no fading": shipped_gate(half_life_days=None),
    "4 to 1": shipped_gate(required_odds=4),
    "19 to 1 (prove_better)": shipped_gate(required_odds=19),
    "19 to 1, no fading": shipped_gate(required_odds=19, half_life_days=None),
    "19 to 1, no fading, 5 % of the rows": shipped_gate(0.5, required_odds=19, half_life_days=None),
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


def table(years: Mapping[str, Mapping[str, list[Year]]]) -> list[str]:
    """Return the lines of a table: rules down, regret in each world across, then means over the worlds.

    Args:
        years: by world and rule, one ``Year`` for each seed.

    """
    worlds, rules = list(years), list(next(iter(years.values())))
    head = "".join(f"{world:>18}" for world in worlds)
    lines = [f"{'rule':<38}{'mean (SE)':>16}{head}  promotions  worse  worst day  recovery"]
    for rule in sorted(rules, key=lambda name: _mean(years, name)[0]):
        mean, error = _mean(years, rule)
        cells = "".join(f"{np.mean([year.regret for year in years[world][rule]]):>18.2f}" for world in worlds)
        found = [year for world in worlds for year in years[world][rule]]
        recovery = [year.recovery for year in found if not np.isnan(year.recovery)]
        lines.append(
            f"{rule:<38}{mean:>9.3f} ({error:.3f}){cells}{np.mean([y.promotions for y in found]):>12.0f}"
            f"{np.mean([y.worse for y in found]):>7.1f}{np.mean([y.worst_day for y in found]):>11.1f}"
            f"{np.mean(recovery) if recovery else float('nan'):>10.1f}"
        )
    return lines


def _mean(years: Mapping[str, Mapping[str, list[Year]]], rule: str) -> tuple[float, float]:
    """Return the mean regret over the worlds, equal weights, and its Monte Carlo error; NaN for one seed a world."""
    found = [np.array([year.regret for year in rules[rule]]) for rules in years.values()]
    errors = [values.var(ddof=1) / len(values) if len(values) > 1 else float("nan") for values in found]
    return float(np.mean([values.mean() for values in found])), float(np.sqrt(np.sum(errors)) / len(found))
