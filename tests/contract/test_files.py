"""How a file is laid out, which files refuse themselves, and what people are told."""

from __future__ import annotations

import bz2
import gzip
import io
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model import HEADER, ROW, abalone, judged, small

from retraining.contract.layout import inspect
from retraining.contract.reader import read
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Contract, ContractError, cut
from retraining.contract.unpacking import lines_of, unpacked

NAMES = HEADER.split(",")


@given(
    st.permutations(NAMES),
    st.sampled_from(["lower", "upper", "title"]),
    st.sampled_from(["_", " ", "-", ".", ""]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", '"']),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(
        ["", "sep=?", "Survey of the reef", "# a comment\n# of two lines", "\n", "Abalone, spring 2025\n\n"]
    ),
    st.booleans(),
)
def test_a_header_is_found_and_read_however_it_is_written(order, case, joint, end, quote, mark, top, bom) -> None:
    names = [f"{quote}{getattr(name, case)().replace('_', joint)}{quote}" for name in order]
    by_name = dict(zip(NAMES, ROW.split(","), strict=True))
    lines = [*([top.replace("?", mark)] if top else []), mark.join(names), mark.join(by_name[name] for name in order)]
    found = judged(("\ufeff" if bom else "") + end.join(lines).replace("\n", end))
    assert (found.outcome, found.accepted, found.quarantined) == ("merged", 1, 0), found
    assert list(found.columns) == NAMES


def test_values_land_in_the_column_of_their_heading() -> None:
    body = (
        f"shell_weight,{HEADER.replace(',shell_weight', '')}\n0.15,M,0.455,0.365,0.095,0.514,0.2245,0.101,15\n".encode()
    )
    contract = abalone()
    layout = inspect(lambda: io.BytesIO(body), "a.csv", contract)
    (line,) = read(lambda: io.BytesIO(body), "a.csv", contract, layout, {"train": 100})
    assert line.values == ("M", 0.455, 0.365, 0.095, 0.514, 0.2245, 0.101, 0.15, 15)


