"""A small batch is merged in memory, a large one by Spark: the same rows, counts and quarantine, and one reads what the other wrote."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from survey_bucket import COLUMNS, Bucket, line_of

from glue_scripts.merge import storage as storages
from glue_scripts.merge.in_memory import rows as in_memory
from glue_scripts.merge.in_memory.repeats import _places
from glue_scripts.merge.inputs import inspect_files
from glue_scripts.merge.manifest import Manifest, ManifestError
from glue_scripts.merge.storage import Storage

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # py4j leaves them to the collector
]
WAYS = {"in_memory": False, "by_spark": True}


@pytest.fixture
def buckets(tmp_path: Path, spark: SparkSession) -> dict[str, Bucket]:
    return {name: Bucket(tmp_path / name, spark, by_spark) for name, by_spark in WAYS.items()}


def told(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what may differ: seconds, bytes, and the last digits of a mean."""
    means = {name: mean and round(mean, 9) for name, mean in report["target_mean_by_split"].items()}
    return report | {"seconds": 0, "bytes_written": 0, "spark_version": 0, "target_mean_by_split": means}


def written(bucket: Bucket, batch: str) -> dict[str, Any]:
    """Everything that a merge wrote, as its readers see it; Spark reads the largest file first."""
    found: dict[str, Any] = {}
    for part in ("data", "hashes"):
        for path in sorted((bucket.root / f"abalone/dataset/{part}/batch={batch}").rglob("*.parquet")):
            table = pq.ParquetFile(path).read()
            columns = {field.name: str(field.type) for field in table.schema}
            found[str(path.relative_to(bucket.root))] = columns, sorted(table.to_pylist(), key=repr)
    for path in sorted((bucket.root / f"abalone/dataset/training/batch={batch}").rglob("*.csv")):
        rows = list(csv.reader(io.StringIO(path.read_text("utf-8"))))
        found[str(path.relative_to(bucket.root))] = sorted(([number(cell) for cell in row] for row in rows), key=repr)
    return {**found, "quarantine": bucket.quarantine(batch), "profile": profile(bucket, batch)}


def number(cell: str) -> str | float:
    try:
        return float(cell)
    except ValueError:
        return cell


def profile(bucket: Bucket, batch: str) -> dict[str, Any] | None:
    """Its sums without the last digits, its bins without those at the edge of which a value lies."""
    path = bucket.root / f"abalone/dataset/profiles/batch={batch}/profile.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text("utf-8"))
    for column in found["columns"].values():
        for part in column["splits"].values():
            if "sum" in part:
                part["sum"] = float(f"{part['sum']:.9g}")
    return dict(found)


def batches() -> Iterator[tuple[list[tuple[str, str | bytes]], dict[str, Any]]]:
    """Batches of a model, one after the other: files, and what the manifest says of them."""
    dice = random.Random(3)
    header = ",".join(COLUMNS)

    def lines(start: int, stop: int, bad: int = 0) -> str:
        some = [line_of(number) for number in range(start, stop)] + ["no row", line_of(3).replace("0.1", "x")][:bad]
        dice.shuffle(some)
        return "\n".join(some) + "\n"

    yield (
        [
            ("b.csv", f"{header}\n{lines(0, 120, 2)}\n{header}\n{lines(100, 130)}"),
            ("a.csv.gz", gzip.compress(lines(60, 90).encode())),
            ("other_order.csv", f"{header}\n{lines(500, 510)}{','.join(COLUMNS[::-1])}\n"),
            ("over_budget.csv", lines(600, 603, 2)),
            ("é [1].csv", "\r\n".join([header.upper().replace(",", ";"), line_of(700).replace(",", ";")])),
            ("cut.csv.gz", gzip.compress(lines(0, 9).encode())[:-7]),
            ("_SUCCESS", ""),
            (
                "rows.jsonl",
                "".join(json.dumps(dict(zip(COLUMNS, line_of(n).split(","), strict=True))) + "\n" for n in (1, 800)),
            ),
        ],
        {},
    )
    yield [("c.csv", lines(80, 200)), ("synthetic.csv", lines(150, 260))], {"synthetic": ["abalone/new/synthetic.csv"]}
    yield [("again.csv", lines(0, 50))], {}


def test_both_ways_write_the_same_and_know_what_the_other_wrote(buckets: dict[str, Bucket]) -> None:
    both = buckets.values()
    history: list[str] = []
    for number, (files, options) in enumerate(batches()):
        name = f"b{number}"
        for key, body in files:
            for bucket in both:
                bucket.put(f"abalone/new/{key}", body)
        keys = [f"abalone/new/{key}" for key, _ in files if f"abalone/new/{key}" not in options.get("synthetic", ())]
        reports = {way: bucket.merge(name, keys, history=history, **options) for way, bucket in buckets.items()}
        assert told(reports["in_memory"]) == told(reports["by_spark"])
        found = {way: written(bucket, name) for way, bucket in buckets.items()}
        assert found["in_memory"] == found["by_spark"]
        for bucket in both:  # the next batch finds what the other way has written
            bucket.by_spark = not bucket.by_spark
        history.append(name)
        reports = {way: report["rows_accepted"] for way, report in reports.items()}
    assert reports == {"in_memory": 0, "by_spark": 0}


