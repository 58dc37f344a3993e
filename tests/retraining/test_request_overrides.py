"""Overrides add to a request in AWS's spelling, change nothing that the library sets, and are checked when model.yaml is read."""

import pytest
from pydantic import ValidationError

from retraining.jobs import requests
from retraining.settings.machines.overrides import PROCESSING, SET, TRAINING, added
from retraining.settings.model_config import Evaluation
from retraining.settings.periodic.monitor import Monitor
from retraining.settings.training.step import Training

VPC = {"SecurityGroupIds": ["sg-0123456789abcdef0"], "Subnets": ["subnet-0123456789abcdef0"]}
SPOT = {"EnableManagedSpotTraining": True, "StoppingCondition": {"MaxWaitTimeInSeconds": 7200}}
MANIFESTS = {split: f"s3://b/{split}.manifest" for split in ("train", "validation", "test")}


def training_of(config, platform, plan, overrides):
    training = Training.model_validate({**config.training.model_dump(), "overrides": overrides})
    changed = config.model_copy(update={"training": training})
    return requests.training_request(changed, platform, plan, training.candidates[0], MANIFESTS)


def evaluation_of(config, platform, plan, overrides):
    evaluation = Evaluation.model_validate({**config.evaluation.model_dump(), "overrides": overrides})
    changed = config.model_copy(update={"evaluation": evaluation})
    return requests.evaluation_request(changed, platform, plan, MANIFESTS["test"], "s3://b/model.tar.gz", None)


def leaves(value, path=""):
    """The paths of a request down to what is no mapping of members."""
    if isinstance(value, dict) and path not in ("HyperParameters", "AppSpecification"):
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}".lstrip("."))
    else:
        yield path


def test_the_table_of_what_is_set_is_the_requests_themselves(config, platform, plan):
    made = {TRAINING: training_of(config, platform, plan, {}), PROCESSING: evaluation_of(config, platform, plan, {})}
    for operation, request in made.items():
        name = f"{operation.removeprefix('Create')}Name"
        assert SET[operation].keys() == {*leaves(request), name}


def test_members_are_added_beside_what_is_set_and_make_another_job(config, platform, plan):
    plain = training_of(config, platform, plan, {})
    made = training_of(config, platform, plan, {**SPOT, "VpcConfig": VPC, "Tags": [{"Key": "team", "Value": "reef"}]})
    assert made["StoppingCondition"] == plain["StoppingCondition"] | SPOT["StoppingCondition"]
    assert made["VpcConfig"] == VPC
    assert {name: value for name, value in made.items() if name in plain and name != "StoppingCondition"} == {
        name: value for name, value in plain.items() if name != "StoppingCondition"
    }
    network = evaluation_of(config, platform, plan, {"NetworkConfig": {"VpcConfig": VPC}})["NetworkConfig"]
    assert network == {"EnableNetworkIsolation": True, "VpcConfig": VPC}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"TrainingJobName": "mine"}, "TrainingJobName is set by the library"),
        ({"ResourceConfig": {"InstanceType": "ml.c5.large"}}, "ResourceConfig.InstanceType is set with instance_type"),
        ({"ResourceConfig": 5}, "ResourceConfig is a mapping"),
        ({"VpcConfg": VPC}, "has no VpcConfg; did you mean VpcConfig?"),
        ({"VpcConfig": {**VPC, "Subnet": []}}, "has no VpcConfig.Subnet; did you mean Subnets?"),
        ({"VpcConfig": {"Subnets": "subnet-1"}}, "VpcConfig.Subnets is 'subnet-1', and must be a list"),
        ({"EnableNetworkIsolation": "yes"}, "EnableNetworkIsolation is 'yes', and must be true or false"),
        ({"RetryStrategy": {"MaximumRetryAttempts": True}}, "must be a whole number"),
        ({"Tags": [{"Key": "team", "Value": None}]}, "Tags.Value is None"),
        ({"Environment": {1: "x"}}, "Environment has the name 1, which is no text"),
        ({"EnableManagedSpotTraining": True}, "needs StoppingCondition: {MaxWaitTimeInSeconds"),
        ({**SPOT, "StoppingCondition": {"MaxWaitTimeInSeconds": 60}}, "at least max_runtime_seconds"),
    ],
)
def test_what_cannot_be_added_is_said_when_the_file_is_read(config, overrides, words):
    with pytest.raises(ValidationError) as refused:
        Training.model_validate({**config.training.model_dump(), "overrides": overrides})
    assert words in str(refused.value)


def test_a_job_that_only_reads_its_inputs_has_no_network_unless_model_yaml_gives_it_one(config, platform, plan):
    for isolated in (True, False):
        evaluation = config.evaluation.model_copy(update={} if isolated else {"network_isolation": False})
        request = evaluation_of(config.model_copy(update={"evaluation": evaluation}), platform, plan, {})
        assert request["NetworkConfig"] == {"EnableNetworkIsolation": isolated}
    with pytest.raises(ValidationError, match=r"NetworkConfig\.EnableNetworkIsolation is set with network_isolation"):
        Monitor.model_validate({"overrides": {"NetworkConfig": {"EnableNetworkIsolation": False}}})


def test_jobs_of_a_model_in_service_take_them_too():
    assert Monitor.model_validate({"overrides": {"NetworkConfig": {"VpcConfig": VPC}}}).overrides
    with pytest.raises(ValidationError, match="AppSpecification is set by the library"):
        Monitor.model_validate({"overrides": {"AppSpecification": {}}})


def test_what_both_have_is_joined_at_every_depth():
    assert added({"a": {"b": {"c": 1}}, "d": 2}, {"a": {"b": {"e": 3}}, "f": 4}) == {
        "a": {"b": {"c": 1, "e": 3}},
        "d": 2,
        "f": 4,
    }
