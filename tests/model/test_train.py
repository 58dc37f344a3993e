import json
import re
import sys
from pathlib import Path

import hyperparameters
import joblib
import numpy as np
import pytest
import train
from abalone_artifacts import COLUMNS, CONFIG, MODEL, evaluation_job, train_artifact
from features import DenseNetwork

from retraining.inside.frames import read_frame
from retraining.inside.job_file import as_job


def predictions(artifact: Path, frame) -> np.ndarray:
    return joblib.load(artifact / "model.joblib").predict(frame.drop(columns="rings"))


def test_the_artifact_holds_model_card_and_the_code_that_loads_it(default_artifact):
    files = {path.relative_to(default_artifact).as_posix() for path in default_artifact.rglob("*") if path.is_file()}
    assert {"model.joblib", "model_card.json", "code/inference.py", "code/features.py", "code/train.py"} <= files
    assert {name for name in files if "inside" in name} >= {"code/retraining/inside/serving.py"}
    assert not {"code/sdk_jobs.py", "code/job.py"} & files
    for name in ("train.py", "features.py"):
        assert (default_artifact / "code" / name).read_text() == (MODEL / name).read_text()


def test_the_card_says_what_was_trained_on_what_and_how_well(default_artifact, abalone):
    card = json.loads((default_artifact / "model_card.json").read_text())
    assert card["about"]["algorithm"] == "svr_hgb"
    assert card["about"]["hyperparameters"] == hyperparameters.SVR_HGB
    assert (card["task"], card["contract"]["columns"][0]["allowed"]) == ("regression", ["M", "F", "I"])
    assert card["columns"] == COLUMNS[1:]
    assert card["dataset_version"] == 3
    assert card["rows"] == {"train": 1600, "validation": 600}
    assert len(card["about"]["features"]) == 26
    assert {"python", "sklearn", "numpy", "pandas", "joblib"} == set(card["versions"])
    held_out = abalone[1600:2200]
    errors = predictions(default_artifact, held_out) - held_out["rings"]
    metrics = card["metrics"]["validation"]
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-12)
    assert metrics["bias"] == pytest.approx(np.mean(errors), rel=1e-12)
    infants = errors[held_out["sex"] == "I"]
    assert metrics["groups"]["I"]["n"] == len(infants)
    assert metrics["groups"]["I"]["rmse"] == pytest.approx(np.sqrt(np.mean(infants**2)), rel=1e-12)


def test_the_default_is_better_than_the_linear_baseline(default_artifact, linear_artifact):
    cards = [json.loads((folder / "model_card.json").read_text()) for folder in (default_artifact, linear_artifact)]
    default, linear = (card["metrics"]["validation"]["rmse"] for card in cards)
    assert default < linear - 0.05


def test_the_same_input_gives_the_same_artifact(channels, tmp_path, default_artifact, abalone):
    train_artifact(channels, tmp_path / "again")
    assert (tmp_path / "again/model_card.json").read_text() == (default_artifact / "model_card.json").read_text()
    assert np.array_equal(predictions(tmp_path / "again", abalone), predictions(default_artifact, abalone))


def test_the_log_has_the_metrics_that_the_training_job_looks_for(channels, tmp_path, capsys):
    card = train_artifact(channels, tmp_path / "model", algorithm="linear")
    output = capsys.readouterr().out
    for split in ("train", "validation"):
        found = re.search(CONFIG.training.metrics[f"{split}:rmse"], output)
        assert found is not None
        assert float(found[1]) == pytest.approx(card["metrics"][split]["rmse"], abs=1e-6)


def test_hyperparameters_can_be_set_and_are_recorded(channels, tmp_path, default_artifact, abalone):
    card = train_artifact(channels, tmp_path / "model", params={"hgb_max_iter": 5, "svr_C": 2}, seed=3)
    assert card["about"]["hyperparameters"] == hyperparameters.SVR_HGB | {"hgb_max_iter": 5, "svr_C": 2.0}
    assert (card["hyperparameters"], card["seed"]) == ({"params": {"hgb_max_iter": 5, "svr_C": 2}}, 3)
    assert not np.allclose(predictions(tmp_path / "model", abalone), predictions(default_artifact, abalone))


