"""The Glue job on real Spark: what becomes of every row, and that running it again changes nothing."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from reference import row_hash, split
from survey_bucket import COLUMNS, MODEL, ROOT, Bucket, line_of

from deploy import artifacts
from glue_scripts.merge import inputs
from glue_scripts.merge.by_spark import publisher, session
from glue_scripts.merge.in_memory import rows as in_memory
from glue_scripts.merge.manifest import Manifest, ManifestError

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # py4j leaves them to the collector
]
HEADER = ",".join(COLUMNS)
SURVEYS = ROOT / "data/surveys"
DATASET = "abalone/dataset"
BY_SPARK = pytest.mark.parametrize("bucket", ["by_spark"], indirect=True)


def text(start: int, stop: int) -> str:
    return "\n".join(line_of(number) for number in range(start, stop)) + "\n"


@pytest.fixture(params=["true", "false"], ids=["ansi", "legacy"])
def ansi(request, spark):
    before = spark.conf.get("spark.sql.ansi.enabled")
    spark.conf.set("spark.sql.ansi.enabled", request.param)
    yield request.param
    spark.conf.set("spark.sql.ansi.enabled", before)


def test_every_sample_ends_as_documented(bucket: Bucket, ansi: str) -> None:
    expected = json.loads((SURVEYS / "expected.json").read_text("utf-8"))
    bad = [bucket.put(f"abalone/new/{name}", (SURVEYS / "bad" / name).read_bytes()) for name in expected["bad"]]
    good = [bucket.put(f"abalone/new/{name}", (SURVEYS / "good" / name).read_bytes()) for name in expected["good"]]
    assert sorted(path.name for path in (SURVEYS / "bad").iterdir()) == sorted(expected["bad"])
    report = bucket.merge("b1", bad + good, bad_rows={"max_share": 1.0})

    found = {file["key"].rsplit("/", 1)[-1]: file for file in report["files"]}
    for name, rows in expected["good"].items():
        assert (found[name]["outcome"], found[name]["rows"], found[name]["accepted"]) == ("merged", rows, rows), name
    records = bucket.quarantine("b1")
    for name, want in expected["bad"].items():
        got = found[name]
        counts = {key: got[key] for key in ("outcome", "rows", "accepted", "duplicate", "quarantined", "reasons")}
        assert counts == {key: want[key] for key in counts}, name
        assert (want["reason"] or "") in (got["reason"] or ""), (name, got["reason"])
        mine = [record for record in records if record["file"].endswith("/" + name)]
        if want["outcome"] == "refused":
            assert mine[0]["reason"] == f"file refused: {got['reason']}"
        else:
            assert len(mine) == want["quarantined"]
    lines = {record["file"].rsplit("/", 1)[-1]: record["line"] for record in records}
    assert lines["truncated_last_line.csv"] == 6
    assert lines["long_line.csv"] == 3
    assert lines["unbalanced_quotes.csv"] == 3
    assert lines["latin1.csv"] is None
    assert Counter(report["reasons"]) == Counter(reason for record in records for reason in record["reasons"])


def test_quarantine_names_file_line_column_value_and_reason(bucket: Bucket) -> None:
    good = line_of(1)
    bad = ["M,0.5,0.4, 0 ,1,0.4,0.2,0.3,9", 'M,0.5,"0,4",0.1,1,0.9,0.2,0.3,x', "M,0.5,0.4,0.1,1,0.9,0.2,0.3,9"]
    body = "\r\n".join(["", HEADER, good, "", *bad])
    key = bucket.put("abalone/new/a.csv", body)
    report = bucket.merge("b1", [key], bad_rows={"max_share": 1.0})
    weights = "parts_within_whole: shucked_weight + viscera_weight + shell_weight above 1.1 x whole_weight"
    records = bucket.quarantine("b1")
    assert [tuple(record.values())[:5] for record in records] == [
        (key, 5, "height", "0", "height: not above 0"),
        (key, 6, "diameter", "0,4", "diameter: decimal comma"),
        (key, 7, "parts_within_whole", "0.9 + 0.2 + 0.3 > 1", weights),
    ]
    assert records[1]["reasons"] == ["diameter: decimal comma", "rings: not a number", weights]
    assert records[1]["raw"] == bad[1]
    assert (report["rows_new"], report["rows_accepted"]) == (4, 1)


@BY_SPARK
def test_lines_are_numbered_across_input_splits(bucket: Bucket, monkeypatch) -> None:
    monkeypatch.setattr(inputs, "SMALL_TASK", 70_000)  # several splits per file
    lines = [line_of(number) for number in range(6000)]
    for at in (0, 2500, 5999):
        lines[at] = lines[at].replace(",0.1,", ",0,")
    first = bucket.put("abalone/new/a.csv", "\n".join([HEADER, *lines]))
    second = bucket.put("abalone/new/b.csv", "\n".join(lines[::-1]))
    report = bucket.merge("b1", [first, second])
    assert len(bucket.bytes(f"{DATASET}/hashes/batch=b1")) > 3
    assert [(record["file"], record["line"]) for record in bucket.quarantine("b1")] == [
        (first, 2), (first, 2502), (first, 6001), (second, 1), (second, 3500), (second, 6000),
    ]  # fmt: skip
    assert report["rows_duplicate_in_batch"] == 5997


def test_rows_hashes_and_splits_follow_the_documented_canonical_form(bucket: Bucket, ansi: str) -> None:
    body = ["M,0.10,0.09,.05,1.,4e-1,+0.2,0.30000000004,9.0", 'F, 0.5 ,"0.4",0.1,1.00000,0.4,0.2,0.3,07', text(0, 300)]
    report = bucket.merge("b1", [bucket.put("abalone/new/a.csv", "\n".join(body))])
    rows = bucket.data("b1")
    columns = MODEL["contract"]["columns"]
    for name, members in rows.items():
        lengths = [row["length"] for row in members[2:]]
        assert lengths == sorted(lengths), "rows keep the order of the file"
        for row in members:
            assert row["row_hash"] == row_hash(row, columns)
            assert name == split(row["row_hash"], MODEL["split"], synthetic=False)
        csv = "".join(
            path.read_text() for path in (bucket.root / f"{DATASET}/training/batch=b1/split={name}").glob("*.csv")
        )
        typed = [",".join(str(row[column]) for column in ("rings", *COLUMNS[:-1])) for row in members]
        assert csv.splitlines() == typed
        assert report["rows_by_split"][name] == len(members)
        assert report["target_mean_by_split"][name] == pytest.approx(
            sum(row["rings"] for row in members) / len(members)
        )
        assert all((bucket.root / "abalone" / path).is_file() for path in report["outputs"][name])
    members = [row for rows_of_split in rows.values() for row in rows_of_split]
    assert len(members) == 302
    odd = next(row for row in members if row["length"] == 0.1)
    assert [odd[name] for name in COLUMNS] == ["M", 0.1, 0.09, 0.05, 1.0, 0.4, 0.2, 0.30000000004, 9]


def test_a_target_may_be_a_text(bucket: Bucket, ansi: str) -> None:
    first = bucket.put("abalone/new/a.csv", text(0, 60))
    second = bucket.put("abalone/new/b.csv", text(50, 90).replace("M,", "X,", 1))
    report = bucket.merge("b1", [first, second], target="sex", bad_rows={"max_share": 1.0})
    assert (report["rows_accepted"], report["rows_duplicate"], report["rows_quarantined"]) == (90, 9, 1)
    assert set(report["target_mean_by_split"].values()) == {None}
    rows = [row for rows in bucket.data("b1").values() for row in rows]
    assert {row["sex"] for row in rows} == {"M", "F", "I"}
    lines = [
        line for name in bucket.root.glob(f"{DATASET}/training/batch=b1/*/*.csv") for line in name.read_text().split()
    ]
    assert {line.split(",")[0] for line in lines} == {"M", "F", "I"}


def test_duplicates_are_dropped_and_counted_where_they_lie(bucket: Bucket) -> None:
    first = bucket.put("abalone/new/a.csv", text(0, 60))
    second = bucket.put("abalone/new/b.csv", HEADER + "\n" + text(50, 90).replace(",0.1,", ", 0.100 ,"))
    report = bucket.merge("b1", [second, first])
    assert [(file["accepted"], file["duplicate"]) for file in report["files"]] == [(60, 0), (30, 10)]
    third = bucket.put("abalone/new/c.csv", text(80, 100) + text(95, 100))
    report = bucket.merge("b2", [third], history=["b1"])
    assert (report["rows_duplicate_in_batch"], report["rows_duplicate_in_history"]) == (5, 10)
    assert sum(report["rows_by_split"].values()) == report["rows_by_source"]["survey"] == report["rows_accepted"] == 10
    hashes = [row["row_hash"] for rows in bucket.data("b1", "b2").values() for row in rows]
    assert len(hashes) == len(set(hashes)) == 100
    nothing = bucket.merge("b3", [third], history=["b1", "b2"])
    assert (nothing["rows_accepted"], nothing["outputs"]["train"]) == (0, [])
    assert bucket.merge("b4", [third], history=["b1", "b2", "b3"])["rows_accepted"] == 0


@BY_SPARK
def test_large_batches_meet_history_by_join_with_the_same_result(bucket: Bucket, monkeypatch) -> None:
    bucket.merge("b1", [bucket.put("abalone/new/a.csv", text(0, 200))])
    key = bucket.put("abalone/new/b.csv", text(100, 400))
    by_pages = bucket.merge("b2", [key], history=["b1"])
    published = bucket.bytes(DATASET)
    monkeypatch.setattr(session, "POINT_LOOKUPS", 10)
    by_join = bucket.merge("b2", [key], history=["b1"])
    assert bucket.bytes(DATASET) == published
    assert by_join | {"seconds": 0} == by_pages | {"seconds": 0}
    assert by_join["rows_duplicate_in_history"] == 100


def test_history_is_never_read_beyond_its_hashes(bucket: Bucket) -> None:
    bucket.merge("b1", [bucket.put("abalone/new/a.csv", text(0, 50))])
    for part in ("data", "training"):
        shutil.rmtree(bucket.root / DATASET / part / "batch=b1")
    report = bucket.merge("b2", [bucket.put("abalone/new/b.csv", text(40, 60))], history=["b1"])
    assert report["rows_duplicate_in_history"] == 10


def test_synthetic_rows_only_train_and_yield_to_real_ones(bucket: Bucket) -> None:
    real = bucket.put("abalone/new/z.csv", text(0, 100))
    made = bucket.put("abalone/new/synthetic/a.csv", text(50, 250))
    marked = bucket.put(
        "abalone/new/y.csv", f"{HEADER},source\n" + text(250, 350).replace("\n", ",synthetic\n") + line_of(400) + ",\n"
    )
    report = bucket.merge("b1", [real, marked], synthetic=[made])
    assert report["rows_by_source"] == {"survey": 101, "synthetic": 250}
    rows = bucket.data("b1")
    assert {row["source"] for row in rows["validation"] + rows["test"]} == {"survey"}
    assert Counter(row["source"] for row in rows["train"])["synthetic"] == 250
    assert {file["key"]: file["duplicate"] for file in report["files"]} == {real: 0, marked: 0, made: 50}


def test_same_manifest_gives_the_same_bytes(bucket: Bucket) -> None:
    keys = [bucket.put(f"abalone/new/{name}.csv", text(start, start + 200)) for name, start in (("a", 0), ("b", 150))]
    keys.append(bucket.put("abalone/new/c.csv", line_of(7) + "\nno row\n"))
    keys.append(bucket.put("abalone/new/d [1].csv", text(500, 510)))
    report = bucket.merge("b1", keys, bad_rows={"max_share": 0.5})
    once = bucket.bytes("abalone")
    assert {Path(name).name for name in once if DATASET in name} == {
        "part-00000.parquet",
        "part-00000.csv",
        "profile.json",
    }
    published = [path for path in (bucket.root / DATASET).rglob("p*") if path.is_file()]
    unchanged = {path: path.stat().st_mtime_ns for path in published}
    again = bucket.merge("b1", keys[::-1], bad_rows={"max_share": 0.5})
    assert bucket.bytes("abalone") == once
    assert unchanged == {path: path.stat().st_mtime_ns for path in unchanged}, "published files are not touched again"
    shutil.rmtree(bucket.root / "abalone/dataset")
    afresh = bucket.merge("b1", keys, bad_rows={"max_share": 0.5})
    assert bucket.bytes("abalone") == once
    assert report | {"seconds": 0} == again | {"seconds": 0} == afresh | {"seconds": 0}
    assert report["bytes_written"] == sum(len(body) for name, body in once.items() if "/new/" not in name)


def test_leftovers_of_a_crash_are_removed(bucket: Bucket) -> None:
    key = bucket.put("abalone/new/a.csv", text(0, 100) + "no row\n")
    bucket.merge("b1", [key])
    clean = bucket.bytes(DATASET, "abalone/quarantine")
    for leftover in (
        f"{DATASET}/data/batch=b1/split=train/part-00007.parquet",
        f"{DATASET}/data/batch=b1/_temporary/0/part",
        f"{DATASET}/training/batch=b1/split=train/part-00000.csv",  # cut short
        f"{DATASET}/hashes/batch=b1/part-00001.parquet",
        "abalone/quarantine/batch=b1/part-00001.json",
    ):
        bucket.put(leftover, "M,0.4")
    dead = bucket.root / DATASET / "staging/batch=b1/attempt=dead"
    alive = bucket.root / DATASET / "staging/batch=b1/attempt=alive"
    for attempt in (dead, alive):
        bucket.put(str((attempt / "data/part").relative_to(bucket.root)), "x")
    old = time.time() - publisher.STALE_STAGING_SECONDS - 60
    os.utime(dead, (old, old))
    bucket.merge("b1", [key])
    assert dead.exists() is not bucket.by_spark, "in memory nothing is staged"
    assert alive.exists(), "another attempt may be running"
    shutil.rmtree(alive.parent)
    assert bucket.bytes(DATASET, "abalone/quarantine") == clean


def test_a_file_over_its_budget_refuses_itself_alone_and_can_be_released(bucket: Bucket) -> None:
    bad = bucket.put("abalone/new/a.csv", text(0, 18) + "bad,1\n" * 2)
    good = bucket.put("abalone/new/b.csv", text(10, 30))
    report = bucket.merge("b1", [bad, good], bad_rows={"max_share": 0.0999})
    assert [file["outcome"] for file in report["files"]] == ["refused", "merged"]
    assert report["files"][0]["reason"].startswith(
        "2 of 20 rows (10.0%) break the contract, the budget of a file is 10.0%"
    )
    assert (report["rows_new"], report["rows_accepted"], report["rows_quarantined"]) == (40, 20, 20)
    records = bucket.quarantine("b1")
    assert [record["line"] for record in records] == [None, 19, 20]
    lengths = {row["length"] for rows in bucket.data("b1").values() for row in rows}
    assert len(lengths) == 20
    report = bucket.merge("b2", [bad], history=["b1"], beyond_budget=[bad], bad_rows={"max_share": 0.0})
    assert [(file["outcome"], file["accepted"], file["duplicate"]) for file in report["files"]] == [("merged", 10, 8)]


def test_batch_without_a_row_is_merged_and_can_be_history(bucket: Bucket) -> None:
    report = bucket.merge("b1", [bucket.put("abalone/new/empty.csv", ""), bucket.put("abalone/new/header.csv", HEADER)])
    assert [(file["outcome"], file["rows"]) for file in report["files"]] == [("ignored", 0), ("merged", 0)]
    assert bucket.merge("b2", [bucket.put("abalone/new/only_empty.csv", "")], history=["b1"])["rows_new"] == 0
    report = bucket.merge("b3", [bucket.put("abalone/new/a.csv", text(0, 5))], history=["b1", "b2"])
    assert report["rows_accepted"] == 5


def test_a_file_that_cannot_be_read_refuses_itself(bucket: Bucket) -> None:
    cut = bucket.put("abalone/new/a.csv.gz", gzip.compress(text(0, 50).encode())[:-9])
    quotes = bucket.put("abalone/new/quotes.csv", text(60, 70) + '"a",' * 200_000 + "\n" + text(70, 80))
    report = bucket.merge("b1", [cut, quotes], bad_rows={"max_share": 0.1})
    assert [file["outcome"] for file in report["files"]] == ["refused", "merged"]
    assert "ends before its data" in report["files"][0]["reason"]
    assert report["files"][1]["reasons"] == {"line: too many columns": 1}


def test_no_name_or_heading_is_substituted_or_run(bucket: Bucket) -> None:
    odd = "x${env:HOME}'${system:user.home}.csv"
    header = HEADER + ",${env:HOME}\x1b[2J"
    keys = [bucket.put(f"abalone/new/{odd}", "bad,1\n"), bucket.put("abalone/new/y.csv", header + "\n")]
    bucket.merge("b1", keys)
    records = bucket.quarantine("b1")
    assert [record["file"] for record in records] == keys
    assert "${env:HOME}U+001B[2J" in records[1]["reason"]


def test_keys_with_any_characters_are_read_once(bucket: Bucket) -> None:
    names = [
        "a b.csv",
        "{x}[1]*?.csv",
        "ünïcode 😀.csv",
        "50%+1.csv",
        "c%20d.csv",
        "q#h;&=.csv",
        "back\\slash.csv",
        "{a,b}.csv.gz",
        "2026-03-02T10:15:00Z.csv",
        "2026-03-02T10:15:00Z [final].csv",
        "sex=M/a.csv",
        "${env:HOME}.csv",
        "n" * 240 + ".csv",
    ]
    keys = []
    for number, name in enumerate(names):
        body = text(number * 10, number * 10 + 10).encode()
        keys.append(bucket.put(f"abalone/new/{name}", gzip.compress(body) if name.endswith(".gz") else body))
    report = bucket.merge("b1", keys)
    assert {file["key"]: file["accepted"] for file in report["files"]} == dict.fromkeys(keys, 10)


def test_nullable_columns_are_part_of_the_identity(bucket: Bucket) -> None:
    columns = [{"name": "sex", "type": "string"}, {"name": "value", "type": "int"}]
    columns += [{"name": name, "type": "double", "nullable": True} for name in ("a", "order")]
    rule = {"name": "a_within_order", "sum": ["a"], "at_most": "order"}
    lines = ["x y,1,,0.5", "x y,2,0.5,", '"x, y",3,0.5,0.5', ",1,1,1", "z,1,0.6,0.5", "z,5,-0.0,0", "z,6,0,0", "z,,1,1"]
    report = bucket.merge(
        "b1",
        [bucket.put("abalone/new/a.csv", "\n".join(lines))],
        columns=columns,
        rules=[rule],
        target="value",
        identity=["sex", "a", "order"],
        bad_rows={"max_share": 1.0},
    )
    assert report["reasons"] == {"sex: missing": 1, "a_within_order: a above order": 1, "value: missing": 1}
    assert (report["rows_accepted"], report["rows_duplicate"]) == (4, 1)
    rows = [
        tuple(row[name] for name in ("sex", "value", "a", "order"))
        for part in bucket.data("b1").values()
        for row in part
    ]
    assert set(rows) == {("x y", 1, None, 0.5), ("x y", 2, 0.5, None), ("x, y", 3, 0.5, 0.5), ("z", 5, 0.0, 0.0)}


def test_any_batching_of_any_files_ends_in_the_same_rows_per_split(bucket: Bucket) -> None:
    dice = random.Random(7)
    files = []
    for number in range(6):
        start = dice.randrange(400)
        lines = [line_of(row) for row in range(start, start + dice.randrange(1, 200))]
        lines += dice.sample(["", "no row", "X" + line_of(1)[1:], line_of(2).replace("0.4", "nan")], 2)
        dice.shuffle(lines)
        body = dice.choice(["\n", "\r\n"]).join(([HEADER] if dice.random() < 0.5 else []) + lines).encode()
        zipped = dice.random() < 0.3
        files.append(bucket.put(f"abalone/new/{number}.csv" + ".gz" * zipped, gzip.compress(body) if zipped else body))
    budget = {"bad_rows": {"max_share": 1.0}}
    bucket.merge("all", files, **budget)
    together = bucket.data("all")
    dice.shuffle(files)
    cuts = sorted(dice.sample(range(1, len(files)), 2))
    history: list[str] = []
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(files)], strict=True)):
        bucket.merge(f"part{number}", files[start:stop], history=history, **budget)
        history.append(f"part{number}")
    apart = bucket.data(*history)
    for name, rows in together.items():
        assert sorted(rows, key=lambda row: row["row_hash"]) == sorted(apart[name], key=lambda row: row["row_hash"])


def test_changed_file_stops_the_job(bucket: Bucket) -> None:
    key = bucket.put("abalone/new/a.csv", text(0, 5))
    manifest = Manifest.of(bucket.manifest("b1", [key]))
    bucket.put(key, text(0, 6))
    with pytest.raises(ManifestError, match=r"a\.csv was removed or replaced"):
        bucket.merged(manifest)


MANY = in_memory.MOST_ROWS + 1
IN_MEMORY_PHASES = {"inspect", "parse", "deduplicate", "history", "write", "quarantine", "profile", "confirm", "merge"}


@pytest.mark.parametrize(("rows", "quoted"), [(20, True), (MANY, False), (MANY, True)])
def test_script_runs_as_glue_starts_it(tmp_path: Path, spark: SparkSession, rows: int, quoted: bool) -> None:
    bucket = Bucket(tmp_path, spark)
    lines = re.sub(r"(?m)^(.)", r'"\1"', text(0, rows)) if quoted else text(0, rows)
    manifest = bucket.manifest("b1", [bucket.put("abalone/new/a.csv", lines)])
    bucket.put("manifest.json", json.dumps(manifest))
    script, modules = bucket.root / "merge.py", bucket.root / "modules.zip"
    script.write_bytes(artifacts.glue_script().body)
    modules.write_bytes(artifacts.glue_modules().body)
    arguments = [
        "--JOB_NAME",
        "merge",
        "--manifest",
        str(bucket.root / "manifest.json"),
        "--request_digest",
        "d",
        "--enable-metrics",
        "true",
    ]
    environment = {**os.environ, "PYTHONPATH": str(modules)}
    few = rows < MANY or not quoted  # lines that are judged by themselves
    if few:  # neither Java nor Spark is asked for
        environment |= {"JAVA_HOME": "/nonexistent", "PYSPARK_SUBMIT_ARGS": "--none"}
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=environment,
        cwd=bucket.root,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"rows_accepted {rows}" in done.stdout
    report = json.loads((bucket.root / "abalone/runs/run-b1/etl_report.json").read_text())
    assert report["rows_accepted"] == rows
    assert set(report["seconds"]) == IN_MEMORY_PHASES | (set() if few else {"session"})
