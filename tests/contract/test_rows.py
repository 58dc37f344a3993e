"""The contract on rows that are still text."""

import csv
import io

import pytest
from model import abalone

from retraining.contract.rows import csv_line, line_reasons, row_hash, row_reasons


@pytest.fixture
def contract():
    return abalone()


GOOD = ["M", "0.455", "0.365", "0.095", "0.514", "0.2245", "0.101", "0.15", "15"]


def changed(**cells):
    names = [
        "sex",
        "length",
        "diameter",
        "height",
        "whole_weight",
        "shucked_weight",
        "viscera_weight",
        "shell_weight",
        "rings",
    ]
    return [cells.get(name, cell) for name, cell in zip(names, GOOD, strict=True)]


@pytest.mark.parametrize("cell", ["a,b", 'a "wide" one', "two\nlines", "two\r\nlines", "\r"])
def test_a_cell_stays_one_cell_of_a_line_whatever_stands_in_it(cell):
    assert list(csv.reader(io.StringIO(csv_line(["M", cell, "1"]), newline=""))) == [["M", cell, "1"]]


def test_a_real_row_meets_the_contract(contract):
    assert row_reasons(contract, GOOD) == []


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"sex": "X"}, "sex: not one of M, F, I"),
        ({"sex": ""}, "sex: missing"),
        ({"height": "0"}, "height: not above 0"),
        ({"length": "1.01"}, "length: above 1"),
        ({"rings": "0"}, "rings: below 1"),
        ({"rings": "7.5"}, "rings: not a whole number"),
        ({"rings": "30000000000000000000"}, "rings: out of range of its type"),
        ({"height": "nan"}, "height: not finite"),
        ({"height": "0,1"}, "height: decimal comma"),
        ({"height": "0x1"}, "height: not a number"),
    ],
)
def test_a_bad_cell_has_the_reason_of_the_quarantine(contract, cells, reason):
    assert row_reasons(contract, changed(**cells)) == [reason]


def test_whole_numbers_may_be_written_with_decimals(contract):
    assert row_reasons(contract, changed(rings="15.0")) == []
    assert row_hash(contract, changed(rings="15.0", length="0.4550")) == row_hash(contract, GOOD)


def test_rules_across_columns_have_their_tolerance(contract):
    assert row_reasons(contract, changed(whole_weight="0.4323")) == []  # 0.4755 is 1.0999 of it
    assert row_reasons(contract, changed(whole_weight="0.43")) == [
        "parts_within_whole: shucked_weight + viscera_weight + shell_weight above 1.1 x whole_weight"
    ]
    assert row_reasons(contract, changed(diameter="0.46")) == ["diameter_within_length: diameter above length"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("M,0.455,0.365", "line: too few columns"),
        (",".join([*GOOD, "1"]), "line: too many columns"),
        ('"' + ",".join(GOOD), "line: unbalanced quotes"),
        (",".join(GOOD) + " " * (1 << 20), "line: longer than 1,048,576 characters"),
    ],
)
def test_a_line_that_is_no_row_says_so_and_nothing_else(contract, line, reason):
    assert line_reasons(contract, line) == [reason]


def test_unknown_columns_are_named_with_the_known_ones(contract):
    with pytest.raises(LookupError, match=r"'weight' is not a column of the contract, which has sex, length"):
        contract.column("weight")


def test_a_request_is_judged_by_the_same_rules(contract):
    row = dict(zip(contract.names, GOOD, strict=True))
    assert contract.request_reasons({**row, "rings": None}) == []
    assert contract.request_reasons({name: float(cell) if name != "sex" else cell for name, cell in row.items()}) == []
    assert contract.request_reasons({**row, "height": -1, "sex": None}) == ["sex: missing", "height: not above 0"]
    assert contract.request_reasons({**row, "length": float("nan")}) == ["length: not finite"]
    assert contract.request_reasons({**row, "whole_weight": 0.1}) == [
        "parts_within_whole: shucked_weight + viscera_weight + shell_weight above 1.1 x whole_weight"
    ]
