"""Tuning jobs search by training jobs that really train, and are refused, stopped and ended as SageMaker's are."""

import math
from statistics import mean
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_account import ROLE, Account, wait_for

from local_aws.sagemaker.tuning.ranges import Range, read_ranges
from local_aws.sagemaker.tuning.strategies import AT_RANDOM, Search
from local_aws.shared.errors import ServiceError

#: A trial that reads its values as SageMaker's toolkit hands them over, and is best at x = 3 with the kind "b".
SCRIPT = """
import json, os
found = json.loads(os.environ["SM_HPS"])
print(f"loss={(found['x'] - 3) ** 2 + (0 if found['kind'] == 'b' else 1) + found['fixed']};")
open(os.environ["SM_MODEL_DIR"] + "/model", "w").write("m")
"""
RANGES = {
    "ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "5"}],
    "CategoricalParameterRanges": [{"Name": "kind", "Values": ['"a"', '"b"']}],
}
NUMBER = {"Name": "x", "MinValue": "0.001", "MaxValue": "10"}


def request(account: Account, name: str, script: str = SCRIPT, **changes: Any) -> dict[str, Any]:
    training = account.training_request(name, script)
    algorithm = training["AlgorithmSpecification"] | {
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([-+0-9.e]+);"}]
    }
    config = {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": RANGES,
        "RandomSeed": 1,
    }
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": config | changes.pop("config", {}),
        "TrainingJobDefinition": {
            "StaticHyperParameters": training["HyperParameters"] | {"fixed": "0.5"},
            "AlgorithmSpecification": algorithm,
            **{name: training[name] for name in ("RoleArn", "OutputDataConfig", "ResourceConfig", "StoppingCondition")},
            **changes.pop("definition", {}),
        },
        "Tags": [{"Key": "run", "Value": "one"}],
        **changes,
    }


def described(account: Account, name: str) -> dict[str, Any]:
    return account.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


def ended(account: Account, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job = described(account, name)
        return None if job["HyperParameterTuningJobStatus"] in ("InProgress", "Stopping") else job

    return wait_for(look)


def trials_of(account: Account, name: str, **options: Any) -> list[dict[str, Any]]:
    found = account.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, **options
    )
    return found["TrainingJobSummaries"]


