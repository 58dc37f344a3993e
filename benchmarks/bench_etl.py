"""Merge time against the size of the history, and against two other ways to do the same work.

Two tables. The first merges a batch of 100 rows and one of 100,000 into histories of 10 thousand, 1 million and 10 million
rows: a run's cost must follow the new rows. The second merges 1 million rows into an empty log, as the job does, and by Spark as it
does with more rows. It does the same with the published method (fit StringIndexer and OneHotEncoder, assemble, random split, collect
through pandas to CSV) and with DuckDB, which applies the same contract, hash, deduplication, split and files.

Every measurement is a process of its own, started as Glue starts the script, because that is what a run pays. In the second
table each process does its work twice: the first time also loads and compiles Java's classes, the second is the work itself.
The machine is shared, so measurements are repeated in turns and the fastest counts. Histories are written once by the job's own writer
and kept in the folder; only their hashes, since nothing else of a committed batch is ever read.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "plugins"))
sys.path.insert(0, str(ROOT))

from local_stack import layout  # noqa: E402

SCRIPT = ROOT / "glue_scripts" / "merge_survey_data.py"
MODEL = yaml.safe_load((ROOT / "dags/models/abalone/model.yaml").read_text("utf-8"))
SPLIT = MODEL["split"]
COLUMNS = [column["name"] for column in MODEL["contract"]["columns"]]
NUMBERS = COLUMNS[1:-1]
BATCHES = 10  # that make up a history
FIRST_NEW = 100_000_000  # row number of the first row that no history holds
GROWTH, MEMORY_GIB = 1.25, 2.0  # targets
FASTER, WITHIN = {"first": 4.0, "second": 6.0}, {"first": 5.0, "second": 3.0}


def line_sql(number: str) -> str:
    """Write the SQL of the survey line with a number: it meets the contract, and no two numbers give the same line."""
    length = f"({number} % 5000 + 3000)"
    parts = [
        f"element_at(array('M', 'F', 'I'), CAST({number} % 3 + 1 AS int))",
        f"CAST({length} / 10000 AS decimal(6, 4))",
        f"CAST({length} * 0.8 / 10000 AS decimal(6, 4))",
        f"CAST({length} * 0.3 / 10000 AS decimal(6, 4))",
        f"CAST(1 + ({number} DIV 5000) / 100000 AS decimal(7, 5))",
        f"CAST(0.3 + {number} % 977 / 10000 AS decimal(6, 4))",
        f"CAST(0.1 + {number} % 983 / 10000 AS decimal(6, 4))",
        f"CAST(0.2 + {number} % 991 / 10000 AS decimal(6, 4))",
        f"{number} % 25 + 3",
    ]
    return f"concat_ws(',', {', '.join(parts)})"


def manifest(root: Path, batch: str, key: str, history: Sequence[str], store: Path, size: int = 0) -> dict[str, Any]:
    """Manifest of a batch of one file; `store` is the model's folder of the bucket."""
    size = (root / key).stat().st_size if (root / key).exists() else size
    return {
        "schema_version": 1,
        "batch": batch,
        "bucket": root.as_uri(),
        "files": [{"key": key, "etag": None, "size": size, "source": "survey"}],
        "contract": MODEL["contract"],
        "split": SPLIT,
        "history": list(history),
        "output": f"{store.as_uri()}/dataset/",
        "quarantine": f"{store.as_uri()}/quarantine/",
        "report": f"{store}/runs/{batch}.json",
    }


# ---------------------------------------------------------------------------------------------------- work, each in its own process


