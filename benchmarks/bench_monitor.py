"""False alarms and delays of the drift monitor over simulated years of daily batches, beside rules that judge each batch alone.

    python benchmarks/bench_monitor.py [--years 200] [--rows 100] [--data abalone adult] [--captured 1000000] [--output .local/bench]

A year draws its own reference, as many rows as the split gives to training, and then a batch a day from the same animals: nothing has
changed. A drifted year multiplies one measurement from its first day on, as an instrument that reads too large does. The monitor is the
shipped one (``judging.drift``), with one false alarm in 20 years; the other rules compare each batch with the reference as monitoring
tools do by default: a Kolmogorov-Smirnov test of each column at 5 %, a population stability index above 0.1 in ten bins, and what
Evidently 0.7 does with more than 1,000 reference rows: a Wasserstein distance of 0.1 standard deviations or a Jensen-Shannon distance of
0.1, in half of the columns. Then come years with labels, see ``labelled_years``. Beside them the job that reads captured requests, and
keeps the answers, is timed, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]  # so that it also runs as a plain script

from benchmarks import bench_trainers, labelled_years  # noqa: E402
from benchmarks.figures import note  # noqa: E402
from benchmarks.labelled_years import told  # noqa: E402
from retraining.contract.rules import Contract  # noqa: E402
from retraining.inside.watching import look  # noqa: E402
from retraining.inside.watching.captured import Tally  # noqa: E402
from retraining.inside.watching.kept_answers import ANSWERS_FILE, KeptAnswers  # noqa: E402
from retraining.inside.watching.profile import (  # noqa: E402
    OTHER,
    PREDICTION,
    Profile,
    profile,
    reference_profile,
    remainder,
)
from retraining.inside.watching.scores import ERROR, LOSS  # noqa: E402
from retraining.judging.drift import Detectors, counted  # noqa: E402
from retraining.serving.inference_ids import NO_USE  # noqa: E402
from retraining.settings.model_config import load_model_config  # noqa: E402
from retraining.settings.periodic.monitor import Monitor  # noqa: E402

DAYS = 365
TRAINED = 0.85
LONGEST = 60  # days that a drifted year is followed
ALONE = ("KS of any column, p < 0.05", "PSI of any column above 0.1", "Evidently's default")
EVIDENTLY = 0.1  # standard deviations, or Jensen-Shannon distance
CAPTURED_OF_A_FILE = 10_000
ALONE_YEARS = 2  # years for the rules that judge each batch alone; they raise dozens of alarms in each


def load(name: str) -> pd.DataFrame:
    """Return the inputs of all rows of a data set."""
    frame = bench_trainers.load(name).frame.drop(columns="target")
    return frame.astype({column: float if pd.api.types.is_numeric_dtype(frame[column]) else object for column in frame})


class Year:
    """One year: its reference, and batches from the same animals."""

    def __init__(self, frame: pd.DataFrame, rows: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.frame, self.rows = frame, rows
        self.trained = self._draw(int(TRAINED * len(frame)))
        self.reference = reference_profile(self.trained)

    def _draw(self, rows: int) -> pd.DataFrame:
        return self.frame.iloc[self.random.integers(0, len(self.frame), rows)].reset_index(drop=True)

    def batch(self, column: str = "", factor: float = 1.0, days: int = 1) -> pd.DataFrame:
        """Return the rows of some days, day after day; one measurement may be read too large."""
        drawn = self._draw(self.rows * days)
        return drawn.assign(**{column: drawn[column] * factor}) if column else drawn

    def profiles(self, days: int, column: str = "", factor: float = 1.0) -> Iterator[Profile]:
        """Yield the profile of each of some days. All days are counted at once; the first one's is held against the monitor's own count.

        Raises:
            RuntimeError: they differ.

        """
        drawn = self.batch(column, factor, days)
        counted_at_once = by_day(drawn, self.reference, self.rows)
        first = profile(drawn[: self.rows], self.reference)
        for day, found in enumerate(counted_at_once):
            if day == 0 and any(
                found[name][part] != first[name][part] for name in first for part in ("n", "missing", "counts")
            ):
                raise RuntimeError("days that are counted at once have other counts than the monitor's")
            yield found


def by_day(frame: pd.DataFrame, reference: Profile, rows: int) -> Iterator[Profile]:
    """Yield profiles of equally many rows each, as ``profile`` makes them, but for the sums, which no detector reads."""
    days = len(frame) // rows
    of_row = np.repeat(np.arange(days), rows)
    columns: dict[str, tuple[list[str] | None, np.ndarray]] = {}
    for name, known in reference.items():
        values = remainder(frame, known["of"], known["weights"]) if "of" in known else frame[name]
        if "edges" in known:
            names, width = None, len(known["edges"]) + 1
            places = np.searchsorted(known["edges"], values.to_numpy(dtype=float), side="left")
        else:
            names = [value for value in known["counts"] if value != OTHER]
            places, width = pd.Index(names).get_indexer(values), len(names) + 1
            places = np.where(places < 0, len(names), places)
        there = values.notna().to_numpy()
        counts = np.bincount(of_row[there] * width + places[there], minlength=days * width)
        columns[name] = names, counts.reshape(days, width)
    for day in range(days):
        found: Profile = {}
        for name, (names, counts) in columns.items():
            one = counts[day].tolist()
            shown = (
                one if names is None else dict(zip(names, one, strict=False)) | ({OTHER: one[-1]} if one[-1] else {})
            )
            found[name] = {"n": rows, "missing": rows - sum(one), "counts": shown}
        yield found


def first_alarm(
    year: Year, days: int, settings: Monitor, column: str = "", factor: float = 1.0
) -> tuple[int | None, Any]:
    """Return the day of the monitor's first alarm, if any, and its strongest finding."""
    detectors = Detectors(settings.alarm, settings.tolerance)
    for day, found in enumerate(year.profiles(days, column, factor), start=1):
        seen = list(counted(year.reference, found))
        detectors.see(seen, 1.0, f"day {day}")
        if detectors.level >= 1:
            return day, detectors.findings()[0]
    return None, None


