"""Any mixture of files in any order and batching, through Spark: the good rows of good files are stored once, each value in its column."""

from __future__ import annotations

import bz2
import gzip
import json
import random
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from survey_bucket import COLUMNS, MODEL, ROOT, Bucket, line_of

from retraining.contract.layout import inspect
from retraining.contract.reader import read
from retraining.contract.rules import Contract

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]
CONTRACT = Contract.of(MODEL["contract"])
LANDING = ROOT / "tests" / "landing"
#: Collected files of which no row may be merged, by their path below LANDING.
FOREIGN = sorted(
    f"{folder}/{name}"
    for folder, files in yaml.safe_load((LANDING / "situations.yaml").read_text("utf-8")).items()
    for name, told in files.items()
    if told[0] != "merged"
)


def write(notation: str, order: list[int], lines: list[str]) -> tuple[str, bytes]:
    """Write rows with their columns in an order; returns the end of a name and the bytes."""
    cells = [[line.split(",")[at] for at in order] for line in lines]
    names = [COLUMNS[at] for at in order]
    if notation == "json":
        rows = (dict(zip(names, row, strict=True)) for row in cells)
        return ".jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()
    delimiter = {"tab": "\t", "semicolon": ";"}.get(notation, ",")
    header = delimiter.join(names)
    top = {"sep": "sep=,\n", "titled": "Survey of the north bay\n\n", "marked": "\ufeff", "shouted": ""}.get(
        notation, ""
    )
    header = header.replace("_", " ").upper() if notation == "shouted" else header
    body = (top + "\n".join([header, *(delimiter.join(row) for row in cells)]) + "\n").encode()
    if notation == "gzip":
        return ".csv.gz", gzip.compress(b"") + gzip.compress(body)
    return (".csv.bz2", bz2.compress(body)) if notation == "bzip2" else (".csv", body)


NOTATIONS = ("plain", "tab", "semicolon", "sep", "titled", "marked", "shouted", "gzip", "bzip2", "json")
GOOD = st.tuples(
    st.sampled_from(NOTATIONS),
    st.permutations(range(len(COLUMNS))),
    st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True),
    st.integers(0, 2),  # bad rows, within the budget
)
FILES = st.one_of(GOOD, GOOD, st.sampled_from(FOREIGN))


@pytest.mark.parametrize("by_spark", [False, True], ids=["in_memory", "by_spark"])
@given(
    batches=st.lists(st.lists(FILES, min_size=1, max_size=12), min_size=1, max_size=2),
    order=st.randoms(use_true_random=False),
)
# A merge takes seconds: a failing example is shown as it is, not made smaller.
@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_good_rows_are_stored_once_with_each_value_in_its_column(
    spark: SparkSession, by_spark: bool, batches: list, order: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bucket = Bucket(Path(folder), spark, by_spark)
        expected: dict[str, tuple[object, ...]] = {}
        done: list[str] = []
        for number, files in enumerate(batches):
            keys = []
            for at, file in enumerate(files):
                if isinstance(file, str):
                    keys.append(bucket.put(f"abalone/new/{number}-{at}/{file}", (LANDING / file).read_bytes()))
                    continue
                notation, columns, rows, bad = file
                lines = [line_of(row) for row in rows]
                broken = [line_of(0).replace(",0.1,", ",-1,")] * min(bad, len(rows) // 25)
                end, body = write(notation, list(columns), lines + broken)
                keys.append(bucket.put(f"abalone/new/{number}-{at}{end}", body))
                expected |= plain_rows(bucket, lines)
            order.shuffle(keys)
            report = bucket.merge(f"b{number}", keys, history=done)
            merged = {file["key"] for file in report["files"] if file["outcome"] == "merged"}
            assert merged == {key for key in keys if not key.endswith(tuple(FOREIGN))}
            done.append(f"b{number}")
        stored = [row for rows in bucket.data(*done).values() for row in rows]
        assert len(stored) == len({row["row_hash"] for row in stored})
        assert {row["row_hash"]: tuple(row[name] for name in COLUMNS) for row in stored} == expected


def plain_rows(bucket: Bucket, lines: list[str]) -> dict[str, tuple[object, ...]]:
    """The rows in the order of the contract, as the plain reader reads them, by hash."""
    path = bucket.root / bucket.put("plain/rows.csv", "\n".join([",".join(COLUMNS), *lines]) + "\n")
    layout = inspect(lambda: path.open("rb"), path.name, CONTRACT)
    read_lines = read(lambda: path.open("rb"), path.name, CONTRACT, layout, MODEL["split"])
    return {str(line.row_hash): line.values for line in read_lines}