@pytest.mark.parametrize(
    ("body", "reason", "remedy"),
    [
        (f"{HEADER},rings\n", "repeats rings", "one column of each name"),
        (f"{HEADER},Colour\n", "has unknown Colour", "ignore: [Colour]"),
        (f"{HEADER},\n", "column 10 without a name", 'ignore: [""]'),
        (HEADER.removeprefix("sex,"), "lacks sex", "aliases"),
        (HEADER.replace("whole_weight", "Whole"), "has unknown Whole", "did you mean whole_weight?"),
        ("a,b,c\n", "names no contract column", "aliases"),
        (ROW.replace(",", "\t"), "separated by tabs", "header"),
        (ROW.replace(",", ";"), "separated by ';'", "header"),
        (ROW.replace(",", "  "), "separated by blanks", "commas"),
        (f"15,{ROW},1\n" * 3, "11 columns, the contract has 9", "header"),
        (f"{HEADER}\n{ROW}\n{','.join(reversed(NAMES))}\n", "line 3 is a header in another order", "split the file"),
        (f"{ROW}\n{','.join(reversed(NAMES))}\n{ROW}\n", "line 2 is a header in another order", "split the file"),
        (b"PK\x03\x04", "zip archive", "upload the CSV"),
        (b"PAR1....", "Parquet", ".parquet"),
        ("<!DOCTYPE html><html>", "an HTML page", "login"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer", "git lfs pull"),
        ("% title\n@relation abalone\n@attribute sex {M,F,I}\n", "ARFF", "CSV"),
        ("15 1:0.455 2:0.365\n", "libsvm", "commas"),
        ('{"sex": "M"}\n', "JSON", "header"),
        (HEADER.encode("utf-16"), "UTF-16", "UTF-8"),
        (HEADER.encode("utf-16-be"), "NUL", "UTF-8"),
        (f"{HEADER}\nä".encode("latin-1"), "not UTF-8 in the last line", "UTF-8"),
        (f"{HEADER}\nä\n".encode("latin-1"), "not UTF-8 in line 2", "UTF-8"),
        (b"x" * (17 << 20), "longer than 16 MB", "CSV"),
    ],
)
def test_a_refused_file_says_why_and_what_to_do(body: str | bytes, reason: str, remedy: str) -> None:
    found = judged(body)
    assert found.outcome == "refused"
    assert reason in (found.reason or "")
    assert remedy in (found.remedy or "")
    assert found.accepted == 0
    assert found.quarantined == found.rows


def test_messages_stay_short_and_visible() -> None:
    found = judged(HEADER + "".join(f",c{number}" for number in range(10_000)))
    assert "c9 and 9,990 more" in (found.reason or "")
    assert len(found.reason or "") < 400
    evil = judged(HEADER + ",\x1b[2J\u202e${env:HOME}")
    assert "U+001B[2JU+202E${env:HOME}" in (evil.reason or "")
    many = judged(",".join("x" * 30 + str(number) for number in range(30)) + ",rings")
    assert len(many.reason or "") <= 2000
    assert len(many.remedy or "") <= 2000


def test_aliases_and_ignore_take_other_headings() -> None:
    columns = [dict(column) for column in small_columns()]
    columns[1]["aliases"] = ["Tiefe (m)", "depth_m"]
    contract = Contract.of({"columns": columns, "target": "count", "ignore": ["id", ""]})
    found = judged("id,Site,tiefe(M),,COUNT\n1,a,0.5,x,3\n", contract)
    assert (found.outcome, found.accepted) == ("merged", 1)
    assert found.columns == {"site": "Site", "depth": "tiefe(M)", "count": "COUNT"}


def small_columns() -> list[dict[str, object]]:
    return [
        {"name": "site", "type": "string", "nullable": True},
        {"name": "depth", "type": "double", "nullable": True},
        {"name": "count", "type": "int"},
    ]


def test_headings_that_meet_are_no_contract() -> None:
    columns = small_columns()
    columns[0]["aliases"] = ["DEPTH "]
    with pytest.raises(ContractError, match="answer to the same heading"):
        Contract.of({"columns": columns, "target": "count"})
    with pytest.raises(ContractError, match="ignore names"):
        small(ignore=["Count"])


def test_a_nullable_column_may_be_left_out_and_lines_of_separators_are_blank() -> None:
    found = judged("site,count\na,1\n,,\n,\n\n", small())
    assert (found.rows, found.accepted) == (1, 1)


def test_a_header_may_be_demanded() -> None:
    found = judged(ROW, abalone(header="required"))
    assert "no line looks like a header" in (found.reason or "")


def test_words_and_codes_for_a_missing_value() -> None:
    lines = "site,depth,count\nNA,NA,1\nb,-999,2\nc,?,3\nd,0.5,NULL\n"
    strict = judged(lines, small(bad_rows={"max_share": 1.0}))
    assert strict.reasons == {
        "depth: missing, written as a word or code (see `missing`)": 2,
        "count: missing, written as a word or code (see `missing`)": 1,
    }
    told = judged(lines, small(missing=["NA", "?", "-999"], bad_rows={"max_share": 1.0}))
    assert told.accepted == 3


def test_an_allowed_text_is_a_value_even_when_it_looks_missing() -> None:
    columns = small_columns()
    columns[0] |= {"nullable": False, "allowed": ["EU", "NA"]}
    contract = Contract.of({"columns": columns, "target": "count", "missing": ["NA"]})
    assert judged("NA,NA,1\n", contract).accepted == 1


def test_decimal_comma_and_thousands_where_the_contract_says_so() -> None:
    contract = small(csv={"delimiter": ";", "decimal": ",", "thousands": "."})
    found = judged("a;1.234,5;1.000\nb;0,5;3\nc;0.455;3\n", contract)
    assert found.reasons == {"depth: not a number": 1}


def test_a_record_may_span_lines_where_the_contract_says_so() -> None:
    body = 'site,depth,count\n"two\r\nlines, ""quoted""",0.5,1\n"open,0.5,2\nb,0.5,3\n'
    contract = small(csv={"multiline": True}, bad_rows={"max_share": 1.0})
    layout = inspect(lambda: io.BytesIO(body.encode()), "a.csv", contract)
    lines = list(read(lambda: io.BytesIO(body.encode()), "a.csv", contract, layout, {"train": 100}))
    assert [(line.number, line.reasons) for line in lines] == [(2, ()), (4, ("line: unbalanced quotes",)), (5, ())]
    assert lines[0].values[0] == 'two\nlines, "quoted"'
    assert judged(body, small()).quarantined


def test_a_unit_mistake_is_named() -> None:
    rows = "".join(f"M,{90 + n},{73 + n},{19 + n},0.5,0.2,0.1,0.15,{5 + n}\n" for n in range(10))
    found = judged(f"{HEADER}\n{rows}")
    assert "The values of length, diameter, height look 200 times too large (the contract's unit is mm / 200)" in (
        found.remedy or ""
    )


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_archives_of_several_members_are_read_to_the_end(pack) -> None:
    body = pack(b"") + pack(f"{HEADER}\n{ROW}\n".encode()) + pack(ROW.replace("15", "16").encode())
    found = judged(body, key="a.csv.gz" if pack is gzip.compress else "a.csv.bz2")
    assert (found.outcome, found.accepted) == ("merged", 2)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=3))
