"""The profile of a dataset version: what it says of each column is what the rows hold."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_query import model

from retraining.command import profile as profile_command
from retraining.command.profile import TOP, profile_of, table_of_profile
from retraining.contract.profiling.version_profile import OTHER
from retraining.dataset.log import DatasetLog
from retraining.dataset.records import Output
from retraining.telling.profiling.page import profile_page

__all__ = ["model"]
TEXTS = st.one_of(st.none(), st.sampled_from(["a", "NA", "", "ä\"',", "(other)", "<b>"]), st.text("xyz", max_size=3))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "split": st.sampled_from(["train", "validation", "test"]),
            "text": TEXTS,
            "real": st.one_of(st.none(), st.floats(-1e9, 1e9), st.sampled_from([0.0, 1.5])),
            "whole": st.one_of(st.none(), st.integers(-(2**62), 2**62)),
            "truth": st.one_of(st.none(), st.booleans()),
            "day": st.one_of(st.none(), st.integers(0, 40).map(lambda n: date(2026, 1, 1) + timedelta(days=n))),
        }
    ),
    min_size=1,
    max_size=120,
)
KINDS = {"text": pa.string(), "real": pa.float64(), "whole": pa.int64(), "truth": pa.bool_(), "day": pa.date32()}


def profiled(rows: list[dict[str, Any]]) -> dict[str, Any]:
    table = pa.table(
        {
            **{name: pa.array([row[name] for row in rows], kind) for name, kind in KINDS.items()},
            "split": [row["split"] for row in rows],
            "row_hash": ["h" for _ in rows],
            "source": ["survey" for _ in rows],
        }
    )
    with duckdb.connect() as db:
        db.register("rows", table)
        return profile_of(db, "rows")


def written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


EMPTY = {"split": "train", **dict.fromkeys(("text", "real", "whole", "truth", "day"))}


@settings(max_examples=40, deadline=None)
@given(ROWS)
@example([EMPTY | {"whole": 2**53 + 1}])
def test_figures_are_those_of_the_rows_in_each_split(rows: list[dict[str, Any]]) -> None:
    found = profiled(rows)
    assert found["splits"] == dict(Counter(row["split"] for row in rows))
    assert set(found["columns"]) == set(KINDS)
    for name, column in found["columns"].items():
        for split, figures in column["splits"].items():
            values = [row[name] for row in rows if row["split"] == split]
            present = [value for value in values if value is not None]
            assert (figures["n"], figures["missing"]) == (len(values), len(values) - len(present))
            if name in ("real", "whole"):
                check_numbers(figures, present)
                continue
            counts = Counter(map(written, present))
            named = {text: count for text, count in figures["counts"].items() if text != OTHER or OTHER in counts}
            if len(counts) <= TOP and OTHER not in counts:
                known = {written(row[name]) for row in rows if row["split"] == next(iter(column["splits"]))}
                assert {text for text in named if text in counts} == known & set(counts) - {"None"}
            if OTHER not in counts:
                assert all(count == counts[text] for text, count in named.items())
                assert sum(figures["counts"].values()) == len(present)
            if name == "day":
                assert figures["min"] == (min(present).isoformat() if present else None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    page = profile_page({"model": "m", "version": 1, **found})
    assert "<b>" not in page
    assert len(table_of_profile(found).splitlines()) == 1 + len(KINDS) * len(found["splits"])


def check_numbers(figures: dict[str, Any], present: list[Any]) -> None:
    assert sum(figures["counts"]) == len(present)
    ranges = Counter(bisect_left(figures["edges"], float(value)) for value in present)
    assert figures["counts"] == [ranges[place] for place in range(len(figures["edges"]) + 1)]
    if present:
        assert (figures["min"], figures["max"]) == (min(present), max(present))
        assert math.isclose(figures["mean"], math.fsum(present) / len(present), rel_tol=1e-9, abs_tol=1e-3)
        assert figures["min"] <= figures["median"] <= figures["max"]


@pytest.mark.local_aws
def test_the_profile_that_a_merge_stored_is_read_and_a_lost_one_computed(model, account, bucket, tmp_path, capsys):
    log = DatasetLog(account.s3, bucket, f"{model}/")
    key = f"{model}/dataset/profiles/batch=b3/profile.json"
    version = log.read().versions[-1]
    beside = (Output(key=key, size=1),)
    log.commit(
        version.model_copy(update={"version": 3, "batch": "b3", "data": (), "rows_by_split": {}, "beside": beside})
    )
    text = {"n": 9, "missing": 1, "counts": {"told by the merge": 8}}
    stored = {
        "schema_version": 1,
        "rows": {"train": 9},
        "columns": {"name": {"type": "string", "splits": {"train": text}}},
    }
    account.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(stored).encode())
    assert profile_command.main([model, "--into", str(tmp_path)]) == 0
    assert "told by the merge 8" in capsys.readouterr().out
    made = json.loads((tmp_path / f"{model}-version-3.json").read_text())
    assert (made["version"], made["splits"]) == (3, {"train": 9})
    for lost in (b"{", None):
        account.s3.put_object(Bucket=bucket, Key=key, Body=lost) if lost else account.s3.delete_object(
            Bucket=bucket, Key=key
        )
        assert profile_command.main([model, "--into", str(tmp_path)]) == 0
        assert json.loads((tmp_path / f"{model}-version-3.json").read_text())["splits"] == {"train": 8, "test": 1}


@pytest.mark.local_aws
def test_a_version_becomes_a_page_and_json_on_this_machine(model, tmp_path: Path, capsys) -> None:
    assert profile_command.main([model, "--into", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    made = json.loads((tmp_path / f"{model}-version-2.json").read_text())
    assert (made["version"], made["splits"]) == (2, {"train": 8, "test": 1})
    assert made["columns"]["rings"]["splits"]["test"]["max"] == 2**62 + 1
    assert made["columns"]["site"]["splits"]["train"]["missing"] == 8
    assert (tmp_path / f"{model}-version-2.html").read_text().startswith("<!doctype html>")
    assert str(2**62 + 1) in told
    assert profile_command.main([model, "--version", "1", "--into", str(tmp_path)]) == 0
    assert "site" not in json.loads((tmp_path / f"{model}-version-1.json").read_text())["columns"]
    assert profile_command.main([model, "--version", "9"]) == 1
    assert "dataset version 9 does not exist" in capsys.readouterr().err
