"""What is judged many at once is what the contract's reader says of each line; every other line is left to it."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glue_scripts.merge.in_memory.canonical import mixed as mixed_at_once
from glue_scripts.merge.in_memory.plain_lines import PlainLines
from retraining.contract.layout import Layout, inspect
from retraining.contract.reader import Line, judge
from retraining.contract.rules import Contract
from retraining.contract.values import mixed

SPLIT = {"train": 70, "validation": 15, "test": 15}
WHOLE = {
    "columns": [
        {"name": "kind", "type": "string", "allowed": ["M", "F", "very long"]},
        {"name": "note", "type": "string", "nullable": True},
        {"name": "length", "type": "double", "min": 0, "exclusive_min": True, "max": 1e6},
        {"name": "width", "type": "double", "nullable": True},
        {"name": "count", "type": "int", "min": -5, "nullable": True},
        {"name": "rings", "type": "int", "min": 1, "max": 29},
    ],
    "target": "rings",
    "rules": [{"name": "narrow", "sum": ["width", "count"], "at_most": "length", "tolerance": 1.5}],
}
CELLS = (
    *(
        "M",
        "F",
        "very long",
        "m",
        "",
        " ",
        "NA",
        "a b",
        " M ",
        "é",
        "\u00a0M",
        "x\u00a0",
        '"M"',
        '"',
        "\t",
        "\x1f",
        "\x1c0",
        "ab\x7f",
    ),
    *(
        "1",
        "0",
        "-0",
        "+1",
        "007",
        "1.",
        ".5",
        "-.5",
        ".",
        "-",
        "1e3",
        "1E-3",
        "1e999",
        "1e-999",
        "0e-999",
        "1e",
        "5e-324",
        "2e-324",
    ),
    *(
        "0.1",
        "0.30000000000000004",
        "12345678901234567890",
        "9223372036854775807",
        "9223372036854775808",
        "29.0",
        "3.5",
        "30",
    ),
    *(
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "0x1p3",
        "0xF",
        "1_0",
        "1,5",
        "1d",
        "-999",
        "\uff19",
        "synthetic",
        "survey",
        "Survey",
    ),
)
cells = st.one_of(st.sampled_from(CELLS), st.floats(allow_nan=False).map(repr), st.integers(-10, 40).map(str))
usual = st.tuples(
    st.sampled_from(["M", "F", " F", "very long "]),
    st.sampled_from(["", "a note", "é", " x "]),
    st.floats(0.001, 1e6).map(repr),
    st.one_of(st.just(""), st.floats(-1e3, 10).map(repr)),
    st.one_of(st.just(""), st.integers(-5, 9).map(str)),
    st.integers(1, 29).map(str),
)
contracts = st.fixed_dictionaries(
    {
        "missing": st.sampled_from([[], ["NA"], ["NA", "-999", "M", "1"]]),
        "identity": st.sampled_from([None, ["kind", "length"], ["note"]]),
        "split_by": st.sampled_from([None, ["kind", "width"]]),
    }
)


def by_reader(lines: list[str], contract: Contract, layout: Layout, source: str) -> list[Line]:
    return [judge(number, text, contract, layout, SPLIT, source) for number, text in enumerate(lines, start=5)]


def together(
    lines: list[str], contract: Contract, layout: Layout, source: str
) -> tuple[dict[int, Any], dict[int, str]]:
    plain = PlainLines(contract, layout, tuple(SPLIT.items()), 3, source == "synthetic")
    table, others = plain.judge("".join(f"{line}\n" for line in lines).encode(), 5)
    rows = {row["line"]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows
    return rows, {number: text.decode() for number, text in others}


def compare(lines: list[str], contract: Contract, layout: Layout, source: str = "survey") -> tuple[int, int]:
    """Compare both; returns how many lines were judged together, and how many good ones there are."""
    rows, others = together(lines, contract, layout, source)
    expected = by_reader(lines, contract, layout, source)
    assert sorted([*rows, *others]) == [line.number for line in expected]
    splits = list(SPLIT)
    for line in expected:
        if line.number in others:
            assert others[line.number] == line.raw
            continue
        row = rows[line.number]
        assert not line.reasons
        values = tuple(row[f"value_{place}"] for place in range(len(contract.columns)))
        assert list(map(bits, values)) == list(map(bits, line.values))
        assert (row["row_hash"], splits[row["split"]], row["synthetic"]) == (line.row_hash, line.split, line.synthetic)
        assert row["key"] == int(str(line.row_hash)[:15], 16)
        assert (row["file"], row["target"]) == (3, float(line.values[contract.position[contract.target]]))
    return len(rows), sum(not line.reasons for line in expected)


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


def laid_out(contract: Contract, delimiter: str, reverse: bool, source: bool) -> Layout:
    names = [*(contract.names[::-1] if reverse else contract.names), *(["source"] if source else [])]
    text = f"{delimiter.join(names)}\n".encode()
    return inspect(lambda: io.BytesIO(text), "new/a.csv", contract)


@settings(max_examples=300)
@given(
    st.lists(st.one_of(usual, st.lists(cells, min_size=5, max_size=7)), min_size=1, max_size=30),
    contracts,
    st.sampled_from([",", ";", "\t", "|"]),
    st.booleans(),
    st.sampled_from([None, "", "synthetic", " Survey", "else"]),
    st.sampled_from(["survey", "synthetic"]),
)
@example([("M", "", "1.0", "1.5", "", "3")] * 3, {}, ",", False, None, "survey")
@example([("M", "", "0.1", "0.1", "0", "3"), ("M", "", "1.0", "1.0", "1", "3")], {}, ",", False, None, "survey")
def test_what_is_judged_together_is_what_the_reader_says(
    rows: list[Any], options: dict[str, Any], delimiter: str, reverse: bool, said: str | None, source: str
) -> None:
    contract = Contract.of({**WHOLE, **{name: value for name, value in options.items() if value}})
    layout = laid_out(contract, delimiter, reverse, said is not None)
    lines = []
    for row in rows:
        some = [*(row[::-1] if reverse else row), *([said] if said is not None else [])]
        lines.append(delimiter.join(some).replace("\n", " ").replace("\r", " "))
    compare(lines, contract, layout, source)


@pytest.mark.parametrize("missing", [[], ["NA"], ["NA", "-999", "M", "1"]])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_every_odd_cell_in_every_column(missing: list[str], delimiter: str) -> None:
    contract = Contract.of({**WHOLE, "missing": missing})
    lines = [
        delimiter.join((*row[:place], cell, *row[place + 1 :]))
        for row in (("M", "note", "2", "1.5", "1", "3"), ("F", "", "0.1", "", "", "29"))
        for place in range(6)
        for cell in CELLS
    ]
    together, good = compare(lines, contract, laid_out(contract, delimiter, False, False))
    assert 0.8 * good < together < good
    for line in lines:  # none hides behind its neighbours
        compare([line], contract, laid_out(contract, delimiter, False, False))


def test_usual_rows_are_all_judged_together() -> None:
    contract = Contract.of(WHOLE)
    lines = [f"M, a note ,{n + 1}.25,{n / 7!r},,{n % 29 + 1}" for n in range(500)]
    assert compare(lines, contract, laid_out(contract, ",", False, False)) == (500, 500)
    lines[7] = '"M",,1.5,,,3'
    lines[8] = "M,,1.5,,2.0,3"
    lines[9] = ""
    lines[10] = "X,,1.5,,,3"
    assert compare(lines, contract, laid_out(contract, ",", False, False)) == (496, 498)


def test_a_column_that_the_file_lacks_is_missing() -> None:
    contract = Contract.of(WHOLE)
    text = b"rings;length;kind\n"
    layout = inspect(lambda: io.BytesIO(text), "new/a.csv", contract)
    assert -1 in layout.order
    assert compare(["3;1.5;M", "4;2;F", "5;0;F"], contract, layout) == (2, 2)


def test_a_text_of_any_length_and_a_line_that_is_too_long() -> None:
    contract = Contract.of(WHOLE)
    layout = laid_out(contract, ",", False, False)
    assert compare([f"M,{'é' * 300_000},1,,,3", f"M,{'n' * (1 << 20)},1,,,3"], contract, layout) == (1, 1)


@pytest.mark.parametrize(
    ("change", "plain"),
    [
        ({}, True),
        ({"csv": {"decimal": ","}}, False),
        ({"csv": {"thousands": ","}}, False),
        ({"csv": {"multiline": True}}, False),
        ({"columns": [*WHOLE["columns"], {"name": "day", "type": "date"}]}, False),
    ],
)
def test_which_files_can_have_plain_lines(change: dict[str, Any], plain: bool) -> None:
    contract = Contract.of({**WHOLE, **change})
    layout = Layout(order=tuple(range(len(contract.names))), width=len(contract.names))
    assert PlainLines.of_any(contract, layout, by_time=False) is plain
    assert not PlainLines.of_any(contract, layout, by_time=True)
    assert not PlainLines.of_any(contract, replace(layout, notation="json_lines"), by_time=False)
    assert not PlainLines.of_any(contract, replace(layout, delimiter="€"), by_time=False)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_the_form_of_many_doubles_is_that_of_each(numbers: list[float]) -> None:
    plain = [number + 0.0 for number in numbers]
    assert mixed_at_once(np.array(plain, float)).tolist() == [mixed(number) for number in plain]
    assert all(math.isfinite(number) for number in plain)
