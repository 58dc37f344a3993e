"""A search for hyperparameters as a part of the workflow, with real trials: chosen, taken over, killed, left alone, failed."""

from __future__ import annotations

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException
from conftest import abalone_rows
from task_runs import Run, deferral_of, job_operator, run_operator, wait_until

from retraining.jobs.job import STOPPED_REASON, Asker, JobError
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.leftovers import stop_leftovers

RUNNING = ("InProgress", "Stopping")


def declare(world, **tuning):
    """Let the model search how strongly its ridge regression is held back, which it is far too much as it is declared."""
    file = world.folder / "model.yaml"
    config = yaml.safe_load(file.read_text())
    config["training"]["candidates"] = [{"name": "ridge", "trainer": "linear", "hyperparameters": {"alpha": 100000.0}}]
    search = {"trials": 4, "parallel": 2, "ranges": {"alpha": {"min": 0.01, "max": 100.0, "scale": "log"}}}
    config["training"]["tuning"] = search | tuning
    file.write_text(yaml.safe_dump(config))


def trials_of(world, name):
    listed = world.account.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    return listed["TrainingJobSummaries"]


def tuning_jobs(world):
    listed = world.account.sagemaker.list_hyper_parameter_tuning_jobs(NameContains=world.model, MaxResults=100)
    return [job["HyperParameterTuningJobName"] for job in listed["HyperParameterTuningJobSummaries"]]


@pytest.mark.spark
def test_the_best_trial_goes_on_through_the_gate_and_serves_and_a_second_run_pays_for_no_trial(world):
    declare(world)
    world.put("raw/abalone.csv", abalone_rows(0, 900))
    run = Run(world.folder)
    record = run.play()
    assert record.state == "success", record.reason
    world.check(record)
    (name,) = tuning_jobs(world)
    assert len(name) <= 32 and name.startswith(f"dev-{world.model}-tune-")
    trials = trials_of(world, name)
    assert [trial["TrainingJobStatus"] for trial in trials] == ["Completed"] * 4

    summary = record.summary
    search = summary["search"]
    best = min(trials, key=lambda trial: trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])
    assert (search["job"], search["best"], search["chosen"]) == (name, best["TrainingJobName"], True)
    assert search["difference"] < -search["standard_error"] < 0
    assert summary["training_job"] == best["TrainingJobName"]
    assert summary["decision"] == "approved" and summary["promoted"]
    candidates = {item["name"]: item for item in summary["candidates"]}
    assert (candidates["ridge"]["chosen"], candidates["ridge-tuned"]["chosen"]) == (False, True)
    # What the rule compared is what the two artifacts lose, measured here anew.
    assert candidates["ridge"]["value"] ** 2 - candidates["ridge-tuned"]["value"] ** 2 == pytest.approx(
        -search["difference"], rel=1e-3
    )
    page = world.account.read(summary["report"]).decode()
    assert "Search for hyperparameters" in page and "ridge-tuned" in page and best["TrainingJobName"] in page
    serving = world.account.sagemaker.describe_endpoint(EndpointName=f"dev-{world.model}")
    assert serving["EndpointStatus"] == "InService"

    again = Run(world.folder, {"force_retrain": True}).play()
    assert again.state == "success", again.reason
    assert (tuning_jobs(world), len(trials_of(world, name))) == ([name], 4)


def search_request(world, script, trials=3, parallel=2):
    """CreateHyperParameterTuningJob without a name, whose trials run a script."""
    training = world.account.training_request(f"search-{world.model}", script)
    algorithm = training["AlgorithmSpecification"] | {
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+);"}]
    }
    definition = {
        name: training[name] for name in ("RoleArn", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
    }
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": parallel},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]},
            "RandomSeed": 0,
        },
        "TrainingJobDefinition": {
            **definition,
            "AlgorithmSpecification": algorithm,
            "StaticHyperParameters": training["HyperParameters"],
        },
    }


TRIES = "import os\nprint('loss=1.5;')\nopen(os.environ['SM_MODEL_DIR'] + '/m', 'w').write('m')\n"
SLEEPS = "import time\nprint('begun', flush=True)\ntime.sleep(100)\n"


