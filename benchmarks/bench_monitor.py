"""False alarms and delays of the drift monitor over simulated years of daily batches, beside rules that judge each batch alone.

    python benchmarks/bench_monitor.py [--years 200] [--rows 100] [--output .local/bench]

A year draws its own reference, as many rows as the split gives to training, and then a batch a day from the same animals: nothing has
changed. A drifted year multiplies one measurement from its first day on, as an instrument that reads too large does. The monitor is the
shipped one (``judging.drift``), with one false alarm in 20 years; the other rules compare each batch with the reference as monitoring
tools do by default: a Kolmogorov-Smirnov test of each column at 5 %, and a population stability index above 0.1 in ten bins.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency, ks_2samp

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]  # so that it also runs as a plain script

from benchmarks.figures import note  # noqa: E402
from retraining.inside.watching.profile import profile, reference_profile  # noqa: E402
from retraining.judging.drift import Detectors, counted  # noqa: E402
from retraining.settings.periodic.monitor import Monitor  # noqa: E402

DAYS = 365
TRAINED = 0.85
LONGEST = 60  # days that a drifted year is followed
ALONE_YEARS = 2  # years for the rules that judge each batch alone; they raise dozens of alarms in each


def load() -> pd.DataFrame:
    """Return the measurements of all animals, without the target."""
    frame = pd.read_csv(ROOT / "data" / "abalone.csv").drop(columns="rings")
    return frame.astype({name: float for name in frame.columns if name != "sex"}).astype({"sex": object})


class Year:
    """One year: its reference, and batches from the same animals."""

    def __init__(self, frame: pd.DataFrame, rows: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.frame, self.rows = frame, rows
        self.trained = self._draw(int(TRAINED * len(frame)))
        self.reference = reference_profile(self.trained)

    def _draw(self, rows: int) -> pd.DataFrame:
        return self.frame.iloc[self.random.integers(0, len(self.frame), rows)].reset_index(drop=True)

    def batch(self, column: str = "", factor: float = 1.0) -> pd.DataFrame:
        """Return the rows of a day; one measurement may be read too large."""
        drawn = self._draw(self.rows)
        return drawn.assign(**{column: drawn[column] * factor}) if column else drawn


def first_alarm(
    year: Year, days: int, settings: Monitor, column: str = "", factor: float = 1.0
) -> tuple[int | None, Any]:
    """Return the day of the monitor's first alarm, if any, and its strongest finding."""
    detectors = Detectors(settings.alarm, settings.tolerance)
    for day in range(1, days + 1):
        seen = list(counted(year.reference, profile(year.batch(column, factor), year.reference)))
        detectors.see(seen, 1.0, f"day {day}")
        if detectors.level >= 1:
            return day, detectors.findings()[0]
    return None, None


def alarms_alone(year: Year, days: int) -> dict[str, int]:
    """Return on how many days the rules that judge each batch alone raise an alarm."""
    alarms = {"KS of any column, p < 0.05": 0, "PSI of any column above 0.1": 0}
    for _ in range(days):
        batch = year.batch()
        p_values, indices = [], []
        for name in batch.columns:
            before, now = year.trained[name], batch[name]
            if name == "sex":
                names = sorted(before.unique())
                table = np.array([[int((values == value).sum()) for value in names] for values in (before, now)])
                p_values.append(chi2_contingency(table).pvalue)
                shares = table / table.sum(axis=1, keepdims=True)
            else:
                p_values.append(ks_2samp(before, now).pvalue)
                edges = np.unique(np.quantile(before, np.linspace(0, 1, 11)[1:-1]))
                bins = [np.bincount(np.searchsorted(edges, v), minlength=len(edges) + 1) for v in (before, now)]
                shares = np.array([found / found.sum() for found in bins])
            shares = np.clip(shares, 1e-4, None)
            indices.append(float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()))
        alarms["KS of any column, p < 0.05"] += min(p_values) < 0.05
        alarms["PSI of any column above 0.1"] += max(indices) > 0.1
    return alarms


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=200)
    parser.add_argument("--rows", type=int, default=100, help="rows of a day")
    parser.add_argument("--output", type=Path, help="folder for monitor.json")
    chosen = parser.parse_args(arguments)
    frame, settings = load(), Monitor()
    started = time.perf_counter()
    quiet = [first_alarm(Year(frame, chosen.rows, seed), DAYS, settings)[0] for seed in range(chosen.years)]
    without = sum(day is None for day in quiet) / len(quiet)
    print(
        f"{chosen.years} undrifted years of {DAYS} daily batches of {chosen.rows} rows, reference {int(TRAINED * len(frame)):,} rows\n"
    )
    print("| rule | years without an alarm | alarms a year |\n|---|---|---|")
    print(
        f"| the monitor, one false alarm in {settings.years_between_false_alarms:g} years | {without:.1%} | {1 - without:.3f} |"
    )
    counts = [alarms_alone(Year(frame, chosen.rows, seed), DAYS) for seed in range(min(ALONE_YEARS, chosen.years))]
    alone = {name: [count[name] for count in counts] for name in counts[0]}
    for name, found in alone.items():
        print(f"| {name} | {sum(not n for n in found) / len(found):.1%} | {np.mean(found):.1f} |")
    print(
        "\n| one measurement reads too large by | found after batches, median | 90 of 100 | the right column, larger | not in 60 |"
    )
    print("|---|---|---|---|---|")
    delays = {}
    measured = [name for name in frame.columns if name != "sex"]
    for factor in (1.05, 1.15):
        days, right = [], 0
        for seed in range(chosen.years):
            column = measured[seed % len(measured)]
            day, finding = first_alarm(Year(frame, chosen.rows, 10_000 + seed), LONGEST, settings, column, factor)
            days.append(LONGEST + 1 if day is None else day)
            right += finding is not None and finding.column.split(" ")[0] == column and finding.direction == 1
        delays[factor] = float(np.median(days))
        missed = sum(day > LONGEST for day in days)
        print(
            f"| {factor - 1:.0%} | {np.median(days):.0f} | {np.quantile(days, 0.9):.0f} "
            f"| {right / len(days):.0%} | {missed / len(days):.0%} |"
        )
    note(
        {f"days until {factor - 1:.0%} too large is found".replace("%", " %"): days for factor, days in delays.items()}
    )
    targets = {
        "95 % of undrifted years without an alarm": without >= 0.95,
        "5 % too large within 10 batches": delays[1.05] <= 10,
        "15 % too large within 2 batches": delays[1.15] <= 2,
    }
    print()
    for words, met in targets.items():
        print(f"{'met   ' if met else 'MISSED'} {words}")
    print(f"\n{time.perf_counter() - started:.0f} s")
    if chosen.output:
        chosen.output.mkdir(parents=True, exist_ok=True)
        document = {
            "years": chosen.years,
            "without": without,
            "alone": alone,
            "delays": {str(k): v for k, v in delays.items()},
        }
        (chosen.output / "monitor.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
