"""The split by time: each train row is older than each validation row, and that older than each test row, as the boundaries move."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.contract.rules import Column, Contract
from retraining.contract.splitting.by_time import (
    Boundaries,
    as_document,
    as_number,
    as_text,
    boundaries_in,
    boundaries_of_times,
)
from retraining.contract.splitting.place import place_of
from retraining.contract.values import parsed

SHARES = {"train": 85, "validation": 5, "test": 10}
VALUES = {
    "date": st.dates(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "int": st.integers(-(2**63), 2**63 - 1),
}
kinds = st.sampled_from(list(VALUES))


def contract(kind: str) -> Contract:
    columns = [{"name": "at", "type": kind}, {"name": "count", "type": "int"}]
    return Contract.of({"columns": columns, "target": "count"})


def shares() -> st.SearchStrategy[dict[str, int]]:
    pairs = st.tuples(st.integers(1, 49), st.integers(1, 49))
    return pairs.map(lambda pair: {"train": 100 - sum(pair), "validation": pair[0], "test": pair[1]})


def placed(times: list[int], boundaries: Boundaries) -> dict[str, list[int]]:
    split = {**SHARES, "by": "time", "column": "at", **as_document(Column("at", "int"), boundaries)}
    found: dict[str, list[int]] = {name: [] for name in SHARES}
    for time in times:
        found[str(place_of(contract("int"), (time, 1), split))].append(time)
    return found


@given(st.data(), kinds)
def test_a_time_is_a_number_and_back(data: st.DataObject, kind: str) -> None:
    one, other = data.draw(VALUES[kind]), data.draw(VALUES[kind])
    assert parsed(kind, as_text(kind, as_number(one))) == one
    assert (as_number(one) < as_number(other)) == (one < other)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=80), shares())
def test_no_train_row_is_as_new_as_a_validation_row_and_none_of_those_as_new_as_a_test_row(times, parts) -> None:
    boundaries = boundaries_of_times(times, parts)
    found = placed(times, boundaries)
    assert found["test"]
    assert max(found["train"], default=-1) < min(found["validation"] + found["test"])
    assert max(found["validation"], default=-1) < min(found["test"])
    newest = -(-len(times) * parts["test"] // 100)
    assert len(found["test"]) >= newest
    # No more than its share but for the rows of one time, which stay together.
    assert sum(time > boundaries.test for time in found["test"]) < newest
    assert bool(found["validation"]) == (len(set(times)) > len(set(found["test"])))


@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=20), min_size=2, max_size=6), st.data())
def test_no_row_that_has_trained_comes_back_to_the_test_however_rows_arrive_and_go(arrivals, data) -> None:
    times: list[int] = []
    standing = None
    for arrival in arrivals:
        times += arrival
        if len(times) > 3 and data.draw(st.booleans()):  # rows are taken out again
            times = data.draw(st.lists(st.sampled_from(times), min_size=1, max_size=len(times)))
        if standing is None or data.draw(st.booleans()):
            before, standing = standing, boundaries_of_times(times, SHARES, standing)
            assert before is None or (before.validation <= standing.validation and before.test <= standing.test)
        assert standing.validation <= standing.test
        found = placed(times, standing)
        assert max(found["train"], default=-1) < min(found["validation"] + found["test"], default=61)


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("date", "2026-03-01", date(2026, 3, 1)),
        ("timestamp", "2026-03-01T10:15:00Z", datetime(2026, 3, 1, 10, 15, tzinfo=UTC)),
        ("int", "-7", -7),
    ],
)
def test_a_row_at_a_boundary_counts_as_the_newer_one(kind: str, cell: str, value: object) -> None:
    rules = contract(kind)
    column = rules.column("at")
    at = as_number(value)  # type: ignore[arg-type]
    split = {**SHARES, "by": "time", "column": "at", "validation_from": as_text(kind, at - 1), "test_from": cell}
    assert place_of(rules, (value, 1), split) == "test"
    assert place_of(rules, (parsed(kind, as_text(kind, at - 1)), 1), split) == "validation"
    assert place_of(rules, (parsed(kind, as_text(kind, at - 2)), 1), split) == "train"
    assert place_of(rules, (value, 1), split, synthetic=True) == "train"
    assert as_document(column, boundaries_in(column, split)) == {  # type: ignore[arg-type]
        name: split[name] for name in ("column", "validation_from", "test_from")
    }


def test_without_boundaries_of_its_column_a_row_has_no_place_yet() -> None:
    split = {**SHARES, "by": "time", "column": "at"}
    assert place_of(contract("int"), (5, 1), split) is None
    assert boundaries_in(Column("at", "int"), {"column": "on", "validation_from": "1", "test_from": "2"}) is None
    assert boundaries_in(Column("at", "date"), {"column": "at", "validation_from": "1", "test_from": "2"}) is None