def test_a_task_that_died_is_followed_by_one_that_takes_its_search_over(world):
    order = search_request(world, "import time\ntime.sleep(1.5)\n" + TRIES)
    first = job_operator("tuning", world.model, "tune", world.access, lambda: order)
    handle = deferral_of(first).kwargs["handle"]
    result = run_operator(lambda: job_operator("tuning", world.model, "tune", world.access, lambda: order))
    assert (result["name"], result["adopted"]) == (handle["name"], True)
    assert tuning_jobs(world) == [handle["name"]]
    assert (len(trials_of(world, handle["name"])), result["counts"]["completed"], len(result["trials"])) == (3, 3, 3)
    assert result["best"]["value"] == 1.5
    world.check()


def test_a_kill_stops_the_search_with_its_trials_and_the_next_try_is_another(world):
    order = search_request(world, SLEEPS)
    operator = job_operator("tuning", world.model, "tune", world.access, lambda: order)
    handle = deferral_of(operator).kwargs["handle"]
    wait_until(lambda: len(trials_of(world, handle["name"])) == 2, "two trials run")
    operator.on_kill()
    job = JOB_KINDS["tuning"]
    wait_until(lambda: job.poll(world.access, handle).state == "Stopped", "the search has stopped")
    assert [trial["TrainingJobStatus"] for trial in trials_of(world, handle["name"])] == ["Stopped"] * 2
    assert job.poll(world.access, handle).reason == STOPPED_REASON
    submitted = job.submit(world.access, world.model, "tune", order)
    assert submitted.handle["name"] == f"{handle['name']}-2" and not submitted.adopted
    job.stop(world.access, submitted.handle)
    wait_until(lambda: job.poll(world.access, submitted.handle).state == "Stopped", "the second has stopped, too")
    world.check()


def test_a_search_without_a_task_is_stopped_at_the_end_of_its_run(world):
    asker = Asker("dev", f"{world.model}_retraining", "manual__1")
    job = JOB_KINDS["tuning"]
    handle = job.submit(world.access, world.model, "tune", search_request(world, SLEEPS), asker).handle
    wait_until(lambda: trials_of(world, handle["name"]), "a trial runs")
    stopped = stop_leftovers(world.access, world.model, world.glue_job, asker)
    assert stopped == [f"SageMaker hyperparameter tuning job {handle['name']}"]
    wait_until(lambda: job.poll(world.access, handle).state == "Stopped", "the search has stopped")
    assert not [trial for trial in trials_of(world, handle["name"]) if trial["TrainingJobStatus"] in RUNNING]
    world.check()


def test_the_end_of_a_run_leaves_a_search_alone_that_another_run_took_over(world):
    first, second = (Asker("dev", f"{world.model}_retraining", f"manual__{number}") for number in (1, 2))
    job, order = JOB_KINDS["tuning"], search_request(world, SLEEPS)
    handle = job.submit(world.access, world.model, "tune", order, first).handle
    wait_until(lambda: len(trials_of(world, handle["name"])) == 2, "two trials run")
    assert job.submit(world.access, world.model, "tune", order, second).adopted
    assert stop_leftovers(world.access, world.model, world.glue_job, first) == []
    assert {trial["TrainingJobStatus"] for trial in trials_of(world, handle["name"])} == {"InProgress"}
    assert len(stop_leftovers(world.access, world.model, world.glue_job, second)) == 1
    wait_until(lambda: job.poll(world.access, handle).state == "Stopped", "the search has stopped")
    world.check()


def test_a_search_whose_trials_all_fail_says_what_they_said_and_is_not_repeated(world):
    order = search_request(world, "raise ValueError('the data is upside down')")
    with pytest.raises(AirflowFailException, match="No training job succeeded after 3 attempts") as caught:
        run_operator(lambda: job_operator("tuning", world.model, "tune", world.access, lambda: order))
    assert "the data is upside down" in str(caught.value)
    asker = Asker("dev", f"{world.model}_retraining", "manual__1")
    with pytest.raises(JobError, match="did this very work before and failed"):
        JOB_KINDS["tuning"].submit(world.access, world.model, "tune", order, asker)
    assert len(tuning_jobs(world)) == 1
    world.check()
