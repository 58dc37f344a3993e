"""JSON Lines and Parquet as the plain reader sees them."""

from __future__ import annotations

import gzip
import io
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model import HEADER, ROW, abalone, judged, small

from retraining.contract.layout import inspect
from retraining.contract.notation.lines import line_of
from retraining.contract.reader import read
from retraining.contract.rules import Contract, cut
from retraining.contract.values import BLANKS

NAMES = HEADER.split(",")
OBJECT = {name: cell if name == "sex" else json.loads(cell) for name, cell in zip(NAMES, ROW.split(","), strict=True)}
LINE = json.dumps(OBJECT)


def values(body: bytes, key: str, contract: Contract) -> list[tuple[object, ...]]:
    layout = inspect(lambda: io.BytesIO(body), key, contract)
    return [line.values for line in read(lambda: io.BytesIO(body), key, contract, layout, {"train": 100})]


def parquet(columns: dict[str, object]) -> bytes:
    body = io.BytesIO()
    pq.write_table(pa.table(columns), body)
    return body.getvalue()


@given(st.lists(st.text(), min_size=1))
def test_cells_come_back_from_the_line_that_they_are_written_as(cells: list[str]) -> None:
    kept = [cell.strip(BLANKS) for cell in cells]
    harmless = all(character not in cell for cell in kept for character in "\r\n\x1f")
    line = line_of(cells)
    assert "\n" not in line
    assert "\r" not in line
    assert not line.startswith("\x1c")
    if harmless:
        assert cut(line, ",") == kept


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_those_of_the_file_to_the_last_bit(depth: float, count: int) -> None:
    expected = [(None, depth + 0.0, count)]
    assert values(json.dumps({"depth": depth, "count": count}).encode(), "a.jsonl", small()) == expected
    assert values(parquet({"depth": [depth], "count": [count]}), "a.parquet", small()) == expected


def test_keys_go_by_name_in_any_order_and_spelling() -> None:
    other = json.dumps({name.replace("_", " ").title(): OBJECT[name] for name in reversed(NAMES)})
    found = judged(f"{LINE}\n{other}\n", key="a.ndjson")
    assert (found.outcome, found.accepted, found.duplicate) == ("merged", 1, 1)
    assert judged(gzip.compress(LINE.encode()), key="a.json.gz").accepted == 1


@pytest.mark.parametrize(
    ("name", "body", "reason", "remedy"),
    [
        ("a.jsonl", f"[{LINE}]", "a JSON list", "jq -c"),
        ("a.json", json.dumps(OBJECT, indent=1), "over several lines", "jq -c"),
        ("a.json", f"{HEADER}\n{ROW}\n", "none of the first lines is a JSON object", ".csv"),
        ("a.jsonl", json.dumps({**OBJECT, "Age": 3}), "the set of keys has unknown Age", "ignore: [Age]"),
        ("a.jsonl", '{"sex": "M"}', "the set of keys lacks length", "aliases"),
        ("a.csv", LINE, "JSON, but the name ends in neither .jsonl", "name it ....jsonl"),
        ("a.parquet", f"{HEADER}\n{ROW}\n", "named .parquet but is not Parquet", "by what it is"),
        ("a.csv", parquet({"a": [1]}), "Parquet, but the name does not end in .parquet", ".parquet"),
        ("a.parquet", parquet({"a": [1]}), "the schema names no contract column: a", "aliases"),
        ("a.parquet", parquet({name: [[1]] for name in NAMES}), "the column sex holds list<", "a column per value"),
        ("a.parquet", parquet({"a": [1]})[:-9], "damaged Parquet", "again"),
        ("a.parquet.gz", gzip.compress(parquet({"a": [1]})), "Parquet in an archive", "as it was before"),
    ],
)
def test_what_is_refused_says_why_and_what_to_do(name: str, body: str | bytes, reason: str, remedy: str) -> None:
    found = judged(body, key=name)
    assert found.outcome == "refused"
    assert reason in (found.reason or "")
    assert remedy in (found.remedy or "")


def test_a_line_that_is_no_object_is_a_bad_row_and_shown_as_it_came() -> None:
    lines = [LINE, "M,0.5", LINE[:-1], '{"sex": ["M"]}', '{"sex": "M", "SEX": "F"}', "", "{}", '{"sex": null}']
    found = judged("\n".join(lines), abalone(bad_rows={"max_share": 1.0}), key="a.jsonl")
    assert (found.rows, found.accepted) == (5, 1)
    assert [(bad["line"], bad["reason"]) for bad in found.first] == [
        (2, "line: not a JSON object"),
        (3, "line: not a JSON object"),
        (4, "line: a value is a list or an object"),
        (5, "line: a key that comes twice"),
    ]


def test_an_unknown_key_far_down_is_a_bad_row() -> None:
    body = (LINE + "\n") * 7000 + json.dumps({**OBJECT, "Age": 3}) + "\n"
    assert judged(body, key="a.jsonl").reasons == {"line: a key that the contract does not know": 1}


def test_a_number_has_a_point_and_a_text_what_the_contract_says() -> None:
    contract = small(csv={"delimiter": ";", "decimal": ",", "thousands": "."})
    body = b'{"depth": 1234.5, "count": 1000}\n{"depth": "1.234,5", "count": "1.000"}'
    assert values(body, "a.jsonl", contract) == [(None, 1234.5, 1000)] * 2


def test_without_pyarrow_parquet_is_refused_in_words(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = judged(parquet({name: [1] for name in NAMES}), key="a.parquet")
    assert found.reason == "Parquet, and this Python has no pyarrow to read it"


@given(st.binary(max_size=200))
def test_any_bytes_get_a_verdict(body: bytes) -> None:
    for key, start in (("a.jsonl", b'{"sex": "M"'), ("a.parquet", b"PAR1")):
        assert judged(start + body, key=key).outcome in ("merged", "refused")
