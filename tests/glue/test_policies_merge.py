"""Policies of a contract through the merge: equal rows, groups, stored columns that the model is not fed."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agreement import compare
from survey_bucket import MODEL, Bucket, line_of

from glue_scripts.merge.by_spark import by_time
from retraining.contract.rules import Contract
from retraining.contract.splitting.by_time import as_document, as_number, boundaries_of_times
from retraining.contract.splitting.place import place_of

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


def test_of_the_rows_of_a_key_the_newest_stays(bucket: Bucket) -> None:
    columns = [{"name": "animal", "type": "string"}, *COLUMNS]
    header = ",".join(["animal", *NAMES])
    dice = random.Random(4)
    landed = {"c.csv": "2026-01-01", "a.csv": "2026-01-02", "d.csv": "2026-01-03", "b.csv": "2026-01-03"}
    bodies = {name: [(f"a{dice.randrange(30)}", dice.randrange(10_000)) for _ in range(40)] for name in landed}
    newest: dict[str, int] = {}
    for name in sorted(landed, key=lambda name: (landed[name], name)):
        newest |= dict(bodies[name])
    keys = [
        bucket.put(
            f"abalone/new/{name}", "\n".join([header, *(f"{animal},{line_of(number)}" for animal, number in rows)])
        )
        for name, rows in bodies.items()
    ]
    more = {f"abalone/new/{name}": {"landed_at": day} for name, day in landed.items()}
    report = bucket.merge("b1", keys, more=more, columns=columns, key=["animal"], ignore=["animal"])
    found = {row["animal"]: tuple(row[name] for name in NAMES) for rows in bucket.data("b1").values() for row in rows}
    assert {animal: cells[4] for animal, cells in found.items()} == {
        animal: float(line_of(number).split(",")[4]) for animal, number in newest.items()
    }
    assert (report["rows_accepted"], report["rows_duplicate"]) == (len(newest), 160 - len(newest))


def test_a_file_gives_way_to_its_newer_upload_if_that_is_merged(bucket: Bucket) -> None:
    def lines(*numbers: int) -> str:
        return "\n".join([",".join(NAMES), *map(line_of, numbers)])

    broken = lines(*range(70, 80)).replace("M,", "X,").replace("F,", "X,").replace("I,", "X,")
    keys = [
        bucket.put("abalone/batches/landed/v1/abalone/new/a.csv", lines(*range(10)) + "\nbroken"),
        bucket.put("abalone/batches/landed/v1/abalone/new/b.csv", lines(*range(20, 30))),
        bucket.put("abalone/new/a.csv", lines(*range(5, 15))),
        bucket.put("abalone/new/b.csv", broken),
        bucket.put("abalone/new/c.csv", lines(*range(40, 50))),
    ]
    known = {"known": True, "beyond_budget": True}
    more = {
        keys[0]: {**known, "origin": keys[2], "replaced_by": keys[2]},
        keys[1]: {**known, "origin": keys[3], "replaced_by": keys[3]},
        keys[4]: {**known, "replaced_by": None},
    }
    report = bucket.merge("b1", keys, more=more)
    outcomes = {file["key"]: (file["outcome"], file["accepted"]) for file in report["files"]}
    assert outcomes == dict(
        zip(keys, [("ignored", 0), ("merged", 10), ("merged", 10), ("refused", 0), ("merged", 10)], strict=True)
    )
    assert rows_of(bucket, "b1") == rows_from(range(20, 30), range(5, 15), range(40, 50))
    assert {record["file"] for record in bucket.quarantine("b1")} == {keys[3]}


@pytest.mark.parametrize("kind", ["date", "timestamp", "int"])
def test_rows_by_time_go_where_the_plain_reader_puts_them_in_a_first_batch_a_later_one_and_anew(
    bucket: Bucket, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(kind)
    if kind != "date":  # as of many rows
        monkeypatch.setattr(by_time, "IN_MEMORY", 0)

    def cell(day: int) -> str:
        noon = datetime(2020, 1, 1, 12, tzinfo=UTC) + timedelta(days=day, microseconds=dice.randrange(10**9))
        extremes = {0: -(2**63), 1: 2**63 - 1}
        texts = {"date": noon.date().isoformat(), "timestamp": noon.isoformat().replace("+00:00", "+02:00")}
        return texts.get(kind) or str(extremes.get(day, day * 10**15))

    columns = [{"name": "at", "type": kind}, *COLUMNS]
    policies = {"columns": columns, "ignore": ["at"], "split": {**MODEL["split"], "by": "time", "column": "at"}}
    rules = Contract.of({**MODEL["contract"], **policies})
    header = ",".join(["at", *NAMES])

    def file(name: str, days: list[int], start: int) -> str:
        lines = [f"{cell(day)},{line_of(start + n)}" for n, day in enumerate(days)]
        return bucket.put(f"abalone/new/{name}", "\n".join([header, *lines, *lines[:3]]))

    def agree(report: dict[str, Any], *batches: str) -> dict[str, list[Any]]:
        split = {**policies["split"], **report["boundaries"]}
        found = bucket.data(*batches)
        for name, rows in found.items():
            for row in rows:
                values = [row[column] for column in rules.names]
                assert place_of(rules, values, split, row["source"] == "synthetic") == name
        measured = {name: [row["at"] for row in rows if row["source"] == "survey"] for name, rows in found.items()}
        assert max(measured["train"]) < min(measured["validation"])
        assert not measured["test"] or max(measured["validation"]) < min(measured["test"])
        return found

    keys = [file("a.csv", [dice.randrange(400) for _ in range(300)], 0), file("b.csv", [0, 1, *range(410, 450)], 900)]
    made = file("made.csv", [399, 700], 1950)
    first = bucket.merge("b1", keys, synthetic=[made], **policies)
    found = agree(first, "b1")
    assert first["rows_by_split"] == {name: len(rows) for name, rows in found.items()}
    times = [as_number(row["at"]) for rows in found.values() for row in rows if row["source"] == "survey"]
    expected = boundaries_of_times(times, MODEL["split"])
    assert first["boundaries"] == as_document(rules.column("at"), expected)
    rings = [row["rings"] for row in found["test"]]
    assert first["target_mean_by_split"]["test"] == pytest.approx(sum(rings) / len(rings))

    if kind != "date":
        return
    later = file("c.csv", [3, 380, 401, 402], 2000)
    second = bucket.merge("b2", [later], history=["b1"], boundaries=first["boundaries"], **policies)
    assert second["boundaries"] == first["boundaries"]
    agree(second, "b1", "b2")
    assert sum(second["rows_by_split"].values()) == 4

    # Anew without the newest rows the boundaries stay where they are, though the shares alone would call for earlier ones.
    anew = bucket.merge("b3", keys[:1], boundaries=first["boundaries"], **policies)
    assert anew["boundaries"] == first["boundaries"]
    agree(anew, "b3")


def rows_from(*numbers: range) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for cells in (line_of(number).split(",") for some in numbers for number in some):
        found[(cells[0], *map(float, cells[1:8]), int(cells[8]))] += 1
    return found
