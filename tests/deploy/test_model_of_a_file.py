"""A model folder that ``make new-model`` makes of a file goes through the whole loop, without code: texts with three classes and gaps."""

import json
import random

import pytest
from model_loop import ModelLoop

from retraining.aws import clients as aws_clients
from retraining.command.new_model.__main__ import main

pytestmark = [pytest.mark.local_aws, pytest.mark.long]
KINDS = {"Adelie": (39.0, 3700), "Chinstrap": (49.0, 3750), "Gentoo": (47.5, 5050)}
ISLANDS = {"Adelie": ("Biscoe", "Dream", "Torgersen"), "Chinstrap": ("Dream",), "Gentoo": ("Biscoe",)}


def penguins(seed: int, count: int) -> str:
    dice = random.Random(seed)
    lines = ["rowid,species,island,Bill length (mm),body mass,sex,seen"]
    for number in range(count):
        kind = dice.choice(list(KINDS))
        bill, mass = KINDS[kind]
        cells = [f"{dice.gauss(bill, 3):.1f}", f"{dice.gauss(mass, 450):.0f}", dice.choice(["male", "female"])]
        cells = ["NA" if dice.random() < 0.03 else cell for cell in cells[:2]] + cells[2:]
        day = f"2025-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
        lines.append(",".join([str(number), kind, dice.choice(ISLANDS[kind]), *cells, day]))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def loop(session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("penguins")
    (folder / "penguins.csv").write_text(penguins(1, 400))
    assert main([str(folder / "penguins.csv"), "species", "--dags", str(folder / "dags")]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        aws_clients.client.cache_clear()
        yield ModelLoop(session, folder / "dags" / "models" / "penguins")
        aws_clients.client.cache_clear()


def test_a_text_with_three_classes_is_merged_trained_judged_and_served(loop, session):
    first = loop.run("first.csv", penguins(1, 400))
    assert first["branch"] == "approved"
    assert [result["metrics"]["validation:loss"] < 0.5 for result in first["trained"]] == [True, True]
    analysis = first["analysis"]
    assert (analysis["task"], analysis["classes"]) == ("multiclass", ["Adelie", "Chinstrap", "Gentoo"])
    assert analysis["challenger"]["accuracy"] > 0.8
    assert "it keeps its guards (log loss" in first["decision"]["reason"]
    row = {"island": "Biscoe", "bill_length_mm": None, "body_mass": 5200, "sex": "male", "seen": "2025-03-01"}
    answer = session.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="dev-penguins", ContentType="application/json", Body=json.dumps([row])
    )
    document = json.loads(answer["Body"].read())
    assert (document["predictions"], document["classes"]) == (["Gentoo"], ["Adelie", "Chinstrap", "Gentoo"])
    assert sum(document["probabilities"][0]) == pytest.approx(1.0)

    second = loop.run("second.csv", penguins(2, 300))
    assert (second["analysis"]["champion"]["log_loss"] > 0, second["decision"]["numbers"]["metric"]) == (
        True,
        "log_loss",
    )
    report = session.client("s3").get_object(
        Bucket=loop.bucket, Key=f"penguins/runs/{second['plan']['run_key']}/report.html"
    )
    page = report["Body"].read().decode()
    assert "Confusion" in page
    assert "RMSE" not in page