def make_history(store: str, rows: str) -> None:
    """Write the hashes of a history in equal batches."""
    from glue_scripts.merge.by_spark.lines import ABOUT_FILE
    from glue_scripts.merge.by_spark.outputs import write_dataset
    from glue_scripts.merge.by_spark.parsing import parse
    from glue_scripts.merge.by_spark.publisher import Publisher
    from glue_scripts.merge.by_spark.session import local_table, start_spark
    from glue_scripts.merge.inputs import SMALL_TASK
    from glue_scripts.merge.manifest import Manifest

    spark = start_spark()
    per_batch = int(rows) // BATCHES
    width = len(COLUMNS)
    for number in range(BATCHES):
        batch = Manifest.of(manifest(Path(store), f"history{number}", "none", [], Path(store)))
        about = local_table(spark, ABOUT_FILE, [(0, ",", ",", [""], [""], list(range(width)), width, None, False)])
        start = number * per_batch
        lines = spark.range(start, start + per_batch, 1, 4).selectExpr(
            f"{line_sql('id')} AS value", "TRUE AS plain", "0L AS block", "id AS position"
        )
        parsed = parse(lines.crossJoin(about), batch.contract, batch.split)
        publisher = Publisher(spark, batch.output, batch.batch)
        write_dataset(publisher, parsed, batch, max(1, 55 * per_batch // SMALL_TASK), ["hashes"])
        publisher.clean()
    # Of a history without a profile all rows would be counted.
    last = Path(store) / f"dataset/profiles/batch=history{BATCHES - 1}/profile.json"
    last.parent.mkdir(parents=True)
    last.write_text(json.dumps({"schema_version": 1, "rows": {}, "columns": {}}))


def make_files(folder: str, sizes: str) -> None:
    """Write survey files of the sizes, all rows new."""
    from glue_scripts.merge.by_spark.session import start_spark

    spark = start_spark()
    for size in map(int, sizes.split(",")):
        lines = spark.range(FIRST_NEW, FIRST_NEW + size, 1, 1).selectExpr(line_sql("id"))
        target = Path(folder) / f"{size}.csv"
        with target.open("w") as stream:
            stream.write(",".join(COLUMNS) + "\n")
            stream.writelines(f"{row[0]}\n" for row in lines.toLocalIterator())


def this_merge(source: str, target: str) -> None:
    """Merge the file into an empty log, twice."""
    from glue_scripts.merge.job import start_spark

    _merge_twice(source, target, start_spark)


def merge_by_spark(source: str, target: str) -> None:
    """Merge the file as if it were larger, twice."""
    from glue_scripts.merge.in_memory import rows
    from glue_scripts.merge.job import start_spark

    rows.MOST_PLAIN_TEXT = 0
    spark = start_spark()
    _merge_twice(source, target, lambda: spark)


def _merge_twice(source: str, target: str, start: Callable[[], Any]) -> None:
    from glue_scripts.merge.job import merge
    from glue_scripts.merge.manifest import Manifest
    from glue_scripts.merge.storage import Storage

    def once() -> None:
        store = Path(target)
        shutil.rmtree(store, ignore_errors=True)
        root, key = Path(source).parent, Path(source).name
        merge(Manifest.of(manifest(root, "measured", key, [], store)), Storage(), start)

    print(json.dumps(twice(once)))


def published_method(source: str, target: str) -> None:
    """Do, twice, what the published workflow does with the same rows as one new file.

    Fit StringIndexer and OneHotEncoder on the distinct rows, assemble a feature vector, split at random, and bring each split through
    Python lines, a data frame of text and pandas into a CSV. (Automated Machine Learning on AWS, Packt 2022, chapter 8.)
    """
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import OneHotEncoder, StringIndexer, VectorAssembler
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.config("spark.ui.enabled", "false").getOrCreate()

    def once() -> None:
        schema = ", ".join(f"{name} {'string' if name == 'sex' else 'double'}" for name in COLUMNS)
        rows = spark.read.csv(source, header=True, schema=schema)
        stages = [
            StringIndexer(inputCol="sex", outputCol="sex_index"),
            OneHotEncoder(inputCol="sex_index", outputCol="sex_vector"),
            VectorAssembler(inputCols=["sex_vector", *NUMBERS], outputCol="features"),
        ]
        encoded = Pipeline(stages=stages).fit(rows.distinct()).transform(rows)
        Path(target).mkdir(parents=True, exist_ok=True)
        shares = [share / 100 for share in SPLIT.values()]
        for name, part in zip(SPLIT, encoded.randomSplit(shares), strict=True):
            lines = part.rdd.map(lambda row: f"{row.rings}," + ",".join(str(value) for value in row.features))
            frame = lines.map(lambda line: line.split(",")).toDF().toPandas()
            frame.to_csv(Path(target) / f"{name}.csv", header=False, index=False)

    print(json.dumps(twice(once)))


def twice(work: Callable[[], None]) -> dict[str, float]:
    """Do the work two times; returns the seconds of each."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return {"first": seconds[0], "second": seconds[1]}


def with_duckdb(source: str, target: str) -> None:
    """Apply the same contract, hash, deduplication, split and files in DuckDB, twice."""
    print(json.dumps(twice(lambda: merge_with_duckdb(source, Path(target)))))


def merge_with_duckdb(source: str, folder: Path) -> None:
    """Merge the file into an empty log in DuckDB."""
    import duckdb

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    db = duckdb.connect()
    db.execute(f"SET threads = {os.cpu_count()}")
    forms = ", ".join(f"CAST(floor(try_cast({name} AS double) * 1e9 + 0.5) AS bigint) AS f_{name}" for name in NUMBERS)
    tests = []
    for column in MODEL["contract"]["columns"]:
        name = column["name"]
        if column["type"] == "string":
            tests.append(f"{name} IN ({', '.join(repr(value) for value in column['allowed'])})")
            continue
        value = f"f_{name} / 1e9" if column["type"] == "double" else f"f_{name}"
        tests.append(
            f"{value} {'>' if column.get('exclusive_min') else '>='} {column['min']} AND {value} <= {column['max']}"
        )
    for rule in MODEL["contract"]["rules"]:
        total = " + ".join(f"f_{name} / 1e9" for name in rule["sum"])
        tests.append(f"{total} <= f_{rule['at_most']} / 1e9 * {rule['tolerance']} + 1e-9")
    identity = ", ".join(["sex", *(f"f_{name}" for name in NUMBERS), "f_rings"])
    values = ", ".join(["sex", *(f"f_{name} / 1e9 AS {name}" for name in NUMBERS), "f_rings AS rings"])
    edges, edge = [], 0
    for name, share in SPLIT.items():
        edge += share
        edges.append(f"WHEN key % 100 < {edge} THEN '{name}'")
    db.execute(f"""
        CREATE TABLE parsed AS SELECT *, {" AND ".join(tests)} AS good,
            sha256(concat_ws(chr(31), {identity}))[:32] AS row_hash
        FROM (SELECT row_number() OVER () AS line, sex, {forms}, try_cast(rings AS int) AS f_rings
              FROM read_csv('{source}', header = true, all_varchar = true))""")
    db.execute(f"COPY (SELECT * FROM parsed WHERE good IS NOT TRUE) TO '{folder}/quarantine.json' (FORMAT json)")
    db.execute(f"""
        CREATE TABLE kept AS SELECT *, CASE {" ".join(edges)} END AS split FROM (
            SELECT {values}, row_hash, CAST('0x' || row_hash[:15] AS bigint) AS key, 'survey' AS source
            FROM parsed WHERE good QUALIFY row_number() OVER (PARTITION BY row_hash ORDER BY line) = 1) ORDER BY key""")
    order = ", ".join(["rings", *COLUMNS[:-1]])
    db.execute(f"""COPY (SELECT {", ".join(COLUMNS)}, row_hash, source, split FROM kept) TO '{folder}/data'
        (FORMAT parquet, PARTITION_BY (split))""")
    db.execute(
        f"COPY (SELECT {order}, split FROM kept) TO '{folder}/training' (FORMAT csv, HEADER false, PARTITION_BY (split))"
    )
    db.execute(f"COPY (SELECT key, row_hash FROM kept) TO '{folder}/hashes.parquet' (FORMAT parquet)")
    db.close()


CHILDREN: dict[str, Callable[[str, str], None]] = {
    "make_history": make_history,
    "make_files": make_files,
    "this_merge": this_merge,
    "merge_by_spark": merge_by_spark,
    "published_method": published_method,
    "with_duckdb": with_duckdb,
}


# --------------------------------------------------------------------------------------------------------------------- measurements


def run(command: Sequence[str], memory: str | None = None) -> tuple[str, float]:
    """Run a process; returns its output and the peak resident memory of it and its children together, in GiB."""
    modules = f"{ROOT}:{ROOT / 'plugins'}"
    environment = {
        **os.environ,
        "PYTHONPATH": modules,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "LC_ALL": "C.UTF-8",
        "PYSPARK_PYTHON": sys.executable,
    }
    if memory:
        environment["PYSPARK_SUBMIT_ARGS"] = f"--driver-memory {memory} pyspark-shell"
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    peak = [0.0]
    watcher = threading.Thread(target=watch, args=(process.pid, peak), daemon=True)
    watcher.start()
    try:
        output, errors = process.communicate()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{errors[-4000:]}")
    return output, peak[0]


def watch(session: int, peak: list[float]) -> None:
    """Add up the resident memory of all processes of a session until there is none; keeps the largest sum in `peak`.

    A process that was forked and has not yet begun a program of its own shares its parent's memory: Java forks so for every file
    permission it sets. It is left out, for its pages would count twice.
    """
    page = os.sysconf("SC_PAGE_SIZE") / 2**30
    while True:
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    resident = int((folder / "statm").read_text().split()[1]) * page
                    found[int(folder.name)] = (int(fields[1]), (folder / "cmdline").read_bytes(), resident)
            except (OSError, IndexError):
                continue
        if not found:
            return
        total = 0.0
        for parent, command, resident in found.values():
            if parent not in found or found[parent][1] != command:
                total += resident
        peak[0] = max(peak[0], total)
        time.sleep(0.05)


def child(name: str, *arguments: str, memory: str | None = None) -> dict[str, Any]:
    """Run one of CHILDREN in a process of its own and return what it prints."""
    output, peak = run([sys.executable, __file__, "--child", name, *arguments], memory)
    last = output.strip().rpartition("\n")[2]
    return {**(json.loads(last) if last.startswith("{") else {}), "peak_gib": peak}


def merge(work: Path, store: Path, history: Sequence[str], size: int) -> dict[str, Any]:
    """Merge a file of new rows and remove what it wrote; returns the report with the peak memory."""
    spec = manifest(work, "measured", f"files/{size}.csv", history, store)
    path = work / "manifest.json"
    path.write_text(json.dumps(spec))
    started = time.perf_counter()
    _, peak = run([sys.executable, str(SCRIPT), "--manifest", str(path)])
    process = time.perf_counter() - started
    report: dict[str, Any] = json.loads(Path(spec["report"]).read_text())
    if report["rows_accepted"] != size:
        raise SystemExit(f"{report['rows_accepted']} of {size} rows accepted: {report['reasons']}")
    for part in ("data", "training", "hashes"):
        shutil.rmtree(store / "dataset" / part / "batch=measured")
    return {**report, "peak_gib": peak, "process": process}


def against_history(work: Path, sizes: Sequence[int], batches: Sequence[int], repeat: int) -> bool:
    """Print merge time per history and batch size; returns whether the targets are met."""
    for size in sizes:
        store = work / f"history-{size}"
        if not (store / "ready").exists():
            shutil.rmtree(store, ignore_errors=True)
            print(f"writing a history of {size:,} rows", flush=True)
            child("make_history", str(store), str(size), memory="3g")
            (store / "ready").touch()
    names = [f"history{number}" for number in range(BATCHES)]
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for turn in range(repeat):
        for batch in batches:
            for size in sizes if turn % 2 == 0 else sizes[::-1]:
                found.setdefault((batch, size), []).append(merge(work, work / f"history-{size}", names, batch))
    print(f"\nMerge into a history of {BATCHES} batches, fastest of {repeat}\n")
    print("|  new rows |    history | merge s | of it look-up s | median s | process s | written bytes | peak GiB |")
    print("|----------:|-----------:|--------:|----------------:|---------:|----------:|--------------:|---------:|")
    met = True
    for batch in batches:
        best = {}
        for size in sizes:
            reports = sorted(found[batch, size], key=lambda report: report["seconds"]["merge"])
            seconds = reports[0]["seconds"]
            best[size] = min(report["process"] for report in reports)
            median = reports[len(reports) // 2]["seconds"]["merge"]
            peak = max(report["peak_gib"] for report in reports)
            met &= peak < MEMORY_GIB
            print(
                f"| {batch:9,} | {size:10,} | {seconds['merge']:7.2f} | {seconds['history']:15.2f} | {median:8.2f} "
                f"| {best[size]:9.2f} | {reports[0]['bytes_written']:13,} | {peak:8.2f} |"
            )
        growth = best[sizes[-1]] / best[sizes[0]]
        written = {report["bytes_written"] for size in sizes for report in found[batch, size]}
        print(
            f"{batch:,} rows: {growth - 1:+.0%} of the process from the smallest to the largest history; bytes written {sorted(written)}"
        )
        met &= len(written) == 1
        if batch == min(batches):
            met &= growth <= GROWTH
    return met


def against_others(work: Path, rows: int, repeat: int) -> bool:
    """Print how long the same rows take in three ways; returns whether the targets are met."""
    source = str(work / "files" / f"{rows}.csv")
    ways = {
        "this merge": "this_merge",
        "the same by Spark": "merge_by_spark",
        "published method": "published_method",
        "DuckDB": "with_duckdb",
    }
    best: dict[str, dict[str, float]] = {}
    for _ in range(repeat):
        for name, way in ways.items():
            found = child(way, source, str(work / "others"), memory="3g" if way == "published_method" else "1g")
            old = best.get(name, found)
            best[name] = {
                "first": min(old["first"], found["first"]),
                "second": min(old["second"], found["second"]),
                "peak_gib": max(old["peak_gib"], found["peak_gib"]),
            }
            shutil.rmtree(work / "others", ignore_errors=True)
    print(f"\n{rows:,} rows into an empty log, fastest of {repeat}, start of Spark or DuckDB apart\n")
    print("| way               | first s | of this | second s | of this | peak GiB |")
    print("|-------------------|--------:|--------:|---------:|--------:|---------:|")
    ours = best["this merge"]
    for name, found in best.items():
        ratios = found["first"] / ours["first"], found["second"] / ours["second"]
        print(
            f"| {name:17} | {found['first']:7.1f} | {ratios[0]:7.2f} | {found['second']:8.1f} | {ratios[1]:7.2f} "
            f"| {found['peak_gib']:8.2f} |"
        )
    met = True
    for turn in ("first", "second"):
        faster, within = best["published method"][turn] / ours[turn], ours[turn] / best["DuckDB"][turn]
        print(
            f"{turn} merge of a process: {faster:.1f} times as fast as the published method (target {FASTER[turn]:g}), "
            f"{within:.1f} times DuckDB (target {WITHIN[turn]:g})"
        )
        met &= faster >= FASTER[turn] and within <= WITHIN[turn]
    return met


def main() -> int:
    """Measure and print; 1 when a figure misses its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, one turn: does it run at all?")
    parser.add_argument("--histories", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000], metavar="ROWS")
    parser.add_argument("--batches", type=int, nargs="+", default=[100, 100_000], metavar="ROWS")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows of the comparison with other ways; 0 skips it"
    )
    parser.add_argument("--repeat", type=int, default=3, help="turns of the first table; the fastest counts")
    parser.add_argument("--turns", type=int, default=2, help="turns of the second table")
    parser.add_argument(
        "--work", type=Path, default=layout.LOCAL / "bench" / "etl", help="folder for files and histories"
    )
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.child:
        CHILDREN[options.child[0]](*options.child[1:])
        return 0
    if options.quick:
        options.histories, options.batches, options.rows = [1_000, 20_000], [100], 20_000
        options.repeat = options.turns = 1
    work = options.work.resolve()
    (work / "files").mkdir(parents=True, exist_ok=True)
    print(
        f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    sizes = sorted({*options.batches, options.rows} - {0})
    if not all((work / "files" / f"{size}.csv").exists() for size in sizes):
        child("make_files", str(work / "files"), ",".join(map(str, sizes)))
    met = against_history(work, sorted(options.histories), sorted(options.batches), options.repeat)
    if options.rows:
        met &= against_others(work, options.rows, options.turns)
    print(f"\ntargets {'met' if met else 'missed'}; load at the end {os.getloadavg()[0]:.1f}")
    return 0 if met or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