def alarms_alone(year: Year, days: int) -> dict[str, int]:
    """Return on how many days the rules that judge each batch alone raise an alarm."""
    alarms = dict.fromkeys(ALONE, 0)
    for _ in range(days):
        batch = year.batch()
        p_values, indices, moved = [], [], 0
        for name in batch.columns:
            before, now = year.trained[name].dropna(), batch[name].dropna()
            if before.dtype == object:
                names = sorted(before.unique())
                table = np.array([values.value_counts().reindex(names, fill_value=0) for values in (before, now)])
                p_values.append(chi2_contingency(table[:, table.any(axis=0)]).pvalue)
                shares = table / table.sum(axis=1, keepdims=True)
                moved += jensenshannon(*shares, base=2) >= EVIDENTLY
            else:
                p_values.append(ks_2samp(before, now).pvalue)
                moved += wasserstein_distance(before, now) / max(float(before.std()), 1e-3) >= EVIDENTLY
                edges = np.unique(np.quantile(before, np.linspace(0, 1, 11)[1:-1]))
                bins = [np.bincount(np.searchsorted(edges, v), minlength=len(edges) + 1) for v in (before, now)]
                shares = np.array([found / found.sum() for found in bins])
            shares = np.clip(shares, 1e-4, None)
            indices.append(float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()))
        for rule, alarm in zip(
            ALONE, (min(p_values) < 0.05, max(indices) > 0.1, moved >= len(batch.columns) / 2), strict=True
        ):
            alarms[rule] += bool(alarm)
    return alarms


def write_captures(folder: Path, rows: int) -> None:
    """Write captured requests of one abalone each, as the endpoint's captures lie in S3."""
    frame = pd.read_csv(ROOT / "data" / "abalone.csv")
    inputs = frame.drop(columns="rings")
    lines = [",".join(map(str, row)) for row in inputs.itertuples(index=False)]
    for number, start in enumerate(range(0, rows, CAPTURED_OF_A_FILE)):
        records = []
        for at in range(start, min(start + CAPTURED_OF_A_FILE, rows)):
            place = at * 7919 % len(lines)
            kinds = {"endpointInput": ("text/csv", "CSV", lines[place], "INPUT")}
            kinds["endpointOutput"] = (
                "application/json",
                "JSON",
                f'{{"predictions": [{frame["rings"].iloc[place]}.25]}}',
                "OUTPUT",
            )
            data = {
                name: {"observedContentType": kind, "mode": mode, "data": text, "encoding": encoding}
                for name, (kind, encoding, text, mode) in kinds.items()
            }
            event = {"eventId": f"{at:032x}", "inferenceTime": "2026-03-01T00:00:00Z"}
            records.append(json.dumps({"captureData": data, "eventMetadata": event, "eventVersion": "0"}))
        (folder / f"{number:06d}.jsonl").write_text("\n".join(records) + "\n")


