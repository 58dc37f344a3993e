import dataclasses
import io
import json
import math

import pytest
from pydantic import ValidationError

from lambda_functions.analyze_results import handler
from retraining.judging import gate
from retraining.judging.gate import decide
from retraining.settings.gate_policy import GatePolicy

POLICY = GatePolicy(rmse_threshold=2.6, max_abs_bias=0.5, max_group_rmse=3.5)


def analysis(difference: float | None = -0.1, error: float | None = 0.03, n: int = 209, **challenger) -> dict:
    """Return an analysis as the Lambda does; ``difference`` None is a first model."""
    values = {"rmse": 2.1, "mae": 1.5, "r2": 0.57, "bias": 0.01} | challenger
    paired = {"n": n, "rmse_difference": difference, "standard_error": error, "upper_bound_95": None}
    return {
        "n": n,
        "challenger": values,
        "champion": None if difference is None else values | {"rmse": values["rmse"] - difference},
        "paired": None if difference is None else paired,
        "groups": {"M": {"n": 109, "rmse": 2.3, "bias": 0.0}, "I": {"n": 100, "rmse": 1.2, "bias": 0.0}},
        "worst_group": {"group": "M", "rmse": 2.3},
    }


def policy(**changes) -> GatePolicy:
    return GatePolicy(**{**POLICY.model_dump(), **changes})


