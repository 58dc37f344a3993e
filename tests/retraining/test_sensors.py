"""The sensor for new data: when it passes, skips, waits itself, and gives its worker slot up."""

from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from retraining.dag import sensors
from retraining.dag.sensors import NewDataSensor


@pytest.fixture
def slept(monkeypatch):
    seconds = []
    monkeypatch.setattr(sensors.time, "sleep", seconds.append)
    return seconds


def sensor(*answers, **arguments):
    """A sensor that finds these answers, one a look."""
    found = list(answers)
    return NewDataSensor(task_id="sense_new_data", look=lambda context: found.pop(0), **arguments)


def deferred(call):
    with pytest.raises(TaskDeferred) as deferral:
        call()
    return deferral.value.trigger.seconds, deferral.value.kwargs


def test_work_passes_and_nothing_to_do_skips_the_run(slept):
    assert sensor(("new files", None)).execute({}) == "new files"
    with pytest.raises(AirflowSkipException, match="nothing to do"):
        sensor((None, None)).execute({})
    assert slept == []


@pytest.mark.parametrize(("unsettled", "seconds"), [(0.1, 0.2), (0.7, 0.7), (1.0, 1.0)])
def test_a_short_wait_takes_no_second_process(slept, unsettled, seconds):
    assert sensor(("new files", unsettled), ("new files", None)).execute({}) == "new files"
    assert slept == [seconds]


def test_a_long_wait_gives_the_slot_up(slept):
    operator = sensor((None, 30.0), (None, 0.8), ("new files", None))
    seconds, kwargs = deferred(lambda: operator.execute({}))
    assert (seconds, kwargs, slept) == (30.0, {"waited": 0.0}, [])
    assert operator.resume({}, {"slept": 30.0}, **kwargs) == "new files"
    assert slept == [0.8]


def test_files_that_keep_changing_do_not_hold_the_slot(slept):
    operator = sensor(*[("new files", unsettled) for unsettled in (0.6, 0.1, 0.3)])
    seconds, kwargs = deferred(lambda: operator.execute({}))
    assert (seconds, kwargs, slept) == (0.5, {"waited": pytest.approx(0.8)}, [0.6, 0.2])


def test_patience_ends_and_what_has_settled_goes_on(slept):
    patient = timedelta(seconds=10)
    assert sensor(("new files", 5.0), max_settle=patient).resume({}, {"slept": 4.0}, waited=6.0) == "new files"
    operator = sensor(("new files", 5.0), ("new files", 5.0), max_settle=patient)
    assert operator.resume({}, {"slept": 4.0}, waited=5.2) == "new files"
    assert slept == [pytest.approx(0.8)]