def test_what_is_merged_in_memory_are_rows_within_the_limits(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(tmp_path, spark)
    plain = bucket.put("abalone/new/plain.csv", "".join(f"{line_of(n)}\n" for n in range(500)))
    quoted = bucket.put("abalone/new/quoted.csv", "".join(f'"M"{line_of(n)[1:]}\n' for n in range(30)))
    long = bucket.put("abalone/new/long.csv", "x" * 3000 + "\n" + line_of(40))
    texts = pa.table({"sex": ["M" * 1000] * 20, **{name: [0.1] * 20 for name in COLUMNS[1:-1]}, "rings": [9] * 20})
    sink = io.BytesIO()
    pq.write_table(texts, sink)
    packed = bucket.put("abalone/new/packed.parquet", sink.getvalue())

    def fits(*keys: str) -> bool:
        manifest = Manifest.of(bucket.manifest("b1", keys))
        return in_memory.read_rows(manifest, inspect_files(manifest, Storage()), Storage()) is not None

    assert fits(plain, quoted, long, packed)
    monkeypatch.setattr(in_memory, "MOST_ROWS", 30)
    assert fits(plain, quoted)
    assert not fits(plain, quoted, long), "lines of all files that are judged by themselves count"
    monkeypatch.setattr(in_memory, "MOST_ROWS", 1000)
    monkeypatch.setattr(in_memory, "MOST_TEXT", 2000)
    assert fits(plain, quoted)
    assert not fits(long)
    assert not fits(packed), "what Parquet holds is known when it is read"
    monkeypatch.setattr(in_memory, "MOST_PLAIN_TEXT", 10_000)
    assert fits(quoted)
    assert not fits(plain)


def test_the_bytes_do_not_depend_on_how_a_file_was_read(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number, piece in enumerate((1 << 20, 1, 3000)):
        monkeypatch.setattr(in_memory, "PIECE", piece)
        bucket = Bucket(tmp_path / str(number), spark)
        lines = [line_of(n) if n % 9 else f'"M"{line_of(n)[1:]}' for n in range(3000)]
        key = bucket.put("abalone/new/a.csv", "\r\n".join([",".join(COLUMNS), *lines, lines[5], lines[9]]))
        bucket.merge("b1", [key])
        folder = bucket.root / "abalone/dataset"
        found.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert len(found[0]) == 8
    assert found[0] == found[1] == found[2]


@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.integers(-1, 10), unique=True), st.booleans())
def test_known_keys_are_found_in_any_order(keys: list[int], wanted: list[int], ordered: bool) -> None:
    keys = sorted(keys) if ordered else keys
    found = _places(np.array(keys, np.int64), np.array(sorted(wanted), np.int64))
    assert sorted(found.tolist()) == [place for place, key in enumerate(keys) if key in wanted]


def test_a_history_without_hashes_stops_the_merge(tmp_path: Path, spark: SparkSession) -> None:
    bucket = Bucket(tmp_path, spark)
    key = bucket.put("abalone/new/a.csv", line_of(1))
    bucket.merge("b1", [key])
    with pytest.raises(ManifestError, match="batch=lost has no file"):
        bucket.merge("b2", [key], history=["b1", "lost"])


class Ranged:
    """An object of S3 that notes what is read of it."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[int] = []

    def get_object(self, Bucket: str, Key: str, Range: str = "") -> dict[str, Any]:
        first, _, last = Range.removeprefix("bytes=").partition("-")
        part = self.body[int(first) : int(last) + 1] if Range else self.body
        self.asked.append(len(part))
        return {"Body": io.BytesIO(part)}


@pytest.mark.parametrize("whole", [False, True])
def test_of_a_large_object_only_what_is_needed_is_read(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(1)
    sink = io.BytesIO()
    hashes = [dice.randbytes(16).hex() for _ in range(20_000)]
    pq.write_table(pa.table({"key": range(20_000), "row_hash": hashes}), sink, use_dictionary=False)
    size = len(sink.getvalue())
    monkeypatch.setattr(storages, "WHOLE", size if whole else size - 1)
    storage = Storage()
    storage._client = s3 = Ranged(sink.getvalue())
    with storage.opened("s3://b/k", size) as source, pq.ParquetFile(source) as file:
        assert file.read(["key"]).column("key").to_pylist() == list(range(20_000))
        assert (sum(s3.asked) > size * 0.9) is whole
        assert file.read(["row_hash"]).column("row_hash").to_pylist() == hashes
    assert len(s3.asked) < 10
