"""Policies of a contract: whatever the rows and however the contract lists its columns."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from model import HEADER, MODEL, ROW, abalone, judged, small

from retraining.contract.rules import Contract, split_of
from retraining.contract.source import fed

SPLIT = {"train": 60, "validation": 20, "test": 20}
SITES = st.text("abcdef", max_size=3)
COLUMNS = [
    {"name": "animal", "type": "string", "nullable": True},
    {"name": "depth", "type": "double", "nullable": True},
    {"name": "site", "type": "string", "nullable": True},
    {"name": "count", "type": "int"},
]
NAMES = [column["name"] for column in COLUMNS]


def contract(**policies: object) -> Contract:
    return Contract.of({"columns": COLUMNS, "target": "count", **policies})


rows = st.tuples(SITES, st.floats(allow_nan=False), SITES, st.integers(0, 9))


@given(rows, st.permutations(NAMES), st.permutations(["site", "animal"]))
def test_the_order_of_the_listed_columns_means_nothing(row, identity, groups) -> None:
    one, other = contract(identity=NAMES, split_by=["animal", "site"]), contract(identity=identity, split_by=groups)
    assert one.row_hash(row) == other.row_hash(row) == contract().row_hash(row)
    assert one.split_hash(row) == other.split_hash(row)


@given(st.lists(rows, min_size=2), st.sampled_from([["site"], ["animal"], ["animal", "site"]]))
def test_what_stays_together_lies_in_one_split(found, groups) -> None:
    grouped = contract(split_by=groups)
    sides: dict[tuple[object, ...], set[str]] = {}
    for row in found:
        group = tuple(row[NAMES.index(name)] or None for name in groups)
        values = [value or None if isinstance(value, str) else value for value in row]
        sides.setdefault(group, set()).add(split_of(grouped.split_hash(values), SPLIT))
    assert all(len(splits) == 1 for splits in sides.values())


@given(st.integers(0, 10**6))
def test_by_default_a_row_goes_by_itself(number: int) -> None:
    row = ("a", float(number), "b", 1)
    assert contract().split_hash(row) == contract().row_hash(row)
    assert contract(split_by=["depth"]).split_hash(row) != contract().row_hash(row)


@given(st.sets(st.sampled_from([name for name in HEADER.split(",") if name != "rings"]), max_size=8))
def test_the_model_is_not_fed_what_is_ignored(ignored: set[str]) -> None:
    rules = abalone(ignore=sorted(ignored))
    assert set(rules.feature_columns) == set(rules.names) - ignored - {"rings"}
    model = Contract.of(fed({**MODEL["contract"], "ignore": sorted(ignored), "split_by": ["sex"]}))
    assert model.feature_columns == rules.feature_columns
    given = {name: cell for name, cell in zip(HEADER.split(","), ROW.split(","), strict=True) if name not in ignored}
    assert rules.request_reasons(given) == model.request_reasons(given) == []
    assert judged(f"{HEADER}\n{ROW}\n", rules).accepted == 1


def test_an_ignored_column_is_judged_and_makes_the_row_itself() -> None:
    columns = [{"name": "id", "type": "int"}, *MODEL["contract"]["columns"]]
    rules = abalone(columns=columns, ignore=["id"])
    found = judged(f"id,{HEADER}\n1,{ROW}\n2,{ROW}\nx,{ROW}\n", rules, beyond_budget=True)
    assert (found.accepted, found.duplicate, dict(found.reasons)) == (2, 0, {"id: not a number": 1})


def test_rows_that_repeat_often_are_remarked_on() -> None:
    body = HEADER + "\n" + f"{ROW}\n" * 2 + "".join(f"{ROW[:-2]}{rings}\n" for rings in range(16, 34))
    found = judged(body)
    assert found.duplicate == 1
    assert "1 of 20 good rows (5.0%) are equal to others" in (found.remark or "")
    assert "`duplicates: keep`" in (found.remark or "")
    assert json.dumps(found.as_json()["remark"])
    kept = judged(body, abalone(duplicates="keep"))
    assert (kept.accepted, kept.duplicate, kept.remark) == (20, 0, None)
    assert judged(f"{body}{ROW[:-2]}14\n").remark is None
    assert small(duplicates="keep").keep_duplicates
