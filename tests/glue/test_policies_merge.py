"""Policies of a contract through the merge: equal rows, groups, stored columns that the model is not fed."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from typing import Any

import pytest
from agreement import compare
from survey_bucket import MODEL, Bucket, line_of

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # py4j leaves them to the collector
]
COLUMNS = MODEL["contract"]["columns"]
NAMES = [column["name"] for column in COLUMNS]


def rows_of(bucket: Bucket, *batches: str) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row[name] for name in NAMES) for rows in bucket.data(*batches).values() for row in rows)


def expected(files: list[list[str]], keep: bool) -> Counter[str]:
    """Lines of the data set by the policy: of the first file that has a line, all of them or one."""
    found: Counter[str] = Counter()
    for lines in files:
        new = Counter(line for line in lines if line not in found)
        found.update(new if keep else dict.fromkeys(new, 1))
    return found


@pytest.mark.parametrize("policy", ["keep", "drop"])
def test_equal_rows_of_a_file_are_kept_or_dropped_and_those_of_another_file_always_dropped(
    bucket: Bucket, policy: str
) -> None:
    dice = random.Random(policy)
    files = [[line_of(dice.randrange(40)) for _ in range(dice.randrange(1, 60))] for _ in range(6)]
    keys = [bucket.put(f"abalone/new/{number}.csv", "\n".join(lines)) for number, lines in enumerate(files)]
    first = bucket.merge("b1", keys[:4], duplicates=policy)
    second = bucket.merge("b2", keys[4:], history=["b1"], duplicates=policy)
    known = expected(files, policy == "keep")
    assert sorted(rows_of(bucket, "b1", "b2").values()) == sorted(known.values())
    assert first["rows_accepted"] + second["rows_accepted"] == known.total()
    assert any(file["remark"] for file in first["files"]) == (policy == "drop")
    splits = [{row["row_hash"] for row in rows} for rows in bucket.data("b1", "b2").values()]
    assert sum(map(len, splits)) == len(known)


def test_groups_stay_together_and_ignored_columns_are_stored_only(bucket: Bucket) -> None:
    dice = random.Random(2)
    columns = [{"name": "animal", "type": "string", "nullable": True}, *COLUMNS, {"name": "visit", "type": "int"}]
    policies: dict[str, Any] = {"columns": columns, "ignore": ["visit", "animal", "notes"], "split_by": ["animal"]}
    header = ",".join(["animal", *NAMES, "visit", "notes"])
    lines = [f"a{dice.randrange(60) or ''},{line_of(number % 50)},{number},x" for number in range(400)]
    keys = [
        bucket.put("abalone/new/a.csv", "\n".join([header, *lines[:300], "broken"])),
        bucket.put("abalone/new/b.csv", "\n".join([header, *lines[250:]])),
    ]
    report = compare(bucket, "b1", keys, **policies, identity=["visit"])
    assert (report["rows_accepted"], report["rows_duplicate"]) == (400, 50)
    sides: dict[str, set[str]] = {}
    for split, rows in bucket.data("b1").items():
        for row in rows:
            sides.setdefault(row["animal"], set()).add(split)
            assert row["visit"] in range(400)
    assert all(len(found) == 1 for found in sides.values())
    assert len({next(iter(found)) for found in sides.values()}) > 1
    training = bucket.bytes("abalone/dataset/training/batch=b1")
    cells = [row for body in training.values() for row in csv.reader(io.StringIO(body.decode()))]
    assert {len(row) for row in cells} == {len(NAMES)}
    assert len(cells) == 400
