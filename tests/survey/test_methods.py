"""The copula, the grid of measurements, replay, and drawing until there are enough valid rows."""

import numpy as np
import pytest

from retraining.contract.rows import row_hash
from survey.generator import generate, quality, tables
from survey.generator.copula import GaussianCopula


def request_of(document, **options):
    return generate.Request.of(
        {"contract": document["contract"], "method": "copula", "rows": 300, "seed": 1, **options}
    )


def copula_survey(document, real, **options):
    request = request_of(document, **options)
    draw, available = generate.sampler(request, real, None, None, lambda _: None)
    return generate.make(request, real, draw, available)


def test_copula_rows_keep_shares_marginals_and_relations(contract, real):
    drawn = GaussianCopula(contract).fit(real).sample(4000, np.random.default_rng(0))
    found = quality.compare(real, drawn, contract)
    assert found["columns"]["sex"]["total_variation"] < 0.03
    assert all(item["kolmogorov_smirnov"] < 0.05 for item in found["columns"].values() if "wasserstein" in item)
    assert found["correlation"]["largest_difference"] < 0.05
    assert found["classifier_auc"] < 0.75


def test_copula_rows_are_measured_with_the_same_instrument(contract, real):
    steps = tables.grid_steps(real, contract)
    assert (steps["length"], steps["whole_weight"], steps["rings"]) == (0.005, 0.0005, 1.0)
    drawn = GaussianCopula(contract).fit(real).sample(500, np.random.default_rng(0))
    assert np.allclose(np.round(drawn["length"] / 0.005) * 0.005, drawn["length"])
    assert drawn["rings"].dtype.kind == "i"
    assert set(drawn["sex"]) == {"M", "F", "I"}


def test_a_small_group_borrows_the_relations_of_all_rows(contract, real):
    few = real[(real["sex"] != "I") | (np.arange(len(real)) < 60)]
    drawn = GaussianCopula(contract).fit(few).sample(3000, np.random.default_rng(0))
    assert 0 < (drawn["sex"] == "I").mean() < 0.03


def test_the_same_seed_gives_the_same_file_and_another_one_another(document, real):
    first, again, other = (copula_survey(document, real, seed=seed).lines for seed in (4, 4, 5))
    assert first == again
    assert first != other


def test_valid_only_reaches_the_number_and_without_it_rows_may_be_invalid(document, contract, real):
    survey = copula_survey(document, real, rows=1000)
    assert len(survey.lines) == 1000
    assert survey.report["violations"]["rejected"] == 0
    assert survey.report["drawn"]["rejected"] > 0
    assert survey.report["notes"] == []
    raw = copula_survey(document, real, rows=1000, valid_only=False)
    assert len(raw.lines) == 1000
    assert raw.report["violations"]["rejected"] > 10


def test_when_hardly_a_draw_is_valid_the_report_says_how_many_were_found(document, contract, real):
    impossible = real.assign(height=real["height"] + 2)  # above what the contract allows
    mixed = [impossible, real.iloc[:3]]
    parts = iter(mixed)
    request = request_of(document, rows=50)
    survey = generate.make(request, real, lambda rows: next(parts, impossible).iloc[:rows])
    assert len(survey.lines) == 3
    assert survey.report["notes"] == [f"Found 3 of 50 valid rows among {survey.report['drawn']['rows']:,} drawn."]


def test_replay_brings_each_row_that_the_dataset_lacks_once_and_only_valid_ones(
    document, contract, real_cells, tmp_path
):
    known = tmp_path / "known" / "split=train"
    known.mkdir(parents=True)
    lines = [",".join([row[-1], *row[:-1]]) for row in real_cells[:4000]]
    (known / "part.csv").write_text("\n".join(lines))
    held_back = tmp_path / "held_back.csv"
    rows = [*real_cells, real_cells[4000], ["M", "0.4", "0.3", "0", "0.5", "0.2", "0.1", "0.1", "9"]]
    held_back.write_text("\n".join(",".join(row) for row in [contract.names, *rows]))
    fresh = generate.not_yet_known([held_back], tmp_path / "known", contract)
    assert tables.hashes(tables.cells(fresh, contract), contract) == tables.hashes(real_cells[4000:], contract)
    request = request_of(document, method="replay", rows=500)
    draw, available = generate.sampler(request, fresh, None, fresh, lambda _: None)
    survey = generate.make(request, fresh, draw, available)
    assert sorted(survey.lines) == sorted(",".join(row) for row in tables.cells(fresh, contract))
    assert "Found" in survey.report["notes"][0]


def test_numbers_are_written_as_they_were_read(real, real_cells, contract):
    written = tables.cells(real, contract)
    assert [row_hash(contract, row) for row in written] == [row_hash(contract, row) for row in real_cells]
    assert written[0] == real_cells[0]


def test_training_rows_have_the_target_first(contract, real, tmp_path):
    (tmp_path / "part.csv").write_text("15,M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15\n")
    assert tables.read_training_rows(tmp_path, contract).equals(real.iloc[:1])
    with pytest.raises(ValueError, match="no training rows below"):
        tables.read_training_rows(tmp_path / "none", contract)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "vae"}, "method 'vae' is none of"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"dirt": 2}, "dirt is a share from 0 to 1"),
        ({"colour": "red"}, "unknown members: colour"),
        ({"drift": ["rings~3"]}, "drift 'rings~3' is none of"),
        ({"dirt_kinds": ["mud"]}, "dirt kind 'mud' is none of"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(document, wrong, message):
    with pytest.raises(ValueError, match=message):
        request_of(document, **wrong)
