"""The quality report: its numbers and its page."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from test_methods import copula_survey

from survey.generator import generate, quality


def test_a_half_of_the_real_rows_is_close_to_the_other_half(contract, real):
    order = np.random.default_rng(0).permutation(len(real))
    found = quality.compare(real.iloc[order[:2000]], real.iloc[order[2000:]], contract)
    assert found["classifier_auc"] == pytest.approx(0.5, abs=0.05)
    assert found["correlation"]["mean_difference"] < 0.02
    assert all(item.get("kolmogorov_smirnov", 0) < 0.05 for item in found["columns"].values())


def test_rows_whose_columns_were_shuffled_alone_are_told_apart(contract, real):
    rng = np.random.default_rng(0)
    shuffled = real.apply(lambda column: column.to_numpy()[rng.permutation(len(real))])
    found = quality.compare(real, shuffled, contract)
    assert found["classifier_auc"] > 0.95
    assert found["correlation"]["mean_difference"] > 0.5
    assert found["columns"]["length"]["kolmogorov_smirnov"] == 0


def test_distances_of_a_shift_are_what_they_must_be(contract, real):
    shifted = real.assign(length=real["length"] + 10 * real["length"].std(ddof=0), sex="M")
    found = quality.compare(real, shifted, contract)["columns"]
    assert found["length"]["kolmogorov_smirnov"] == 1
    assert found["length"]["wasserstein"] == pytest.approx(10)
    assert found["sex"]["total_variation"] == pytest.approx(1 - (real["sex"] == "M").mean())


def test_few_rows_have_no_classifier_and_a_constant_column_no_correlation(contract, real):
    found = quality.compare(real, real.iloc[:10].assign(rings=9), contract)
    assert found["classifier_auc"] is None
    assert np.isfinite(found["correlation"]["mean_difference"])


def test_the_page_stands_alone_and_shows_every_column(document, contract, real, tmp_path):
    survey = copula_survey(document, real, dirt=0.2, drift=["rings+3"])
    generate.write(survey, tmp_path, contract)
    page = (tmp_path / "report.html").read_text()
    body = ElementTree.fromstring(re.sub(r"<meta [^<>]*>", "", page.removeprefix("<!doctype html>")))
    assert len(body.findall(".//svg")) == len(contract.columns) + 1
    assert "http://" not in page and "https://" not in page
    for name in contract.names:
        assert name in page
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["violations"]["rejected"] == 60
    assert (tmp_path / "survey.csv").read_text().splitlines() == survey.lines


def test_what_was_asked_for_is_text_on_the_page_not_markup(document, contract, real, tmp_path):
    image = "<img src=x onerror=alert(1)>"
    survey = copula_survey(document, real)
    survey.report["request"] |= {"drift": [f"sex=M:1,{image}:0"]}
    survey.report["notes"] = [image]
    generate.write(survey, tmp_path, contract)
    page = (tmp_path / "report.html").read_text()
    assert "&lt;img src=x" in page
    assert "<img" not in page
    assert "default-src 'none'" in page