def test_sound_gzip_unpacks_to_what_was_packed(content: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(content)]
    members = b"".join(gzip.compress(content[a:b]) for a, b in pairwise(edges))
    assert b"".join(unpacked(io.BytesIO(members), "a.gz")) == content


@given(st.binary(min_size=1, max_size=400), st.data())
def test_cut_or_damaged_gzip_is_refused(content: bytes, data) -> None:
    whole = gzip.compress(content)
    cut_at = data.draw(st.integers(3, len(whole) - 1))
    at = data.draw(st.integers(len(whole) - 8, len(whole) - 1))
    for body in (whole[:cut_at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
        with pytest.raises(FileRefused, match="corrupt gzip"):
            list(unpacked(io.BytesIO(body), "a.gz"))


def test_a_bomb_is_refused_in_constant_memory() -> None:
    body = gzip.compress(b"0" * (400 << 20), compresslevel=1)
    tracemalloc.start()
    found = judged(body, key="a.csv.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.outcome == "refused"
    assert peak < 64 << 20


def test_names_and_content_agree_about_packing() -> None:
    assert "named .gz but is not gzip" in (judged(ROW, key="a.csv.gz").reason or "")
    assert "does not end in .gz" in (judged(gzip.compress(ROW.encode())).reason or "")


@given(
    st.lists(st.sampled_from(["a", "", "é", "b" * 5, "\ufeff"])),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.integers(1, 7),
)
def test_lines_do_not_depend_on_the_blocks(lines: list[str], end: str, size: int) -> None:
    body = end.join(lines).encode()
    blocks = (body[at : at + size] for at in range(0, len(body), size))
    whole = list(lines_of(iter([body] if body else [])))
    found = list(lines_of(blocks)) if size >= 3 else whole
    assert found == whole
    text = body.decode().removeprefix("\ufeff")
    assert whole == (text.split(end)[: None if lines[-1] else -1] if text else [])


def test_cutting_takes_time_in_proportion_to_the_line() -> None:
    pairs = ",".join(['"a"'] * 100_000)
    assert cut(pairs, ",") == ["a"] * 100_000
    assert cut(' "a, ""b""" ,c\u00a0,"" ', ",") == ['a, "b"', "c", ""]


@given(st.binary(max_size=300))
def test_any_bytes_get_a_verdict(body: bytes) -> None:
    for key in ("new/a.csv", "new/a.csv.gz"):
        assert judged(body, key=key).outcome in ("merged", "refused", "ignored")


@given(st.text(max_size=300))
def test_any_text_gets_a_verdict(text: str) -> None:
    for body in (text, f"{HEADER}\n{text}"):
        found = judged(body.encode(errors="ignore"))
        assert found.outcome in ("merged", "refused", "ignored")
        assert found.rows == found.accepted + found.duplicate + found.quarantined
