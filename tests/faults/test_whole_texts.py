"""Texts that formats stumble over, through a whole run: merge, training, evaluation and endpoint each get them as they were sent."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter

import pytest
import yaml
from task_runs import Run

pytestmark = pytest.mark.spark

TEXTS = (
    'Pier 5" pipe', "Reef, north", '""', '"', "a\\b", "NA", "null", "None", "007", "1e3", "0x1F", "true", "=1+1", "it's", "b;c|d",
    "{brace} ${HOME} $(id) `id`", "<b>&amp;</b>", "Ångström é e\u0301", "北湾", "🐚", "-", "#", "--", "'", "a" * 500,
)  # fmt: skip
EACH = 40
TRAIN = '''"""A model that knows each text by its place: a text that arrives changed is answered with -1."""


class Places:
    def __init__(self, texts):
        self.texts = texts

    def predict(self, frame):
        return [float(self.texts.get(text, -1)) for text in frame["site"]]


def fit(frame, target, hyperparameters, seed):
    return Places({text: float(number) for text, number in zip(frame["site"], target)})
'''


@pytest.fixture(scope="module")
def answered(account, new_world):
    """A run over all texts that ended well, and a function that asks the endpoint."""
    world = new_world(account)
    file = world.folder / "model.yaml"
    config = yaml.safe_load(file.read_text())
    config["contract"] = {
        "columns": [
            {"name": "site", "type": "string"},
            {"name": "number", "type": "int", "min": 0},
            {"name": "place", "type": "double"},
        ],
        "target": "place",
    }
    config["training"]["candidates"] = [{"name": "places", "hyperparameters": {"seed": 0}}]
    del config["evaluation"]["group"], config["gate"]["worst_group"], config["present"]
    for path in world.folder.glob("*.py"):
        path.unlink()
    file.write_text(yaml.safe_dump(config))
    (world.folder / "train.py").write_text(TRAIN)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["site", "number", "place"])
    writer.writerows([site, number, place] for place, site in enumerate(TEXTS) for number in range(EACH))
    world.put("raw/texts.csv", text.getvalue())
    record = Run(world.folder).play()
    assert record.state == "success", record.reason

    def ask(kind, body):
        runtime = account.sagemaker_runtime
        answer = runtime.invoke_endpoint(EndpointName=f"dev-{world.model}", ContentType=kind, Body=body)
        return json.loads(answer["Body"].read())["predictions"]

    return record, ask


def test_all_rows_are_in_the_data_set(answered):
    record, _ = answered
    assert Counter(record.summary["rows_by_split"]).total() == len(TEXTS) * EACH
    assert record.summary["rows_quarantined"] == 0


def test_the_evaluation_sees_the_texts_that_the_training_saw(answered):
    record, _ = answered
    assert record.summary["score_challenger"] == 0


@pytest.mark.parametrize("kind", ["text/csv", "application/json"])
def test_the_endpoint_sees_them_too(answered, kind):
    _, ask = answered
    if kind == "text/csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([site, 1] for site in TEXTS)
        body = text.getvalue()
    else:
        body = json.dumps({"instances": [{"site": site, "number": 1} for site in TEXTS]})
    assert ask(kind, body.encode()) == [float(place) for place in range(len(TEXTS))]
