"""What synthetic data costs: RMSE on real test rows after 1,000 rows of each survey method were added to the training rows.

    python benchmarks/bench_survey.py [--seeds 4] [--rows 1000] [--epochs 100] [--output .local/bench]

For every seed the valid rows of the Abalone data are shuffled into a test set (20 %), a stock of held-back rows for ``replay`` and a
training set. Each generator is fitted to that training set alone; the shipped default model is trained on it with and without the
additional rows and scored on the test set. The differences are paired by seed; SE is the standard error of their mean. The table in
docs/survey.md is written by this script. CTGAN is left out when the environment ``survey`` does not exist.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]  # so that it also runs as a plain script

from benchmarks.abalone_data import TARGET, fit_on_one_core, rmse, shipped  # noqa: E402
from benchmarks.abalone_data import Data as Table  # noqa: E402
from local_stack import layout  # noqa: E402
from retraining.contract.rows import row_reasons  # noqa: E402
from retraining.contract.rules import Contract, cells_of  # noqa: E402
from survey.generator import generate, tables  # noqa: E402
from survey.generator.quality import classifier_auc  # noqa: E402

DOCUMENT = ROOT / "docs" / "survey.md"
BEGIN, END = "<!-- bench-survey begin -->", "<!-- bench-survey end -->"
TEST_SHARE = 0.2


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, print its table and write it into the documentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4, help="splits to average over (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1000, help="rows to add (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=100, help="of CTGAN (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=layout.LOCAL / "bench", help="folder for models and results")
    chosen = parser.parse_args(arguments)
    contract = Contract.of(yaml.safe_load((ROOT / "dags/models/abalone/model.yaml").read_text())["contract"])
    results: dict[str, list[dict[str, float]]] = {}
    for seed in range(chosen.seeds):
        for method, found in _one_split(seed, contract, chosen).items():
            results.setdefault(method, []).append(found)
            print(f"seed {seed}: {method:<22} RMSE {found['rmse']:.4f}", flush=True)
    table = _table(results, chosen)
    print(table)
    chosen.output.mkdir(parents=True, exist_ok=True)
    (chosen.output / "survey.json").write_text(json.dumps(results, indent=1))
    _write_into(DOCUMENT, table)
    return 0


def _one_split(seed: int, contract: Contract, chosen: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return RMSE and classifier AUC per method for one shuffle."""
    frame = _valid_rows(contract)
    order = np.random.default_rng(seed).permutation(len(frame))
    tests = round(TEST_SHARE * len(frame))
    parts = np.split(order, [tests, tests + chosen.rows])
    test, held_back, train = (frame.iloc[part].reset_index(drop=True) for part in parts)
    found = {"none": _score(train, test, contract)}
    for method, additional in _methods(seed, chosen, contract, train, held_back).items():
        auc = classifier_auc(train, additional, contract, seed)
        found[method] = _score(pd.concat([train, additional]), test, contract) | {"auc": auc or math.nan}
    return found


def _methods(
    seed: int, chosen: argparse.Namespace, contract: Contract, train: pd.DataFrame, held_back: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Return the additional rows of each method."""

    def request(method: str, valid_only: bool = True) -> dict[str, Any]:
        document = yaml.safe_load((ROOT / "dags/models/abalone/model.yaml").read_text())["contract"]
        options = {
            "method": method,
            "rows": chosen.rows,
            "seed": seed,
            "epochs": chosen.epochs,
            "valid_only": valid_only,
        }
        return {"contract": document, **options}

    def here(method: str) -> pd.DataFrame:
        wanted = generate.Request.of(request(method))
        draw, available = generate.sampler(wanted, train, None, held_back, _silent)
        return generate.make(wanted, train, draw, available).frame

    rows = {"replay (real rows)": here("replay"), "copula": here("copula")}
    if layout.python("survey").exists():
        rows["ctgan"] = _by_ctgan(request("ctgan"), train, contract, seed, chosen)
        rows["ctgan, also invalid rows"] = _by_ctgan(request("ctgan", valid_only=False), train, contract, seed, chosen)
    else:
        print("ctgan is left out: create its environment with python3 -m local_stack.bootstrap survey", file=sys.stderr)
    return rows


def _by_ctgan(
    request: dict[str, Any], train: pd.DataFrame, contract: Contract, seed: int, chosen: argparse.Namespace
) -> pd.DataFrame:
    """Run the generator in its environment; the fit of a split is kept."""
    name = f"{seed}-{chosen.rows}-{chosen.epochs}"
    folder = chosen.output.resolve() / "survey" / name
    (folder / "train").mkdir(parents=True, exist_ok=True)
    lines = [",".join(cells) for cells in tables.cells(train, contract)]
    at = contract.names.index(contract.target)
    reordered = [",".join([cells[at], *cells[:at], *cells[at + 1 :]]) for cells in cells_of(lines)]
    (folder / "train" / "rows.csv").write_text("".join(f"{line}\n" for line in reordered))
    (folder / "request.json").write_text(json.dumps(request))
    command: list[str | Path] = [
        layout.python("survey"),
        "-m",
        "survey.generator",
        "--request",
        folder,
        "--train",
        folder / "train",
    ]
    command += ["--model", folder / "model", "--output", folder / "output"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with (folder / "output" / "survey.csv").open(newline="") as file:
        rows = cells_of(file)
    return tables.typed(rows, contract)


def _score(train: pd.DataFrame, test: pd.DataFrame, contract: Contract) -> dict[str, float]:
    """Return the test RMSE of the default model; what breaks the contract beyond repair (no positive size) cannot be trained on."""
    usable = train[
        (train[[name for name in contract.numeric if name != TARGET]] > 0).all(axis=1) & (train[TARGET] >= 1)
    ]
    make: Callable[[], Any] = shipped("svr_hgb")
    data = Table(usable.drop(columns=TARGET).reset_index(drop=True), usable[TARGET].to_numpy(dtype=float))
    model, _ = fit_on_one_core(make, data, np.arange(len(usable)))
    return {"rmse": rmse(test[TARGET].to_numpy(dtype=float), model.predict(test.drop(columns=TARGET)))}


def _valid_rows(contract: Contract) -> pd.DataFrame:
    with (ROOT / "data" / "abalone.csv").open(newline="") as file:
        _, *rows = cells_of(file)
    return tables.typed([cells for cells in rows if not row_reasons(contract, cells)], contract)


def _table(results: dict[str, list[dict[str, float]]], chosen: argparse.Namespace) -> str:
    """Return the results as a Markdown table."""
    base = np.array([found["rmse"] for found in results["none"]])
    lines = [
        f"| {chosen.rows:,} rows added | test RMSE | difference | SE | classifier AUC |",
        "|---|---:|---:|---:|---:|",
        f"| none | {base.mean():.3f} | | | |",
    ]
    for method, found in results.items():
        if method == "none":
            continue
        differences = np.array([item["rmse"] for item in found]) - base
        error = differences.std(ddof=1) / math.sqrt(len(differences)) if len(differences) > 1 else math.nan
        auc = float(np.mean([item["auc"] for item in found]))
        lines.append(
            f"| {method} | {(base + differences).mean():.3f} | {differences.mean():+.3f} | {error:.3f} | {auc:.2f} |"
        )
    lines += [
        "",
        f"{chosen.seeds} splits; CTGAN with {chosen.epochs} epochs; only rows that meet the contract unless said otherwise.",
    ]
    return "\n".join(lines)


def _write_into(path: Path, table: str) -> None:
    """Replace what stands between the markers of the documentation."""
    text = path.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")


def _silent(_: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    sys.exit(main())
