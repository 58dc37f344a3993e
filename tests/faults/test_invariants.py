"""The checks themselves: with a mechanism switched off, the case that it exists for turns red. A check that cannot fail proves nothing."""

import asyncio
import uuid

import pytest
import small_jobs
from invariants import InvariantError, RunRecord
from local_account import ROLE
from task_runs import deferral_of, event_of, job_operator, rebuilt, run_operator

from retraining import deployment, registry
from retraining.aws_clients import client
from retraining.aws_jobs import JOB_KINDS, GlueJobRun, JobStatus, SageMakerJob, Submitted
from retraining.dataset_log import DatasetLog
from retraining.triggers import JobTrigger

pytestmark = pytest.mark.faults_fast


def log_of(world):
    return DatasetLog(client("s3", world.access), world.bucket, f"{world.model}/")


def test_without_adoption_a_repeated_task_pays_twice_and_the_check_sees_it(world, monkeypatch):
    create = SageMakerJob.submit

    def always_new(self, access, model, step, request):
        tagged = create(self, access, model, f"{step}-{uuid.uuid4().hex[:6]}", request)
        return Submitted(tagged.handle, adopted=False)

    request = small_jobs.training(world.account)
    monkeypatch.setattr(SageMakerJob, "submit", always_new)
    for _ in range(2):
        run_operator(lambda: job_operator("training", world.model, "t", world.access, lambda: request))
    with pytest.raises(InvariantError, match="paid 2 times"):
        world.check()


def test_without_the_search_for_a_run_a_lost_reply_pays_twice_and_the_check_sees_it(world, monkeypatch):
    monkeypatch.setattr(GlueJobRun, "_find", lambda *arguments: None)
    job = small_jobs.glue_job(world.account)
    world.proxy.add("StartJobRun", "lost")
    run_operator(lambda: job_operator("glue_job", world.model, "merge", world.access, lambda: {"JobName": job}))
    with pytest.raises(InvariantError, match="paid 2 times"):
        world.check_glue_job(job)


def test_without_the_conditional_put_a_second_writer_erases_a_version_and_the_check_sees_it(world, monkeypatch):
    def put(self, name, document):
        body = small_jobs.json_bytes(document)
        self._s3.put_object(Bucket=self._bucket, Key=self._root + name, Body=body)
        return True

    monkeypatch.setattr(DatasetLog, "_put_new", put)
    runs = []
    for batch, rows in (("a" * 16, ["M,1"]), ("b" * 16, ["F,2"])):
        log_of(world).commit(small_jobs.version_of(world, 1, rows, batch))
        runs.append(RunRecord("success", plan={"batch": batch}))
    with pytest.raises(InvariantError, match="which is not in the log"):
        world.check(*runs)


def test_without_the_conflict_a_loser_that_takes_the_next_number_doubles_rows_and_the_check_sees_it(world):
    log_of(world).commit(small_jobs.version_of(world, 1, ["M,1", "F,2"], "a" * 16))
    log_of(world).commit(small_jobs.version_of(world, 2, ["F,2"], "b" * 16))
    with pytest.raises(InvariantError, match="in the log more than once"):
        world.check()


def test_rows_that_are_missing_from_a_version_are_seen(world):
    version = small_jobs.version_of(world, 1, ["M,1", "F,2"])
    small_jobs.version_of(world, 1, ["M,1"])  # the object is written again with a row less
    log_of(world).commit(version)
    with pytest.raises(InvariantError, match="accepted 2 rows and holds 1"):
        world.check()


def test_without_on_kill_a_cleared_task_orphans_its_job_and_the_check_sees_it(world, monkeypatch):
    async def nothing(self):
        return None

    request = small_jobs.training(world.account, small_jobs.SLEEPS)
    deferral = deferral_of(job_operator("training", world.model, "train", world.access, lambda: request))
    monkeypatch.setattr(JobTrigger, "on_kill", nothing)
    asyncio.run(rebuilt(deferral.trigger).on_kill())
    with pytest.raises(InvariantError, match="in progress without a task"):
        world.check()
    JOB_KINDS["training"].stop(world.access, deferral.kwargs["handle"])


def test_an_endpoint_that_serves_a_model_that_was_never_approved_is_seen(world):
    sagemaker = client("sagemaker", world.access)
    container = small_jobs.container(world.account)
    model = deployment.ensure_model(sagemaker, world.model, container, ROLE)
    config = deployment.ensure_endpoint_config(sagemaker, world.model, small_jobs.config_of(model))
    request = {"EndpointName": world.model, "EndpointConfigName": config}
    run_operator(lambda: job_operator("endpoint", world.model, "deploy", world.access, lambda: request))
    with pytest.raises(InvariantError, match="which is not registered"):
        world.check()
    registry.register(sagemaker, world.model, container, registry.PENDING, "s3://b/m", "good", {"run_key": "r"})
    with pytest.raises(InvariantError, match="which is PendingManualApproval"):
        world.check()


def test_a_stopped_job_that_passes_for_success_makes_the_run_untrue_and_the_check_sees_it(world, monkeypatch):
    request = small_jobs.training(world.account, f"{small_jobs.TRAINS}\n{small_jobs.SLEEPS}")
    deferral = deferral_of(job_operator("training", world.model, "train", world.access, lambda: request))
    judge = SageMakerJob._status

    def lenient(self, description):
        status = judge(self, description)
        return JobStatus(status.state, "succeeded") if status.state == "Stopped" else status

    monkeypatch.setattr(SageMakerJob, "_status", lenient)
    JOB_KINDS["training"].stop(world.access, deferral.kwargs["handle"])
    event_of(rebuilt(deferral.trigger))
    result = JOB_KINDS["training"].result(world.access, deferral.kwargs["handle"])
    with pytest.raises(InvariantError, match="is Stopped"):
        world.check(RunRecord("success", jobs={"training": result}))


def test_a_failed_run_without_a_reason_is_seen(world):
    with pytest.raises(InvariantError, match="failed without a reason"):
        world.check(RunRecord("failed"))


def test_a_run_that_claims_a_deployment_that_is_not_approved_is_seen(world):
    sagemaker = client("sagemaker", world.access)
    container = small_jobs.container(world.account)
    registered = registry.register(
        sagemaker, world.model, container, registry.APPROVED, "s3://b/m", "good", {"run_key": "r"}
    )
    model = deployment.ensure_model(sagemaker, world.model, container, ROLE)
    config = deployment.ensure_endpoint_config(sagemaker, world.model, small_jobs.config_of(model))
    request = {"EndpointName": world.model, "EndpointConfigName": config}
    run_operator(lambda: job_operator("endpoint", world.model, "deploy", world.access, lambda: request))
    summary = {"endpoint": world.model, "model_package": registered.arn}
    world.check(RunRecord("success", summary=summary))
    with pytest.raises(InvariantError, match="which is not approved"):
        world.check(RunRecord("success", summary={**summary, "model_package": "another"}))
