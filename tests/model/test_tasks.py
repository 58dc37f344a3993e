"""Tasks beside regression: trained, scored row by row with a proper loss, and served, by the same code."""

import json
import sys
import textwrap
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from abalone_artifacts import pack, write_job

from retraining.inside import losses, program, serving, training
from retraining.inside.job_file import as_job
from retraining.inside.watching.profile import PREDICTION

LABELS = {"binary": ("no", "yes"), "multiclass": ("red", "green", "blue")}
CLASSIFIER = """
from sklearn.linear_model import LogisticRegression

def fit(frame, target, hyperparameters, seed):
    return LogisticRegression().fit(frame, target)
"""
COUNTER = """
from sklearn.linear_model import PoissonRegressor

def fit(frame, target, hyperparameters, seed):
    return PoissonRegressor(alpha=hyperparameters["alpha"]).fit(frame, target)
"""


def data(task: str, rows: int, seed: int) -> pd.DataFrame:
    dice = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": dice.normal(size=rows), "z": dice.normal(size=rows)})
    signal = 2 * frame["x"] + dice.normal(size=rows)
    if task == "count":
        return frame.assign(target=dice.poisson(np.exp(frame["x"] / 2)))
    labels = LABELS[task]
    places = np.clip(np.digitize(signal, [0] if task == "binary" else [-1, 1]), 0, len(labels) - 1)
    return frame.assign(target=[labels[place] for place in places])


def job(task: str, step: str) -> dict:
    columns = [{"name": "x", "type": "double"}, {"name": "z", "type": "double"}]
    kind = {"type": "int"} if task == "count" else {"type": "string", "allowed": list(LABELS[task])}
    contract = {"columns": [*columns, {"name": "target", **kind}], "target": "target"}
    settings = {"alpha": 0.1} if task == "count" else {}
    return {"step": step, "model": task, "task": task, "contract": contract, "hyperparameters": settings}


@pytest.fixture
def trained(tmp_path, request):
    """Return a folder with channels, job files and one artifact; the model's code is imported for this test alone."""
    task = request.param
    code = tmp_path / "code"
    code.mkdir()
    name = f"train_{task}"
    (code / f"{name}.py").write_text(textwrap.dedent(COUNTER if task == "count" else CLASSIFIER))
    for number, split in enumerate(("train", "validation", "test")):
        folder = tmp_path / split
        folder.mkdir()
        frame = data(task, 800, number)[["target", "x", "z"]]
        frame.to_csv(folder / "part.csv", header=False, index=False)
    write_job(tmp_path / "job", job(task, "training") | {"program": f"{name}.py"})
    channels = {"SM_CHANNEL_TRAIN": "train", "SM_CHANNEL_VALIDATION": "validation", "SM_CHANNEL_JOB": "job"}
    variables = {key: str(tmp_path / folder) for key, folder in {**channels, "SM_MODEL_DIR": "model"}.items()}
    path = list(sys.path)
    assert program.main(code, [], variables) == 0
    sys.path[:] = path
    pack(tmp_path / "model", tmp_path / "inputs" / "challenger")
    pack(tmp_path / "model", tmp_path / "inputs" / "champion")
    write_job(tmp_path / "inputs" / "job", job(task, "evaluation"))
    (tmp_path / "inputs" / "test").symlink_to(tmp_path / "test")
    assert program.main(code, ["--inputs", str(tmp_path / "inputs"), "--output", str(tmp_path / "out")], {}) == 0
    return task, tmp_path


@pytest.mark.parametrize("trained", ["binary", "multiclass"], indirect=True)
def test_a_classifier_is_scored_by_its_probabilities_and_answers_label_and_probabilities(trained):
    task, folder = trained
    classes = LABELS[task]
    rows = pd.read_csv(folder / "out" / "rows.csv", float_precision="round_trip")
    test = pd.read_csv(folder / "test" / "part.csv", names=["target", "x", "z"])
    assert list(rows["truth"]) == list(test["target"])
    if task == "binary":
        second = rows["probability_challenger"].to_numpy()
        shares = np.column_stack([1 - second, second])
    else:
        shares = np.array([[float(text) for text in row.split(" ")] for row in rows["probability_challenger"]])
    assert list(rows["challenger"]) == [classes[place] for place in shares.argmax(axis=1)]
    places = np.array([classes.index(name) for name in rows["truth"]])
    given = shares[np.arange(len(places)), places]
    assert rows["loss_challenger"].to_numpy() == pytest.approx(-np.log(given), rel=1e-9)
    assert np.array_equal(rows["loss_champion"], rows["loss_challenger"])
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert (summary["task"], summary["classes"], summary["challenger"]["clipped"]) == (task, list(classes), 0)
    assert summary["challenger"]["accuracy"] == np.mean(rows["challenger"] == rows["truth"]) > 0.6
    card = json.loads((folder / "model" / "model_card.json").read_text())
    assert card["metrics"]["validation"]["log_loss"] < np.log(len(classes))
    model = serving.model_fn(str(folder / "model"))
    smoke = json.loads((folder / "out" / "smoke.json").read_text())
    for accept in ("application/json", "text/csv"):
        text, kind = serving.transform_fn(model, smoke["body"], "text/csv", accept)
        assert kind == accept
    answer = json.loads(serving.transform_fn(model, smoke["body"], "text/csv", "")[0])
    assert (answer["predictions"], answer["classes"]) == ([rows["challenger"][0]], list(classes))
    assert answer["probabilities"] == [smoke["prediction"]]
    assert text.startswith(f"{rows['challenger'][0]},")