def read_captures(folder: Path) -> None:
    """Count the captured requests of a folder as the monitor's job does, and print seconds, MiB at the peak and rows."""
    config = load_model_config(ROOT / "dags" / "models" / "abalone" / "model.yaml")
    contract = Contract.of(config.contract.model_dump(mode="json"))
    year = Year(load("abalone"), 100, 0)
    rings = pd.read_csv(ROOT / "data" / "abalone.csv")[["rings"]].astype(float)
    reference = {**year.reference, **reference_profile(rings.rename(columns={"rings": PREDICTION}))}
    started, worked, tally = time.perf_counter(), time.process_time(), Tally()
    with tempfile.TemporaryDirectory() as made:
        kept = KeptAnswers(Path(made) / ANSWERS_FILE, ())
        look.counted(sorted(folder.iterdir()), contract, reference, NO_USE, tally, kept=kept)
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"seconds": seconds, "processor_seconds": worked, "MiB": peak}
    print(json.dumps({**found, "rows": tally.rows, "unreadable": tally.unreadable}))


def timed_captures(rows: int) -> dict[str, float]:
    """Return what reading so many captured rows takes in a process of its own."""
    with tempfile.TemporaryDirectory() as made:
        write_captures(Path(made), rows)
        command = [sys.executable, __file__, "--read-captures", made]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def quiet_years(
    name: str, frame: pd.DataFrame, years: int, rows: int, settings: Monitor
) -> tuple[float, dict[str, Any]]:
    """Print how often undrifted years have an alarm; return the share of those without, and the alarms of the other rules by year."""
    print(
        f"\n{name}: {years} undrifted years of {DAYS} daily batches of {rows} rows, reference {int(TRAINED * len(frame)):,} rows\n"
    )
    quiet = [first_alarm(Year(frame, rows, seed), DAYS, settings)[0] for seed in told(years, name)]
    without = sum(day is None for day in quiet) / len(quiet)
    print("| rule | years without an alarm | alarms a year |\n|---|---|---|")
    print(
        f"| the monitor, one false alarm in {settings.years_between_false_alarms:g} years | {without:.1%} | {1 - without:.3f} |"
    )
    counts = [alarms_alone(Year(frame, rows, seed), DAYS) for seed in range(min(ALONE_YEARS, years))]
    alone = {rule: [count[rule] for count in counts] for rule in ALONE}
    for rule, found in alone.items():
        print(f"| {rule} | {sum(not n for n in found) / len(found):.1%} | {np.mean(found):.1f} |", flush=True)
    return without, alone


def drifted_years(frame: pd.DataFrame, years: int, rows: int, settings: Monitor) -> dict[float, float]:
    """Print how soon a measurement that reads too large is found; return the median days by factor."""
    print(
        "\n| an abalone's measurement reads too large by | found after batches, median | 90 of 100 | the right column, larger | not in 60 |"
    )
    print("|---|---|---|---|---|")
    delays = {}
    measured = [name for name in frame.columns if name != "sex"]
    for factor in (1.05, 1.15):
        days, right = [], 0
        for seed in told(years, f"{factor - 1:.0%}"):
            column = measured[seed % len(measured)]
            day, finding = first_alarm(Year(frame, rows, 10_000 + seed), LONGEST, settings, column, factor)
            days.append(LONGEST + 1 if day is None else day)
            right += finding is not None and finding.column.split(" ")[0] == column and finding.direction == 1
        delays[factor] = float(np.median(days))
        missed = sum(day > LONGEST for day in days)
        print(
            f"| {factor - 1:.0%} | {np.median(days):.0f} | {np.quantile(days, 0.9):.0f} "
            f"| {right / len(days):.0%} | {missed / len(days):.0%} |",
            flush=True,
        )
    return delays


class LabelledYear(Year):
    """One year in which each row has a label: what the model lost is watched, ``beside`` inputs and answers or alone."""

    def __init__(self, rows: labelled_years.LabelledRows, day: int, seed: int, *, beside: bool) -> None:
        super().__init__(rows.frame, day, seed)
        scores = {name: known for name, known in rows.reference.items() if name in (LOSS, ERROR)}
        self.reference = reference_profile(self.trained[rows.inputs]) | rows.reference if beside else scores


def quiet_labelled_years(name: str, years: int, rows: int, settings: Monitor) -> float:
    """Print how often years of labels have an alarm of the loss or the error; return the share of years without.

    They are watched alone: in service other columns share the evidence, and what those do wrong ``quiet_years`` tells.
    """
    data, quiet = bench_trainers.load(name), []
    for seed in told(years, f"{name}, labels"):
        year = LabelledYear(labelled_years.LabelledRows(data, seed), rows, 20_000 + seed, beside=False)
        quiet.append(first_alarm(year, DAYS, settings)[0] is None)
    without = sum(quiet) / len(quiet)
    print(f"| {name} | {len(quiet)} | {without:.1%} |", flush=True)
    return without


