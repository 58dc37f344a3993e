"""An artifact that somebody exchanges is loaded by no evaluation, endpoint, batch or rollback; against a running local_aws."""

import hashlib
import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException
from local_account import archive
from serving_stage import FOLDER, MULTIPLIES, RETRAINING, Run, Stage

from retraining.aws.documents import split_uri
from retraining.dag.tasks.batch import BatchTasks
from retraining.serving.pinning import SHA256
from retraining.settings.machines.image_uris import image_uri

pytestmark = pytest.mark.local_aws

PERSON = Run("manual__1", dag_id="stage_rollback", triggering_user_name="on-call")
FOREIGN = archive({"code/inference.py": MULTIPLIES.format(factor=1000)})
OLD_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2"
DATASET = {"manifests": {"test": "s3://b/test.manifest"}}


@pytest.fixture
def stage(account, access, config, bucket) -> Iterator[Stage]:
    with Stage(account, access, config, bucket) as stage:
        yield stage


def trained(stage: Stage, key: str, factor: float = 2) -> list[dict]:
    """Return what the training task returns of a job that ended."""
    [result] = stage.candidate(key, factor)
    task = SimpleNamespace(op_kwargs={"candidate": "one"})
    return [stage.steps.trained(stage.plan(key, stage.champion()), result, task)]


def digest_of(stage: Stage, uri: str) -> str:
    bucket, key = split_uri(uri)
    return hashlib.sha256(stage.account.s3.get_object(Bucket=bucket, Key=key)["Body"].read()).hexdigest()


def exchange(stage: Stage, uri: str) -> str:
    """Put another artifact where one lies; return what a refusal of it has to say."""
    bucket, key = split_uri(uri)
    before = digest_of(stage, uri)
    stage.account.s3.put_object(Bucket=bucket, Key=key, Body=FOREIGN)
    now = hashlib.sha256(FOREIGN).hexdigest()
    return (
        f"{re.escape(uri)}, was exchanged: its SHA-256 was {before} and is {now} now.*restore the version of the object"
    )


def served_by(stage: Stage) -> list[str]:
    return [
        item["ModelName"] for item in stage.account.sagemaker.list_models()["Models"] if stage.name in item["ModelName"]
    ]


def test_the_digest_is_taken_after_training_and_goes_into_the_package(stage):
    result = trained(stage, "v1")
    known = digest_of(stage, result[0]["model_data"])
    assert result[0][SHA256] == known
    package = stage.register("v1", result)
    assert stage.packages()[package["version"]].metadata[SHA256] == known


def test_between_training_and_evaluation(stage):
    result = trained(stage, "v1")
    words = exchange(stage, result[0]["model_data"])
    with pytest.raises(AirflowFailException, match=f"the artifact of candidate one, {words}"):
        stage.steps.evaluation_request(stage.plan("v1"), DATASET, result)
    with pytest.raises(AirflowFailException, match="was exchanged"):
        trained_again = SimpleNamespace(op_kwargs={"candidate": "one"})
        stage.steps.trained(stage.plan("v1"), {**result[0], SHA256: ""}, trained_again)


def test_the_job_of_an_evaluation_is_told_both_digests(stage):
    stage.promote("v1")
    champion = stage.champion()
    assert champion and champion.artifact_sha256 == digest_of(stage, champion.model_data)
    result = trained(stage, "v2", factor=5)
    request = stage.steps.evaluation_request(stage.plan("v2", champion), DATASET, result)
    job = next(item["S3Input"]["S3Uri"] for item in request["ProcessingInputs"] if item["InputName"] == "job")
    document = stage.get(f"{split_uri(job)[1].removeprefix(f'{stage.name}/')}job.json")
    assert document["artifacts"] == {"challenger": result[0][SHA256], "champion": champion.artifact_sha256}
    words = exchange(stage, champion.model_data)
    with pytest.raises(AirflowFailException, match=f"the artifact of the champion, {words}"):
        stage.steps.evaluation_request(stage.plan("v2", champion), DATASET, result)


