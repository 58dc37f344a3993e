"""The year of ``make bench-gate`` on paths that are known: regret, promotions, recovery, and the formula against the function's stream."""

import io

import numpy as np
import pytest

from benchmarks.gate_worlds import Path
from benchmarks.gate_year import DEFAULT, RULES, STRICT, Year, analysis_of, shipped_gate, table, verdict, year_of
from lambda_functions.analyze_results import handler

DAYS = 30


def path(quality: np.ndarray, noise: float = 1.0, seed: int = 0) -> Path:
    """Return a path whose artifacts have these true risks; a row's loss is the squared risk and noise of its own."""
    rng = np.random.default_rng(seed)
    arrived = np.repeat(np.arange(DAYS), 40)
    common = rng.normal(0, noise, len(arrived))
    losses = quality[:, None] ** 2 + common + rng.normal(0, 0.3, (DAYS, len(arrived)))
    return Path(losses, arrived, np.repeat(quality[:, None], DAYS, axis=1), np.linspace(1000, 2000, DAYS))


def test_always_follows_the_newest_and_never_keeps_the_first():
    better = np.linspace(2.2, 2.0, DAYS)
    newest = year_of(path(better), RULES["always the latest (guards)"])
    assert newest.regret == pytest.approx(0.0)
    assert newest.promotions == pytest.approx(365 / DAYS * (DAYS - 1))
    kept = year_of(path(better), RULES["never"])
    assert kept.promotions == 0
    assert kept.worst_day == pytest.approx(10.0, abs=0.1)


def test_a_bad_day_serves_until_the_next_one_and_is_counted():
    quality = np.full(DAYS, 2.0)
    quality[10] = 2.3
    newest = year_of(path(quality), RULES["always the latest (guards)"])
    assert (newest.worse, newest.recovery) == (365 / DAYS, 1.0)
    assert newest.worst_day == pytest.approx(15.0)
    assert year_of(path(quality), RULES["1 to 2 (default)"]).worst_day < 1.0


def test_a_strict_gate_makes_the_champion_old():
    slowly = np.linspace(2.02, 2.0, DAYS)
    lenient, strict = (year_of(path(slowly), RULES[name]) for name in ("1 to 2 (default)", "19 to 1 (prove_better)"))
    assert lenient.regret < strict.regret
    assert lenient.promotions > 2 * strict.promotions


def test_the_formula_is_what_the_function_streams():
    rng = np.random.default_rng(1)
    challenger, champion = rng.exponential(1, (2, 500))
    days = np.sort(rng.integers(0, 9, 500))
    ages = 8 - days
    found = analysis_of(challenger, champion, ages, days, 60.0)["paired"]
    head = "row,truth,challenger,champion,loss_challenger,loss_champion,file\n"
    lines = (f"1,0,0,0,{float(a)!r},{float(b)!r},{day}\n" for a, b, day in zip(challenger, champion, days, strict=True))
    weights = [2.0 ** (-(8 - day) / 60) for day in range(9)]
    streamed = handler.analyze_csv(io.BytesIO((head + "".join(lines)).encode()), weights=weights)["paired"]
    assert found == pytest.approx({name: streamed[name] for name in found})


def test_a_share_of_the_rows_is_all_that_a_rule_sees():
    rule = shipped_gate(0.5, required_odds=1)
    odd_rows_hate_it = np.tile([0.0, 10.0], 100)
    moment_of = year_of.__globals__["Moment"]
    moment = moment_of(odd_rows_hate_it, np.full(200, 1.0), np.zeros(200, int), np.zeros(200, int), 0.1, 1.0)
    assert rule(moment)


def lived(*regrets: float) -> list[Year]:
    return [Year(regret, 10, 1, 3.0, float("nan")) for regret in regrets]


def test_the_tables_have_means_over_worlds_of_equal_weight_and_errors_over_seeds():
    years = {
        "calm": {DEFAULT: lived(1.0, 1.2), STRICT: lived(2.0, 2.0)},
        "rough": {DEFAULT: lived(2.0, 2.0, 2.6), STRICT: lived(3.0, 3.0, 3.0)},
    }
    means, worlds = "\n".join(table(years)).split("\n\n")
    calm, rough = 0.2**2 / 2 / 2, 0.12 / 3
    assert means.splitlines()[1].removeprefix(DEFAULT).split("  ")[-1].strip() == "nan (nan)"  # nothing to recover from
    assert f"{(1.1 + 2.2) / 2:.3f} ({(calm + rough) ** 0.5 / 2:.3f})" in means.splitlines()[1]
    some = {"mixed": {DEFAULT: [*lived(1.0), *(Year(1.0, 1, 1, 1.0, days) for days in (4.0, 8.0))]}}
    assert table(some)[1].endswith(" 6 (2.0)")  # days to recover, of the two years that had to
    assert f"1.10 ({calm**0.5:.2f})" in worlds and f"2.20 ({rough**0.5:.2f})" in worlds


def test_the_verdict_is_about_differences_on_the_same_paths():
    apart = {DEFAULT: lived(1.0, 2.0), "1 to 3": lived(0.9, 1.9), STRICT: lived(1.1, 2.1)}
    close = apart | {"1 to 3": lived(0.9, 2.0)}
    for best, near in ((close, True), (apart, False)):
        lines, met = verdict({"mixed": best})
        assert (met, "1 to 3, the best rule over the worlds: " + ("met" if near else "MISSED") in lines[0]) == (
            near,
            True,
        )
    worse = {DEFAULT: lived(1.0, 2.0), STRICT: lived(0.9, 1.9)}
    lines, met = verdict({"mixed": worse, "tiny": {DEFAULT: lived(1.0, 1.0), STRICT: lived(9.0, 9.0)}})
    assert not met and "mixed -0.10 (0.00), tiny 8.00 (0.00): MISSED" in lines[1]
    _, met = verdict({"stationary": worse, "tiny": {DEFAULT: lived(1.0, 1.0), STRICT: lived(9.0, 9.0)}})
    assert met
