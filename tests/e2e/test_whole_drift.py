"""The third act of the demo, on a stack of its own: requests as trained, drifted ones, an incident, labels, a retraining."""

import pytest
from conftest import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What the demo wrote of its third act."""
    stack = Stack(tmp_path_factory.mktemp("drift") / "local")
    return stack.play("make demo ACT=3")["drift"]


def test_requests_as_the_model_was_trained_on_open_nothing(played):
    assert (played["control"]["open"], played["control"]["incident"]) == (False, None)
    assert played["control"]["rows"] >= 400


def test_the_incident_names_what_changed_and_where_to(played):
    assert played["drifted"]["open"]
    changes = {change["column"]: change["direction"] for change in played["incident"]["changes"]}
    for column in ("length", "diameter", "whole_weight"):
        assert changes[column] == -1, changes


def test_labels_close_it_when_a_better_model_takes_over(played):
    run, incident = played["retrain_run"], played["incident"]
    assert (run["state"], run["decision"]) == ("success", "approved")
    assert incident["number"] == 1
    assert incident["closed_at"]
    assert not played["after"]["open"]