@pytest.mark.local_aws
def test_the_trials_train_and_the_best_is_told(account: Account) -> None:
    created = account.sagemaker.create_hyper_parameter_tuning_job(**request(account, "tune-complete"))
    job = ended(account, "tune-complete")
    assert (job["HyperParameterTuningJobStatus"], job.get("FailureReason")) == ("Completed", None)
    assert created["HyperParameterTuningJobArn"] == job["HyperParameterTuningJobArn"]
    assert job["HyperParameterTuningJobArn"].endswith(":hyper-parameter-tuning-job/tune-complete")
    assert job["TrainingJobStatusCounters"] == {
        "Completed": 4,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert job["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    assert job["HyperParameterTuningEndTime"] >= job["CreationTime"]

    trials = trials_of(account, "tune-complete", SortBy="FinalObjectiveMetricValue")
    losses = [trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for trial in trials]
    assert losses == sorted(losses) and len(set(losses)) == 4
    for trial, loss in zip(trials, losses, strict=True):
        values = trial["TunedHyperParameters"]
        assert sorted(values) == ["kind", "x"]
        off = 0 if values["kind"] == '"b"' else 1
        assert math.isclose(loss, (float(values["x"]) - 3) ** 2 + off + 0.5)
    best = job["BestTrainingJob"]
    assert best["TrainingJobName"] == trials[0]["TrainingJobName"]
    one = account.sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert one["TuningJobArn"] == job["HyperParameterTuningJobArn"]
    assert one["HyperParameters"]["_tuning_objective_metric"] == "loss"
    assert account.sagemaker.list_tags(ResourceArn=one["TrainingJobArn"])["Tags"] == [{"Key": "run", "Value": "one"}]
    assert best["TrainingJobName"].startswith("tune-complete-00")

    page = account.sagemaker.list_hyper_parameter_tuning_jobs(NameContains="tune-complete")
    (summary,) = page["HyperParameterTuningJobSummaries"]
    assert (summary["Strategy"], summary["ResourceLimits"]["MaxParallelTrainingJobs"]) == ("Random", 2)
    assert [len(trials_of(account, "tune-complete", StatusEquals=state)) for state in ("Completed", "Failed")] == [4, 0]


@pytest.mark.local_aws
def test_a_stop_reaches_the_trials_and_no_further_one_starts(account: Account) -> None:
    sleeping = "import time\nprint('begun', flush=True)\ntime.sleep(60)\n"
    account.sagemaker.create_hyper_parameter_tuning_job(**request(account, "tune-stop", sleeping))
    wait_for(lambda: len(trials_of(account, "tune-stop")) == 2)
    account.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune-stop")
    job = ended(account, "tune-stop")
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    assert [trial["TrainingJobStatus"] for trial in trials_of(account, "tune-stop")] == ["Stopped"] * 2
    with pytest.raises(ClientError, match="in status Stopped"):
        account.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune-stop")


@pytest.mark.local_aws
def test_failed_trials_do_not_end_the_search_and_only_failed_ones_do(account: Account) -> None:
    half = SCRIPT + "\nif found['kind'] == 'a':\n    raise ValueError('kind a is broken')\n"
    account.sagemaker.create_hyper_parameter_tuning_job(**request(account, "tune-half", half))
    limits = {"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 2}
    for name, script in (("tune-broken", "raise ValueError('broken')"), ("tune-mute", "print('nothing')")):
        account.sagemaker.create_hyper_parameter_tuning_job(
            **request(account, name, script, config={"ResourceLimits": limits})
        )
    job = ended(account, "tune-half")
    assert job["HyperParameterTuningJobStatus"] == "Completed", job
    counted = job["TrainingJobStatusCounters"]
    assert counted["Completed"] + counted["NonRetryableError"] == 4 and counted["NonRetryableError"]
    assert job["BestTrainingJob"]["TunedHyperParameters"]["kind"] == '"b"'
    failed = trials_of(account, "tune-half", StatusEquals="Failed")
    assert all("kind a is broken" in trial["FailureReason"] for trial in failed)

    for name, words in (
        ("tune-broken", "No training job succeeded after"),
        ("tune-mute", "No objective metrics found"),
    ):
        job = ended(account, name)
        assert (job["HyperParameterTuningJobStatus"], words in job["FailureReason"]) == ("Failed", True), job
        assert "BestTrainingJob" not in job
        assert len(trials_of(account, name)) in (5, 6)  # it gave up, though nine were asked for


@pytest.mark.local_aws
def test_what_sagemaker_refuses_is_refused_before_anything_trains(account: Account) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"config": {"Strategy": "Hyperband"}}, "Random and Bayesian, not Hyperband"),
        ({"config": {"Strategy": "Grid"}}, "Random and Bayesian, not Grid"),
        ({"config": {"TrainingJobEarlyStoppingType": "Auto"}}, "TrainingJobEarlyStoppingType must be Off"),
        ({"config": {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 1.0}}}, "would ignore it"),
        ({"config": {"ResourceLimits": {"MaxParallelTrainingJobs": 2, "MaxNumberOfTrainingJobs": 1}}}, "is 2; at most"),
        ({"config": {"ResourceLimits": {"MaxParallelTrainingJobs": 2}}}, "MaxNumberOfTrainingJobs is missing"),
        (
            {"config": {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "other"}}},
            "A metric is required for this hyperparameter tuning job objective",
        ),
        ({"config": {"ParameterRanges": {}}}, "at least one range"),
        ({"definition": {"StaticHyperParameters": {"x": "1"}}}, "both static and has a range"),
        ({"Autotune": {"Mode": "Enabled"}}, "Autotune.Mode is not available in local_aws"),
    ]
    for changes, words in wrong:
        with pytest.raises(ClientError, match=words):
            account.sagemaker.create_hyper_parameter_tuning_job(**request(account, "tune-refused", **changes))
    with pytest.raises(ClientError, match="32"):
        account.sagemaker.create_hyper_parameter_tuning_job(**request(account, "t" * 33))
    with pytest.raises(ClientError, match="not found"):
        described(account, "tune-refused")


