"""The request arrives, the reply does not: for every call that creates something, it exists once afterwards and the work goes on."""

from functools import partial

import pytest
import small_jobs
from botocore.exceptions import BotoCoreError
from local_account import ROLE
from task_runs import job_operator, run_operator, wait_until, with_retries

from retraining.aws.clients import client
from retraining.dataset.log import DatasetLog
from retraining.jobs.kinds import JOB_KINDS
from retraining.serving import deployment, registry
from retraining.settings.environment import in_environment

pytestmark = pytest.mark.faults_fast

SAGEMAKER_JOBS = {
    "training": ("CreateTrainingJob", small_jobs.training),
    "processing": ("CreateProcessingJob", small_jobs.processing),
    "transform": ("CreateTransformJob", small_jobs.transform),
}


@pytest.mark.parametrize("kind", SAGEMAKER_JOBS)
def test_a_lost_reply_to_the_creation_of_a_job_starts_no_second_one(world, kind):
    operation, request_of = SAGEMAKER_JOBS[kind]
    request = request_of(world.account)
    lost = world.proxy.add(operation, "lost")
    result = with_retries(
        lambda: run_operator(lambda: job_operator(kind, world.model, kind, world.access, lambda: request))
    )
    assert lost.happened == 1
    assert result["name"]
    world.check()


def test_a_job_whose_replies_are_all_lost_is_adopted_by_the_next_try_of_the_task(world, monkeypatch):
    request = small_jobs.training(world.account, small_jobs.SLEEPS)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # botocore's back-off
    lost = world.proxy.add("CreateTrainingJob", "lost", times=1000)
    with pytest.raises(BotoCoreError):
        JOB_KINDS["training"].submit(world.access, world.model, "train", request)
    monkeypatch.undo()
    world.proxy.faults.remove(lost)
    submitted = JOB_KINDS["training"].submit(world.access, world.model, "train", request)
    assert submitted.adopted
    world.check(watched=[submitted.handle["name"]])
    JOB_KINDS["training"].stop(world.access, submitted.handle)


def test_a_lost_reply_to_the_start_of_a_glue_job_starts_no_second_run(world):
    job = small_jobs.glue_job(world.account)
    lost = world.proxy.add("StartJobRun", "lost")
    request = {"JobName": job, "Arguments": {"--manifest": "s3://b/m.json"}}
    result = run_operator(lambda: job_operator("glue_job", world.model, "merge", world.access, lambda: request))
    assert lost.happened == 1
    runs = world.account.glue.get_job_runs(JobName=job)["JobRuns"]
    assert [run["Id"] for run in runs] == [result["run_id"]]
    world.check_glue_job(job)


def test_a_lost_reply_to_the_start_of_a_crawler_does_not_fail_the_crawl(world):
    world.put("new/a.csv", "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15\n")
    lost = world.proxy.add("StartCrawler", "lost")
    targets = {"S3Targets": [{"Path": f"s3://{world.bucket}/{world.model}/new/a.csv"}]}
    request = {"Name": f"retraining-dev-{world.model}-landing", "Targets": targets}
    result = run_operator(lambda: job_operator("glue_crawler", world.model, "crawl", world.access, lambda: request))
    assert lost.happened == 1
    assert result["schemas"]
    world.check()


def test_a_lost_reply_to_the_creation_of_a_model_or_a_config_leaves_one_of_each(world):
    sagemaker = client("sagemaker", world.access)
    lost = [world.proxy.add(operation, "lost") for operation in ("CreateModel", "CreateEndpointConfig")]
    model = deployment.ensure_model(sagemaker, world.model, small_jobs.container(world.account), ROLE)
    config = deployment.ensure_endpoint_config(sagemaker, world.model, small_jobs.config_of(model))
    assert [fault.happened for fault in lost] == [1, 1]
    models = world.account.sagemaker.list_models(NameContains=world.model)["Models"]
    configs = world.account.sagemaker.list_endpoint_configs(NameContains=world.model)["EndpointConfigs"]
    assert [item["ModelName"] for item in models] == [model]
    assert [item["EndpointConfigName"] for item in configs] == [config]


def approved_config(world, factor):
    """A model whose package is approved, behind an endpoint config; return the config's name."""
    sagemaker = client("sagemaker", world.access)
    container = small_jobs.container(world.account, factor)
    registry.register(
        sagemaker, world.model, container, registry.APPROVED, "s3://b/m.json", "good", {"run_key": str(factor)}
    )
    model = deployment.ensure_model(sagemaker, world.model, container, ROLE)
    return deployment.ensure_endpoint_config(sagemaker, world.model, small_jobs.config_of(model))


def deploy(world, config):
    request = {"EndpointName": in_environment(world.model), "EndpointConfigName": config}
    return job_operator("endpoint", world.model, "deploy", world.access, lambda: request)


@pytest.mark.parametrize("operation", ["CreateEndpoint", "UpdateEndpoint"])
def test_a_lost_reply_to_a_change_of_the_endpoint_is_adopted_and_serves_an_approved_model(world, operation):
    lost = world.proxy.add(operation, "lost")
    for factor in (2, 3):
        config = approved_config(world, factor)
        result = run_operator(partial(deploy, world, config))
        assert result["config"] == config
        world.check()
    assert lost.happened == 1
    assert world.account.invoke(in_environment(world.model), "1") == "3.0"


def test_a_lost_reply_to_the_registration_registers_one_package(world):
    sagemaker = client("sagemaker", world.access)
    container = small_jobs.container(world.account)
    lost = [world.proxy.add(operation, "lost") for operation in ("CreateModelPackageGroup", "CreateModelPackage")]
    registered = registry.register(
        sagemaker, world.model, container, registry.PENDING, "s3://b/m.json", "good", {"run_key": "r1"}
    )
    assert [fault.happened for fault in lost] == [1, 1]
    assert registered.version == 1
    assert (
        len(
            world.account.sagemaker.list_model_packages(ModelPackageGroupName=f"{in_environment(world.model)}-models")[
                "ModelPackageSummaryList"
            ]
        )
        == 1
    )
    world.check()


def test_a_lost_reply_to_the_commit_leaves_one_version_that_counts(world):
    log = DatasetLog(client("s3", world.access), world.bucket, f"{world.model}/")
    lost = world.proxy.add(f"PUT /{world.bucket}/{world.model}/dataset/log/000001.json", "lost")
    log.commit(small_jobs.version_of(world, 1, ["M,1", "F,2"]))
    assert lost.happened == 1
    assert log.read().latest == 1
    world.check()


def test_a_lost_reply_to_a_stop_call_still_stops_the_job(world):
    training = JOB_KINDS["training"]
    submitted = training.submit(
        world.access, world.model, "train", small_jobs.training(world.account, small_jobs.SLEEPS)
    )
    lost = world.proxy.add("StopTrainingJob", "lost")
    training.stop(world.access, submitted.handle)
    assert lost.happened == 1
    wait_until(lambda: training.poll(world.access, submitted.handle).state == "Stopped", "the job stops")
    world.check()
