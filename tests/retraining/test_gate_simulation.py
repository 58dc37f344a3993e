"""Promotion rates of the recorded and the paired gate on bootstrap draws of real out-of-fold errors.

The bounds are wide enough for another version of scikit-learn; ``make bench-model`` measures them with many more draws.
"""

import numpy as np
import pytest

from benchmarks import abalone_data, bench_gate
from retraining.judging.gate import decide

ROWS = 209
DRAWS = 1500


@pytest.fixture(scope="module")
def models() -> bench_gate.Models:
    return bench_gate.build_models(abalone_data.load(), folds=3)


def test_the_models_rank_as_the_simulation_says(models):
    champion = abalone_data.rmse(models.target, models.champion)
    assert champion < 2.2
    for predictions in models.equal.values():
        assert abalone_data.rmse(models.target, predictions) == pytest.approx(champion, abs=1e-9)
        assert np.std(predictions - models.champion) > 0.01  # equally good, not the same
    for predictions in models.worse.values():
        assert abalone_data.rmse(models.target, predictions) == pytest.approx(champion + bench_gate.GAP, abs=1e-9)


def test_the_recorded_gate_promotes_a_worse_model_in_four_of_ten_cases(models):
    for worse in models.worse.values():
        rate = bench_gate.recorded_gate_rate(models, worse, models.champion, ROWS, DRAWS)
        assert 0.38 < rate < 0.47


def test_the_paired_gate_hardly_ever_promotes_a_worse_model(models):
    for worse in models.worse.values():
        assert bench_gate.paired_gate_rate(models, worse, models.champion, ROWS, DRAWS) <= 0.01


def test_the_paired_gate_promotes_an_equal_model_as_rarely_as_its_confidence_says(models):
    equal = next(iter(models.equal.values()))
    rates = [
        bench_gate.paired_gate_rate(models, equal, models.champion, ROWS, DRAWS),
        bench_gate.paired_gate_rate(models, models.champion, equal, ROWS, DRAWS),
    ]
    assert all(0.03 < rate < 0.07 for rate in rates), rates


def test_the_default_asks_for_no_proof_and_still_stops_most_of_what_is_worse(models):
    equal, worse = next(iter(models.equal.values())), next(iter(models.worse.values()))
    rate = bench_gate.paired_gate_rate(models, equal, models.champion, ROWS, DRAWS, bench_gate.LENIENT)
    assert 0.55 < rate < 0.78  # 2 of 3
    assert bench_gate.paired_gate_rate(models, worse, models.champion, ROWS, DRAWS, bench_gate.LENIENT) < 0.35
    assert bench_gate.paired_gate_rate(models, models.champion, worse, ROWS, DRAWS, bench_gate.LENIENT) > 0.85


def test_the_recorded_gate_ratchets_itself_shut_and_the_paired_gate_has_no_memory(models):
    worse = next(iter(models.worse.values()))
    recorded = bench_gate.recorded_gate_ratchet(models, worse, ROWS, DRAWS)
    truth = abalone_data.rmse(models.target, worse)
    assert recorded[:, 0].mean() == pytest.approx(truth, abs=0.03)
    assert recorded[:, -1].mean() < truth - 0.25
    better_passes_recorded = bench_gate.better_passes_ratchet(models, models.champion, recorded[:, -1], ROWS)
    better_passes_paired = bench_gate.paired_gate_rate(models, models.champion, worse, ROWS, DRAWS)
    assert better_passes_recorded < 0.1
    assert better_passes_paired > 2 * better_passes_recorded


def test_heavy_tails_do_not_make_the_paired_gate_promote_equal_models_more_often():
    """Student's t errors with 3 degrees of freedom: their squares have no variance, the worst case for a t test."""
    rng = np.random.default_rng(0)
    promoted = 0
    for _ in range(DRAWS):
        truth = rng.integers(1, 30, ROWS).astype(float)
        challenger, champion = truth + rng.standard_t(3, (2, ROWS))
        analysis = bench_gate.analysis_of((challenger - truth) ** 2, (champion - truth) ** 2)
        promoted += decide(analysis, bench_gate.STRICT).promote
    assert promoted / DRAWS <= 0.06
