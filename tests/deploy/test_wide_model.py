"""A model of 300 columns, with texts and gaps, goes through the whole loop; local_aws enforces SageMaker's limits of arguments."""

import csv
import io
import json
import random

import pytest
import yaml
from model_loop import ModelLoop

from retraining.aws import clients as aws_clients

pytestmark = [pytest.mark.local_aws, pytest.mark.long]
NUMBERS = [f"measurement_of_the_sensor_{number:03d}" for number in range(298)]
CODES = ("01", "02", "NA")
TRAIN = """
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def fit(frame, target, hyperparameters, seed):
    codes = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encoded = make_column_transformer((codes, ["code"]), remainder="passthrough")
    return make_pipeline(encoded, HistGradientBoostingRegressor(max_iter=20, random_state=seed)).fit(frame, target)
"""


def rows(seed: int, count: int) -> list[dict]:
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        row = {name: "" if dice.random() < 0.05 else f"{dice.gauss(0, 1):.6f}" for name in NUMBERS}
        code = dice.choice(CODES)
        signal = 5 * float(row[NUMBERS[0]] or 0) + 10 * CODES.index(code)
        found.append({**row, "code": code, "yield": f"{signal + dice.gauss(0, 0.5):.6f}"})
    return found


def as_csv(found: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*NUMBERS, "code", "yield"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


@pytest.fixture(scope="module")
def loop(session, tmp_path_factory):
    columns = [{"name": name, "type": "double", "nullable": True} for name in NUMBERS]
    columns += [{"name": "code", "type": "string", "allowed": list(CODES)}, {"name": "yield", "type": "double"}]
    image = "sagemaker-scikit-learn:1.9-0-cpu-py3"
    folder = tmp_path_factory.mktemp("models") / "wide"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    gate = {"guards": {"rmse": 100, "bias": 100}, "worst_group": {"rmse": 100}}
    document = {
        "name": "wide",
        "contract": {"columns": columns, "target": "yield"},
        "split": {"train": 60, "validation": 20, "test": 20},
        "training": {"image": image, "candidates": [{"name": "trees"}]},
        "evaluation": {"image": image},
        "gate": gate,
        "deployment": {"endpoint": "wide", "image": image},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(document))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        aws_clients.client.cache_clear()
        yield ModelLoop(session, folder)
        aws_clients.client.cache_clear()


def test_a_model_of_300_columns_goes_through_the_whole_loop(loop):
    first = loop.run("first.csv", as_csv(rows(1, 400)))
    assert first["branch"] == "approved", first["decision"]
    assert first["verified"]
    request = {name: None for name in NUMBERS} | {NUMBERS[0]: 1.0, "code": "NA", "yield": "not asked for"}
    body = json.dumps({"instances": [request, request | {"code": "01"}]})
    runtime = loop.session.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="dev-wide", ContentType="application/json", Body=body)
    high, low = json.loads(answer["Body"].read())["predictions"]
    assert 10 < high - low < 30  # NA is a code of its own, and a gap no error
    with pytest.raises(Exception, match=r"row 1: code is 2, expected a text"):
        body = json.dumps({"instances": [request | {"code": 2}]})
        runtime.invoke_endpoint(EndpointName="dev-wide", ContentType="application/json", Body=body)
    second = loop.run("second.csv", as_csv(rows(2, 400)))
    assert second["plan"]["champion"]
    assert second["analysis"]["champion"] is not None
