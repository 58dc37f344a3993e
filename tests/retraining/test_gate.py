"""The gate: guards, odds, the sentence, and what it refuses to judge."""

import dataclasses
import io
import json
import math

import pytest
from pydantic import ValidationError

from lambda_functions.analyze_results import handler
from retraining.judging.fading import file_weights
from retraining.judging.gate import decide, probability_better
from retraining.settings.gate_policy import GatePolicy

POLICY = GatePolicy(guards={"rmse": 2.6, "bias": 0.5}, worst_group={"rmse": 3.5})


def analysis(
    difference: float | None = -0.1, error: float | None = 0.1, n: int = 209, champion=None, **challenger
) -> dict:
    """Return an analysis as the Lambda does; ``difference`` None is a first model."""
    values = {"rmse": 2.1, "mae": 1.5, "r2": 0.57, "bias": 0.01, "loss": 4.41} | challenger
    serving = None if difference is None else values | {"rmse": 2.2, "bias": 0.0} | (champion or {})
    groups = {"M": 2.3, "I": 1.2}
    return {
        "task": "regression",
        "n": n,
        "challenger": values,
        "champion": serving,
        "paired": None
        if difference is None
        else {"n": n, "files": 3, "weight": 150.0, "difference": difference, "standard_error": error},
        "groups": {
            name: {
                "n": 100,
                "challenger": {"rmse": rmse, "bias": 0.0},
                "champion": serving and {"rmse": rmse, "bias": 0.0},
            }
            for name, rmse in groups.items()
        },
    }


def policy(**changes) -> GatePolicy:
    return GatePolicy.model_validate({**POLICY.model_dump(), **changes})


