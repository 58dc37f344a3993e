"""The checks themselves: with a mechanism switched off, the case that it exists for turns red. A check that cannot fail proves nothing."""

import asyncio
import uuid

import pytest
import small_jobs
from airflow.sdk.exceptions import AirflowFailException
from invariants import InvariantError, RunRecord
from local_account import ROLE
from task_runs import deferral_of, event_of, job_operator, rebuilt, run_operator, wait_until

from retraining.aws.clients import client
from retraining.dag.triggers import JobTrigger
from retraining.dataset.log import DatasetLog
from retraining.dataset.records import FileRecord
from retraining.jobs import leftovers
from retraining.jobs.glue_job_run import GlueJobRun
from retraining.jobs.job import Asker, JobStatus, Submitted
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.sagemaker_job import SageMakerJob
from retraining.serving import deployment, registry
from retraining.settings.environment import in_environment

pytestmark = pytest.mark.faults_fast


def log_of(world):
    return DatasetLog(client("s3", world.access), world.bucket, f"{world.model}/")


def test_without_adoption_a_repeated_task_pays_twice_and_the_check_sees_it(world, monkeypatch):
    create = SageMakerJob.submit

    def always_new(self, access, model, step, request, asker=None):
        tagged = create(self, access, model, f"{step}-{uuid.uuid4().hex[:6]}", request, asker)
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
    request = {"EndpointName": in_environment(world.model), "EndpointConfigName": config}
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
    request = {"EndpointName": in_environment(world.model), "EndpointConfigName": config}
    run_operator(lambda: job_operator("endpoint", world.model, "deploy", world.access, lambda: request))
    summary = {"endpoint": in_environment(world.model), "model_package": registered.arn}
    world.check(RunRecord("success", summary=summary))
    with pytest.raises(InvariantError, match="which is not approved"):
        world.check(RunRecord("success", summary={**summary, "model_package": "another"}))


def test_without_the_operator_s_on_kill_a_task_killed_as_it_starts_orphans_its_job_and_the_check_sees_it(
    world, monkeypatch
):
    """Airflow's SIGTERM comes while the job is being created: the operator learns of its job only after it was told to stop it."""
    request = small_jobs.training(world.account, small_jobs.SLEEPS)
    operator = job_operator("training", world.model, "train", world.access, lambda: request)
    operator.on_kill()
    stop = SageMakerJob.stop
    monkeypatch.setattr(SageMakerJob, "stop", lambda *arguments: None)
    with pytest.raises(AirflowFailException, match="was killed while it started"):
        operator.execute({})
    with pytest.raises(InvariantError, match="in progress without a task"):
        world.check()
    stop(JOB_KINDS["training"], world.access, operator._handle)


@pytest.mark.parametrize("kind", ["training", "glue_job"])
def test_without_the_net_at_the_end_of_a_run_a_dead_task_s_job_goes_on_and_the_check_sees_it(world, monkeypatch, kind):
    glue_job = small_jobs.glue_job(world.account, small_jobs.SLEEPS)
    request = {"JobName": glue_job} if kind == "glue_job" else small_jobs.training(world.account, small_jobs.SLEEPS)
    asker = Asker("prod", "m_retraining", "manual__1")
    JOB_KINDS[kind].submit(world.access, world.model, "work", request, asker)
    with monkeypatch.context() as broken:
        broken.setattr(leftovers, "_sagemaker_jobs", lambda *arguments: iter(()))
        broken.setattr(leftovers, "_glue_runs", lambda *arguments: iter(()))
        assert leftovers.stop_leftovers(world.access, world.model, glue_job, asker) == []
    with pytest.raises(InvariantError, match="in progress without a task"):
        world.check_glue_job(glue_job)
    assert len(leftovers.stop_leftovers(world.access, world.model, glue_job, asker)) == 1


def test_a_file_that_is_in_two_versions_is_seen(world):
    first = small_jobs.version_of(world, 1, ["M,1"], "a" * 16)
    second = small_jobs.version_of(world, 2, ["F,2"], "b" * 16)
    file = FileRecord(key="new/a.csv", etag="e", size=1)
    for version in (first, second):
        log_of(world).commit(version.model_copy(update={"files": (file,)}))
    with pytest.raises(InvariantError, match="files in two versions"):
        world.check()


def test_without_the_token_of_the_run_a_repeated_registration_makes_two_packages_and_the_check_sees_it(world):
    sagemaker, container = client("sagemaker", world.access), small_jobs.container(world.account)
    for _ in range(2):
        registry.register(sagemaker, world.model, container, registry.PENDING, "s3://b/m", "good", {"run_key": "r"})
    world.check()
    package = {
        "ModelPackageGroupName": f"{in_environment(world.model)}-models",
        "InferenceSpecification": {"Containers": [container], "SupportedContentTypes": ["text/csv"],
                                   "SupportedResponseMIMETypes": ["text/csv"]},
        "CustomerMetadataProperties": {"run_key": "r"},
    }  # fmt: skip
    sagemaker.create_model_package(**package)
    with pytest.raises(InvariantError, match="registered twice"):
        world.check()


def test_a_merge_that_was_stopped_and_passes_for_success_makes_the_run_untrue_and_the_check_sees_it(world):
    job = small_jobs.glue_job(world.account, small_jobs.SLEEPS)
    deferral = deferral_of(job_operator("glue_job", world.model, "merge", world.access, lambda: {"JobName": job}))
    handle = deferral.kwargs["handle"]
    JOB_KINDS["glue_job"].stop(world.access, handle)
    wait_until(lambda: JOB_KINDS["glue_job"].poll(world.access, handle).outcome == "failed", "the run has stopped")
    built_on = {"preprocess_data": {"name": job, "run_id": handle["run_id"]}}
    with pytest.raises(InvariantError, match="is STOPPED"):
        world.check(RunRecord("success", jobs=built_on))


def test_a_run_that_ends_neither_well_nor_badly_is_seen(world):
    with pytest.raises(InvariantError, match="a run ended running"):
        world.check(RunRecord("running"))
