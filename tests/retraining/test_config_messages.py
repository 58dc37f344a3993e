"""Mistakes in model.yaml are told with line, key, the value as it is written, and what is possible."""

import re
from pathlib import Path

import pytest

from retraining.settings.model_config import ConfigError, ModelConfig, load_model_config

SHIPPED = (Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone" / "model.yaml").read_text()
ALLOWED = "allowed: [M, F, I]"


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        (
            "required_odds:",
            "requird_odds:",
            ["gate.requird_odds: there is no such key; did you mean required_odds?"],
        ),
        ("split:", "spilt:", ["spilt: there is no such key; did you mean split?"]),
        (
            "name: sex,",
            "name: Sex,",
            ["contract.columns.0.name: 'Sex' is no name", "Write for example sex", "may still say 'Sex'"],
        ),
        ("name: sex,", "name: 2nd length,", ["Write for example c_2nd_length"]),
        ("name: abalone", "name: My_Model", ["name: 'My_Model' is no name", "Write for example my-model"]),
        (
            "type: string",
            "type: bool",
            ["bool is not possible; did you mean boolean?", "there are string, double, int"],
        ),
        ("type: string", "type: integer", ["did you mean int?"]),
        (ALLOWED, "allowed: [yes, no]", ['yes is read as true or false: put it in quotes to mean the text "yes"']),
        (ALLOWED, "allowed: [2024-01-01, x]", ["2024-01-01 is read as a date: put it in quotes"]),
        (ALLOWED, "allowed: [1, 2]", ['1 is read as a number: put it in quotes to mean the text "1"']),
        (ALLOWED, "allowed: M", ["contract.columns.0.allowed: M is not a list such as [a, b]"]),
        ("train: 85", "train: eighty", ["split.train: eighty is not a whole number"]),
        (
            "  image: sagemaker-scikit-learn:1.9-0-cpu-py3\n  instance_type: ml.m5.large\n  volume_gb: 10\n",
            "  overrides: {VpcConfg: {}}\n  image: sagemaker-scikit-learn:1.9-0-cpu-py3\n  instance_type: ml.m5.large\n  volume_gb: 10\n",
            ["training.overrides: a request to AWS has no VpcConfg; did you mean VpcConfig?"],
        ),
        ("split:", "split: {train: 80, validation: 10, test: 10}\nsplit:", ["split stands twice, here and in line"]),
        ("max: 40,", "max: 40, max: 50,", ["max stands twice"]),
        (
            "instance_type: ml.m5.large",
            "instance_type: m5.large",
            ["training.instance_type: 'm5.large'", "did you mean ml.m5.large?"],
        ),
        (
            "learn:1.9-0",
            "lern:1.9-0",
            ["training.image: image 'sagemaker-scikit-lern:1.9-0", "did you mean sagemaker-scikit-learn?"],
        ),
        ("learn:1.9-0", "learn:1.9-9", ["the table has no such tag of sagemaker-scikit-learn"]),
        (
            "train:rmse=([0-9.]+);",
            "train:rmse=([0-9.+;",
            ["training.metrics: the expression", "is no regular expression"],
        ),
        ("train:rmse=([0-9.]+);", "train:rmse=[0-9.]+;", ["needs a group in parentheses"]),
        (
            'metric: "validation:rmse"',
            'metric: "validation:mae"',
            ["selection_metric 'validation:mae' is not among the metrics"],
        ),
        ("train: 85", "train: 0", ["split.train: 0: it has to be greater than 0"]),
    ],
)
def test_the_sentence_helps(tmp_path, old, new, sentences):
    assert old in SHIPPED
    path = tmp_path / "model.yaml"
    path.write_text(SHIPPED.replace(old, new, 1))
    with pytest.raises(ConfigError) as wrong:
        load_model_config(path)
    said = str(wrong.value)
    line = SHIPPED[: SHIPPED.index(old)].count("\n") + 1
    sections = (line - 1, line, line + new.count("\n"), SHIPPED[: SHIPPED.index("\ntraining:")].count("\n") + 2)
    assert said.startswith(tuple(f"{path}:{number}: " for number in sections))
    assert [sentence for sentence in sentences if sentence not in said] == []


def test_one_mistake_is_told_once(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text(SHIPPED.replace("required_odds:", "requird_odds:", 1))
    with pytest.raises(ConfigError) as wrong:
        load_model_config(path)
    assert len(str(wrong.value).splitlines()) == 1
    path.write_text(SHIPPED.replace("name: sex,", "name: Sex,", 1))
    with pytest.raises(ConfigError) as wrong:
        load_model_config(path)
    assert "at least" not in str(wrong.value)


def test_a_model_with_one_candidate_needs_no_metric_and_is_read_again_as_it_was(tmp_path):
    """Nothing is chosen by a metric, so the default needs no expression; neither where a copy of the configuration names it."""
    path = tmp_path / "model.yaml"
    path.write_text(re.sub(r"(?m)^  selection_metric: .*\n", "", SHIPPED))
    config = load_model_config(path)
    assert len(config.training.candidates) == 1
    assert config.training.selection_metric not in config.training.metrics
    assert ModelConfig.model_validate(config.model_dump(mode="json")) == config
