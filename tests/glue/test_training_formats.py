"""Rows as training gets them: in each format the same values, to the last bit and the last character."""

from __future__ import annotations

import csv
import io
import json
import random
import string
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from survey_bucket import Bucket

from retraining.inside.frames import read_frame
from retraining.inside.job_file import as_job

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # py4j leaves them to the collector
]
COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "int"},
    {"name": "note", "type": "string", "nullable": True},
    {"name": "weight", "type": "double", "nullable": True},
    {"name": "alive", "type": "boolean", "nullable": True},
    {"name": "day", "type": "date", "nullable": True},
    {"name": "at", "type": "timestamp", "nullable": True},
    {"name": "price", "type": "double"},
]
CONTRACT = {"columns": COLUMNS, "target": "price", "identity": ["id"], "ignore": ["day"], "rules": [], "key": []}
TEXTS = [
    "NA",
    "007",
    '"',
    '""',
    'a "b", c',
    "a,b",
    "null",
    "1e5",
    "#",
    "\\",
    "\\n",
    "\u00e4\U0001f40c",
    "'",
    "price",
    "id",
    "-",
]
FORMATS = ("csv_without_header", "csv", "parquet")


def value(dice: random.Random, column: dict[str, Any]) -> Any:
    """A value as JSON Lines has it."""
    if column.get("nullable") and dice.random() < 0.15:
        return None
    if column["type"] == "double":
        return dice.choice([dice.uniform(-1, 1) * 10.0 ** dice.randrange(-300, 300), 5e-324, 0.1, 1e22, -2.5])
    if column["type"] == "boolean":
        return dice.random() < 0.5
    if column["type"] == "date":
        return (date(1900, 1, 1) + timedelta(days=dice.randrange(60_000))).isoformat()
    if column["type"] == "timestamp":
        moment = datetime(1950, 1, 1, tzinfo=UTC) + timedelta(microseconds=dice.randrange(4 * 10**15))
        return moment.isoformat().replace("+00:00", "Z")
    return dice.choice(TEXTS) + "".join(dice.choices(string.printable[:95], k=dice.randrange(4))).strip() or None


def test_every_format_has_the_same_rows_and_they_are_what_came(bucket: Bucket) -> None:
    dice = random.Random(11)
    rows = [
        {column["name"]: n if column["name"] == "id" else value(dice, column) for column in COLUMNS} for n in range(500)
    ]
    key = bucket.put("abalone/new/a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    fed = [column for column in COLUMNS if column["name"] != "day"]
    frames = {}
    for form in FORMATS:
        report = bucket.merge(form, [key], training_format=form, **CONTRACT)
        assert report["rows_accepted"] == len(rows)
        job = as_job(
            {
                "step": "training",
                "model": "m",
                "contract": {**CONTRACT, "columns": fed, "ignore": []},
                "csv_header": form == "csv",
            }
        )
        part = "data" if form == "parquet" else "training"
        folder = bucket.root / f"abalone/dataset/{part}/batch={form}"
        frames[form] = read_frame(folder, job).sort_values("id", ignore_index=True)
        assert bool(bucket.bytes(f"abalone/dataset/training/batch={form}")) is (form != "parquet")
        check_header(folder, form)
    for form in FORMATS:
        pd.testing.assert_frame_equal(frames[form], frames["parquet"], check_exact=True)
    found = frames["csv"]
    for column in (column for column in fed if column["name"] not in ("id", "at")):
        came = [row[column["name"]] for row in rows]
        stored = [None if item != item else item for item in found[column["name"]].tolist()]
        assert stored == came, column["name"]
    moments = [None if item != item else datetime.fromisoformat(item) for item in found["at"].tolist()]
    assert moments == [row["at"] and datetime.fromisoformat(row["at"]) for row in rows]


def check_header(folder: Path, form: str) -> None:
    for path in folder.rglob("*.csv"):
        first = next(csv.reader(io.StringIO(path.read_text())))
        assert (first == ["price", "id", "note", "weight", "alive", "at"]) is (form == "csv")
