"""A ``--set`` finds its place in model.yaml, or says what is near."""

import importlib.util
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment.overrides import (
    Options,
    Override,
    OverrideError,
    addressable,
    apply,
    check_hyperparameters,
    configure,
    effective,
    find,
    parse,
)

MODEL = Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone"
HYPERPARAMETERS = ("training", "candidates", 0, "hyperparameters")
TWO = [
    {"name": "svr-hgb", "hyperparameters": {"algorithm": "svr_hgb", "seed": 0}},
    {"name": "linear", "hyperparameters": {"algorithm": "linear"}},
]


@pytest.fixture(scope="module")
def values():
    return yaml.safe_load((MODEL / "model.yaml").read_text())


@pytest.fixture(scope="module")
def options():
    spec = importlib.util.spec_from_file_location("shipped_hyperparameters", MODEL / "hyperparameters.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Options(module.OPTIONS, module.DEFAULTS, module.DEFAULT_ALGORITHM, module.complete)


def with_candidates(values, candidates):
    return {**values, "training": {**values["training"], "candidates": candidates}}


@pytest.mark.parametrize(
    ("text", "location", "value"),
    [
        ("algorithm.svr.C=3", (*HYPERPARAMETERS, "params", "svr_C"), 3),
        ("algorithm.svr_C=3", (*HYPERPARAMETERS, "params", "svr_C"), 3),
        ("algorithm.hgb.max.iter=50", (*HYPERPARAMETERS, "params", "hgb_max_iter"), 50),
        ("algorithm=linear", (*HYPERPARAMETERS, "algorithm"), "linear"),
        ("seed=3", (*HYPERPARAMETERS, "seed"), 3),
        ("hyperparameters.seed=3", (*HYPERPARAMETERS, "seed"), 3),
        ("training.candidates.svr-hgb.hyperparameters.seed=3", (*HYPERPARAMETERS, "seed"), 3),
        ("training.candidates.0.hyperparameters.seed=3", (*HYPERPARAMETERS, "seed"), 3),
        ("gate.min_growth=0.05", ("gate", "min_growth"), 0.05),
        ("gate.guards.rmse=2", ("gate", "guards", "rmse"), 2),
        ("training.metrics.validation:mae=mae=([0-9.]+);", ("training", "metrics", "validation:mae"), "mae=([0-9.]+);"),
    ],
)
def test_paths_and_short_forms_find_their_place(values, options, text, location, value):
    [found] = find(values, [text], options=options)
    assert (found.location, found.value) == (location, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=1e-3", 0.001),
        ("a=-2.5E4", -25000.0),
        ("a=true", True),
        ("a=[1, x]", [1, "x"]),
        ("a=", None),
        ("a='1'", "1"),
    ],
)
def test_values_are_yaml_and_numbers_with_an_exponent_are_numbers(text, value):
    assert repr(parse(text)) == repr(("a", value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C=3", r"C: model\.yaml has no such key; near: algorithm\.svr\.C$"),
        ("svr_C=3", r"near: algorithm\.svr\.C$"),
        ("required_odds=2", r"near: gate\.required_odds$"),
        ("gate.requird_odds=2", r"near: gate\.required_odds"),
        (
            "training.candidates.svr_hgb.hyperparameters.seed=3",
            r"near: training\.candidates\.svr-hgb\.hyperparameters\.seed",
        ),
        ("training.candidates.1.name=x", r"model\.yaml has no such key"),
        ("nonsense=1", r"near: algorithm, .*gate.*training"),
        ("gate.required_odds.x=1", r"gate\.required_odds is one value, it has no parts"),
        ("seed.x=1", r"hyperparameters\.seed is one value"),
        ("gate.min_growth.x=1", r"is one value"),
        (
            "split.train=70",
            r"split takes no part in an experiment \(the rows of a dataset version are checked and split",
        ),
        ("deployment.keep=1", r"deployment takes no part in an experiment .* can change training, evaluation, gate"),
        ("algorithm.svr.C", r"'algorithm\.svr\.C' is not PATH=VALUE"),
        ("=3", r"is not PATH=VALUE"),
        ("seed=[1", r"seed: the value '\[1' is not YAML"),
    ],
)
def test_what_does_not_exist_is_an_error_that_says_what_is_near(values, options, text, message):
    with pytest.raises(OverrideError, match=message):
        find(values, [text], options=options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("algorithm.svr.c=3", r"the algorithm svr_hgb has no such hyperparameter; near: svr_C"),
        ("algorithm.mlp.count=3", r"the algorithm svr_hgb has no such hyperparameter"),
        ("hyperparameters.sead=3", r"train\.py has no such option; near: seed"),
        ("algorithm=svr", r"algorithm is 'svr'; train\.py has keras, linear, svr_hgb, svr_hgb_mlp"),
        ("algorithm.hgb.max_iter=2.5", r"hgb_max_iter is 2\.5, expected an integer"),
        ("hyperparameters.params=3", r"params is 3, not a section"),
    ],
)
def test_hyperparameters_are_checked_before_a_job_is_paid_for(values, options, text, message):
    with pytest.raises(OverrideError, match=message):
        check_hyperparameters(apply(values, find(values, [text], options=options)), options)