@pytest.mark.parametrize(
    ("case", "result", "changes", "promote", "reason"),
    [
        (
            "better",
            analysis(-0.1, 0.03),
            {},
            True,
            "is better than the champion: RMSE 2.1000 against the champion's 2.2000",
        ),
        ("better, not shown", analysis(-0.1, 0.07), {}, False, "not shown to be better than the champion"),
        ("worse", analysis(0.05, 0.03), {}, False, "difference +0.0500, and the upper 0.95 confidence bound +0.0996"),
        ("equal", analysis(0.0, 0.03), {}, False, "not shown to be better"),
        ("identical", analysis(0.0, 0.0), {}, False, "bound +0.0000 is not below 0"),
        (
            "better but unsure, lower confidence",
            analysis(-0.1, 0.07),
            {"confidence": 0.9},
            True,
            "upper 0.9 confidence",
        ),
        ("first model", analysis(None), {}, True, "First model: there is no champion to beat"),
        ("first model, too bad", analysis(None, rmse=2.7), {}, False, "RMSE 2.7000 is above the threshold 2.6"),
        ("better but above threshold", analysis(rmse=2.61), {}, False, "RMSE 2.6100 is above the threshold 2.6"),
        ("on the threshold", analysis(rmse=2.6), {}, True, "is better"),
        ("biased upwards", analysis(bias=0.51), {}, False, "bias +0.5100 is beyond the allowed 0.5"),
        ("biased downwards", analysis(bias=-0.51), {}, False, "bias -0.5100 is beyond the allowed 0.5"),
        ("bad group", analysis(), {"max_group_rmse": 2.2}, False, "RMSE 2.3000 in group 'M' is above the allowed 2.2"),
        ("bad group, too small", analysis(), {"max_group_rmse": 2.2, "min_group_rows": 110}, True, "is better"),
        ("tiny test set", analysis(n=99), {}, False, "has 99 rows, fewer than the 100 that can decide"),
        ("just enough rows", analysis(n=100), {}, True, "on the same 100 rows"),
        ("tiny test set, first model", analysis(None, n=99), {}, False, "has 99 rows"),
        (
            "worse, within margin",
            analysis(0.01, 0.01),
            {"noninferiority_margin": 0.03},
            True,
            "worse by less than the margin",
        ),
        (
            "worse, beyond margin",
            analysis(0.02, 0.01),
            {"noninferiority_margin": 0.03},
            False,
            "may be worse by the margin",
        ),
        (
            "better, with margin",
            analysis(-0.1, 0.03),
            {"noninferiority_margin": 0.03},
            True,
            "is better than the champion",
        ),
        ("NaN RMSE", analysis(rmse=math.nan), {}, False, "not finite: champion_rmse, rmse"),
        ("NaN difference", analysis(math.nan), {}, False, "not finite"),
        ("infinite error", analysis(error=math.inf), {}, False, "not finite: standard_error, upper_bound"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_decision(case, result, changes, promote, reason):
    decision = decide(result, policy(**changes))
    assert decision.promote is promote, case
    assert decision.decision == ("approved" if promote else "rejected")
    assert reason in decision.reason


def test_a_broken_group_does_not_hide_behind_a_sound_one():
    result = analysis()
    result["groups"]["I"]["rmse"] = math.nan
    assert "worst_group_rmse" in decide(result, POLICY).reason


def test_several_failures_are_all_named_in_one_sentence():
    decision = decide(analysis(None, rmse=2.7, bias=-0.6, n=50), POLICY)
    for part in ("50 rows", "RMSE 2.7000", "bias -0.6000"):
        assert part in decision.reason
    assert decision.reason.endswith(".")
    assert ". " not in decision.reason


def test_every_number_that_decided_is_returned_and_can_be_written_as_json():
    decision = decide(analysis(-0.1, 0.03), POLICY)
    numbers = decision.numbers
    assert numbers["n"] == 209
    assert numbers["rmse_difference"] == -0.1
    assert numbers["upper_bound"] == pytest.approx(-0.1 + 1.6522 * 0.03, abs=1e-5)
    assert numbers["limit"] == 0.0
    assert numbers["worst_group"] == "M"
    assert numbers["policy"] == POLICY.model_dump()
    for result in (analysis(), analysis(None), analysis(rmse=math.nan)):
        document = decide(result, POLICY).as_dict()
        assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_bound_is_the_one_that_the_lambda_reports():
    rows = "".join(f"{row},{row % 20},{row % 20 + row % 3},{row % 20 - row % 4},M\n" for row in range(1, 301))
    body = ("row,truth,challenger,champion,group\n" + rows).encode()
    result = handler.analyze_csv(io.BytesIO(body))
    assert decide(result, POLICY).numbers["upper_bound"] == result["paired"]["upper_bound_95"]


def test_both_t_quantiles_are_the_same_function():
    for degrees in (1, 10, 208, 10**7):
        for probability in (0.6, 0.95, 0.999):
            assert gate.student_t_quantile(probability, degrees) == handler.student_t_quantile(probability, degrees)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": None}, r"has None for n, not a count of rows"),
        ({"n": 208}, r"compares 209 rows but scored 208"),
        ({"challenger": None}, r"no 'challenger' section"),
        ({"challenger": {"rmse": 2.0}}, r"has None for challenger\.bias"),
        ({"challenger": {"rmse": True, "bias": 0.0}}, r"has True for challenger\.rmse"),
        ({"champion": {}}, r"has None for champion\.rmse"),
        ({"paired": None}, r"no 'paired' section"),
        ({"groups": {"M": {"n": 50}}}, r"has None for groups\.M\.rmse"),
        ({"groups": {"M": {"rmse": 2.0}}}, r"has None for groups\.M\.n"),
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
        {"rmse_threshold": 0},
        {"rmse_threshold": math.nan},
        {"rmse_threshold": math.inf},
        {"max_abs_bias": -0.1},
        {"max_group_rmse": None},
        {"confidence": 0.5},
        {"confidence": 1.0},
        {"min_test_rows": 1},
        {"min_group_rows": 0},
        {"noninferiority_margin": 0},
        {"threshold": 2.6},
    ],
)
def test_a_policy_out_of_range_or_with_an_unknown_key_is_refused(change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        policy(**change)


def test_policy_and_decision_cannot_be_changed():
    with pytest.raises(ValidationError):
        POLICY.confidence = 0.5
    with pytest.raises(dataclasses.FrozenInstanceError):
        decide(analysis(), POLICY).promote = True
