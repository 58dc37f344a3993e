"""Trainers with a library of their own train in their own environment, and what they leave answers the same where the other jobs run."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from abalone_artifacts import pack
from trainer_rows import TARGETS, document, rows

from local_aws.sagemaker import images
from local_stack import layout
from retraining.inside import program, serving, training
from retraining.inside.artifact_process import ArtifactProcess
from retraining.inside.job_file import as_job
from retraining.inside.trainers import boosted_trees
from retraining.inside.trainers.link import Link, check_same
from retraining.jobs.code_bundle import code_files
from retraining.settings.trainers import IMAGES

ENVIRONMENTS = {trainer: images.ENVIRONMENTS[images.repository(image)] for trainer, image in IMAGES.items()}
QUICK: Mapping[str, dict] = {"xgboost": {}, "keras_mlp": {"epochs": 15, "batch_size": 64, "learning_rate": 0.01}}
SCRIPT = """
import sys
from pathlib import Path
from retraining.inside import program
places = {"SM_CHANNEL_TRAIN": "train", "SM_CHANNEL_VALIDATION": "validation", "SM_CHANNEL_JOB": "job", "SM_MODEL_DIR": "model"}
for folder in map(Path, sys.argv[1:]):
    program.main(Path.cwd(), [], {name: str(folder / place) for name, place in places.items()})