@pytest.mark.parametrize(
    ("case", "result", "changes", "promote", "reason"),
    [
        ("better", analysis(-0.1, 0.1), {}, True, "the odds are 5.3 to 1 that the challenger is the better model"),
        ("both RMSE", analysis(-0.1, 0.1), {}, True, "(RMSE 2.1000 against the champion's 2.2000)"),
        ("a little worse", analysis(0.03, 0.1), {}, True, "1.6 to 1 against the challenger; 1 to 2 is enough"),
        (
            "worse",
            analysis(0.1, 0.1),
            {},
            False,
            "5.3 to 1 against the challenger; more than 2 to 1 against it is too much",
        ),
        ("clearly worse", analysis(1.0, 0.1), {}, False, "more than 1,000 to 1 against"),
        ("on the line, above", analysis(0.4307, 1.0), {}, True, "2 to 1 against"),
        ("on the line, below", analysis(0.4308, 1.0), {}, False, "2 to 1 against"),
        ("identical", analysis(0.0, 0.0), {}, False, "both models lose the same"),
        ("better on every row by the same", analysis(-0.1, 0.0), {}, True, "more than 1,000 to 1 that"),
        ("strict, shown", analysis(-0.17, 0.1), {"required_odds": 19}, True, "19 to 1 is enough"),
        ("strict, not shown", analysis(-0.16, 0.1), {"required_odds": 19}, False, "17 to 1 that the challenger"),
        ("always", analysis(9.0, 0.1), {"required_odds": 0}, True, "no odds are asked for"),
        ("first model", analysis(None), {}, True, "First model: there is no champion to beat"),
        ("first model, too bad", analysis(None, rmse=2.7), {}, False, "RMSE 2.7000 is above the allowed 2.6"),
        ("better but above the guard", analysis(rmse=2.61), {}, False, "RMSE 2.6100 is above the allowed 2.6"),
        ("on the guard", analysis(rmse=2.6), {}, True, "Promoted"),
        ("biased upwards", analysis(bias=0.51), {}, False, "bias +0.5100 is beyond the allowed 0.5"),
        ("biased downwards", analysis(bias=-0.51), {}, False, "bias -0.5100 is beyond the allowed 0.5"),
        (
            "bad group",
            analysis(),
            {"worst_group": {"rmse": 2.2}},
            False,
            "RMSE in group 'M' 2.3000 is above the allowed 2.2",
        ),
        ("bad group, too small", analysis(), {"worst_group": {"rmse": 2.2}, "min_group_rows": 101}, True, "Promoted"),
        (
            "a score that must be high",
            analysis(r2=0.4),
            {"guards": {"r2": 0.5}},
            False,
            "R² +0.4000 is below the allowed 0.5",
        ),
        ("a score that is high", analysis(r2=0.5), {"guards": {"r2": 0.5}}, True, "Promoted"),
        ("a score that cannot be told", analysis(r2=None), {"guards": {"r2": 0.5}}, False, "R² cannot be told"),
        ("tiny test set", analysis(n=19), {}, False, "has 19 rows, fewer than the 20 that can decide"),
        ("just enough rows", analysis(n=20), {}, True, "on the same 20 test rows"),
        ("tiny test set, first model", analysis(None, n=19), {}, False, "has 19 rows"),
        ("NaN RMSE", analysis(rmse=math.nan), {}, False, "not finite: RMSE, challenger"),
        ("NaN difference", analysis(math.nan), {}, False, "not finite: difference"),
        ("infinite error", analysis(error=math.inf), {}, False, "not finite: standard_error"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_decision(case, result, changes, promote, reason):
    decision = decide(result, policy(**changes))
    assert decision.promote is promote, case
    assert decision.decision == ("approved" if promote else "rejected")
    assert reason in decision.reason


def test_odds_of_19_are_the_one_sided_test_at_95_percent():
    assert probability_better(-1.6449, 1.0) == pytest.approx(0.95, abs=1e-5)
    strict = GatePolicy(preset="prove_better", guards={"rmse": 2.6})
    assert (strict.required_odds, strict.min_test_rows) == (19.0, 100)
    assert decide(analysis(-1.645, 1.0), strict).promote
    assert not decide(analysis(-1.644, 1.0), strict).promote
    assert GatePolicy(preset="prove_better", guards={"rmse": 2.6}, required_odds=9).required_odds == 9


def test_without_growth_a_refresh_has_to_be_shown_better():
    growing = policy(min_growth=0.05)
    assert decide(analysis(-0.1, 0.1), growing, growth=0.06).promote
    kept = decide(analysis(-0.1, 0.1), growing, growth=0.04)
    assert not kept.promote and "9 to 1 is asked for" in kept.reason
    assert decide(analysis(-0.15, 0.1), growing, growth=0.04).promote
    assert decide(analysis(-0.1, 0.1), growing, growth=None).promote  # not known: no reason to keep


def test_the_sentence_claims_more_rows_only_when_there_are_more():
    assert "because it has learnt from more rows and the next run" in decide(analysis(), POLICY, growth=0.01).reason
    for growth in (0.0, None):
        assert "because the next run decides again" in decide(analysis(), POLICY, growth=growth).reason


def test_repeated_looks_are_told():
    assert "look" not in decide(analysis(), POLICY, looks=1).reason
    assert "it is look 3 at these rows" in decide(analysis(), POLICY, looks=3).reason


BROKEN = {"rmse": 3.5}


def test_a_champion_that_breaks_its_guards_is_reported():
    for result in (analysis(rmse=2.8, champion=BROKEN), analysis(champion=BROKEN)):
        decision = decide(result, POLICY)
        assert "the serving champion breaks its guards itself: RMSE 3.5000 is above the allowed 2.6" in decision.reason
    assert not decide(analysis(rmse=2.8, champion=BROKEN), POLICY).promote


@pytest.mark.parametrize(
    ("challenger", "promote"),
    [({"rmse": 2.8}, True), ({"rmse": 3.6}, False), ({"rmse": 2.8, "bias": 0.6}, False), ({"rmse": 2.5}, True)],
)
def test_a_broken_champion_may_be_replaced_by_one_that_breaks_less(challenger, promote):
    replacing = policy(champion_broken="replace")
    assert decide(analysis(-0.1, 0.1, champion=BROKEN, **challenger), replacing).promote is promote
    assert not decide(analysis(0.2, 0.1, champion=BROKEN, rmse=2.8), replacing).promote  # it still has to be better


def test_a_champion_that_cannot_be_scored_is_no_first_model():
    result = analysis(None) | {"champion_failed": "no module named x"}
    kept = decide(result, POLICY)
    assert not kept.promote and "cannot be scored to compare with (no module named x)" in kept.reason
    assert decide(result, policy(champion_broken="replace")).promote
    assert not decide(analysis(None, rmse=2.7) | {"champion_failed": "x"}, policy(champion_broken="replace")).promote


def test_a_broken_group_does_not_hide_behind_a_sound_one():
    result = analysis()
    result["groups"]["I"]["challenger"]["rmse"] = math.nan
    assert "not finite: RMSE in group 'I'" in decide(result, POLICY).reason


def test_a_group_that_cannot_tell_a_metric_says_nothing():
    result = analysis()
    for group in result["groups"].values():
        group["challenger"]["rmse"] = None
    assert decide(result, POLICY).promote


def test_several_failures_are_all_named_in_one_sentence():
    decision = decide(analysis(None, rmse=2.7, bias=-0.6, n=5), POLICY)
    for part in ("5 rows", "RMSE 2.7000", "bias -0.6000"):
        assert part in decision.reason
    assert decision.reason.endswith(".")
    assert ". " not in decision.reason


def test_every_number_that_decided_is_returned_and_can_be_written_as_json():
    numbers = decide(analysis(), POLICY, growth=0.1, looks=2).numbers
    assert numbers["odds"] == pytest.approx(5.3030, abs=1e-4)
    assert (numbers["n"], numbers["weight"], numbers["files"]) == (209, 150.0, 3)
    assert (numbers["growth"], numbers["looks"], numbers["required_odds"]) == (0.1, 2, 0.5)
    assert [guard["metric"] for guard in numbers["guards"]] == ["rmse", "bias", "rmse"]
    assert numbers["policy"] == POLICY.model_dump()
    for result in (analysis(), analysis(None), analysis(rmse=math.nan), analysis(-1.0, 1e-9)):
        document = decide(result, POLICY).as_dict()
        assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_gate_judges_what_the_lambda_returns():
    rows = "".join(
        f"{row},{row % 20},{row % 20 + 1.2 * (row % 3 - 1)},{row % 20 - row % 4 + 1.5},M\n" for row in range(1, 301)
    )
    result = handler.analyze_csv(io.BytesIO(("row,truth,challenger,champion,group\n" + rows).encode()))
    numbers = decide(result, POLICY).numbers
    gap, error = numbers["difference"], numbers["standard_error"]
    better = probability_better(gap, error)
    assert 0 < better < 1 and gap < 0
    assert numbers["odds"] == pytest.approx(min(1e9, better / (1 - better)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": None}, r"has None for n, not a count of rows"),
        ({"n": 208}, r"compares 209 rows but scored 208"),
        ({"challenger": None}, r"no 'challenger' section"),
        ({"challenger": {"rmse": 2.0}}, r"has None for challenger\.bias"),
        ({"challenger": {"rmse": True, "bias": 0.0}}, r"has True for challenger\.rmse"),
        ({"champion": {"bias": 0.0}}, r"has None for champion\.rmse"),
        ({"paired": None}, r"no 'paired' section"),
        ({"groups": {"M": {"n": 50, "challenger": {}}}}, r"has None for groups\.M\.challenger\.rmse"),
        ({"groups": {"M": {"challenger": {"rmse": 2.0}}}}, r"has None for groups\.M, not a count"),
    ],
)
def test_an_analysis_that_lacks_a_part_is_an_error_not_a_decision(change, message):
    with pytest.raises(ValueError, match=message):
        decide(analysis() | change, POLICY)


def test_a_comparison_without_standard_error_is_an_error():
    with pytest.raises(ValueError, match="no paired standard_error"):
        decide(analysis(error=None), POLICY)


@pytest.mark.parametrize(
    "change",
    [
        {"guards": {}},
        {"guards": {"rmse": 0}},
        {"guards": {"rmse": math.nan}},
        {"guards": {"rmse": math.inf}},
        {"guards": {"rmsle": 1.0}},
        {"worst_group": {"bias": -0.1}},
        {"required_odds": -1},
        {"half_life_days": 0},
        {"min_growth": -0.1},
        {"min_test_rows": 1},
        {"min_group_rows": 0},
        {"champion_broken": "ignore"},
        {"preset": "strict"},
        {"threshold": 2.6},
    ],
)
def test_a_policy_out_of_range_or_with_an_unknown_key_is_refused(change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        policy(**change)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rmse_threshold", r"guards: \{rmse"),
        ("max_abs_bias", r"guards: \{bias"),
        ("max_group_rmse", r"worst_group: \{rmse"),
        ("confidence", "required_odds"),
        ("noninferiority_margin", "required_odds"),
    ],
)
def test_a_former_key_is_refused_with_the_name_of_today(old, new):
    with pytest.raises(ValidationError, match=f"{old} is no key any more: use {new}"):
        policy(**{old: 1.0})


def test_policy_and_decision_cannot_be_changed():
    with pytest.raises(ValidationError):
        POLICY.required_odds = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        decide(analysis(), POLICY).promote = True


def test_rows_fade_with_the_age_of_their_file():
    arrivals = ["2026-01-01T00:00:00+00:00", "2026-03-02T00:00:00+00:00", None]
    assert file_weights(arrivals, 60) == pytest.approx([0.5, 1.0, 0.5])
    assert file_weights(arrivals, None) == [1.0, 1.0, 1.0]
    assert file_weights([None, None], 60) == [1.0, 1.0]
    assert file_weights([], 60) == []


@pytest.mark.parametrize("confusion", [[[20, 1, 0], [2, 30, 0], [0, 0, 0]], [[20, 1, 0], [2, 30, 0], [0, 0, 4]]])
def test_a_class_without_test_rows_keeps_a_classifier_out(confusion):
    found = {
        "task": "multiclass",
        "classes": ["red", "green", "blue"],
        "n": 57,
        "challenger": {"log_loss": 0.4},
        "champion": None,
        "groups": {},
        "curves": {"challenger": {"confusion": confusion}},
    }
    decision = decide(found, GatePolicy(guards={"log_loss": 0.9}))
    assert decision.promote == any(confusion[2])
    assert ("no test row is of the class 'blue' (deliver rows of it" in decision.reason) == (not decision.promote)
