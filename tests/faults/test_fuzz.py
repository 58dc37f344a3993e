"""Inputs from outside, made up by the thousand: contracts, CSV files, events. No crash, no hang, no accepted row that breaks the contract.

``FUZZ_EXAMPLES`` says how many (`make test-fuzz`: 100,000 in all); without it a few hundred, and no Spark.
"""

import io
import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import MODEL_FOLDER, ROOT, abalone_rows
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from retraining.contract.rules import Contract
from retraining.contract.verdict import judge_file
from retraining.dag.triggers import object_keys
from retraining.dataset.crawl_note import crawl_notes
from retraining.settings.model_config import ConfigError, ModelConfig, load_model_config

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
CONFIG = yaml.safe_load((MODEL_FOLDER / "model.yaml").read_text())
CONTRACT = Contract.of(CONFIG["contract"])
CONTRACT_OF_CONFIG = load_model_config(MODEL_FOLDER / "model.yaml").contract
LINE_SHARE = 0.8  # of all examples: rows of files that Spark merges
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PIECES = (
    "", " ", "NaN", "inf", "-0", "1e308", "1e-400", "0x10", "\u0967", "1_0", "\u00bd", "+.5", "1,5", "M", "m", "\u221e",
    "null", '"', "'", "\t", "\ufeff", "\U0001d7d9", "9" * 400,
)  # fmt: skip


def some(share: float) -> settings:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=max(50, int(EXAMPLES * share)), deadline=None, suppress_health_check=checks, database=None
    )


def paths_of(value, path=()):
    """Every place in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths_of(inner, (*path, key))


PLACES = [path for path in paths_of(CONFIG) if path]


def changed(places, values):
    """The shipped configuration with other values in some places, or without them."""
    document = json.loads(json.dumps(CONFIG))
    for path, value in zip(places, values, strict=False):
        inner = document
        try:
            for key in path[:-1]:
                inner = inner[key]
            if value == "remove":
                del inner[path[-1]]
            else:
                inner[path[-1]] = value
        except (KeyError, IndexError, TypeError):  # an earlier change took the place away
            continue
    return document


def loaded(tmp_path, body):
    path = tmp_path / "model.yaml"
    path.write_bytes(body)
    try:
        return load_model_config(path)
    except ConfigError as error:
        assert "model.yaml" in str(error)
        return None


@pytest.mark.faults_fast
@some(0.05)
@given(
    st.lists(st.sampled_from(PLACES), min_size=1, max_size=3),
    st.lists(VALUES | st.just("remove"), min_size=3, max_size=3),
)
@example([("training", "selection_metric")], ["remove"] * 3)  # one candidate, and no expression for the default
def test_any_change_of_a_configuration_is_accepted_or_refused_in_words(tmp_path, places, values):
    config = loaded(
        tmp_path, yaml.safe_dump(changed(places, values), allow_unicode=True).encode("utf-8", "surrogatepass")
    )
    if config is not None:
        assert ModelConfig.model_validate(config.model_dump(mode="json")) == config
        Contract.of(config.contract.model_dump(mode="json"))  # what the library accepts, the Glue script understands


@pytest.mark.faults_fast
@some(0.03)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_as_a_configuration_are_refused_in_words(tmp_path, body):
    assert loaded(tmp_path, body) is None


HEADS = st.binary(max_size=300) | st.lists(st.sampled_from([*CONTRACT.names, *PIECES]), max_size=12).map(
    lambda cells: ",".join(cells).encode()
)


@pytest.mark.faults_fast
@some(0.06)
@given(HEADS, st.text(max_size=12), st.sampled_from(["", ".csv", ".gz", ".GZ", ".zip"]))
def test_any_file_is_laid_out_or_refused_with_a_reason(head, name, ending):
    key = f"abalone/new/{name}{ending}"
    verdict = judge_file(lambda: io.BytesIO(head), key, len(head), CONTRACT, {"train": 100})
    if verdict.outcome == "merged":
        assert verdict.rows == verdict.accepted + verdict.duplicate + verdict.quarantined
    else:
        assert verdict.reason and verdict.reason.strip()


@pytest.mark.faults_fast
@some(0.04)
@given(st.lists(st.text(max_size=60) | VALUES.map(lambda value: json.dumps(value, default=str)), max_size=5))
def test_any_event_is_counted_without_a_crash(bodies):
    assert all(isinstance(key, str) for body in bodies for key in object_keys(body))


@pytest.mark.faults_fast
@some(0.02)
@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=12))
def test_any_catalog_table_is_compared_in_words(columns):
    schemas = [{"columns": columns, "tables": {"landing_a_csv": "s3://b/m/new/a.csv"}}]
    assert all(len(line) < 2000 for line in crawl_notes(CONTRACT_OF_CONFIG, schemas))


def fuzzed_lines(count: int, seed: int) -> list[str]:
    """Rows of the original data with cells replaced, added, removed, joined or spoiled; about a third stay as they are."""
    chance = random.Random(seed)
    rows = [line.split(",") for line in abalone_rows(0, 4177).splitlines()]
    lines = []
    for _ in range(count):
        cells = list(chance.choice(rows))
        cells[1] = f"{float(cells[1]) + chance.randrange(1000) / 1e6:.6f}"  # not all duplicates
        for _ in range(chance.choice((0, 1, 1, 2))):
            place = chance.randrange(len(cells)) if cells else 0
            change = chance.randrange(5)
            if change == 0:
                cells[place : place + 1] = [chance.choice(PIECES)]
            elif change == 1:
                cells.insert(place, chance.choice(PIECES))
            elif change == 2:
                del cells[place : place + 1]
            elif change == 3:
                cells[place : place + 1] = [str(chance.uniform(-10, 50))]
            else:
                cells[place : place + 1] = [(cells[place] if cells else "") + chr(chance.randrange(32, 0x2FFF))]
        lines.append(",".join(cells))
    return lines


def breaks_contract(row: dict) -> str | None:
    """Why a row must not have been accepted; written from the contract's documentation, not from the Spark expressions."""
    for column in CONFIG["contract"]["columns"]:
        name, value = column["name"], row[column["name"]]
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return f"{name} is {value}"
        if "allowed" in column and value not in column["allowed"]:
            return f"{name} is {value!r}"
        low, high = column.get("min"), column.get("max")
        if low is not None and (value < low or (column.get("exclusive_min") and value == low)):
            return f"{name} is {value}, below {low}"
        if high is not None and value > high:
            return f"{name} is {value}, above {high}"
    for rule in CONFIG["contract"]["rules"]:
        if sum(row[name] for name in rule["sum"]) > rule["tolerance"] * row[rule["at_most"]] + 1e-9:
            return f"breaks {rule['name']}"
    return None


