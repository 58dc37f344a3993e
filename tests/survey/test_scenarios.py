"""What becomes of generated files: the merge itself judges them, the shipped model learns them, the gate decides.

Four surveys follow the demo's original data set: a slightly dirty one is merged with a quarantine, a very dirty one is refused, a drifted
one makes a model that is rejected, a replay of real rows one that is promoted. One Spark session merges all in a process of its own.
"""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from lambda_functions.analyze_results import handler
from local_aws.glue.spark import spark_environment
from local_aws.shared.settings import Settings
from local_stack import layout
from local_stack.surveys import split_surveys
from retraining.contract.rows import row_reasons, row_split
from retraining.contract.rules import Contract, cells_of
from retraining.judging.gate import decide
from retraining.settings.gate_policy import GatePolicy
from survey.generator import generate, tables

ROOT = Path(__file__).resolve().parents[2]
MODEL_FOLDER = ROOT / "dags" / "models" / "abalone"

pytestmark = pytest.mark.spark

SURVEYS: dict[str, dict[str, Any]] = {
    "quarantine": {"method": "copula", "rows": 200, "dirt": 0.04, "duplicates": 0.05, "known_rows": 0.05},
    "refuse": {"method": "copula", "rows": 200, "dirt": 0.4},
    "reject": {"method": "copula", "rows": 1500, "drift": ["rings+8"]},
    "promote": {"method": "replay", "rows": 900},
}


class Scenario:
    """A bucket on disk, the generated files, and the ETL report of each."""

    def __init__(self, root: Path, document: dict[str, Any], contract: Contract) -> None:
        self.root = root
        self.document = document
        self.contract = contract
        self.surveys: dict[str, generate.Survey] = {}

    def put(self, key: str, text: str) -> str:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return key

    def manifest(self, batch: str, key: str, source: str, history: list[str]) -> Path:
        uri = self.root.as_uri()
        document = {
            "schema_version": 1,
            "model": "abalone",
            "batch": batch,
            "bucket": uri,
            "prefix": "abalone/",
            "files": [
                {
                    "key": key,
                    "etag": None,
                    "size": (self.root / key).stat().st_size,
                    "version_id": None,
                    "source": source,
                }
            ],
            "contract": self.document["contract"],
            "split": self.document["split"],
            "history": history,
            "output": f"{uri}/abalone/dataset/",
            "quarantine": f"{uri}/abalone/quarantine/",
            "report": f"{uri}/abalone/batches/{batch}/etl_report.json",
        }
        path = self.root / f"manifest-{batch}.json"
        path.write_text(json.dumps(document))
        return path

    def report(self, batch: str) -> dict[str, Any]:
        return json.loads((self.root / f"abalone/batches/{batch}/etl_report.json").read_text())

    def split(self, split: str, *batches: str) -> pd.DataFrame:
        parts = [self.root / f"abalone/dataset/training/batch={batch}/split={split}" for batch in batches]
        return pd.concat([tables.read_training_rows(part, self.contract) for part in parts if part.exists()])