def test_every_value_is_within_its_range_and_its_scale_says_how_they_lie() -> None:
    places = [index / 1000 for index in range(1000)] + [math.nextafter(1, 0)]
    linear = [float(Range("x", low=-2, high=2).at(place)) for place in places]
    assert (min(linear), linear == sorted(linear), abs(mean(linear)) < 0.01) == (-2, True, True)
    log = [float(Range("x", low=0.001, high=10, scale="Logarithmic").at(place)) for place in places]
    assert min(log) >= 0.001 and max(log) <= 10
    assert abs(sum(value < 0.1 for value in log) - 500) <= 2  # half of them below the geometric middle
    reverse = [float(Range("x", low=0, high=0.999, scale="ReverseLogarithmic").at(place)) for place in places]
    assert min(reverse) >= 0 and max(reverse) <= 0.999
    assert abs(sum(value > 0.9684 for value in reverse) - 500) <= 2  # half above 1 - 0.001 ** 0.5
    whole = [Range("n", low=1, high=4, whole=True).at(place) for place in places]
    assert {text: whole.count(text) // 10 for text in set(whole)} == {"1": 25, "2": 25, "3": 25, "4": 25}
    assert {Range("n", low=1, high=8, whole=True, scale="Logarithmic").at(place) for place in places} == set("12345678")
    assert {Range("k", values=("a", "b")).at(place) for place in places} == {"a", "b"}


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ({"ContinuousParameterRanges": [NUMBER | {"MinValue": "10"}]}, "MinValue must be less than MaxValue"),
        ({"ContinuousParameterRanges": [NUMBER | {"MaxValue": "ten"}]}, "which are no numbers"),
        ({"ContinuousParameterRanges": [NUMBER | {"MaxValue": "inf"}]}, "which are no numbers"),
        ({"IntegerParameterRanges": [NUMBER]}, "which are no whole numbers"),
        ({"ContinuousParameterRanges": [NUMBER | {"MinValue": "0", "ScalingType": "Logarithmic"}]}, "greater than 0"),
        ({"ContinuousParameterRanges": [NUMBER | {"ScalingType": "ReverseLogarithmic"}]}, "0 <= x < 1"),
        (
            {"IntegerParameterRanges": [NUMBER | {"MinValue": "0", "ScalingType": "ReverseLogarithmic"}]},
            "must be continuous",
        ),
        ({"CategoricalParameterRanges": [{"Name": "k", "Values": ["a", "a"]}]}, "repeat"),
        ({"ContinuousParameterRanges": [NUMBER, NUMBER]}, "more than one range"),
        ({"ContinuousParameterRanges": [NUMBER | {"Name": f"x{index}"} for index in range(31)]}, "at most 30"),
    ],
)
def test_ranges_that_the_service_refuses(ranges: dict[str, Any], words: str) -> None:
    with pytest.raises(ServiceError, match=words):
        read_ranges(ranges)


def best_of(strategy: str, seed: int, trials: int = 30) -> float:
    ranges = [
        Range("x", low=0, high=5),
        Range("y", low=0.001, high=10, scale="Logarithmic"),
        Range("k", values=("a", "b", "c")),
    ]
    search, found = Search(strategy, ranges, seed), []
    for _ in range(trials):
        place, values = search.next()
        score = (float(values["x"]) - 3) ** 2 + (math.log10(float(values["y"])) + 1) ** 2 + (values["k"] != "b")
        search.learn(place, score)
        found.append(score)
    return min(found)


def test_bayesian_finds_better_values_than_random_and_a_seed_repeats_a_search() -> None:
    seeds = range(60)
    random_best, bayesian_best = ([best_of(strategy, seed) for seed in seeds] for strategy in ("Random", "Bayesian"))
    wins = sum(bayesian < at_random for bayesian, at_random in zip(bayesian_best, random_best, strict=True))
    assert mean(bayesian_best) < 0.85 * mean(random_best) and wins >= 36
    assert best_of("Bayesian", 7) == best_of("Bayesian", 7) != best_of("Bayesian", 8)


def test_no_values_are_tried_twice_while_there_are_others() -> None:
    search = Search("Random", [Range("k", values=("a", "b", "c")), Range("n", low=1, high=3, whole=True)], 0)
    found = [tuple(search.next()[1].values()) for _ in range(9)]
    assert len(set(found)) == 9
    later = Search("Bayesian", [Range("k", values=("a", "b", "c")), Range("n", low=1, high=3, whole=True)], 0)
    seen = set()
    for score in range(AT_RANDOM + 1):
        place, values = later.next()
        later.learn(place, score)
        seen.add(tuple(values.values()))
    assert len(seen) == AT_RANDOM + 1


def test_the_role_of_the_trials_is_handed_over() -> None:
    from local_aws.shared.access import calls

    asked = set(
        calls(
            "sagemaker",
            "CreateHyperParameterTuningJob",
            {"HyperParameterTuningJobName": "t", "TrainingJobDefinition": {"RoleArn": ROLE}, "Tags": [{}]},
            "us-east-1",
        )
    )
    arn = "arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/t"
    assert {(call.action, call.resource) for call in asked} == {
        ("sagemaker:CreateHyperParameterTuningJob", arn),
        ("sagemaker:AddTags", arn),
        ("iam:PassRole", ROLE),
    }
    (listing,) = calls(
        "sagemaker", "ListTrainingJobsForHyperParameterTuningJob", {"HyperParameterTuningJobName": "t"}, "us-east-1"
    )
    assert listing.resource == arn
