r"""Have the rows that a model is asked about left those that it was trained on? Evidence over time; the rate of false alarms is set.

Rows are counted in the bins of the model's reference profile. A number is scored by its rank among the reference rows, between 0 and 1.
While nothing has changed, a mid-rank minus one half has a moment generating function of at most ``exp(l**2 / 24)``, that of the uniform
distribution, and ties only lower it; so ``exp(l * sum(score - tolerance) - n * l**2 / 24)`` is an e-value, of mean at most 1. A share (of
a category, of missing values) is judged by its likelihood ratio. The tolerance is what the reference itself does not know, two standard
errors, or what ``model.yaml`` says, whichever is larger; a smaller change is no drift.

Each kind of change of each column has a detector ``R = (R + days) * e``, and drift is what their weighted mean shows (Shin, Ramdas and
Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", 2023). Without a change the mean of R after T days is at
most T; so it reaches ``365 * years`` within a year with a probability of at most ``1 / years``, however often one looks.

Rows are taken to be independent. Requests that come in clusters, such as all animals of one site on one day, are evidence of a change.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

RANKS = (0.03, 0.06, 0.12, 0.25)
"""Changes of the mean rank that the detectors are tuned to; half of all values of a narrow column changing sides is 0.25."""
ODDS = (1.25, 2.0, 5.0)
"""Changes of the odds of a share."""
UNCERTAINTY = 2.0
"""Standard errors of the reference that are no drift."""
WEIGHTS = {"level": 1.0, "spread": 0.25, "share": 0.5, "missing": 0.25}
VARIANCE = 1 / 12  # of a rank
CEILING = 6.0  # log units that a detector rises above the alarm, so that it comes down again when the change ends
WORDS = {
    ("level", 1): "larger",
    ("level", -1): "smaller",
    ("spread", 1): "more extreme",
    ("spread", -1): "less spread",
    ("share", 1): "more often",
    ("share", -1): "less often",
    ("missing", 1): "missing more often",
    ("missing", -1): "missing less often",
}


@dataclass(frozen=True)
class Counted:
    """What the rows of a look say about one kind of change of one column: a sum of scores over rows, or hits among them."""

    column: str
    kind: str
    value: str
    """The category of a share."""
    rows: int
    total: float
    """Sum of mid-ranks minus one half, or number of hits."""
    share: float
    """Of hits in the reference; 0.5 for ranks."""
    reference_rows: int
    worse: int = 0
    """The only direction that is a change, 1 or -1; 0 if both are."""


@dataclass(frozen=True)
class Finding:
    """A change of a column that has gathered evidence."""

    column: str
    kind: str
    value: str
    direction: int
    since: str
    rows: int
    """Since then."""
    effect: float
    """Change of the mean rank, or of the share."""
    evidence: float
    """Of all evidence, this change's part."""
    rows_needed: int
    """Rows after which a change of this size is usually found."""

    def words(self) -> str:
        """Say what changed."""
        name = f"{self.column} = {self.value}" if self.kind == "share" else self.column
        return f"{name} is {WORDS[self.kind, self.direction]}"


def counted(reference: Mapping[str, Any], rows: Mapping[str, Any]) -> Iterator[Counted]:
    """Yield what the profile of new rows says, kind by kind.

    Args:
        reference: profile by column, see ``inside.watching.profile``.
        rows: profile of the new rows in the bins of the reference.

    """
    for name, known in reference.items():
        seen = rows.get(name)
        if seen is None or not known["n"] or not seen["n"]:
            continue
        if "of" not in known and "measure" not in known:  # a remainder is missing where a column is, a loss never
            yield Counted(
                name, "missing", "", seen["n"], seen["missing"], _share(known["missing"], known["n"]), known["n"]
            )
        present, here = known["n"] - known["missing"], seen["n"] - seen["missing"]
        if not present or not here:
            continue
        if "edges" in known:
            level = spread = 0.0
            below = 0
            for count, now in zip(known["counts"], seen["counts"], strict=True):
                rank = (below + count / 2) / present - 0.5
                level += now * rank
                spread += now * rank_of_spread(below / present, (below + count) / present)
                below += count
            yield Counted(name, "level", "", here, level, 0.5, present, known.get("worse", 0))
            if known.get("worse"):
                continue
            yield Counted(name, "spread", "", here, spread, 0.5, present)
            continue
        for value in known["counts"]:
            hits = seen["counts"].get(value, 0)
            yield Counted(name, "share", value, here, hits, _share(known["counts"][value], present), present)
        other = here - sum(seen["counts"].get(value, 0) for value in known["counts"])
        yield Counted(name, "share", "a new value", here, other, 1 / (present + 2), present)


def rank_of_spread(low: float, high: float) -> float:
    """Return the mean of ``2 * |u - 1/2| - 1/2`` for a rank u between two others: how far from the middle a value lies."""
    if high <= low:
        return 2 * abs(low - 0.5) - 0.5
    if low < 0.5 < high:
        part = ((0.5 - low) ** 2 + (high - 0.5) ** 2) / (high - low)
        return part - 0.5
    return 2 * abs((low + high) / 2 - 0.5) - 0.5


def _share(hits: int, rows: int) -> float:
    return (hits + 1) / (rows + 2)


