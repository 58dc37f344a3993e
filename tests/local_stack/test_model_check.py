import shutil

import pytest

from local_stack import layout
from local_stack.verbs import calls, model_check


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the DAG folder with the shipped model and a second one, ``cars``."""
    shutil.copytree(
        layout.ROOT / "dags", tmp_path / "dags", ignore=shutil.ignore_patterns("__pycache__"), symlinks=True
    )
    models = tmp_path / "dags" / "models"
    shutil.copytree(models / "abalone", models / "cars")
    yaml = models / "cars" / "model.yaml"
    yaml.write_text(yaml.read_text().replace("name: abalone\n", "name: cars\n", 1))
    shutil.copy(tmp_path / "dags" / "abalone_retraining.py", tmp_path / "dags" / "cars_retraining.py")
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    return tmp_path


def change(project, old, new):
    path = project / "dags" / "models" / "cars" / "model.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def test_every_shipped_model_is_sound():
    assert [folder.problems for folder in model_check.read_all()] == [()]


def test_a_mistake_in_model_yaml_stops_that_model_alone_and_is_named_with_file_and_line(project):
    line = change(project, "required_odds:", "requird_odds:")
    said = []
    assert model_check.sound(said.append) == ["abalone"]
    assert any(words.strip().startswith(f"dags/models/cars/model.yaml:{line}: ") for words in said)
    with pytest.raises(model_check.BrokenModelError, match=f"dags/models/cars/model.yaml:{line}: gate"):
        model_check.sound(said.append, "cars")


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("models/cars/train.py", "def f(:\n", "dags/models/cars/train.py:1: "),
        ("models/cars/model.yaml", "name: [\n", "dags/models/cars/model.yaml: not valid YAML"),
        ("cars_retraining.py", "import (\n", "dags/cars_retraining.py:1: "),
        ("cars_retraining.py", None, "dags/cars_retraining.py: does not exist, so nothing runs this model"),
    ],
)
def test_mistakes_in_other_files_are_found_too(project, file, text, words):
    path = project / "dags" / file
    path.unlink() if text is None else path.write_text(text)
    problems = model_check.read("cars").problems
    assert [problem for problem in problems if problem.startswith(words)]
    assert model_check.read("abalone").sound


def test_a_model_that_has_another_name_than_its_folder_is_found(project):
    line = change(project, "name: cars", "name: car")
    assert model_check.read("cars").problems == (
        f"dags/models/cars/model.yaml:{line}: name: is 'car', but the folder is 'cars'; write the folder's name",
    )


def test_the_verb_prints_each_model_and_fails_when_one_is_broken(project):
    said = []
    assert model_check.report(model_check.read_all(), said.append) == 0
    assert said[0].startswith("abalone: ok, 9 columns, target rings")
    change(project, "target: rings", "target: ring")
    assert model_check.report(model_check.read_all(), said.append) == 2
    assert "cars: cannot be used" in said


def test_when_all_are_broken_nothing_starts(project):
    for name in ("abalone", "cars"):
        (project / "dags" / "models" / name / "model.yaml").write_text("{}\n")
    with pytest.raises(model_check.BrokenModelError):
        model_check.sound(print)


def test_a_model_that_does_not_exist_is_answered_with_those_that_do(project):
    with pytest.raises(calls.CallError, match="there are abalone, cars"):
        model_check.sound(print, "nosuch")


def test_a_candidate_whose_environment_is_not_there_is_told_with_the_verb_that_creates_it(
    project, tmp_path, monkeypatch
):
    change(project, "    - {name: svr-hgb,", "    - {name: trees, trainer: xgboost}\n    - {name: svr-hgb,")
    monkeypatch.setattr(layout, "VENVS", tmp_path / "venvs")
    for environment in ("jobs", "xgboost"):
        python = layout.python(environment)
        python.parent.mkdir(parents=True)
        python.touch()
    assert model_check.read("cars").absent == ()
    python.unlink()
    line = (
        "candidate trees trains in sagemaker-xgboost:3.2-0, whose environment is not set up on this machine: "
        "make setup-xgboost"
    )
    said = []
    assert model_check.sound(said.append, "cars") == ["abalone", "cars"]
    assert said == [f"model cars: {line}"]
    said.clear()
    assert model_check.sound(said.append, "abalone") == ["abalone", "cars"]
    assert said == []
    assert model_check.report([model_check.read("cars")], said.append) == 0
    assert said[1:] == [f"  {line}"]


URI = "123456789012.dkr.ecr.us-east-1.amazonaws.com/cars-r:1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            None,
            f"candidate r trains in {URI}, for which no command stands on this machine: name one for [cars-r] in local_images.toml",
        ),
        ('[other]\ncommand = ["sh"]\n', "name one for [cars-r] in local_images.toml"),
        (
            '[cars-r]\ncommand = ["no-such-program"]\n',
            "r is run by no-such-program, see local_images.toml, which is not installed",
        ),
        ("[cars-r]\n", 'local_images.toml: [cars-r] needs command = ["PROGRAM"'),
        ('[cars-r]\ncommand = ["sh", "./run.sh"]\n', None),
    ],
)
def test_a_container_that_no_command_stands_for_is_told_before_anything_starts(project, monkeypatch, text, words):
    monkeypatch.setattr(layout, "IMAGES", project / "local_images.toml")
    change(project, "    - {name: svr-hgb, hyper", f"    - {{name: r, container: {URI}}}\n    - {{name: svr-hgb, hyper")
    if text is not None:
        layout.IMAGES.write_text(text)
    folder = model_check.read("cars")
    assert folder.sound
    if words is None:
        assert folder.absent == ()
    else:
        [line] = folder.absent
        assert words in line