def test_an_option_that_does_not_exist_is_an_error(abalone):
    with pytest.raises(ValueError, match="unknown hyperparameter column"):
        train.fit(abalone.drop(columns="rings"), abalone["rings"], {"column": "sex"}, 0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"svr_c": 1.0}, r"unknown hyperparameter svr_c; this algorithm has: svr_C, "),
        ({"hgb_max_iter": 2.5}, r"hgb_max_iter is 2\.5, expected an integer"),
        ({"hgb_max_iter": "5"}, r"hgb_max_iter is '5', expected an integer"),
        ({"svr_C": True}, r"svr_C is True, expected a number"),
    ],
)
def test_a_wrong_hyperparameter_is_an_error(params, message):
    with pytest.raises(ValueError, match=message):
        train.build("svr_hgb", params)


def test_an_unknown_algorithm_is_an_error_that_lists_the_known():
    with pytest.raises(
        ValueError, match=r"unknown algorithm 'boost', choose one of: svr_hgb, svr_hgb_mlp, linear, keras"
    ):
        train.build("boost")


def test_the_network_ensemble_trains_and_keeps_outliers_within_bounds(abalone):
    data = abalone[:600]
    settings = {"algorithm": "svr_hgb_mlp", "params": {"mlp_count": 2}}
    arguments = (data.drop(columns="rings"), data["rings"], settings)
    first, again, other = (train.fit(*arguments, seed=seed) for seed in (0, 0, 7))
    odd = data.drop(columns="rings").iloc[:2].assign(height=[0.0, 1.13])
    assert np.all((first.predict(odd) > 0) & (first.predict(odd) < 40))
    assert np.array_equal(first.predict(data), again.predict(data))
    assert not np.array_equal(first.predict(data), other.predict(data))


def test_keras_without_tensorflow_says_where_it_runs(abalone, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(RuntimeError, match=r"keras needs TensorFlow.*tensorflow-training image.*choose svr_hgb"):
        settings = {"algorithm": "keras", "params": {"epochs": 1}}
        train.fit(abalone.drop(columns="rings")[:50], abalone["rings"][:50], settings, seed=0)


def test_keras_trains_a_network_that_scores_without_it(abalone):
    pytest.importorskip("tensorflow", reason="TensorFlow is an optional environment")
    data = abalone[:200]
    settings = {"algorithm": "keras", "params": {"epochs": 2}}
    arguments = (data.drop(columns="rings"), data["rings"], settings, 0)
    model = train.fit(*arguments)
    assert isinstance(model, DenseNetwork)
    assert [weights.shape for weights, _ in model.layers] == [(10, 64), (64, 64), (64, 1)]
    assert np.array_equal(model.predict(data), train.fit(*arguments).predict(data))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the channel is empty"),
        ("9,M,0.4\n", r"part-0\.csv has 3 columns, expected 9"),
        (
            "9,M,.4,.3,.1,.5,.2,.1,.1\nten,M,.4,.3,.1,.5,.2,.1,.1\n",
            r"part-0\.csv, line 2: rings is 'ten', not a number",
        ),
    ],
)
def test_a_channel_that_does_not_fit_is_an_error(tmp_path, text, message):
    (tmp_path / "part-0.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_frame(tmp_path, as_job(evaluation_job()))


def test_a_channel_is_read_whole_and_in_the_order_of_its_paths(channels, abalone):
    rows = read_frame(channels / "train", as_job(evaluation_job()))
    assert np.array_equal(rows["length"], abalone["length"][:1600])


def test_every_algorithm_has_its_hyperparameters():
    assert list(train.ALGORITHMS) == list(hyperparameters.DEFAULTS)
    assert hyperparameters.DEFAULT_ALGORITHM in hyperparameters.DEFAULTS