"""


class Trained(NamedTuple):
    trainer: str
    folder: Path

    def artifact(self, name: str) -> Path:
        return self.folder / name / "model"

    def card(self, name: str) -> dict:
        return json.loads((self.artifact(name) / "model_card.json").read_text())


def bundle(folder: Path) -> Path:
    (folder / "model_folder").mkdir()
    for name, content in code_files(folder / "model_folder").items():
        place = folder / "code" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder / "code"


@pytest.fixture(scope="module", params=list(IMAGES))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return artifacts of every task, and of three seeds, made by the real program in the trainer's environment."""
    trainer = request.param
    python = layout.python(ENVIRONMENTS[trainer])
    if trainer == "keras_mlp" and not python.exists():
        pytest.skip("TensorFlow is an optional environment: make setup-tensorflow")
    assert python.exists(), f"{images.CREATED_BY[ENVIRONMENTS[trainer]]} creates what trainer {trainer} needs"
    folder = tmp_path_factory.mktemp(trainer)
    jobs = {task: document(task, trainer, **QUICK[trainer]) for task in TARGETS}
    short = {"xgboost": {"n_estimators": 5}, "keras_mlp": {"epochs": 1}}[trainer]
    jobs |= {
        name: document("regression", trainer, seed=seed, **short)
        for name, seed in (("one", 1), ("again", 1), ("two", 2))
    }
    jobs["narrow"] = document("multiclass", trainer, **short)
    for name, job in jobs.items():
        for channel, count, seed in (("train", 500, 0), ("validation", 150, 1)):
            (folder / name / channel).mkdir(parents=True)
            made = rows(job["task"], count, seed)
            if (name, channel) == ("narrow", "validation"):
                made = made[made["target"] == "mid"]
            made.to_parquet(folder / name / channel / "part-0.parquet")
        (folder / name / "job").mkdir()
        (folder / name / "job" / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [python, "-c", SCRIPT, *(folder / name for name in jobs)],
        cwd=bundle(folder),
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("validation:loss=") == len(jobs)
    return Trained(trainer, folder)


@pytest.mark.parametrize("task", TARGETS)
def test_it_learns_every_task_and_answers_here_as_it_did_there(trained, task):
    model = serving.model_fn(str(trained.artifact(task)))
    asked = as_job(document(task, trained.trainer))
    card = trained.card(task)
    watched = training.score(model.estimator, rows(task, 150, 1), asked)
    assert watched["loss"] == pytest.approx(card["metrics"]["validation"]["loss"], rel=1e-9)
    figures = training.score(model.estimator, rows(task, 400, 2), asked)
    if asked.classes:
        assert figures["log_loss"] < 0.65 * np.log(len(asked.classes))
    else:
        assert figures["r2"] > 0.35
    assert card["about"]["features"][:4] == ["x", "n", "flag", "colour"]
    assert card["about"]["iterations"] >= 1
    assert card["versions"][ENVIRONMENTS[trained.trainer]]
    assert card["versions"] != training._versions(), "it was trained elsewhere"


@pytest.mark.parametrize("task", TARGETS)
def test_gaps_new_texts_and_wild_numbers_have_an_answer(trained, task):
    odd = rows(task, 4, 5).drop(columns="target")
    odd[["x", "flag", "colour", "day"]] = np.nan
    odd["town"], odd["n"] = "atlantis", [1e9, -1e300, 1e300, 16777217.0]
    model = serving.model_fn(str(trained.artifact(task)))
    found = serving.evaluate_fn(odd.astype(object).where(odd.notna(), None).to_dict("records"), model)
    answers = np.array(next(iter(found.values())))
    assert np.isfinite(answers).all()
    if model.classes:
        assert answers.sum(axis=1) == pytest.approx(np.ones(4))


def test_the_same_seed_gives_the_same_model_and_another_seed_another(trained):
    test = rows("regression", 50, 3).drop(columns="target")
    one, again, two = (
        serving.model_fn(str(trained.artifact(name))).estimator.predict(test) for name in ("one", "again", "two")
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, two)


def test_validation_rows_of_one_class_do_no_harm(trained):
    model = serving.model_fn(str(trained.artifact("narrow")))
    answers = model.estimator.predict_proba(rows("multiclass", 200, 2).drop(columns="target"))
    assert answers.shape == (200, 3)
    assert len(set(answers.argmax(axis=1))) > 1


def test_it_is_scored_and_explained_in_the_evaluation_without_its_library(trained, tmp_path):
    code = (
        "import sys, joblib, retraining.inside.serving as s; s.model_fn(sys.argv[1]); "
        "print([name for name in ('xgboost', 'tensorflow', 'keras') if name in sys.modules])"
    )
    artifact = trained.artifact("multiclass")
    done = subprocess.run(
        [layout.python("jobs"), "-c", code, artifact],
        cwd=artifact / "code",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[]"
    asked = [
        {"x": 1.0, "n": 3, "flag": 1.0, "colour": "red", "town": "bath", "day": None, "at": "2024-05-01T08:30:00Z"}
    ]
    with ArtifactProcess(pack(artifact, tmp_path / "packed"), "challenger") as process:
        process.ask(rows=asked)
        [shares] = process.answers("probabilities", 1)
    assert sum(shares) == pytest.approx(1)
    why = serving.explain_fn(asked, serving.model_fn(str(artifact)))
    moved = np.array(why["base"]) + np.sum(why["explanations"][0], axis=0)
    assert moved == pytest.approx(np.array(shares), abs=1e-6)


def test_boosting_stops_when_the_validation_rows_say_so(trained):
    if trained.trainer == "xgboost":
        assert 5 < trained.card("regression")["about"]["iterations"] < 500
        assert trained.card("one")["about"]["iterations"] <= 5
    else:
        assert 1 <= trained.card("regression")["about"]["iterations"] <= QUICK["keras_mlp"]["epochs"]


@pytest.mark.parametrize(("trainer", "package"), [("xgboost", "xgboost"), ("keras_mlp", "tensorflow")])
def test_an_image_without_the_library_says_which_one_has_it(trainer, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    asked = as_job(document("regression", trainer))
    with pytest.raises(RuntimeError, match=f"the trainer {trainer} needs {package}, which this image does not have"):
        training.fit_model(training.fit_function(asked), asked, rows("regression", 60, 0), rows("regression", 30, 1))


def leaf(value: float) -> dict:
    names = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
    nothing = {name: [] for name in names}
    own = {"left_children": [-1], "right_children": [-1], "split_indices": [0], "split_conditions": [value]}
    return {**nothing, **own, "default_left": [0]}


def test_a_tree_is_followed_by_limits_categories_and_gaps():
    tree = {
        "left_children": [1, -1, 3, -1, -1],
        "right_children": [2, -1, 4, -1, -1],
        "split_indices": [0, 0, 1, 0, 0],
        "split_conditions": [0.1, 10.0, 0.0, 20.0, 30.0],
        "default_left": [1, 0, 0, 0, 0],
        "categories": [1, 3],
        "categories_nodes": [2],
        "categories_segments": [0],
        "categories_sizes": [2],
    }
    trees = boosted_trees.Trees([tree, leaf(0.5)], np.array([100.0]))
    assert trees.depth == 2
    near = float(np.float32(0.1))
    values = np.array([[0.0, 1], [np.nan, 1], [near, 1], [near, 0], [1, 3], [1, 99], [1, np.nan], [-1e300, 1]])
    assert trees.sums(values)[:, 0].tolist() == [110.5, 110.5, 130.5, 120.5, 130.5, 120.5, 130.5, 110.5]
    assert trees.sums(values[:0]).shape == (0, 1)


def test_trees_of_several_outputs_go_to_each_in_turn():
    trees = boosted_trees.Trees([leaf(value) for value in (1.0, 2.0, 3.0, 10.0, 20.0, 30.0)], np.array([0.0, 0.1, 0.2]))
    assert trees.sums(np.zeros((2, 1))).tolist() == [pytest.approx([11.0, 22.1, 33.2])] * 2


def test_a_model_that_was_read_otherwise_is_no_model():
    check_same(np.array([[1.0]]), np.array([[1.0001]]), "XGBoost")
    for wrong in (1.1, np.nan):
        with pytest.raises(RuntimeError, match=r"read out of XGBoost answers otherwise than XGBoost itself"):
            check_same(np.array([[wrong]]), np.array([[1.0]]), "XGBoost")


@pytest.mark.parametrize(
    ("task", "target", "sums", "answers"),
    [
        ("regression", [1.0, 3.0], [[2.0]], [4.0]),
        ("regression", [7.0, 7.0], [[0.0]], [7.0]),
        ("count", [0.0, 2.0], [[0.0]], [1.0]),
        ("count", [0.0, 0.0], [[-1e9]], [0.0]),
        ("binary", ["b", "a"], [[0.0]], [[0.5, 0.5]]),
        ("binary", ["b", "a"], [[1e6]], [[0.0, 1.0]]),
        ("multiclass", ["a", "b", "c"], [[1e6, 0.0, 1e6]], [[0.5, 0.0, 0.5]]),
    ],
)
def test_sums_become_answers_of_the_task(task, target, sums, answers):
    made = Link(task, np.array(target, dtype=object if isinstance(target[0], str) else float))
    assert np.allclose(made.answers(np.array(sums)), answers)


def test_a_start_is_what_the_training_rows_say_in_the_mean():
    for task, target, mean in (
        ("regression", np.array([1.0, 2.0, 6.0]), 3.0),
        ("count", np.array([0.0, 2.0, 4.0]), 2.0),
        ("binary", np.array([0.0, 0.0, 1.0, 0.0]), [0.75, 0.25]),
        ("multiclass", np.array(["a", "b", "c", "c"], dtype=object), [0.25, 0.25, 0.5]),
    ):
        link = Link(task, target)
        assert link.answers(link.start[np.newaxis])[0] == pytest.approx(mean)
    with pytest.raises(ValueError, match="a class that no training row has"):
        link.encoded(np.array(["d"], dtype=object))


def test_code_that_a_container_installed_among_its_packages_is_taken_from_where_it_was_unpacked(tmp_path, monkeypatch):
    packages, unpacked = tmp_path / "site-packages", tmp_path / "code"
    monkeypatch.setattr(program, "BUNDLE", unpacked)
    assert program._bundle(packages) == packages
    unpacked.mkdir()
    assert program._bundle(packages) == unpacked
    assert program._bundle(tmp_path / "input") == tmp_path / "input"