@pytest.mark.spark
@pytest.mark.skipif(not EXAMPLES, reason="FUZZ_EXAMPLES is not set: make test-fuzz")
def test_no_row_that_breaks_the_contract_is_accepted_of_any_file(tmp_path):
    count = int(EXAMPLES * LINE_SHARE)
    files = []
    for number in range(4):
        path = tmp_path / "abalone" / "new" / f"{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(fuzzed_lines(count // 4, number)) + "\n", encoding="utf-8")
        files.append({"key": f"abalone/new/{path.name}", "etag": None, "size": path.stat().st_size, "source": "survey"})
    root = tmp_path.as_uri()
    manifest = {
        "schema_version": 1, "model": "abalone", "batch": "f" * 16, "bucket": root, "prefix": "abalone/", "files": files,
        "contract": {**CONFIG["contract"], "bad_rows": {"max_share": 1.0}}, "split": CONFIG["split"], "history": [],
        "output": f"{root}/abalone/dataset/", "quarantine": f"{root}/abalone/quarantine/", "report": f"{root}/report.json",
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    command = [sys.executable, ROOT / "glue_scripts" / "merge_survey_data.py", "--manifest", tmp_path / "manifest.json"]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'plugins'}"
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows_new"] == report["rows_accepted"] + report["rows_duplicate"] + report["rows_quarantined"]
    assert all(file["outcome"] == "merged" for file in report["files"]), report["files"]
    accepted = [
        row
        for path in Path(tmp_path / "abalone/dataset/data").rglob("*.parquet")
        for row in pq.ParquetFile(path).read().to_pylist()
    ]
    assert len(accepted) == report["rows_accepted"] > count / 10
    assert report["rows_quarantined"] > count / 10
    broken = [(row, reason) for row in accepted if (reason := breaks_contract(row))]
    assert not broken, broken[:3]
    assert len({row["row_hash"] for row in accepted}) == len(accepted)
    shutil.rmtree(tmp_path / "abalone")