def growing_losses(years: int, rows: int, settings: Monitor) -> dict[str, float]:
    """Print how many labelled rows it takes until a larger loss is found; return the medians by figure."""
    print(
        "\n| mean loss of Abalone larger by | because errors | found after labelled rows, median | 90 of 100 | by the bias "
        "| not in 10,000 |"
    )
    print("|---|---|---|---|---|---|")
    data, medians = bench_trainers.load("abalone"), {}
    longest = 10_000 // rows
    for growth in labelled_years.GROWTH:
        for words, change in (("shift", labelled_years.shifted(growth)), ("all grow", labelled_years.scaled(growth))):
            days, by_bias = [], 0
            for seed in told(years, f"{growth:.0%}, {words}"):
                year = LabelledYear(labelled_years.LabelledRows(data, seed, change), rows, 30_000 + seed, beside=True)
                day, finding = first_alarm(year, longest, settings)
                days.append(longest + 1 if day is None else day)
                by_bias += finding is not None and (finding.column, finding.kind) == (ERROR, "level")
            shown = [_rows(np.quantile(days, share), rows, longest) for share in (0.5, 0.9)]
            missed = sum(day > longest for day in days) / len(days)
            print(
                f"| {growth:.0%} | {words} | {shown[0]} | {shown[1]} | {by_bias / len(days):.0%} | {missed:.0%} |",
                flush=True,
            )
            medians[f"labelled rows until a loss {growth:.0%} larger is found, errors {words}".replace("%", " %")] = (
                float(np.median(days) * rows)
            )
    return medians


def _rows(days: float, rows: int, longest: int) -> str:
    return "not" if days > longest else f"{days * rows:,.0f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=200)
    parser.add_argument("--rows", type=int, default=100, help="rows of a day")
    parser.add_argument("--data", nargs="+", choices=("abalone", "adult"), default=["abalone", "adult"])
    parser.add_argument("--captured", type=int, default=1_000_000, help="captured rows to read; 0 reads none")
    parser.add_argument("--output", type=Path, help="folder for monitor.json")
    parser.add_argument("--read-captures", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.read_captures:
        read_captures(chosen.read_captures)
        return 0
    settings, started = Monitor(), time.perf_counter()
    targets: dict[str, bool] = {}
    document: dict[str, Any] = {"years": chosen.years}
    figures: dict[str, float] = {}
    read = timed_captures(chosen.captured) if chosen.captured else None
    if read:
        print(
            f"{read['rows']:,} captured rows: {read['seconds']:.1f} s, of one processor {read['processor_seconds']:.1f} s, "
            f"{read['MiB']:,.0f} MiB at the peak",
            flush=True,
        )
        worked = (
            read["processor_seconds"] * 1e6 / read["rows"]
        )  # what it takes where nothing else runs: it has one thread
        targets["a million captured rows within 15 s of one processor"] = worked <= 15
        targets["captured rows within 1 GiB"] = read["MiB"] <= 1024 and read["rows"] == chosen.captured
        figures = {
            "reading a million captured rows, s of one processor": worked,
            "memory of reading captured rows, MiB": read["MiB"],
        }
    delays = drifted_years(load("abalone"), chosen.years, chosen.rows, settings)
    targets["5 % too large within 10 batches"] = delays[1.05] <= 10
    targets["15 % too large within 2 batches"] = delays[1.15] <= 2
    for name in chosen.data:
        without, alone = quiet_years(name, load(name), chosen.years, chosen.rows, settings)
        targets[f"{name}: 95 % of undrifted years without an alarm"] = without >= 0.95
        document[name] = {"without": without, "alone": alone}
    print("\n| labels of | years | without an alarm of loss or error |\n|---|---|---|")
    for name in chosen.data:
        without = quiet_labelled_years(name, chosen.years, chosen.rows, settings)
        targets[f"{name}: 95 % of years of labels without an alarm of loss or error"] = without >= 0.95
        document[name]["without_of_labels"] = without
    grown = growing_losses(chosen.years, chosen.rows, settings)
    targets["a loss 10 % larger by a shift within 1,000 labelled rows"] = (
        grown["labelled rows until a loss 10 % larger is found, errors shift"] <= 1000
    )
    figures |= {name: rows for name, rows in grown.items() if rows <= 10_000}
    document["labelled_rows"] = grown
    note(
        {f"days until {factor - 1:.0%} too large is found".replace("%", " %"): days for factor, days in delays.items()}
        | figures
    )
    print()
    for words, met in targets.items():
        print(f"{'met   ' if met else 'MISSED'} {words}")
    print(f"\n{time.perf_counter() - started:.0f} s")
    if chosen.output:
        chosen.output.mkdir(parents=True, exist_ok=True)
        document |= {"delays": {str(factor): days for factor, days in delays.items()}, "captured": read}
        (chosen.output / "monitor.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
