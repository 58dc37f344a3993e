"""`make bench-demo` reaches no goal by runs that put no model in service."""

import math

import pytest

from benchmarks import bench_all


@pytest.fixture
def bench_demo(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(bench_all.__file__.rpartition("/")[0])
    from benchmarks import bench_demo

    return bench_demo


@pytest.mark.parametrize(
    ("served", "missed"), [([17.0, None, 18.0], 0), ([19.0, None, 20.0], 1), ([None, None, None], 1)]
)
def test_the_seconds_until_a_model_serves_are_those_of_runs_that_put_one_in_service(bench_demo, capsys, served, missed):
    runs = [{"service": seconds, "end": 5.0, "slots": {"training": [1.0]}} for seconds in served]
    found = bench_demo.medians("warm", runs)
    assert bench_demo.table(found) == missed
    known = [seconds for seconds in served if seconds is not None]
    seconds = found["warm: upload to the new model in service, s"]
    assert math.isnan(seconds) if not known else seconds == sum(known) / len(known)
    assert capsys.readouterr().out.count("MISSED") == missed
