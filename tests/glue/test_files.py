"""How one file is judged by its first bytes, before Spark sees it."""

from __future__ import annotations

import gzip
import io
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from survey_bucket import COLUMNS, MODEL

from glue_scripts import merge_survey_data as job

CONTRACT = job.Contract.of(MODEL["contract"])
HEADER = ",".join(COLUMNS)
ROW = "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15"


def layout(head: bytes | str, key: str = "abalone/new/a.csv") -> job.Layout:
    return job.layout_of(head.encode() if isinstance(head, str) else head, key, CONTRACT)


@given(
    st.permutations(COLUMNS),
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", '"']),
    st.booleans(),
)
def test_header_in_any_order_case_and_quoting_is_understood(order, upper, end, quote, mark) -> None:
    header = ",".join(f"{quote}{name.upper() if upper else name}{quote} " for name in order)
    found = layout(("\ufeff" if mark else "") + end + header + end + ROW + end)
    assert found.refused is None
    assert [order[position] for position in found.order] == list(COLUMNS)
    assert found.header == header
    assert found.width == len(COLUMNS)


@given(st.text(alphabet=st.characters(codec="ascii", exclude_characters=";\t|\0"), max_size=200))
def test_any_text_gets_a_verdict(text: str) -> None:
    found = layout(text)
    assert found.refused or len(found.order) == len(COLUMNS)


@given(st.binary(max_size=300))
def test_any_bytes_get_a_verdict(head: bytes) -> None:
    for key in ("new/a.csv", "new/a.csv.gz"):
        found = layout(head, key)
        assert found.refused or len(found.order) == len(COLUMNS)


def test_header_may_add_a_source() -> None:
    found = layout(f"source,{HEADER}\n")
    assert (found.source_at, found.order[0], found.width) == (0, 1, 10)


def test_first_line_of_data_is_no_header() -> None:
    for line in (ROW, "X,nan,inf,nan,nan,nan,nan,nan,nan", "M,,,,,,,,", ""):
        found = layout(line + "\n")
        assert (found.refused, found.header, found.order) == (None, None, tuple(range(9)))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (f"{HEADER},rings", "repeats rings"),
        (f"{HEADER},colour", "has unknown colour"),
        (HEADER.removeprefix("sex,"), "lacks sex"),
        ("a,b,c", "names no contract column"),
        (HEADER.replace(",", "\t"), "separated by '\\t'"),
        ("x" * job.HEAD_BYTES, "longer than 64 KiB"),
        (b"PK\x03\x04", "zip archive"),
        (HEADER.encode("utf-16-be"), "NUL"),
        ("ä".encode("latin-1"), "not UTF-8"),
    ],
)
def test_what_is_refused_says_why(head: bytes | str, reason: str) -> None:
    assert reason in (layout(head).refused or "")


@pytest.mark.parametrize("name", ["_a.csv", ".a.csv", "a.csv.bz2", "a.xlsx", "A.CSV.GZ", "x//a.csv", "../a.csv"])
def test_names_that_spark_would_misread_are_refused(name: str) -> None:
    assert layout(ROW, f"abalone/new/{name}").refused


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=3))
def test_sound_gzip_of_any_members_has_no_defect(content: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(content)]
    members = b"".join(gzip.compress(content[a:b]) for a, b in pairwise(edges))
    assert job.gunzip_defect(io.BytesIO(members)) is None


@given(st.binary(min_size=1, max_size=400), st.data())
def test_cut_or_damaged_gzip_has_a_defect(content: bytes, data) -> None:
    whole = gzip.compress(content)
    cut = data.draw(st.integers(1, len(whole) - 1))
    assert job.gunzip_defect(io.BytesIO(whole[:cut]))
    at = data.draw(st.integers(len(whole) - 8, len(whole) - 1))
    damaged = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
    assert job.gunzip_defect(io.BytesIO(damaged))


@given(st.text())
def test_fixed_names_keep_no_random_id(folder: str) -> None:
    identifier = "0b0f6a5e-8f0c-4d3c-9f43-3f0f6d9a1b2c"
    assert job.fixed_name(f"part-00003-{identifier}-c000.snappy.parquet") == "part-00003.parquet"
    assert job.fixed_name(f"split=test/part-00003-{identifier}.c000.csv") == "split=test/part-00003.csv"


def manifest(**changes: object) -> dict[str, object]:
    file = {"key": "abalone/new/a.csv", "etag": "e", "size": 1, "version_id": None, "source": "survey"}
    return {
        "batch": "b2", "bucket": "bucket", "files": [file], "contract": MODEL["contract"], "split": MODEL["split"],
        "history": ["b1"], "output": "s3://bucket/o", "quarantine": "s3://bucket/q/", "report": "s3://bucket/r.json",
    } | changes  # fmt: skip


def test_manifest_is_read() -> None:
    read = job.Manifest.of(json.loads(json.dumps(manifest())))
    assert read.files[0].uri == "s3://bucket/abalone/new/a.csv"
    assert read.output == "s3://bucket/o/"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"batch": "b1"}, "committed already"),
        ({"split": {"train": 80, "test": 10}}, "100 percent"),
        ({"split": {"test": 100}}, "no 'train'"),
        ({"files": [{"key": "a", "size": 1}] * 2}, "more than once"),
        ({"files": [{"key": "a", "size": 1, "source": "rumour"}]}, "unknown source"),
        ({"contract": {**MODEL["contract"], "target": "age"}}, "not among its columns"),
        ({"contract": {"columns": [{"name": "split", "type": "int"}], "target": "split"}}, "column of that name"),
        (
            {"contract": {"columns": [{"name": "x", "type": "int", "nullable": True}], "target": "x"}},
            "cannot be nullable",
        ),
        ({"contract": {"columns": [{"name": "x", "type": "date"}], "target": "x"}}, "type 'date'"),
    ],
)
def test_manifest_that_cannot_be_merged_says_why(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(job.ManifestError, match=complaint):
        job.Manifest.of(manifest(**changes))


def test_file_order_in_the_manifest_cannot_matter() -> None:
    files = [{"key": key, "size": 1} for key in ("b", "a", "c")]
    assert job.Manifest.of(manifest(files=files)) == job.Manifest.of(manifest(files=files[::-1]))


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # py4j leaves them to the collector
def test_literals_survive_sql(spark) -> None:
    values = ["it's", 'a "b"', "back\\slash", "line\nfeed", "ü😀", "%_", "\r\t", ""]
    found = job.local_table(spark, "text string, n bigint", [(value, 2**40) for value in values]).collect()
    assert [tuple(row) for row in found] == [(value, 2**40) for value in values]