@pytest.mark.parametrize("trained", ["count"], indirect=True)
def test_a_count_is_scored_by_its_deviance(trained):
    from sklearn.metrics import mean_poisson_deviance

    _, folder = trained
    rows = pd.read_csv(folder / "out" / "rows.csv", float_precision="round_trip")
    assert rows["loss_challenger"].mean() == pytest.approx(mean_poisson_deviance(rows["truth"], rows["challenger"]))


@pytest.mark.parametrize(
    ("task", "answers", "message"),
    [
        ("binary", [[0.5, 0.5], [0.2, 0.7]], r"the probabilities of row 2: \[0\.2, 0\.7\] does not sum to 1"),
        ("binary", [[0.5, 0.5], [1.2, -0.2]], r"the probabilities of row 2: .* is not between 0 and 1"),
        ("binary", [[0.5, 0.5], [np.nan, 0.5]], "the prediction for row 2 is nan, not a finite number"),
        ("binary", [0.5, 0.5], r"\(2,\) answers for 2 rows, expected the shape \(2, 2\)"),
        ("count", [1.0, 0.0], r"the prediction for row 2 is 0\.0: a count's mean must be above 0"),
    ],
)
def test_unsound_answers_are_named(task, answers, message):
    classes = LABELS["binary"] if task == "binary" else ()
    with pytest.raises(ValueError, match=message):
        losses.scored(task, np.array([0, 1]), np.array(answers), classes)


def test_a_sure_and_wrong_answer_costs_much_but_not_everything_and_is_counted():
    found = losses.scored("binary", np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]]), LABELS["binary"])
    assert found.clipped == 1
    assert found.losses.tolist() == pytest.approx([0.0, -np.log(losses.CLIP)])


@pytest.mark.parametrize(
    ("threshold", "labels", "accuracy"),
    [(None, ["no", "yes"], 0.5), (0.25, ["yes", "yes"], 0.0), (0.7, ["no", "no"], 1.0)],
)
def test_costs_move_the_label_and_leave_the_loss(threshold, labels, accuracy):
    answers = np.array([[0.7, 0.3], [0.4, 0.6]])
    found = losses.scored("binary", np.array([0, 0]), answers, LABELS["binary"], threshold)
    assert list(found.values) == labels
    assert losses.metrics("binary", np.array([0, 0]), found)["accuracy"] == accuracy
    assert found.losses == pytest.approx(-np.log([0.7, 0.4]))


@pytest.mark.parametrize("trained", ["binary"], indirect=True)
def test_the_endpoint_says_what_the_costs_ask_for(trained):
    _, folder = trained
    card = json.loads((folder / "model" / "model_card.json").read_text())
    assert card["threshold"] is None
    rows = pd.read_csv(folder / "test" / "part.csv", names=["target", "x", "z"]).drop(columns="target")
    body = rows.to_csv(header=False, index=False)
    said = {}
    for threshold in (None, 0.1):
        (folder / "model" / "model_card.json").write_text(json.dumps(card | {"threshold": threshold}))
        model = serving.model_fn(str(folder / "model"))
        said[threshold] = json.loads(serving.transform_fn(model, body, "text/csv", "application/json")[0])
    assert said[0.1]["probabilities"] == said[None]["probabilities"]
    wanted = ["yes" if share[1] >= 0.1 else "no" for share in said[None]["probabilities"]]
    assert said[0.1]["predictions"] == wanted != said[None]["predictions"]
    with_costs = as_job(job("binary", "training") | {"threshold": 0.1})
    answers = training.frozen_profile(model.estimator, rows, rows, with_costs)[PREDICTION]
    assert answers["counts"] == Counter(wanted), "what the monitor compares the endpoint's answers with"


def test_a_classifier_that_rules_out_what_happens_is_not_sound():
    answers = np.tile([0.5, 0.5], (1000, 1))
    answers[:1] = [1.0, 0.0]
    truth = np.ones(1000, dtype=int)
    losses.check_sure(losses.scored("binary", truth, answers, LABELS["binary"]), "challenger")
    answers[:2] = [1.0, 0.0]
    with pytest.raises(
        ValueError, match=r"the challenger gives the true class of 2 of 1000 test rows a probability of 0"
    ):
        losses.check_sure(losses.scored("binary", truth, answers, LABELS["binary"]), "challenger")


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ([0, 0, 2, 2], "the training rows hold no row of 'green': a class that a model never saw cannot be predicted"),
        ([2, 2], "all 2 training rows are of the class 'blue': there is nothing to tell apart"),
        ([0, 1, 2], None),
    ],
)
def test_every_class_has_training_rows(truth, message):
    if message is None:
        losses.check_classes(np.array(truth), LABELS["multiclass"], "training rows")
        return
    with pytest.raises(ValueError, match=message):
        losses.check_classes(np.array(truth), LABELS["multiclass"], "training rows")


@pytest.mark.parametrize("trained", ["binary"], indirect=True)
def test_a_class_without_training_rows_ends_the_training_before_fit(trained, monkeypatch):
    _, folder = trained
    rows = (folder / "train" / "part.csv").read_text().splitlines(keepends=True)
    (folder / "train" / "part.csv").write_text("".join(row for row in rows if row.startswith("no,")))
    monkeypatch.setattr(training, "fit_function", lambda job: pytest.fail("fit was looked for"))
    variables = {"SM_CHANNEL_TRAIN": "train", "SM_CHANNEL_VALIDATION": "validation", "SM_CHANNEL_JOB": "job"}
    with pytest.raises(ValueError, match="are of the class 'no': there is nothing to tell apart"):
        program.main(folder / "code", [], {key: str(folder / value) for key, value in variables.items()})


def test_a_class_that_the_contract_does_not_have_is_named():
    with pytest.raises(
        ValueError, match="row 2: the target is 'violet', which is none of the classes red, green, blue"
    ):
        losses.encoded("multiclass", np.array(["red", "violet"], dtype=object), LABELS["multiclass"])
