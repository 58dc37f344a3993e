"""The model that a verification trains, and its files: the abalone model's folder with a quick algorithm and short limits, few rows."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import yaml

from deploy.artifacts import ROOT

MODEL = "abalone"
ROWS = 600
JOB_SECONDS = 900
MERGE_MINUTES = 15
FEW = 40
FILE = "verification.csv"


def write(folder: Path, attempt: int, root: Path = ROOT) -> Path:
    """Write the model's folder; return it.

    The seed is the number of the attempt, so that no job is taken for one of an attempt whose artifacts are gone.
    """
    target = folder / "models" / MODEL
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(root / "dags" / "models" / MODEL, target, ignore=shutil.ignore_patterns("__pycache__"))
    path = target / "model.yaml"
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["etl"]["max_runtime_minutes"] = MERGE_MINUTES
    document["training"]["max_runtime_seconds"] = JOB_SECONDS
    document["training"]["candidates"] = [
        {"name": "linear", "hyperparameters": {"algorithm": "linear", "seed": attempt}}
    ]
    document["evaluation"] |= {"max_runtime_seconds": JOB_SECONDS, "explain_seconds": 0}
    document["gate"] |= {"guards": {"rmse": 50.0}, "worst_group": {}, "min_test_rows": 5}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return target


def files(root: Path = ROOT) -> dict[str, bytes]:
    """Return the files that land, by name: the first rows of the original data, and a few more in each of the layouts that occur."""
    heading, *rows = (root / "data" / f"{MODEL}.csv").read_text(encoding="utf-8").splitlines()

    def few(number: int) -> list[str]:
        return rows[ROWS + number * FEW : ROWS + (number + 1) * FEW]

    texts = {
        FILE: [heading, *rows[:ROWS]],
        "semicolons.csv": [line.replace(",", ";") for line in (heading, *few(0))],
        "without_heading.csv": few(1),
        "one_row.csv": [heading, few(2)[0]],
        "packed.csv.gz": [heading, *few(3)],
        "column_missing.csv": [line.rpartition(",")[0] for line in (heading, *few(4))],
    }
    found = {name: "".join(f"{line}\n" for line in lines).encode() for name, lines in texts.items()}
    found["packed.csv.gz"] = gzip.compress(found["packed.csv.gz"], mtime=0)
    return found
