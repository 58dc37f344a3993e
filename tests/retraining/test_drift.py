"""The drift detectors: what they gather without a change, what they find with one, and what they say about it."""

import json
import math
import random

import pytest

from retraining.judging import drift
from retraining.judging.drift import Counted, Detectors, counted, log_evidence

BINS = 20
TRAINED = 4000
REFERENCE = {
    "size": {"n": TRAINED, "missing": 0, "edges": [at / BINS for at in range(1, BINS)], "counts": [200] * BINS, "sum": 2000.0},
    "sex": {"n": TRAINED, "missing": 400, "counts": {"M": 1800, "F": 1800}},
}  # fmt: skip


def rows(generator: random.Random, n: int, size=lambda u: u, male: float = 0.5, missing: float = 0.1) -> dict:
    """Return the profile of n rows, of uniform sizes unless they are changed."""
    counts = [0] * BINS
    for _ in range(n):
        counts[max(0, min(BINS - 1, int(size(generator.random()) * BINS)))] += 1
    gone = sum(generator.random() < missing for _ in range(n))
    males = sum(generator.random() < male for _ in range(n - gone))
    return {
        "size": {"n": n, "missing": 0, "counts": counts},
        "sex": {"n": n, "missing": gone, "counts": {"M": males, "F": n - gone - males}},
    }


def follow(days: int, seed: int, n: int = 100, **change) -> tuple[int | None, Detectors]:
    """Return the day of the first alarm, if any."""
    generator, detectors = random.Random(seed), Detectors(7300, 0.01)
    for day in range(1, days + 1):
        detectors.see(list(counted(REFERENCE, rows(generator, n, **change))), 1.0, f"day {day}")
        if detectors.level >= 1:
            return day, detectors
    return None, detectors


def test_without_a_change_years_pass_without_an_alarm():
    assert [follow(365, seed)[0] for seed in range(4)] == [None] * 4


@pytest.mark.parametrize(
    ("change", "column", "kind", "direction", "within"),
    [
        ({"size": lambda u: u + 0.07}, "size", "level", 1, 12),
        ({"size": lambda u: u - 0.15}, "size", "level", -1, 3),
        ({"size": lambda u: 0.5 + (u - 0.5) * 0.6}, "size", "spread", -1, 12),
        ({"male": 0.7}, "sex", "share", 1, 4),
        ({"missing": 0.3}, "sex", "missing", 1, 6),
    ],
)
def test_a_change_is_found_with_its_column_and_direction(change, column, kind, direction, within):
    day, detectors = follow(60, 1, **change)
    assert day is not None
    assert day <= within
    finding = detectors.findings()[0]
    assert (finding.column, finding.kind) == (column, kind)
    assert finding.direction == direction or kind == "share"  # more males are fewer females
    assert finding.rows <= 100 * day
    assert finding.rows_needed > 0
    assert finding.since.startswith("day")


def test_a_value_that_the_reference_does_not_have_is_a_change():
    seen = rows(random.Random(0), 100)
    seen["sex"]["counts"] = {"M": 40, "F": 40, "(other)": 10}
    detectors = Detectors(7300, 0.01)
    for day in (1, 2):
        detectors.see(list(counted(REFERENCE, seen)), 1.0, f"day {day}")
    assert detectors.level >= 1
    assert detectors.findings()[0].words() == "sex = a new value is more often"


@pytest.mark.parametrize("value", ["M|F", "|", 'M", 1', "a new|value"])
def test_a_change_is_told_of_a_value_however_it_is_written(value):
    reference = {"sex|site": {"n": TRAINED, "missing": 0, "counts": {value: 2000, "F": 2000}}}
    seen = {"sex|site": {"n": 100, "missing": 0, "counts": {value: 100, "F": 0}}}
    detectors = Detectors(7300, 0.01)
    for day in (1, 2):
        detectors.see(list(counted(reference, seen)), 1.0, f"day {day}")
    kept = Detectors(7300, 0.01, json.loads(json.dumps(detectors.state)))
    assert kept.level >= 1
    assert kept.findings() == detectors.findings()
    found = kept.findings()[0]
    assert (found.column, found.kind) == ("sex|site", "share")
    assert (found.value, found.direction) in ((value, 1), ("F", -1))


