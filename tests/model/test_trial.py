"""A trial trains with the values that the service names, and every training tells the losses of its validation rows."""

import json

import numpy as np
import pytest
from trainer_rows import document, rows

from retraining.inside import training
from retraining.inside.job_file import as_job
from retraining.inside.trainers.trial import LOSSES_FILE, MOST_BLOCKS, tried, write_losses
from retraining.judging import paired_losses


@pytest.fixture
def folders(tmp_path):
    """Return the variables of a training in a folder, as SageMaker's toolkit sets them."""
    for split, count, seed in (("train", 300, 0), ("validation", 80, 1)):
        (tmp_path / split).mkdir()
        frame = rows("regression", count, seed)
        frame["flag"] = frame["flag"].map({1.0: True, 0.0: False})
        frame.to_parquet(tmp_path / split / "rows.parquet")
    return {
        "SM_CHANNEL_TRAIN": str(tmp_path / "train"),
        "SM_CHANNEL_VALIDATION": str(tmp_path / "validation"),
        "SM_MODEL_DIR": str(tmp_path / "model"),
        "SM_OUTPUT_DATA_DIR": str(tmp_path / "output"),
        "SM_INPUT_CONFIG_DIR": str(tmp_path),
    }


def named(folder, **values):
    """Let the service name values."""
    given = {"sagemaker_program": '"job.py"', "_tuning_objective_metric": "validation:loss", **values}
    (folder / "hyperparameters.json").write_text(json.dumps(given))


def trial(trainer="linear", tuned=None, hyperparameters=None):
    made = document("regression", trainer) | {"tuned": tuned or {}}
    return as_job(made | ({"hyperparameters": hyperparameters} if hyperparameters is not None else {}))


def test_a_trial_trains_with_its_values_and_tells_what_it_lost_on_each_row(folders, tmp_path):
    named(tmp_path, alpha="50.5", max_iter="7")
    job = trial(tuned={"alpha": "continuous", "max_iter": "integer"})
    assert training.run(job, folders, tmp_path) == 0
    card = json.loads((tmp_path / "model" / "model_card.json").read_text())
    assert (card["hyperparameters"]["alpha"], card["hyperparameters"]["max_iter"]) == (50.5, 7)
    told = json.loads((tmp_path / "output" / LOSSES_FILE).read_text())
    assert (told["rows"], [count for count, _ in told["blocks"]]) == (80, [1] * 80)
    losses = np.array([total for _, total in told["blocks"]])
    assert losses.mean() == pytest.approx(card["metrics"]["validation"]["loss"], rel=1e-12)

    named(tmp_path, alpha="0.001")
    assert training.run(trial(tuned={"alpha": "continuous"}), folders, tmp_path) == 0
    again = json.loads((tmp_path / "output" / LOSSES_FILE).read_text())
    assert again["blocks"] != told["blocks"], "another value is another model"


def test_a_training_that_is_no_trial_reads_no_values_and_tells_its_losses_too(folders, tmp_path):
    assert training.run(trial(), folders, tmp_path) == 0
    assert json.loads((tmp_path / "output" / LOSSES_FILE).read_text())["rows"] == 80
    assert LOSSES_FILE == paired_losses.LOSSES_FILE


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5", "integer", 5),
        ("5.0", "integer", 5),
        ("1", "continuous", 1.0),
        ('"a"', "categorical", "a"),
        ("true", "categorical", True),
        ("3", "categorical", 3),
    ],
)
def test_a_value_has_the_type_of_its_range(tmp_path, text, kind, value):
    named(tmp_path, x=text)
    found = tried(trial(tuned={"x": kind}, hyperparameters={}), {"SM_INPUT_CONFIG_DIR": str(tmp_path)})
    assert found.hyperparameters == {"x": value}
    assert type(found.hyperparameters["x"]) is type(value)


def test_a_dot_goes_into_a_mapping_unless_something_is_called_so(tmp_path):
    variables = {"SM_INPUT_CONFIG_DIR": str(tmp_path)}
    named(tmp_path, **{"params.svr.C": "2.5", "a.b": "1"})
    tuned = {"params.svr.C": "continuous", "a.b": "integer"}
    given = {"params": {"svr": {"gamma": 1}, "k": 0}, "a.b": 9, "algorithm": "svr"}
    found = tried(trial(tuned=tuned, hyperparameters=given), variables)
    assert found.hyperparameters == {
        "params": {"svr": {"gamma": 1, "C": 2.5}, "k": 0},
        "a.b": 1,
        "algorithm": "svr",
    }
    with pytest.raises(ValueError, match="belongs into a mapping params"):
        tried(trial(tuned=tuned, hyperparameters={"params": 3, "a.b": 1}), variables)


def test_what_the_service_does_not_name_ends_the_trial(tmp_path):
    variables = {"SM_INPUT_CONFIG_DIR": str(tmp_path)}
    named(tmp_path, x="many")
    with pytest.raises(ValueError, match="has no y, which this trial has to try"):
        tried(trial(tuned={"y": "integer"}), variables)
    with pytest.raises(ValueError, match="is 'many', which is not integer"):
        tried(trial(tuned={"x": "integer"}), variables)


def test_many_rows_are_told_in_blocks_that_sum_to_the_same(tmp_path):
    losses = np.random.default_rng(0).exponential(size=3 * MOST_BLOCKS + 17)
    write_losses(tmp_path, losses)
    told = json.loads((tmp_path / LOSSES_FILE).read_text())
    assert (told["rows"], len(told["blocks"])) == (len(losses), MOST_BLOCKS)
    assert sum(count for count, _ in told["blocks"]) == len(losses)
    assert sum(total for _, total in told["blocks"]) == pytest.approx(losses.sum())
    assert (tmp_path / LOSSES_FILE).stat().st_size < paired_losses.LARGEST
