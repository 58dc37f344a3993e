"""Files of rows to be scored: with target or without, with header or without."""

import io
from dataclasses import replace

import pytest

from retraining.contract.layout import inspect_unscored, scoring_contract
from retraining.contract.reader import read
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Column, Contract, Rule

CONTRACT = Contract.of(
    {
        "columns": [
            {"name": "site", "type": "string", "allowed": ["A", "B"]},
            {"name": "depth", "type": "double", "min": 0},
            {"name": "rings", "type": "int", "min": 1, "aliases": ["age"]},
            {"name": "weight", "type": "double", "nullable": True},
        ],
        "target": "rings",
        "rules": [{"name": "young", "sum": ["rings"], "at_most": "depth"}],
    }
)


def values(text: str, contract: Contract = CONTRACT) -> list:
    def opened():
        return io.BytesIO(text.encode())

    judged, layout = inspect_unscored(opened, "a.csv", contract)
    names = [name for name in judged.names if name != "rings"]
    found = []
    for line in read(opened, "a.csv", judged, layout, {"train": 100}):
        good = [line.values[judged.position[name]] for name in names] if not line.reasons else line.reasons
        found.append((line.number, *good))
    return found


@pytest.mark.parametrize(
    "text",
    [
        "site,depth,weight\nA,1.5,2\n",
        "weight,site,depth\n2,A,1.5\n",
        "site,depth,rings,weight\nA,1.5,7,2\n",
        "site,depth,age,weight\nA,1.5,unknown,2\n",
    ],
)
def test_a_header_may_name_the_target_or_not(text):
    assert values(text) == [(2, "A", 1.5, 2.0)]


@pytest.mark.parametrize("text", ["A,1.5,2\n", "A,1.5,7,2\n", "A,1.5,,2\n", "A,1.5,unknown,2\n"])
def test_a_file_without_header_may_have_the_target_in_its_place(text):
    assert values(text) == [(1, "A", 1.5, 2.0)]


def test_rows_are_judged_by_the_contract_of_the_other_columns():
    assert values("site,depth,weight\nC,1,2\nA,-1,2\nA,1,\n") == [
        (2, "site: not one of A, B"),
        (3, "depth: below 0"),
        (4, "A", 1.0, None),
    ]


def test_a_rule_about_the_target_is_not_asked_for_and_others_are():
    rule = Rule("flat", ("weight",), "depth")
    contract = replace(CONTRACT, rules=(*CONTRACT.rules, rule))
    assert scoring_contract(contract).rules == (rule,)
    assert values("site,depth,rings,weight\nA,1,9,2\n", contract) == [(2, "flat: weight above depth")]


def test_another_file_is_refused_for_what_it_lacks_without_the_target():
    with pytest.raises(FileRefused, match="lacks depth") as refused:
        values("site,weight\nA,2\n")
    assert "rings" not in refused.value.reason
    with pytest.raises(FileRefused, match="2 columns, the contract has 3"):
        values("A,2\nB,3\n")


def test_an_identity_that_is_the_target_alone_becomes_the_whole_row():
    only = replace(CONTRACT, identity=("rings",))
    assert scoring_contract(only).identity == ("site", "depth", "weight")
    assert Column("rings", "int") not in scoring_contract(only).columns