def test_a_hyperparameter_of_another_algorithm_goes_with_that_algorithm(values, options):
    overrides = find(values, ["algorithm=svr_hgb_mlp", "algorithm.mlp.count=3"], options=options)
    check_hyperparameters(apply(values, overrides), options)


def test_with_several_candidates_a_short_form_needs_one(values, options):
    several = with_candidates(values, TWO)
    with pytest.raises(OverrideError, match=r"candidates svr-hgb, linear; say which one with --candidate"):
        find(several, ["seed=3"], options=options)
    [found] = find(several, ["seed=3"], "linear", options)
    assert found.location == ("training", "candidates", 1, "hyperparameters", "seed")
    assert found.path == "training.candidates.linear.hyperparameters.seed"


def test_two_settings_of_the_same_thing_are_an_error(values, options):
    with pytest.raises(OverrideError, match=r"set the same thing"):
        find(values, ["algorithm.svr.C=3", "training.candidates.svr-hgb.hyperparameters.params={}"], options=options)


def test_a_change_that_breaks_the_configuration_says_where(values):
    with pytest.raises(OverrideError, match=r"gate\.required_odds: Input should be greater than"):
        configure(values, find(values, ["gate.required_odds=-2"]))
    with pytest.raises(OverrideError, match=r"evaluation\.group 'size' is not a column"):
        configure(values, find(values, ["evaluation.group=size"]))


def test_what_held_before_is_the_file_or_a_default(values, options):
    def before(text):
        return effective(values, find(values, [text], options=options)[0], options)

    assert before("seed=3") == (0, False)
    assert before("algorithm.svr.C=3") == (1.0, True)
    assert before("gate.min_group_rows=3") == (30, True)
    assert before("gate.min_growth=3") == (0.0, True)


def test_every_path_that_is_suggested_can_be_set(values, options):
    suggested = list(addressable(values, options=options))
    assert {"algorithm.svr.C", "seed", "gate.min_growth", "evaluation.group"} <= set(suggested)
    for path in suggested:
        assert find(values, [f"{path}=1"], options=options)


def test_applying_leaves_the_original_alone_and_changes_nothing_else(values):
    changed = apply(values, find(values, ["algorithm.svr.C=3", "gate.half_life_days=1"]))
    assert changed["training"]["candidates"][0]["hyperparameters"] == {
        "algorithm": "svr_hgb",
        "seed": 0,
        "params": {"svr_C": 3},
    }
    assert "params" not in values["training"]["candidates"][0]["hyperparameters"]
    changed["training"]["candidates"][0]["hyperparameters"].pop("params")
    changed["gate"]["half_life_days"] = values["gate"]["half_life_days"]
    assert changed == values


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_setting_or_a_clear_error(text):
    values = yaml.safe_load((MODEL / "model.yaml").read_text())
    try:
        found = find(values, [text])
    except OverrideError as error:
        assert str(error)
    else:
        assert all(isinstance(item, Override) for item in found)
