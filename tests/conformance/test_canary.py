"""Cross-field rules of an endpoint's update that no service model has."""

import pytest
from pydantic import ValidationError

from retraining.settings.machines.deployment import Canary, Deployment


def deployment(count, percent):
    return Deployment(
        endpoint="e", image="sagemaker-scikit-learn:1.9-0-cpu-py3", instance_count=count, canary=Canary(percent=percent)
    )


@pytest.mark.parametrize(("count", "percent"), [(1, 50), (2, 10), (9, 10)])
def test_a_canary_of_less_than_one_instance_is_refused(count, percent):
    with pytest.raises(ValidationError, match="less than an instance"):
        deployment(count, percent)


@pytest.mark.parametrize(("count", "percent"), [(2, 50), (10, 10), (4, 25)])
def test_a_canary_of_whole_instances_is_taken(count, percent):
    assert deployment(count, percent).canary.percent == percent
