"""The profile that a merge leaves with each version: it is that of the version's rows, and no merge fails because of it."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest
from survey_bucket import Bucket, line_of

from glue_scripts.merge.by_spark import profile as spark_profile
from glue_scripts.merge.in_memory import merge as in_memory
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.storage import Storage
from retraining.contract.profiling.version_profile import OTHER, OUTERMOST, TOP, place_of

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # py4j leaves them to the collector
]
COLUMNS = [
    {"name": "site", "type": "string", "nullable": True},
    {"name": "depth", "type": "double", "nullable": True},
    {"name": "whole", "type": "int"},
    {"name": "wet", "type": "boolean"},
    {"name": "day", "type": "date"},
    {"name": "at", "type": "timestamp"},
    {"name": "nothing", "type": "double", "nullable": True},
]
CONTRACT = {"columns": COLUMNS, "target": "whole", "rules": [], "identity": [column["name"] for column in COLUMNS]}


def lines(start: int, stop: int) -> str:
    made = []
    for n in range(start, stop):
        site = "" if n % 7 == 0 else f"site {n % 97 if n % 2 else 1}"
        depth = "" if n % 5 == 0 else repr((-1) ** n * 10 ** (n % 11 - 4) * (1 + n / 1000))
        whole = 2**53 + 1 + n if n % 50 == 3 else n % 29
        moment = f"2026-{n % 12 + 1:02d}-{n % 28 + 1:02d}"
        made.append(f"{site},{depth},{whole},{str(n % 3 == 0).lower()},{moment},{moment}T23:59:59Z,")
    return "\n".join(made) + "\n"


def stored(bucket: Bucket, batch: str) -> dict[str, Any]:
    return json.loads((bucket.root / f"abalone/dataset/profiles/batch={batch}/profile.json").read_text("utf-8"))


def text_of(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:7] if not isinstance(value, str) else value


def check(found: dict[str, Any], data: dict[str, list[dict[str, Any]]]) -> None:
    """Compare a profile with the rows, value by value."""
    assert found["rows"] == {split: len(rows) for split, rows in data.items() if rows}
    assert list(found["columns"]) == [column["name"] for column in COLUMNS] or set(found["columns"]) == {
        column["name"] for column in COLUMNS
    }
    for name, column in found["columns"].items():
        grid = place_of(column)
        for split, rows in data.items():
            if not rows:
                continue
            values = [row[name] for row in rows if row[name] is not None]
            part = column["splits"][split]
            assert (part["n"], part["missing"]) == (len(rows), len(rows) - len(values)), (name, split)
            if column["type"] in ("double", "int"):
                assert (part["min"], part["max"]) == (min(values, default=None), max(values, default=None))
                assert math.isclose(part["sum"], math.fsum(values), rel_tol=1e-9)
                assert sum(part["bins"].values()) == len(values)
                for place, count in part["bins"].items():
                    low, high = (grid.edge(int(place) - 1 + at) for at in (0, 1))
                    low, high = (
                        -math.inf if int(place) == -OUTERMOST else low,
                        math.inf if int(place) == OUTERMOST else high,
                    )
                    near = grid.scale * 1e-9  # at an edge rounding decides
                    inner = sum(low + near < float(value) <= high - near for value in values)
                    outer = sum(low - near < float(value) <= high + near for value in values)
                    assert inner <= count <= outer, (name, place)
                continue
            counts = Counter(map(text_of, values))
            named = {value: count for value, count in part["counts"].items() if value != OTHER}
            assert sum(part["counts"].values()) == len(values) and len(named) == min(TOP, len(counts))
            assert all(counts[value] == count for value, count in named.items()) or len(counts) > TOP
            if column["type"] == "date":
                assert (part["min"], part["max"]) == (str(min(values)), str(max(values)))


def test_each_version_has_the_profile_of_all_its_rows(bucket: Bucket) -> None:
    bodies = {"b1": lines(0, 400), "b2": lines(400, 430), "b3": lines(430, 900)}
    history: list[str] = []
    for batch, body in bodies.items():
        bucket.merge(batch, [bucket.put(f"abalone/new/{batch}.csv", body)], history=history, **CONTRACT)
        history.append(batch)
        found = stored(bucket, batch)
        assert sum(found["rows"].values()) > 400 * 0.9 and "middle" not in found["columns"]["nothing"]
        check(found, bucket.data(*history))
    assert len(json.dumps(stored(bucket, "b3"))) < 60_000


def test_a_version_after_one_without_profile_counts_all_rows(bucket: Bucket) -> None:
    for number, history in ((1, []), (2, ["b1"]), (3, ["b1", "b2"])):
        key = bucket.put(f"abalone/new/{number}.csv", lines(number * 50, number * 50 + 50))
        bucket.merge(f"b{number}", [key], history=history, **CONTRACT)
        (bucket.root / f"abalone/dataset/profiles/batch=b{number}/profile.json").unlink(missing_ok=number < 3)
        if number == 2:
            (bucket.root / "abalone/dataset/data/batch=b9/split=train").mkdir(parents=True)  # of a merge that died
    key = bucket.put("abalone/new/4.csv", lines(200, 230))
    bucket.merge("b4", [key], history=["b1", "b2", "b3"], **CONTRACT)
    check(stored(bucket, "b4"), bucket.data("b1", "b2", "b3", "b4"))


def test_a_batch_without_a_new_row_has_the_profile_of_the_version_before(bucket: Bucket) -> None:
    first, again = (
        bucket.put(f"abalone/new/{name}.csv", "".join(f"{line_of(n)}\n" for n in range(50))) for name in "ab"
    )
    bucket.merge("b1", [first])
    bucket.merge("b2", [again], history=["b1"])
    assert stored(bucket, "b2") == stored(bucket, "b1")


def test_no_merge_fails_because_of_its_profile(bucket: Bucket, monkeypatch, capsys) -> None:
    manifest = Manifest.of(bucket.manifest("b1", [bucket.put("abalone/new/a.csv", line_of(1) + "\n")]))
    real = Storage.write

    def full(self: Storage, uri: str, body: bytes, *kind: str) -> None:
        if "/profiles/" in uri:
            raise OSError("no space left")
        real(self, uri, body, *kind)

    monkeypatch.setattr(Storage, "write", full)
    assert bucket.merged(manifest)["rows_accepted"] == 1
    assert "the version gets no profile: OSError: no space left" in capsys.readouterr().out
    for module in (spark_profile, in_memory):
        monkeypatch.setattr(module, "profile_of", lambda *_: 1 / 0)
    assert bucket.merged(manifest)["rows_accepted"] == 1
