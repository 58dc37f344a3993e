"""Contracts to try files on, and files as bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import yaml

from retraining.contract.rules import Contract
from retraining.contract.verdict import Verdict, judge_file

ROOT = Path(__file__).resolve().parents[2]
MODEL = yaml.safe_load((ROOT / "dags/models/abalone/model.yaml").read_text())
SPLIT = MODEL["split"]
HEADER = ",".join(column["name"] for column in MODEL["contract"]["columns"])
ROW = "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15"


def abalone(**changes: Any) -> Contract:
    return Contract.of({**MODEL["contract"], **changes})


def small(**changes: Any) -> Contract:
    """A text, a number and the target."""
    columns = [
        {"name": "site", "type": "string", "nullable": True},
        {"name": "depth", "type": "double", "nullable": True},
        {"name": "count", "type": "int"},
    ]
    return Contract.of({"columns": columns, "target": "count", **changes})


def judged(body: str | bytes, contract: Contract | None = None, key: str = "new/a.csv", **options: Any) -> Verdict:
    content = body if isinstance(body, bytes) else body.encode()
    return judge_file(lambda: io.BytesIO(content), key, len(content), contract or abalone(), SPLIT, **options)
