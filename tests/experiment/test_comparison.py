"""The outcome as text: what a person sees in a terminal of 80 columns."""

from dataclasses import replace

import pytest

from experiment.comparison import Change, Outcome, render
from retraining.judging.gate import decide
from retraining.settings.gate_policy import GatePolicy
from retraining.telling.gate_table import NONE

POLICY = GatePolicy(guards={"rmse": 2.6, "bias": 0.5}, worst_group={"rmse": 3.5})
ANALYSIS = {
    "task": "regression",
    "n": 209,
    "challenger": {"rmse": 2.0712, "mae": 1.45, "r2": 0.56, "bias": -0.0123},
    "champion": {"rmse": 2.1834, "mae": 1.49, "r2": None, "bias": 0.07},
    "paired": {"n": 209, "files": 4, "weight": 150.0, "difference": -0.477, "standard_error": 0.3},
    "groups": {
        "M": {"n": 120, "challenger": {"rmse": 2.2}, "champion": {"rmse": 2.3}},
        "F": {"n": 89, "challenger": {"rmse": 1.9}, "champion": {"rmse": 2.0}},
    },
}


def outcome(analysis=ANALYSIS, **changes):
    made = Outcome(
        sweep=None,
        model="abalone",
        key="v4-0123456789ab",
        dataset_version=4,
        rows_by_split={"train": 3300, "validation": 620, "test": 209},
        changes=[Change("training.candidates.svr-hgb.hyperparameters.params.svr_C", 1.0, 3, default=True)],
        training=[
            {
                "candidate": "svr-hgb",
                "name": "t",
                "metrics": {"validation:rmse": 2.0},
                "seconds": 3.0,
                "reused": False,
                "chosen": True,
            }
        ],
        evaluation={"name": "e", "seconds": 2.0, "reused": False},
        champion="arn:aws:sagemaker:us-east-1:000000000000:model-package/dev-abalone-models/7",
        analysis=analysis,
        group="sex",
        decision=decide(analysis, POLICY).as_dict(),
        outputs="s3://bucket/abalone/experiments/v4-0123456789ab/",
    )
    return replace(made, **changes)


def cells(text, first):
    return next(line.split() for line in text.splitlines() if line.split()[: len(first)] == first)


def test_the_table_has_the_gates_numbers_and_its_reason():
    text = render(outcome())
    assert cells(text, ["RMSE"]) == ["RMSE", "2.071", "2.183", "-0.1122"]
    assert cells(text, ["MAE"]) == ["MAE", "1.450", "1.490", "-0.0400"]
    assert cells(text, ["R²"]) == ["R²", "+0.5600", NONE, NONE]
    assert cells(text, ["Bias"]) == ["Bias", "-0.0123", "+0.0700", "-0.0823"]
    assert cells(text, ["odds"])[-3:] == ["17", "to", "1"]
    assert cells(text, ["M"]) == ["M", "120", "2.200", "2.300"]
    assert cells(text, ["209"])[:3] == ["209", "validation", "rows"]
    assert " ".join(text.split()).count(decide(ANALYSIS, POLICY).reason) == 1
    assert "approved: Promoted: on the same 209 test rows" in text
    assert "champion dev-abalone-models version 7" in text
    assert "params.svr_C: 1.0 (the default) -> 3" in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_lines_fit_the_terminal(width):
    for line in render(outcome(), width).splitlines():
        assert len(line) <= width or "/" in line or "->" in line, line  # names are not cut


def test_without_a_champion_only_the_guards_decide():
    groups = {name: {**values, "champion": None} for name, values in ANALYSIS["groups"].items()}
    first = {**ANALYSIS, "champion": None, "paired": None, "groups": groups}
    text = render(outcome(first, champion=None, decision=decide(first, POLICY).as_dict()))
    assert "no champion yet" in text
    assert cells(text, ["RMSE"]) == ["RMSE", "2.071"]
    assert "difference" not in text and "odds" not in text
    assert "approved: First model: there is no champion to beat" in text


def test_a_failed_guard_stands_out():
    worse = {**ANALYSIS, "challenger": {**ANALYSIS["challenger"], "rmse": 2.8}}
    text = render(outcome(worse))
    assert cells(text, ["RMSE", "2.800", "≤"]) == ["RMSE", "2.800", "≤", "2.6", "FAILED"]
    assert "rejected: The challenger was not compared further" in text


def test_unchanged_settings_and_several_candidates_are_told():
    job = {"name": "t", "metrics": {"validation:rmse": 2.0}, "seconds": 3.0, "reused": True}
    jobs = [{**job, "candidate": "a", "chosen": False}, {**job, "candidate": "b", "metrics": {}, "chosen": True}]
    text = render(outcome(changes=[], training=jobs))
    assert "model.yaml as it is" in text
    assert "a: validation:rmse 2.000\n" in text
    assert "b: no metrics, chosen" in text
