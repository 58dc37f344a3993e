"""What is decided before and beside Spark: the manifest, names of published files, SQL literals, places where Spark reads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from survey_bucket import MODEL

from glue_scripts.merge.by_spark.lines import _PLAIN_KEY
from glue_scripts.merge.by_spark.publisher import fixed_name
from glue_scripts.merge.by_spark.session import literal, local_table
from glue_scripts.merge.manifest import Manifest, ManifestError


@pytest.mark.parametrize(
    "key",
    [
        "a b.csv",
        "x[1].csv",
        "10:15.csv",
        "sex=M/a.csv",
        "ü.csv",
        "a{b}.csv",
        "50%.csv",
        "_x/a.csv",
        "y" * 300 + ".csv",
        "a\\b.csv",
    ],
)
def test_keys_that_spark_would_misread_are_copied_first(key: str) -> None:
    assert not _PLAIN_KEY.fullmatch(f"abalone/new/{key}")
    assert _PLAIN_KEY.fullmatch("abalone/new/2025-03-01_north_bay.csv.gz")


@given(st.text())
def test_no_foreign_text_becomes_sql_text(text: str) -> None:
    assert not set(literal(text)) & set('${}\\;"`\n')
    assert literal(text).count("'") == 2


@given(st.text())
def test_fixed_names_keep_no_random_id(folder: str) -> None:
    identifier = "0b0f6a5e-8f0c-4d3c-9f43-3f0f6d9a1b2c"
    assert fixed_name(f"part-00003-{identifier}-c000.snappy.parquet") == "part-00003.parquet"
    assert fixed_name(f"split=test/part-00003-{identifier}.c000.csv") == "split=test/part-00003.csv"


def manifest(**changes: object) -> dict[str, object]:
    file = {"key": "abalone/new/a.csv", "etag": "e", "size": 1, "version_id": None, "source": "survey"}
    return {
        "batch": "b2", "bucket": "bucket", "files": [file], "contract": MODEL["contract"], "split": MODEL["split"],
        "history": ["b1"], "output": "s3://bucket/o", "quarantine": "s3://bucket/q/", "report": "s3://bucket/r.json",
    } | changes  # fmt: skip


def test_manifest_is_read() -> None:
    read = Manifest.of(json.loads(json.dumps(manifest())))
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
        ({"contract": {"columns": [{"name": "x", "type": "decimal"}], "target": "x"}}, "type 'decimal'"),
    ],
)
def test_manifest_that_cannot_be_merged_says_why(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        Manifest.of(manifest(**changes))


def test_file_order_in_the_manifest_cannot_matter() -> None:
    files = [{"key": key, "size": 1} for key in ("b", "a", "c")]
    assert Manifest.of(manifest(files=files)) == Manifest.of(manifest(files=files[::-1]))


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # py4j leaves them to the collector
def test_literals_survive_sql(spark) -> None:
    values = ["it's", 'a "b"', "back\\slash", "line\nfeed", "ü😀", "%_", "\r\t", ""]
    found = local_table(spark, "text string, n bigint", [(value, 2**40) for value in values]).collect()
    assert [tuple(row) for row in found] == [(value, 2**40) for value in values]
