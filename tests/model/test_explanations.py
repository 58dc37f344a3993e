"""Explanations of trained models: the same at the endpoint, in the evaluation and in a batch, and no trouble where there are none."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from abalone_artifacts import CONFIG, evaluation_job, pack, write_job
from test_batch_job import GOOD, HEADER, rows_of, score
from trainer_rows import COLUMNS, TARGETS, job, rows

from retraining.inside import program, serving, training
from retraining.inside.explaining import background, overview

NAMES = HEADER.split(",")


def asked(model: serving.Model, instances: list, **more) -> dict:
    """Return what an endpoint answers to a request that asks why."""
    body = json.dumps({"instances": instances, "explain": True, **more})
    return json.loads(serving.transform_fn(model, body, "application/json", "application/json")[0])


def instances(task: str, count: int) -> list[dict]:
    """Return rows as a client sends them, gaps among them."""
    frame = rows(task, count, 7).drop(columns="target")
    sent = frame.astype(object).mask(frame.isna(), None).to_dict("records")
    return [{**row, "flag": None if row["flag"] is None else bool(row["flag"])} for row in sent]


@pytest.fixture(
    scope="module", params=[(task, trainer) for task in TARGETS for trainer in ("linear", "hist_gradient_boosting")]
)
def boxed(request, tmp_path_factory) -> tuple[str, serving.Model]:
    """Return a task and a model in service, trained by one of the trainers in the box."""
    task, trainer = request.param
    folder = tmp_path_factory.mktemp(f"{task}-{trainer}")
    for split, count, seed in (("train", 400, 0), ("validation", 100, 1)):
        (folder / split).mkdir()
        frame = rows(task, count, seed)
        frame["flag"] = frame["flag"].map({1.0: True, 0.0: False})
        frame["day"] = pd.to_datetime(frame["day"]).dt.date
        frame["at"] = pd.to_datetime(frame["at"])
        frame.to_parquet(folder / split / "rows.parquet")
    variables = {
        "SM_CHANNEL_TRAIN": str(folder / "train"),
        "SM_CHANNEL_VALIDATION": str(folder / "validation"),
        "SM_MODEL_DIR": str(folder / "artifact"),
    }
    few = {} if trainer == "linear" else {"max_iter": 20}
    assert training.run(job(task, trainer, **few), variables, folder) == 0
    return task, serving.model_fn(str(folder / "artifact"))


def test_an_explanation_sums_to_the_answer_of_every_trainer_and_task(boxed):
    task, model = boxed
    sent = instances(task, 4)
    found = asked(model, sent)
    plain = json.loads(serving.transform_fn(model, json.dumps(sent), "application/json", "application/json")[0])
    assert {name: values for name, values in found.items() if name != "explanations"} == plain
    names = [column["name"] for column in COLUMNS]
    for at, explanation in enumerate(found["explanations"]):
        assert list(explanation) == ["of", "base", "values"]
        assert list(explanation["values"]) == names
        if task in ("regression", "count"):
            assert explanation["of"] == "target"
            answer = found["predictions"][at]
        else:
            expected = "no" if task == "binary" else found["predictions"][at]  # the second of the allowed values
            assert explanation["of"] == expected
            answer = found["probabilities"][at][found["classes"].index(expected)]
        assert explanation["base"] + sum(explanation["values"].values()) == pytest.approx(answer, abs=1e-9)
        assert max(map(abs, explanation["values"].values())) > 0


@pytest.fixture(scope="module")
def linear(linear_artifact) -> serving.Model:
    return serving.model_fn(str(linear_artifact))


def test_the_frozen_background_is_what_a_row_is_compared_with(linear, linear_artifact):
    kept = background.read_background(linear_artifact, linear.columns, linear.contract)
    assert len(kept) == background.BACKGROUND_ROWS
    base = linear.estimator.predict(kept).mean()
    row = GOOD[0].split(",")
    [explanation] = asked(linear, [row])["explanations"]
    assert explanation["base"] == pytest.approx(base)
    step = linear.estimator.predict(kept.assign(length=0.455)).mean() - base  # the model is linear
    assert explanation["values"]["length"] == pytest.approx(step)


@pytest.mark.parametrize(
    ("body", "accept", "status", "message"),
    [
        ({"explain": "yes"}, "application/json", 400, '"explain" is "yes": send true or false'),
        ({"explain": True}, "text/csv", 406, "explanations are not answered as 'text/csv'"),
        ({"explain": True, "instances": [GOOD[0].split(",")] * 140}, "application/json", 400, "send at most 130 rows"),
    ],
)
def test_a_request_for_explanations_that_cannot_be_met_says_why(linear, body, accept, status, message):
    body = {"instances": [GOOD[0].split(",")], **body}
    with pytest.raises(serving.InvalidRequest, match=message) as refused:
        serving.transform_fn(linear, json.dumps(body), "application/json", accept)
    assert refused.value.status_code == status


def test_a_request_that_does_not_ask_is_answered_as_before_and_asks_the_model_once(linear, monkeypatch):
    calls = []
    real = serving.model_answers
    monkeypatch.setattr(serving, "model_answers", lambda *given: calls.append(len(given[1])) or real(*given))
    row = GOOD[0].split(",")
    for more in ({}, {"explain": False}, {"note": "explain"}):
        body = json.dumps({"instances": [row], **more})
        assert list(json.loads(serving.transform_fn(linear, body, "application/json", "*/*")[0])) == ["predictions"]
    named = dict(zip(NAMES, row, strict=True)) | {"explain": "a note"}  # a value of the row, not of the request
    body = json.dumps([named])
    assert list(json.loads(serving.transform_fn(linear, body, "application/json", "*/*")[0])) == ["predictions"]
    serving.transform_fn(linear, f"{GOOD[0]}\n", "text/csv", "text/csv")
    assert calls == [1] * 5


def test_a_model_that_refuses_mixtures_or_has_no_background_says_so(linear):
    def stern(frame):
        if len(frame) > 1:
            raise ValueError("parts weigh more than the whole")
        return np.zeros(len(frame))

    with pytest.raises(serving.InvalidRequest, match=r"refuses mixtures of the rows.*parts weigh more"):
        asked(linear._replace(estimator=SimpleNamespace(predict=stern)), [GOOD[0].split(",")])
    with pytest.raises(serving.InvalidRequest, match="train it again"):
        asked(linear._replace(background=None), [GOOD[0].split(",")])


def evaluate(artifact: Path, test: Path, folder: Path, **changes) -> dict:
    inputs = folder / "inputs"
    write_job(inputs / "job", evaluation_job(**changes))
    pack(artifact, inputs / "challenger")
    (inputs / "test").symlink_to(test, target_is_directory=True)
    assert program.main(folder, ["--inputs", str(inputs), "--output", str(folder / "output")], {}) == 0
    return json.loads((folder / "output" / "summary.json").read_text())


def test_report_batch_and_endpoint_say_the_same_of_a_row(
    linear, linear_artifact, abalone, channels, tmp_path, monkeypatch
):
    summary = evaluate(linear_artifact, channels / "test", tmp_path / "evaluation", explain_seconds=600)
    assert summary["not_explained"] is None
    folder = tmp_path / "evaluation" / "output" / "explanations"
    found = json.loads((folder / "overview.json").read_text())
    assert (found["of"], found["rows"], found["exact"]) == ("rings", 100, True)
    assert found["background"] == background.BACKGROUND_ROWS
    values = pd.read_csv(folder / "explanations_shap" / "out.csv", float_precision="round_trip")
    assert list(values) == [f"{name}_label0" for name in NAMES]
    sampled = overview.SampledRows()
    test = abalone[2200:2409].drop(columns="rings").to_dict("records")
    sampled.see(test[:50])
    sampled.see(test[50:])
    explained = [dict(zip(NAMES, row, strict=True)) for row in values.to_numpy()]
    for row, effects in list(zip(sampled.rows, explained, strict=True))[:20]:
        try:
            [endpoint] = asked(linear, [row])["explanations"]
        except serving.InvalidRequest:
            continue  # the real rows break a rule of the contract that requests are held against
        assert endpoint["values"] == pytest.approx(effects, abs=1e-9)
        assert found["base"] == pytest.approx(endpoint["base"])

    means = values.abs().mean()
    columns = {column["name"]: column for column in found["columns"]}
    assert [column["mean"] for column in found["columns"]] == sorted(
        (c["mean"] for c in found["columns"]), reverse=True
    )
    for name in NAMES:
        column = columns[name]
        assert column["mean"] == pytest.approx(means[f"{name}_label0"])
        half = 1.96 * values[f"{name}_label0"].abs().std() / 10
        assert column["high"] - column["mean"] == pytest.approx(half)
        assert column["low"] == pytest.approx(max(0, column["mean"] - half))
    clarify = json.loads((folder / "analysis.json").read_text())["explanations"]["kernel_shap"]["label0"]
    assert clarify["global_shap_values"] == pytest.approx({name: columns[name]["mean"] for name in NAMES})
    assert clarify["expected_value"] == found["base"]
    first = found["dependence"][0]
    assert first["name"] == found["columns"][0]["name"]
    assert first["points"][0] == [sampled.rows[0][first["name"]], values[f"{first['name']}_label0"][0]]

    config = CONFIG.model_copy(update={"batch": CONFIG.batch.model_copy(update={"explain": True})})
    monkeypatch.setattr("test_batch_job.CONFIG", config)
    output = score(linear_artifact, tmp_path / "batch", survey="\n".join([HEADER, *GOOD, ""]))
    scored = rows_of(output / "000000" / "scored.csv")
    assert list(scored[0]) == ["line", *NAMES, "prediction", "base", *(f"effect_{name}" for name in NAMES), "model"]
    for line, row in zip(GOOD, scored, strict=True):
        answer = asked(linear, [line.split(",")])
        assert float(row["prediction"]) == answer["predictions"][0]
        assert {name: float(row[f"effect_{name}"]) for name in NAMES} == pytest.approx(
            answer["explanations"][0]["values"], abs=1e-9
        )
        total = float(row["base"]) + sum(float(row[f"effect_{name}"]) for name in NAMES)
        assert total == pytest.approx(float(row["prediction"]), abs=1e-9)
    assert json.loads((output / "000000" / "report.json").read_text())["unexplained"] == 0


def test_an_evaluation_goes_on_without_explanations(linear_artifact, channels, tmp_path, monkeypatch):
    assert "is 0" in evaluate(linear_artifact, channels / "test", tmp_path / "off")["not_explained"]
    old = tmp_path / "old"
    shutil.copytree(linear_artifact, old)
    (old / background.BACKGROUND_FILE).unlink()
    assert "train it again" in evaluate(old, channels / "test", tmp_path / "older", explain_seconds=60)["not_explained"]
    monkeypatch.setattr(overview, "LONGEST", 0.0)
    summary = evaluate(linear_artifact, channels / "test", tmp_path / "slow", explain_seconds=60)
    assert "to explain a row, more than 0 s" in summary["not_explained"]
    assert summary["challenger"]["rmse"] > 0
    for name in ("off", "older", "slow"):
        assert not (tmp_path / name / "output" / "explanations").exists()


def test_a_batch_of_a_model_that_explains_nothing_keeps_its_answers_and_says_why(
    linear_artifact, tmp_path, monkeypatch
):
    config = CONFIG.model_copy(update={"batch": CONFIG.batch.model_copy(update={"explain": True})})
    monkeypatch.setattr("test_batch_job.CONFIG", config)
    old = tmp_path / "old"
    shutil.copytree(linear_artifact, old)
    (old / background.BACKGROUND_FILE).unlink()
    for number, (artifact, reason) in enumerate(((old, "train it again"), (own_serving(tmp_path), "does not explain"))):
        output = score(artifact, tmp_path / str(number), survey="\n".join([HEADER, *GOOD, ""])) / "000000"
        found = rows_of(output / "scored.csv")
        assert [row["prediction"] != "" for row in found] == [True, True]
        assert {row[name] for row in found for name in ("base", "effect_sex", "effect_shell_weight")} == {""}
        report = json.loads((output / "report.json").read_text())
        assert (report["scored"], report["unexplained"]) == (2, 2)
        assert reason in report["why_unexplained"]


def own_serving(folder: Path) -> Path:
    """Return an artifact whose serving code knows nothing of explanations."""
    code = folder / "own" / "code"
    code.mkdir(parents=True)
    (code / "inference.py").write_text(
        "import json\n"
        "def model_fn(folder): return None\n"
        "def input_fn(body, content_type): return json.loads(body)['instances']\n"
        "def predict_fn(rows, model): return [9.5] * len(rows)\n"
        "def output_fn(prediction, accept): return json.dumps({'predictions': prediction})\n"
    )
    return folder / "own"


def test_of_many_classes_a_size_is_the_probability_that_moves(tmp_path):
    answer = {
        "columns": ["a", "b"],
        "outputs": ["x", "y", "z"],
        "base": [0.2, 0.3, 0.5],
        "errors": None,
        "background": 20,
    }
    values = np.array([[[0.1, 0.0, -0.1], [0, 0, 0]], [[0.3, -0.2, -0.1], [0.05, -0.05, 0]]])
    found = overview.overview(answer, values, [{"a": 1.0, "b": None}, {"a": 2.0, "b": "t"}])
    assert (found["of"], found["base"], found["dependence"]) == (None, None, [])
    assert {column["name"]: column["mean"] for column in found["columns"]} == pytest.approx({"a": 0.2, "b": 0.025})
    two = {**answer, "outputs": ["no", "yes"], "base": [0.4, 0.6]}
    found = overview.overview(
        two,
        np.array([[[0.1, -0.1], [0, 0]], [[-0.3, 0.3], [0.1, -0.1]]]),
        [{"a": 1.0, "b": None}, {"a": 2.0, "b": "t"}],
    )
    assert (found["of"], found["base"]) == ("yes", 0.6)
    assert {column["name"]: column["mean"] for column in found["columns"]} == pytest.approx({"a": 0.2, "b": 0.05})
    assert found["dependence"] == [
        {"name": "a", "points": [[1.0, -0.1], [2.0, 0.3]]},
        {"name": "b", "points": [["t", -0.1]]},
    ]


def test_the_sample_is_the_same_however_the_rows_come_and_spread_over_all():
    whole, parts = overview.SampledRows(), overview.SampledRows()
    numbers = [{"n": n} for n in range(5000)]
    whole.see(numbers)
    for start in range(0, 5000, 700):
        parts.see(numbers[start : start + 700])
    assert whole.rows == parts.rows
    kept = [row["n"] for row in whole.rows]
    assert len(kept) == overview.ROWS
    for size in (20, 100):
        assert np.abs(np.mean(kept[:size]) - 2500) < 400
        assert max(np.diff(np.sort(kept[:size]))) < 3 * 5000 / size
