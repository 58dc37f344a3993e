"""The stored profile of a version: profiles add up, and say what the rows hold and what new rows changed."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.contract.profiling.version_profile import OTHER, OUTERMOST, STEPS, TOP, Grid, added, grid_of, total
from retraining.telling.profiling.figures import changes, figures_of, quantile

GRID = Grid(10.0, 2.0)
NUMBERS = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(0, 30).map(float)), max_size=40)
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from("abc"), st.just(OTHER)), max_size=40)


def place(value: float, grid: Grid) -> str:
    height = STEPS * math.asinh((value - grid.middle) / grid.scale)
    return str(math.ceil(max(-OUTERMOST, min(OUTERMOST, height))))


def of_numbers(values: list[float | None], grid: Grid = GRID) -> dict[str, Any]:
    present = [value for value in values if value is not None]
    bins = dict(Counter(place(value, grid) for value in present))
    ends = {"min": min(present, default=None), "max": max(present, default=None)}
    return {"n": len(values), "missing": len(values) - len(present), **ends, "sum": math.fsum(present), "bins": bins}


def of_texts(values: list[str | None]) -> dict[str, Any]:
    counts = dict(Counter(value for value in values if value is not None))
    return {"n": len(values), "missing": values.count(None), "counts": counts}


def profile(grid: Grid = GRID, **splits: tuple[list[Any], list[Any]]) -> dict[str, Any]:
    """Of rows with a number and a text, by split."""
    numbers = {split: of_numbers(values, grid) for split, (values, _) in splits.items()}
    texts = {split: of_texts(values) for split, (_, values) in splits.items()}
    return {
        "schema_version": 1,
        "rows": {split: len(values) for split, (values, _) in splits.items() if values},
        "columns": {
            "number": {"type": "double", "middle": grid.middle, "scale": grid.scale, "splits": numbers},
            "text": {"type": "string", "splits": texts},
        },
    }


def rows_of(numbers: list[Any], texts: list[Any]) -> tuple[list[Any], list[Any]]:
    size = min(len(numbers), len(texts))
    return numbers[:size], texts[:size]


@given(NUMBERS, TEXTS, NUMBERS, TEXTS)
def test_profiles_of_two_batches_add_up_to_that_of_their_rows(one, words, two, more) -> None:
    first, second = rows_of(one, words), rows_of(two, more)
    found = added(profile(train=first), profile(train=second, test=first))
    whole = profile(train=(first[0] + second[0], first[1] + second[1]), test=first)
    assert found["rows"] == whole["rows"]
    for split in whole["rows"]:
        made, expected = (of["columns"]["number"]["splits"][split] for of in (found, whole))
        assert math.isclose(made.pop("sum"), expected.pop("sum"), rel_tol=1e-9, abs_tol=1e-6)
        assert made == expected
        assert found["columns"]["text"]["splits"][split] == whole["columns"]["text"]["splits"][split]


def test_a_column_that_one_batch_lacks_has_no_value_there() -> None:
    old, new = profile(train=([1.0, 2.0], ["a", "b"])), profile(train=([3.0], ["c"]))
    del old["columns"]["text"]
    text = added(old, new)["columns"]["text"]["splits"]["train"]
    assert text == {"n": 3, "missing": 2, "counts": {"c": 1}}
    assert "text" not in added(new, old)["columns"]


def test_profiles_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="column number is counted in other bins"):
        added(profile(train=([1.0], ["a"])), profile(Grid(0.0, 1.0), train=([1.0], ["a"])))
    other = profile(train=([1.0], ["a"]))
    other["columns"]["number"] = {**other["columns"]["text"], "type": "string"}
    with pytest.raises(ValueError, match="column number was double and is string"):
        added(profile(train=([1.0], ["a"])), other)


def test_what_is_counted_by_name_is_bounded() -> None:
    many = [f"v{number:03d}" for number in range(TOP + 30)]
    found = added(profile(train=([1.0] * len(many), many)), profile(train=([1.0] * 2, ["v079", "new"])))
    counts = found["columns"]["text"]["splits"]["train"]["counts"]
    assert len(counts) == TOP + 1 and sum(counts.values()) == len(many) + 2
    assert next(iter(counts.items())) == ("v079", 2) and counts[OTHER] == 31


@given(st.lists(st.floats(-1e300, 1e300), min_size=5, max_size=5).map(sorted))
def test_bins_are_finite_and_rise_whatever_the_values_are(quantiles) -> None:
    grid = grid_of(quantiles)
    edges = [grid.edge(number) for number in range(-OUTERMOST, OUTERMOST + 1, 40)]
    assert all(map(math.isfinite, edges)) and edges == sorted(edges)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=60), st.floats(0.02, 0.98))
def test_a_quantile_is_right_to_the_width_of_its_bin(values, share) -> None:
    part = of_numbers(values)
    found = quantile(part, GRID, share)
    exact = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
    low, high = (GRID.edge(int(place(exact, GRID)) - 1 + at) for at in (0, 1))
    assert min(values) <= found <= max(values)
    assert low - 1e-9 <= found <= high + 1e-9


def test_figures_are_counted_in_ranges_of_the_training_rows() -> None:
    train, test = [float(n) for n in range(1, 201)], [50.0, 150.0, 500.0]
    found = figures_of(profile(test=(test, ["a"] * 3), train=(train, ["a"] * 200)))
    assert found["splits"] == {"train": 200, "test": 3}
    figures = found["columns"]["number"]["splits"]
    assert figures["train"]["edges"] == figures["test"]["edges"]
    assert (figures["train"]["min"], figures["train"]["mean"], figures["test"]["max"]) == (1.0, 100.5, 500.0)
    assert sum(figures["train"]["counts"]) == 200 and figures["test"]["counts"][-1] == 1
    assert max(figures["train"]["counts"]) <= 40
    edges = figures["train"]["edges"]
    assert figures["train"]["counts"][0] == sum(value <= edges[0] for value in train)


def test_new_rows_stand_beside_those_of_the_version_before() -> None:
    old = profile(train=([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", None]))
    whole = added(old, profile(train=([40.0, 60.0], ["b", "b"])))
    number, text = changes(whole, old, goes_on=True)
    assert (number["before"]["mean"], number["now"]["mean"], number["now"]["rows"]) == (2.5, 50.0, 2)
    assert number["ranges"][-1]["now"] == 1.0 and number["ranges"][0]["now"] == 0.0
    assert {part["label"]: part["now"] for part in text["ranges"]} == {"a": 0.0, "b": 1.0}
    number, text = changes(whole, old, goes_on=False)
    assert (number["now"]["rows"], text["now"]["missing"]) == (6, 1)
    number, text = changes(whole, None, goes_on=False)
    assert number["before"] is None and number["ranges"] == text["ranges"] == []


def test_a_data_set_that_began_anew_is_compared_though_its_bins_are_others() -> None:
    values, words = [float(n) for n in range(100)], ["a"] * 100
    old, new = profile(train=(values, words)), profile(Grid(49.0, 25.0), train=(values, words))
    number, _ = changes(new, old, goes_on=False)
    assert all(abs(part["before"] - part["now"]) < 0.05 for part in number["ranges"])


def test_all_splits_come_to_one() -> None:
    whole = profile(train=([1.0], ["a"]), test=([5.0, None], ["a", "b"]))
    together = total(whole["columns"]["number"])
    assert (together["n"], together["missing"], together["max"], together["sum"]) == (3, 1, 5.0, 6.0)
    assert total({"type": "double", "splits": {}}) == {"n": 0, "missing": 0}