def test_a_change_within_the_tolerance_is_none_however_many_rows_there_are():
    seen = {
        "size": {
            "n": 10**7,
            "missing": 0,
            "counts": [500_000 - 40_000 * (at == 0) + 40_000 * (at == 1) for at in range(BINS)],
        }
    }
    [*items] = [item for item in counted(REFERENCE, seen) if item.kind == "level"]
    assert 0 < items[0].total / items[0].rows < 0.01
    detectors = Detectors(7300, 0.01)
    detectors.see(items, 1.0, "now")
    assert detectors.level < 1


@pytest.mark.parametrize("size", drift.RANKS)
@pytest.mark.parametrize("kind", ["level", "spread"])
def test_evidence_about_ranks_has_a_mean_of_at_most_one_without_a_change(size, kind):
    """Exactly, over the bins of the reference: one row, whose bin is as likely as in the reference, on the edge of the tolerance."""
    total = 0.0
    for at in range(BINS):
        seen = {"size": {"n": 1, "missing": 0, "counts": [int(at == other) for other in range(BINS)]}}
        [item] = [item for item in counted(REFERENCE, seen) if item.kind == kind]
        total += math.exp(log_evidence(item, 1, size, 0.0)) / BINS
    assert total <= 1


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("odds", drift.ODDS)
def test_evidence_about_shares_has_a_mean_of_at_most_one_within_the_tolerance(direction, odds):
    for share in (0.2, 0.2 + 0.01 * direction):
        mean = sum(
            chance * math.exp(log_evidence(Counted("sex", "share", "M", 1, hit, 0.2, 10**9), direction, odds, 0.01))
            for hit, chance in ((1, share), (0, 1 - share))
        )
        assert mean <= 1 + 1e-9


def test_how_often_one_looks_does_not_change_how_seldom_there_is_a_false_alarm():
    nothing = [Counted("size", "level", "", 0, 0.0, 0.5, 10**9)]
    once, often = Detectors(100, 0.01), Detectors(100, 0.01)
    once.see(nothing, 1.0, "a")
    for _ in range(24):
        often.see(nothing, 1 / 24, "a")
    assert once.level == pytest.approx(often.level)
    assert once.level == pytest.approx(0.01)


def test_evidence_goes_when_the_change_does():
    generator, detectors = random.Random(3), Detectors(7300, 0.01)
    for day in range(10):
        detectors.see(list(counted(REFERENCE, rows(generator, 500, size=lambda u: u + 0.2))), 1.0, f"day {day}")
    assert detectors.level > 1
    for day in range(10, 20):
        detectors.see(list(counted(REFERENCE, rows(generator, 500))), 1.0, f"day {day}")
    assert detectors.level < 0.02


def test_what_is_gathered_survives_as_json():
    generator = random.Random(4)
    first, second = Detectors(7300, 0.01), Detectors(7300, 0.01)
    for day in range(5):
        seen = list(counted(REFERENCE, rows(generator, 50, size=lambda u: u + 0.1)))
        first.see(seen, 1.0, f"day {day}")
        second = Detectors(7300, 0.01, json.loads(json.dumps(second.state)))
        second.see(seen, 1.0, f"day {day}")
    assert second.level == first.level
    assert second.findings() == first.findings()


def test_a_column_that_a_look_lacks_does_not_raise_the_rate_of_false_alarms():
    detectors = Detectors(1000.0, 0.01)
    nothing = [Counted(name, "level", "", 0, 0.0, 0.5, 100) for name in "ab"]
    for days, seen in enumerate((nothing, nothing[:1], nothing[1:], nothing), start=1):
        detectors.see(seen, 1.0, "now")
        assert detectors.level * 1000.0 <= days + 1e-9
