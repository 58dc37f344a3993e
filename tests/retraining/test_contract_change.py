"""Which changes of a contract the stored rows survive: a verdict for every key that a contract has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.dataset.contract_change import contract_changes, contract_record, incompatible
from retraining.settings.contract_keys import Column, Contract, Rule, Split

COLUMNS = [
    {"name": "site", "type": "string", "allowed": ["north", "south"]},
    {"name": "height", "type": "double", "min": 0.0, "exclusive_min": True, "max": 2.0},
    {"name": "weight", "type": "double", "nullable": True},
    {"name": "rings", "type": "int", "min": 1},
]
RULES = [{"name": "parts", "sum": ["height"], "at_most": "weight", "tolerance": 1.1}]
BASE = {"columns": COLUMNS, "target": "rings", "rules": RULES}


def keys_of(contract: dict[str, Any], split: dict[str, Any] | None = None) -> dict[str, Any]:
    whole = Contract.model_validate(contract).model_dump(mode="json")
    return dict(contract_record(whole, Split.model_validate(split or {}).model_dump()).keys)


def with_column(position: int, **changes: Any) -> dict[str, Any]:
    columns = [dict(column) for column in COLUMNS]
    columns[position] = {name: value for name, value in {**columns[position], **changes}.items() if value is not None}
    return {**BASE, "columns": columns}


NEW = {"name": "depth", "type": "double"}
BY_NAME, BY_POSITION, NEVER, ALWAYS = (True, False), (False, True), (False, False), (True, True)
#: key of the contract, changed contract, whether it is compatible with rows stored by name, and with rows stored by position
TABLE = [
    ("columns", {**BASE, "columns": [COLUMNS[1], COLUMNS[0], *COLUMNS[2:]]}, (True, False)),
    ("columns", {**BASE, "columns": [*COLUMNS, {**NEW, "nullable": True}]}, (True, False)),
    ("columns", {**BASE, "columns": [*COLUMNS, NEW]}, NEVER),
    ("columns", {**BASE, "columns": COLUMNS[1:]}, NEVER),
    ("column.name", with_column(0, name="place"), NEVER),
    ("column.type", with_column(3, type="double"), NEVER),
    ("column.description", with_column(3, description="rings of the shell"), ALWAYS),
    ("column.unit", with_column(1, unit="mm"), ALWAYS),
    ("column.nullable", with_column(1, nullable=True), ALWAYS),
    ("column.nullable", with_column(2, nullable=False), NEVER),
    ("column.allowed", with_column(0, allowed=["south", "east", "north"]), ALWAYS),
    ("column.allowed", with_column(0, allowed=["north"]), NEVER),
    ("column.min", with_column(1, min=-1.0), ALWAYS),
    ("column.min", with_column(3, min=2), NEVER),
    ("column.exclusive_min", with_column(1, exclusive_min=False), ALWAYS),
    ("column.exclusive_min", with_column(3, exclusive_min=True), NEVER),
    ("column.max", with_column(1, max=3.0), ALWAYS),
    ("column.max", with_column(1, max=1.5), NEVER),
    ("column.max", with_column(3, max=40), NEVER),
    ("column.exclusive_max", with_column(1, exclusive_max=True), NEVER),
    ("target", {**BASE, "target": "height"}, NEVER),
    ("rules", {**BASE, "rules": []}, ALWAYS),
    ("rules", {**BASE, "rules": [{**RULES[0], "tolerance": 1.2}]}, ALWAYS),
    ("rules", {**BASE, "rules": [{**RULES[0], "tolerance": 1.0}]}, NEVER),
    ("rules", {**BASE, "rules": [{**RULES[0], "at_most": "rings"}]}, NEVER),
    ("rules", {**BASE, "rules": [*RULES, {**RULES[0], "name": "other"}]}, NEVER),
    ("identity", {**BASE, "identity": ["site", "height"]}, NEVER),
    ("column.aliases", with_column(1, aliases=["tall"]), ALWAYS),
    ("ignore", {**BASE, "ignore": ["age"]}, ALWAYS),
    ("ignore", {**BASE, "ignore": ["site"]}, BY_NAME),
    ("duplicates", {**BASE, "duplicates": "keep"}, NEVER),
    ("split_by", {**BASE, "split_by": ["site"]}, NEVER),
    ("key", {**BASE, "key": ["site"]}, NEVER),
    ("overwrite", {**BASE, "overwrite": "replace"}, ALWAYS),
    ("header", {**BASE, "header": "required"}, ALWAYS),
    ("csv", {**BASE, "csv": {"decimal": ","}}, ALWAYS),
    ("missing", {**BASE, "missing": ["NA"]}, ALWAYS),
    ("bad_rows", {**BASE, "bad_rows": {"max_share": 0.2}}, ALWAYS),
]


@pytest.mark.parametrize(("key", "changed", "expected"), TABLE)
def test_each_change_is_told_in_words_and_classified(key, changed, expected):
    for by_name, compatible in zip((True, False), expected, strict=True):
        changes = contract_changes(keys_of(BASE), keys_of(changed), by_name=by_name)
        assert changes
        assert all(change.words for change in changes)
        assert (incompatible(changes) == []) is compatible, (key, changes)


def test_every_key_of_a_contract_is_classified():
    known = {key for key, _, _ in TABLE}
    assert {f"column.{name}" for name in Column.model_fields} <= known
    assert set(Contract.model_fields) <= known
    assert set(Rule.model_fields) == {"name", "sum", "at_most", "tolerance"}


def test_shares_of_the_split_move_no_stored_row():
    then, now = keys_of(BASE), keys_of(BASE, {"train": 70, "validation": 16, "test": 14})
    changes = contract_changes(then, now, by_name=False)
    assert [change.compatible for change in changes] == [True, True, True]
    grouped = [{**keys, "split_by": ["site"]} for keys in (then, now)]
    assert len(incompatible(contract_changes(*grouped, by_name=True))) == 3


def test_a_split_by_time_begins_with_a_migration_and_its_shares_count_from_the_next_move_on():
    by_time = {"by": "time", "column": "rings"}
    for then, now in ((None, by_time), (by_time, None), (by_time, {**by_time, "column": "weight"})):
        assert incompatible(contract_changes(keys_of(BASE, then), keys_of(BASE, now), by_name=True))
    shares = {**by_time, "train": 70, "validation": 16, "test": 14}
    changes = contract_changes(keys_of(BASE, by_time), keys_of(BASE, shares), by_name=True)
    assert [change.compatible for change in changes] == [True, True, True]
    assert set(keys_of(BASE)["split"]) == {"train", "validation", "test"}


def test_a_key_that_nobody_classified_stops():
    assert incompatible(contract_changes(keys_of(BASE), {**keys_of(BASE), "moon": "full"}, by_name=True))


def test_exchanged_columns_are_named():
    exchanged = {**BASE, "columns": [COLUMNS[0], COLUMNS[2], COLUMNS[1], COLUMNS[3]]}
    [words] = incompatible(contract_changes(keys_of(BASE), keys_of(exchanged), by_name=False))
    assert words == "columns stand in another order: height, weight"


@given(st.sampled_from([changed for _, changed, _ in TABLE]), st.booleans())
def test_a_contract_differs_in_nothing_from_itself(contract, by_name):
    assert contract_changes(keys_of(contract), keys_of(contract), by_name=by_name) == []
