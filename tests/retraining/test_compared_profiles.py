import pytest

from retraining.judging.compared_profiles import REST, ranges


def number(counts: list[int], edges: list[float]) -> dict:
    return {"n": sum(counts), "missing": 0, "counts": counts, "edges": edges, "sum": 0.0}


def test_a_number_is_compared_in_ranges_of_whole_bins_that_say_where_they_end() -> None:
    edges = [float(at) for at in range(1, 43)]
    known, seen = number([1] * 43, edges), number([0] * 42 + [5], edges)
    found = ranges(known, seen)
    assert [part.label for part in found][:2] == ["up to 3", "above 3 to 6"] and found[-1].label == "above 42"
    assert len(found) == 15 and sum(part.before for part in found) == pytest.approx(1)
    assert [part.now for part in found] == [0.0] * 14 + [1.0]


@pytest.mark.parametrize(("edges", "labels"), [([], ["every value"]), ([2.5], ["up to 2.5", "above 2.5"])])
def test_a_number_with_few_values_has_few_ranges(edges: list[float], labels: list[str]) -> None:
    counts = [4] * (len(edges) + 1)
    assert [part.label for part in ranges(number(counts, edges), number(counts, edges))] == labels


def test_every_row_of_many_categories_is_in_a_bar() -> None:
    known = {"counts": {f"c{at}": 2 for at in range(30)}}
    seen = {"counts": {"c0": 1, "c29": 2, "(other)": 1}}
    found = ranges(known, seen)
    assert (len(found), found[-1].label) == (20, REST)
    assert (found[0].now, found[-1].now) == (0.25, 0.75)
    assert found[-1].before == pytest.approx(11 / 30)


def test_a_column_without_a_value_has_no_share() -> None:
    assert [part.now for part in ranges({"counts": {"M": 3}}, {"counts": {"M": 0}})] == [0.0]