def merge(manifests: list[Path], work: Path) -> None:
    """Merge in the environment and with the Spark settings of local Glue jobs, whose start is the quickest."""
    settings = Settings(port=0, data_dir=work, environments=layout.VENVS, java_home=os.environ.get("JAVA_HOME"))
    work.mkdir()
    environment = {**os.environ, **spark_environment(settings, work, {})}
    python = settings.python("jobs")
    command = [python, str(Path(__file__).with_name("merge_batches.py")), *map(str, manifests)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def scenario(tmp_path_factory, document, contract) -> Scenario:
    made = Scenario(tmp_path_factory.mktemp("scenario") / "bucket", document, contract)
    data = ROOT / "data" / "abalone.csv"
    original, _ = split_surveys(data)
    manifests = [made.manifest("original", made.put("abalone/raw/abalone.csv", original), "survey", [])]
    header, *rows = cells_of(original.splitlines())
    assert header == list(contract.names)
    rows = [row for row in rows if not row_reasons(contract, row)]
    splits = [row_split(contract, row, document["split"]) for row in rows]
    train = tables.typed([row for row, split in zip(rows, splits, strict=True) if split == "train"], contract)
    known = made.root / "known"
    made.put("known/all.csv", "\n".join(",".join([row[-1], *row[:-1]]) for row in rows))
    for name, options in SURVEYS.items():
        request = generate.Request.of({"contract": document["contract"], "seed": 7, **options})
        held_back = generate.not_yet_known([data], known, contract)
        draw, available = generate.sampler(request, train, None, held_back, lambda _: None)
        made.surveys[name] = generate.make(request, train, draw, available)
        real = request.method == "replay"
        folder = "abalone/new/" if real else "abalone/new/synthetic/"
        key = made.put(f"{folder}abalone.20260101-{name}", "".join(f"{line}\n" for line in made.surveys[name].lines))
        manifests.append(made.manifest(name, key, "survey" if real else "synthetic", ["original"]))
    merge(manifests, made.root.parent / "spark")
    return made


def rmse_analysis(scenario: Scenario, *batches: str) -> dict[str, Any]:
    """Train champion and challenger on the train split and compare them on the test split, as the jobs do."""
    sys.path.insert(0, str(MODEL_FOLDER))
    try:
        import train as shipped
    finally:
        sys.path.remove(str(MODEL_FOLDER))
    test = scenario.split("test", "original", *batches)
    predictions = []
    for known in (("original", *batches), ("original",)):
        rows = scenario.split("train", *known)
        with threadpool_limits(1):
            model = shipped.build("svr_hgb", {})
            model.fit(rows.drop(columns="rings"), rows["rings"].to_numpy(dtype=float))
            predictions.append(np.asarray(model.predict(test.drop(columns="rings")), dtype=float))
    columns = zip(test["rings"].astype(float), *predictions, test["sex"], strict=True)
    lines = (f"1,{truth!r},{float(first)!r},{float(second)!r},{sex}\n" for truth, first, second, sex in columns)
    return handler.analyze_csv(io.BytesIO(("row,truth,challenger,champion,group\n" + "".join(lines)).encode()))


@pytest.mark.parametrize("name", SURVEYS)
def test_the_merge_finds_what_the_report_foretold(scenario, name):
    found, foretold = scenario.report(name), scenario.surveys[name].report["violations"]
    assert found["rows_new"] == foretold["rows"]
    (file,) = found["files"]
    assert file["outcome"] == ("refused" if name == "refuse" else "merged")
    assert found["rows_quarantined"] == (foretold["rows"] if name == "refuse" else foretold["rejected"])
    assert Counter(file["reasons"]) == Counter(foretold["reasons"])


def test_rows_are_split_as_the_generator_foretells(scenario, document, contract):
    for split in document["split"]:
        cells = tables.cells(scenario.split(split, "original"), contract)
        assert {row_split(contract, row, document["split"]) for row in cells} == {split}


def test_a_little_dirt_is_quarantined_and_what_is_known_is_dropped(scenario):
    report = scenario.report("quarantine")
    assert report["files"][0]["outcome"] == "merged"
    assert report["rows_quarantined"] == 9  # 4 % of 200 rows, 10 copies and 10 known ones
    assert report["rows_accepted"] > 180
    assert report["rows_duplicate_in_history"] >= 8
    assert report["rows_duplicate_in_batch"] >= 8
    assert report["rows_by_split"] == {"train": report["rows_accepted"], "validation": 0, "test": 0}


def test_much_dirt_is_refused_as_a_whole(scenario):
    report = scenario.report("refuse")
    assert report["files"][0]["outcome"] == "refused"
    assert sum(report["files"][0]["reasons"].values()) >= 80
    assert not list((scenario.root / "abalone/dataset/training").glob("batch=refuse/split=*"))


def test_a_drifted_relation_makes_a_model_that_the_gate_rejects(scenario, document):
    assert scenario.report("reject")["rows_by_split"]["test"] == 0
    decision = decide(rmse_analysis(scenario, "reject"), GatePolicy.model_validate(document["gate"]))
    assert decision.decision == "rejected", decision.reason


def test_replayed_real_rows_make_a_model_that_the_gate_promotes(scenario, document):
    report = scenario.report("promote")
    assert report["rows_accepted"] == len(scenario.surveys["promote"].lines) > 500
    assert report["rows_by_split"]["test"] > 0
    decision = decide(rmse_analysis(scenario, "promote"), GatePolicy.model_validate(document["gate"]))
    assert decision.decision == "approved", decision.reason