def log_evidence(seen: Counted, direction: int, size: float, tolerance: float) -> float:
    """Return the logarithm of the e-value of a look for one change.

    Args:
        seen: what was counted.
        direction: 1 or -1.
        size: of ``RANKS``, or of ``ODDS`` for a share.
        tolerance: change of a rank or a share that is no drift.

    """
    slack = max(tolerance, UNCERTAINTY * standard_error(seen))
    if seen.kind in ("level", "spread"):
        bet = size / VARIANCE
        return bet * (direction * seen.total - seen.rows * slack) - seen.rows * bet * bet * VARIANCE / 2
    near = seen.share + direction * slack
    if not 0 < near < 1:
        return 0.0  # so small a share cannot become smaller by more than is no drift
    odds = near / (1 - near) * size**direction
    far = odds / (1 + odds)
    return seen.total * math.log(far / near) + (seen.rows - seen.total) * math.log((1 - far) / (1 - near))


def standard_error(seen: Counted) -> float:
    """Return how well the reference itself knows its mean rank or its share."""
    variance = VARIANCE if seen.kind in ("level", "spread") else seen.share * (1 - seen.share)
    return math.sqrt(variance / seen.reference_rows)


class Detectors:
    """All detectors of one model, with what they have gathered; ``state`` is a JSON document.

    Args:
        alarm: value of the mean at which there is drift: 365 times the years between false alarms.
        tolerance: change of a rank or a share that is no drift, whatever the reference knows.
        state: what ``state`` returned before, None for a new model.

    """

    def __init__(self, alarm: float, tolerance: float, state: Mapping[str, Any] | None = None) -> None:
        self.alarm = alarm
        self.tolerance = tolerance
        self._found: dict[str, dict[str, Any]] = {key: dict(value) for key, value in (state or {}).items()}

    @property
    def state(self) -> dict[str, Any]:
        """What has been gathered, by detector: a JSON list of column, kind, value, direction and size."""
        return self._found

    def see(self, seen: Sequence[Counted], days: float, at: str) -> None:
        """Take in the rows of a look.

        Args:
            seen: what was counted.
            days: since the look before.
            at: time of the look, ISO 8601.

        """
        total = sum(_weight(item) * len(_sizes(item)) * len(_directions(item)) for item in seen)
        for item in seen:
            for direction in _directions(item):
                for size in _sizes(item):
                    self._update(item, direction, size, total, days, at)

    def _update(self, seen: Counted, direction: int, size: float, total: float, days: float, at: str) -> None:
        key = _key(seen.column, seen.kind, seen.value, direction, size)
        entry = self._found.setdefault(key, {"log": None, "run": 0.0, "since": at, "rows": 0, "total": 0.0})
        gained = log_evidence(seen, direction, size, self.tolerance)
        before = entry["log"]
        grown = _log_sum(before, math.log(days)) if before is not None else math.log(days)
        entry["part"] = _weight(seen) / total
        entry["log"] = min(grown + gained, math.log(self.alarm / entry["part"]) + CEILING)
        if entry["run"] + gained <= 0:
            entry.update(run=0.0, since=at, rows=0, total=0.0)
            return
        if entry["run"] == 0:
            entry["since"] = at
        entry["run"] += gained
        entry["rows"] += seen.rows
        entry["total"] += seen.total - (0 if seen.kind in ("level", "spread") else seen.rows * seen.share)

    @property
    def level(self) -> float:
        """The weighted mean of all detectors as a share of the alarm; 1 or more is drift."""
        return sum(self._parts().values())

    def findings(self, least: float = 0.01) -> list[Finding]:
        """Return the changes that have at least this part of the evidence, the largest first; one for each column."""
        parts = self._parts()
        whole = sum(parts.values())
        by_change: dict[tuple[str, str, str, int], float] = {}
        best: dict[tuple[str, str, str, int], str] = {}
        for key, part in parts.items():
            column, kind, value, direction, _ = json.loads(key)
            change = (column, kind, value, direction)
            by_change[change] = by_change.get(change, 0.0) + part
            if change not in best or part > parts[best[change]]:
                best[change] = key
        made = [
            self._finding(change, self._found[best[change]], part / whole)
            for change, part in by_change.items()
            if whole and part / whole >= least and self._found[best[change]]["rows"]
        ]
        # Evidence is held below a ceiling, so that it does not tell strong changes apart; their size does.
        found: dict[str, Finding] = {}
        for finding in sorted(made, key=lambda item: -abs(item.effect)):
            found.setdefault(finding.column, finding)
        return list(found.values())

    def _finding(self, change: tuple[str, str, str, int], entry: Mapping[str, Any], evidence: float) -> Finding:
        column, kind, value, direction = change
        effect = entry["total"] / entry["rows"]
        gain = max(entry["run"] / entry["rows"], 1e-9)
        needed = math.ceil(math.log(self.alarm / entry["part"]) / gain)
        return Finding(column, kind, value, direction, entry["since"], entry["rows"], effect, evidence, needed)

    def _parts(self) -> dict[str, float]:
        known = {key: entry for key, entry in self._found.items() if entry["log"] is not None}
        # The weights of a look add up to 1. What a look did not count, such as effects that could not be explained, keeps its own.
        whole = max(1.0, sum(entry["part"] for entry in known.values()))
        return {
            key: entry["part"] / whole * math.exp(entry["log"] - math.log(self.alarm)) for key, entry in known.items()
        }


@lru_cache(maxsize=10_000)
def _key(column: str, kind: str, value: str, direction: int, size: float) -> str:
    return json.dumps([column, kind, value, direction, size], ensure_ascii=False)


def _sizes(seen: Counted) -> tuple[float, ...]:
    return RANKS if seen.kind in ("level", "spread") else ODDS


def _directions(seen: Counted) -> tuple[int, ...]:
    return (seen.worse,) if seen.worse else (1, -1)


def _weight(seen: Counted) -> float:
    return WEIGHTS[seen.kind]


def _log_sum(left: float, right: float) -> float:
    high, low = max(left, right), min(left, right)
    return high + math.log1p(math.exp(low - high))