def test_a_champion_that_serves_in_another_image_is_scored_before_and_its_answers_are_compared(stage):
    stage.promote("v1")
    champion = stage.champion()
    assert champion and champion.image == image_uri(stage.config.deployment.image, stage.steps.platform.region)
    assert stage.steps.champion_request(stage.plan("v2", champion), DATASET) is None
    plan = stage.plan("v2", champion.model_copy(update={"image": OLD_IMAGE}))
    request = stage.steps.champion_request(plan, DATASET)
    assert request["AppSpecification"]["ImageUri"] == OLD_IMAGE
    result = trained(stage, "v2", factor=5)

    def champion_of(scored):
        request = stage.steps.evaluation_request(plan, DATASET, result, scored)
        return next(i["S3Input"]["S3Uri"] for i in request["ProcessingInputs"] if i["InputName"] == "champion")

    assert champion_of({"name": "scored"}) == f"s3://{stage.bucket}/{stage.name}/runs/v2/champion/"
    for nothing in (None, {"warning": "the image is gone"}):
        assert champion_of(nothing) == champion.model_data
    words = exchange(stage, champion.model_data)
    with pytest.raises(AirflowFailException, match=f"the artifact of the champion, {words}"):
        stage.steps.champion_request(plan, DATASET)


def test_between_evaluation_and_deployment(stage):
    result = trained(stage, "v1")
    stage.register("v1", result)
    words = exchange(stage, result[0]["model_data"])
    with pytest.raises(AirflowFailException, match=words):
        stage.steps.deploy_request(stage.plan("v1"), result, RETRAINING)
    with pytest.raises(AirflowFailException, match=words):
        stage.steps.smoke_request(stage.plan("v1"), result, RETRAINING)
    assert served_by(stage) == []
    with pytest.raises(AirflowFailException, match=words):
        stage.register("v2", result)


def test_while_it_is_deployed_it_is_taken_back_but_not_to_one_that_was_exchanged_too(stage):
    stage.promote("v1")
    first, result = stage.champion(), trained(stage, "v2", factor=5)
    assert first
    package = stage.register("v2", result, first)
    plan = stage.plan("v2", first)
    status, deployed = stage.bring(stage.steps.deploy_request(plan, result, RETRAINING))
    assert status.outcome == "succeeded"
    second = exchange(stage, result[0]["model_data"])
    before = exchange(stage, first.model_data)
    with pytest.raises(AirflowFailException, match=f"{second}.*could not be returned to .*model package 1, {before}"):
        stage.verify(plan, package, deployed)
    assert stage.statuses() == {1: "Approved", 2: "Rejected"}
    assert stage.serving()["EndpointConfigName"] == deployed["config"]
    assert stage.ask() == 15.0, "nothing of either foreign artifact was loaded"


def test_before_and_during_a_rollback(stage):
    stage.promote("v1")
    first = stage.champion()
    assert first
    stage.promote("v2", factor=5)
    why = {"why": "it drifts", "who": None}
    chosen = stage.rollback.choose_package(why, PERSON)
    stage.rollback.release_endpoint(PERSON)
    words = exchange(stage, first.model_data)
    for step in (
        lambda: stage.rollback.choose_package(why, Run("manual__2", triggering_user_name="on-call")),
        lambda: stage.rollback.deploy_request(chosen, PERSON),
        lambda: stage.rollback.smoke_request(chosen, PERSON),
    ):
        with pytest.raises(AirflowFailException, match=f"model package 1 cannot serve again: .*{words}"):
            step()
        stage.rollback.release_endpoint(PERSON)
        stage.rollback.release_endpoint(Run("manual__2", triggering_user_name="on-call"))
    assert stage.statuses() == {1: "Approved", 2: "Approved"}
    assert stage.ask() == 15.0


def test_files_are_not_scored_with_an_exchanged_artifact(stage):
    stage.promote("v1")
    champion = stage.champion()
    assert champion
    stage.account.s3.put_object(Bucket=stage.bucket, Key=f"{stage.name}/batch/in/a.csv", Body=b"3\n")
    steps = BatchTasks(stage.config, FOLDER)
    plan = steps.claim_files({})
    assert plan["scorer"]["sha256"] == champion.artifact_sha256
    words = exchange(stage, champion.model_data)
    with pytest.raises(AirflowFailException, match=f"the artifact of model v1, {words}"):
        steps.claim_files({})
