"""Drift of columns, of the target relation and of the mix; dirt in every way that the contract knows; repeated rows."""

from collections import Counter

import numpy as np
import pytest
from test_methods import copula_survey

from retraining.contract.rows import line_reasons, row_hash
from survey.generator import dirt, drift


def test_a_column_a_relation_and_the_mix_can_drift(document, real):
    plain = copula_survey(document, real, rows=1500)
    options = {"drift": ["shell_weight*1.2", "rings+3", "height-0.01", "sex=M:0.9,F:0.1"]}
    drifted = copula_survey(document, real, rows=1500, **options)
    share = drifted.frame["sex"].value_counts(normalize=True)
    assert abs(share["M"] - 0.9) < 0.03
    assert "I" not in share
    of_males = [survey.frame[survey.frame["sex"] == "M"] for survey in (plain, drifted)]
    means = [males[["shell_weight", "rings", "height", "length"]].mean() for males in of_males]
    assert means[1]["shell_weight"] / means[0]["shell_weight"] == pytest.approx(1.2, abs=0.06)
    assert means[1]["rings"] - means[0]["rings"] == pytest.approx(3, abs=0.4)
    assert means[1]["height"] - means[0]["height"] == pytest.approx(-0.01, abs=0.005)
    assert means[1]["length"] == pytest.approx(means[0]["length"], abs=0.012)
    assert len(drifted.lines) == 1500
    assert drifted.report["quality"]["classifier_auc"] > plain.report["quality"]["classifier_auc"] + 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sex*2", "sex is text; give a mix"),
        ("rings=M:1", "rings is a number"),
        ("sex=M:0.5", "add up to 1"),
        ("sex=M", "a mix is VALUE:SHARE"),
        ("rings*much", "'much' is not a number"),
    ],
)
def test_a_drift_that_cannot_be_says_why(contract, text, message):
    with pytest.raises(ValueError, match=message):
        drift.parse(text, contract)


def test_a_mix_names_values_that_the_contract_allows(contract):
    with pytest.raises(ValueError, match="the contract does not allow '<img"):
        drift.parse("sex=M:1,<img src=x onerror=alert(1)>:0", contract)


def test_every_way_breaks_a_row_for_its_own_reason(contract, real_cells):
    every = dirt.ways(contract)
    assert len({way.name for way in every}) == len(every) > 60
    for way in every:
        broken = way.spoil(list(real_cells[0]))
        assert broken is not None, way.name
        assert way.reason in line_reasons(contract, broken), way.name


def test_dirt_breaks_the_asked_share_in_every_way_and_nothing_else(document, contract, real):
    survey = copula_survey(document, real, rows=400, dirt=0.25)
    assert sum(survey.report["dirt"].values()) == 100
    assert set(survey.report["dirt"]) == {way.name for way in dirt.ways(contract)}
    assert survey.report["violations"]["rejected"] == 100
    assert sum(bool(line_reasons(contract, line)) for line in survey.lines) == 100


def test_kinds_of_dirt_can_be_chosen(document, real):
    survey = copula_survey(document, real, dirt=0.1, dirt_kinds=["below:height", "rule"])
    assert set(survey.report["dirt"]) == {"below:height", "rule:parts_within_whole", "rule:diameter_within_length"}


def test_more_dirt_than_kinds_and_all_rows_dirty(document, real):
    assert copula_survey(document, real, rows=50, dirt=1.0).report["violations"]["rejected"] == 50


def test_rows_come_twice_and_rows_come_that_the_dataset_has(document, contract, real):
    survey = copula_survey(document, real, rows=200, duplicates=0.1, known_rows=0.05)
    assert len(survey.lines) == 200 + 20 + 10
    repeated = sum(count - 1 for count in Counter(survey.lines).values())
    assert repeated >= 20
    known = {row_hash(contract, line.split(",")) for line in map(",".join, _cells(real, contract))}
    assert sum(row_hash(contract, line.split(",")) in known for line in survey.lines) >= 10


def test_a_mix_does_not_repeat_rows_while_there_are_enough(contract, real):
    mixed = drift.remix(real, [drift.Mix("sex", (("M", 1.0),))], 500, np.random.default_rng(0))
    assert len(mixed.drop_duplicates()) == 500


def _cells(frame, contract):
    from survey.generator.tables import cells

    return cells(frame, contract)
