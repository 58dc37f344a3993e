"""The trainers in the box: every task, gaps, categories by the contract, rare and new texts, dates; the same seed, the same model."""

import io
import json

import joblib
import numpy as np
import pandas as pd
import pytest
from trainer_rows import TARGETS, job, rows

from retraining.inside import training
from retraining.inside.answers import model_answers
from retraining.inside.trainers.inputs import Matrix, Standard
from retraining.settings.trainers import DEFAULTS, IMAGES, complete

HERE = [name for name in DEFAULTS if name not in IMAGES]
"""The trainers of scikit-learn; the others train in environments of their own, see test_trainers_elsewhere.py."""


def fitted(task: str, trainer: str, count: int = 500, **given):
    asked = job(task, trainer, **given)
    return asked, training.fit_model(training.fit_function(asked), asked, rows(task, count, 0), rows(task, 150, 1))


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("trainer", HERE)
def test_a_trainer_learns_every_task_and_survives_pickling(task, trainer):
    asked, model = fitted(task, trainer)
    test = rows(task, 400, 2)
    figures = training.score(model, test, asked)
    if task in ("binary", "multiclass"):
        assert figures["log_loss"] < 0.6 * np.log(len(TARGETS[task]["allowed"]))
        assert figures["clipped"] == 0
    else:
        assert figures["r2"] > 0.4
    body = io.BytesIO()
    joblib.dump(model, body)
    body.seek(0)
    inputs = test.drop(columns="target")
    again = model_answers(joblib.load(body), inputs, asked.classes)
    assert np.array_equal(again, model_answers(model, inputs, asked.classes))
    json.dumps(model.about, allow_nan=False)
    assert model.about["features"][-4:] == ["at.day", "at.day_of_year", "at.weekday", "at.hour"]


@pytest.mark.parametrize("trainer", HERE)
def test_a_row_of_gaps_and_of_values_that_training_never_saw_has_an_answer(trainer):
    asked, model = fitted("binary", trainer)
    nothing = rows("binary", 3, 5).drop(columns="target")
    nothing[["x", "flag", "colour", "day"]] = np.nan
    nothing["town"] = "atlantis"
    nothing["n"] = 1e9
    shares = model_answers(model, nothing, asked.classes)
    assert np.isfinite(shares).all()
    assert shares.sum(axis=1) == pytest.approx([1.0, 1.0, 1.0])


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    test = rows("regression", 50, 3).drop(columns="target")
    answers = []
    for seed in (1, 1, 2):
        _, model = fitted("regression", "hist_gradient_boosting", seed=seed)
        answers.append(model.predict(test))
    assert np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


@pytest.mark.parametrize("trainer", HERE)
def test_validation_rows_of_one_class_do_no_harm(trainer):
    asked, watched = job("multiclass", trainer), rows("multiclass", 150, 1)
    only = watched[watched["target"] == "mid"]
    model = training.fit_model(training.fit_function(asked), asked, rows("multiclass", 500, 0), only)
    answers = model_answers(model, rows("multiclass", 200, 2).drop(columns="target"), asked.classes)
    assert len(set(answers.argmax(axis=1))) > 1


def test_boosting_stops_when_the_validation_rows_say_so():
    _, model = fitted("regression", "hist_gradient_boosting")
    assert DEFAULTS["hist_gradient_boosting"]["n_iter_no_change"] < model.about["iterations"] < 600


def test_columns_without_a_value_or_with_one_do_no_harm():
    asked = job("regression", "linear")
    frame, watched = rows("regression", 200, 0), rows("regression", 60, 1)
    for each in (frame, watched):
        each["x"], each["n"], each["flag"], each["day"], each["colour"] = np.nan, 4.0, np.nan, np.nan, np.nan
    for trainer in HERE:
        asked = job("regression", trainer)
        model = training.fit_model(training.fit_function(asked), asked, frame, watched)
        assert np.isfinite(model.predict(frame.drop(columns="target"))).all()


def test_texts_become_codes_by_the_contract_or_by_what_is_frequent():
    columns = job("regression", "linear").inputs
    frame = rows("regression", 300, 0)
    matrix = Matrix(columns, 10).fit(frame)
    assert matrix.categories == {"colour": ["red", "green", "blue"], "town": ["bath", "york", "(rare or new)"]} or (
        matrix.categories["town"][2:] == ["(rare or new)"]
    )
    some = frame[:3].assign(
        colour=["blue", np.nan, "red"], town=["bath", "york", "nowhere"], day=["2020-01-03", np.nan, "2021-01-01"]
    )
    made = pd.DataFrame(matrix.transform(some), columns=matrix.names)
    assert made["colour"].tolist()[::2] == [2.0, 0.0]
    assert np.isnan(made["colour"][1])
    assert [matrix.categories["town"][int(code)] for code in made["town"]] == ["bath", "york", "(rare or new)"]
    assert made["day.day"].tolist()[::2] == [2.0, 366.0]
    assert (made["day.day_of_year"][0], made["day.weekday"][0]) == (3.0, 4.0)
    assert set(made["at.hour"]) == {8.5}


def test_numbers_are_standardised_their_gaps_marked_and_outliers_held():
    columns = [column for column in job("regression", "linear").inputs if column.name in ("x", "colour")]
    frame = pd.DataFrame(
        {"x": [0.0, 2.0, np.nan, 1.0], "colour": pd.Series(["red", np.nan, "blue", "red"], dtype=object)}
    )
    matrix = Matrix(columns, 1).fit(frame)
    standard = Standard(matrix, 5.0).fit(matrix.transform(frame))
    made = standard.transform(matrix.transform(frame))
    assert made[:, 0] == pytest.approx([-np.sqrt(2), np.sqrt(2), 0.0, 0.0])
    assert made[:, 1].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert made[:, 2:].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    far = frame[:1].assign(x=1e9)
    assert standard.transform(matrix.transform(far))[0, 0] == 5.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learningrate": 0.1}, "has no hyperparameter 'learningrate'; did you mean learning_rate"),
        ({"max_iter": 1.5}, "max_iter is 1.5, which is not a whole number"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast', which is not a number"),
        ({"seed": True}, "seed is True, which is not a whole number"),
        ({"max_iter": 0}, "max_iter is 0, and must be 1 or more"),
    ],
)
def test_a_hyperparameter_that_a_trainer_does_not_have_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        complete("hist_gradient_boosting", given)
