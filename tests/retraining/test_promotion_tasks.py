"""A promotion step by step against a running local_aws: of a model without an endpoint, and of one whose deployments disagree."""

import json

import pytest
from serving_stage import RETRAINING, Stage

from retraining.aws import clients
from retraining.aws.platform_parameter import read_platform
from retraining.command.promote.promotion import Promotion
from retraining.dag.tasks.promotion import PromotionTasks
from retraining.serving import registry
from retraining.serving.promoting.source import PromotionError, find_source, unlike
from retraining.serving.promoting.system_tests import SystemTestError
from retraining.settings.environment import VARIABLE
from retraining.settings.machines.deployment import Deployment

IMAGE = "sagemaker-scikit-learn:1.9-0-cpu-py3"
NONE = Deployment(mode="none", image=IMAGE, keep=1)
PROD = "prod-of-promotions"
SCORES = {"rmse": 1.0, "mae": 0.8, "bias": 0.1, "r2": 0.5}
ANALYSIS = {"task": "regression", "n": 40, "challenger": SCORES, "champion": SCORES, "paired": {"n": 40}, "groups": {}}
ROWS = "row,truth,challenger,champion,loss_challenger,loss_champion,file\n" + "".join(
    f"{number},6,6,5,0,1,0\n" for number in range(40)
)

pytestmark = pytest.mark.local_aws


def approved(stage: Stage, key: str, factor: float = 2) -> None:
    """Bring a model into use in ``dev``, with the documents that its run leaves."""
    champion = stage.champion()
    plan, trained = stage.plan(key, champion), stage.candidate(key, factor=factor)
    plan["config"] = stage.config.model_dump(mode="json", exclude={"aws"})
    stage.put(f"runs/{key}/plan.json", plan)
    stage.put(f"runs/{key}/analysis.json", ANALYSIS)
    stage.account.s3.put_object(
        Bucket=stage.bucket, Key=f"{stage.name}/runs/{key}/evaluation/rows.csv", Body=ROWS.encode()
    )
    package = stage.register(key, trained, champion)
    if stage.config.endpoint is None:
        status, deployed = stage.bring(stage.steps.smoke_request(plan, trained, RETRAINING), "smoke", "processing")
        assert status.outcome == "succeeded", status
        stage.steps.verify_smoke(plan, trained, package, deployed, RETRAINING)
    else:
        status, deployed = stage.bring(stage.steps.deploy_request(plan, trained, RETRAINING))
        stage.verify(plan, package, deployed)


@pytest.fixture
def promoting(account, monkeypatch):
    """Return what makes the promotion of a stage's model from ``dev`` to a ``prod`` with a bucket of its own."""
    account.s3.create_bucket(Bucket=PROD)

    def make(stage: Stage, **options) -> Promotion:
        platform = read_platform(f"/retraining/dev/{stage.name}/platform", stage.access)
        account.ssm.put_parameter(
            Name=f"/retraining/prod/{stage.name}/platform",
            Value=platform.model_copy(update={"bucket": PROD}).model_dump_json(),
            Type="String",
            Overwrite=True,
        )
        monkeypatch.setenv(VARIABLE, "prod")
        guards = {"guards": {"rmse": 2.0}, "worst_group": {}, "min_test_rows": 5}
        config = stage.config.model_copy(update={"gate": stage.config.gate.model_copy(update=guards)})
        steps = PromotionTasks(config, stage.steps.folder, "dev", "arn:aws:iam::000000000000:user/on-call")
        return Promotion(steps, said.append, 5000.0, **options)

    said: list[str] = []
    yield make
    clients.client.cache_clear()


def test_a_model_without_an_endpoint_is_promoted_and_a_job_proves_it(account, access, config, bucket, promoting):
    stage = Stage(account, access, config, bucket, NONE)
    approved(stage, "v1")
    promotion = promoting(stage)
    found = promotion.find()
    assert "no system tests" in promotion.told(found)[0]
    summary = promotion.play(found)
    assert (summary["promoted"], summary["endpoint"], summary["run_key"][:3]) == (True, None, "p0-")
    [package] = registry.packages(account.sagemaker, stage.name)
    theirs = next(registry.packages(account.sagemaker, stage.name, deployment="dev"))
    assert package.status == registry.APPROVED
    assert package.metadata["promoted_from"] == theirs.arn
    assert package.metadata["promoted_by"].endswith("user/on-call")
    assert not {"dataset_version", "work_digest"} & set(package.metadata)
    assert promotion.find().plan is None
    letters = [
        json.loads(letter["Message"]) if letter["Message"].startswith("{") else letter for letter in stage.mail()
    ]
    assert [letter["Subject"] for letter in letters] == [f"{stage.name}: promoted"]


def test_a_model_that_a_rollback_took_out_of_service_is_not_promoted_again(account, access, config, bucket, promoting):
    stage = Stage(account, access, config, bucket, NONE)
    approved(stage, "v1")
    promotion = promoting(stage)
    promotion.play(promotion.find())
    [package] = registry.packages(account.sagemaker, stage.name)
    registry.abandon(account.sagemaker, [package], "r1", "it drifts")
    with pytest.raises(PromotionError, match=r"deployment prod went back from this model .*: it drifts"):
        promotion.find()


def test_a_replaced_artifact_is_not_promoted(account, access, config, bucket, promoting):
    stage = Stage(account, access, config, bucket, NONE)
    approved(stage, "v1")
    promotion = promoting(stage)
    found = promotion.find()
    stage.candidate("v1", factor=7)  # other bytes under the same key
    with pytest.raises(PromotionError, match=f"is not the one that was tested: SHA-256 {found.sha256} was tested"):
        promotion.play(found)
    assert list(registry.packages(account.sagemaker, stage.name)) == []


def test_a_promotion_that_ended_before_its_verification_is_finished_by_the_next_one(
    account, access, config, bucket, promoting, monkeypatch
):
    stage = Stage(account, access, config, bucket)
    approved(stage, "v1")
    promotion = promoting(stage)
    monkeypatch.setattr(PromotionTasks, "test_source", lambda *_: [])  # these serving functions take every row
    with monkeypatch.context() as patch:
        patch.setattr(PromotionTasks, "verify_endpoint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            promotion.play(promotion.find())
    assert [item.status for item in registry.packages(account.sagemaker, stage.name)] == [registry.PENDING]

    promotion.steps.hold_endpoint(RETRAINING, "deploying")
    with pytest.raises(PromotionError, match="which is not verified yet, and another run holds it"):
        promotion.settle()
    promotion.steps.lease(RETRAINING).release()
    promotion.settle()
    assert promotion.find().plan is None
    assert [item.status for item in registry.packages(account.sagemaker, stage.name)] == [registry.APPROVED]
    for name in (f"dev-{stage.name}", f"prod-{stage.name}"):
        account.sagemaker.delete_endpoint(EndpointName=name)


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_what_serves_must_be_what_is_approved(account, access, config, bucket, promoting):
    stage = Stage(account, access, config, bucket)
    with pytest.raises(PromotionError, match="deployment dev has no approved model"):
        find_source(account.sagemaker, stage.config, "dev", bucket)
    approved(stage, "v1")
    approved(stage, "v2", factor=3)
    source = find_source(account.sagemaker, stage.config, "dev", bucket)
    assert (source.package.version, source.endpoint) == (2, f"dev-{stage.name}")
    other = source.package.container["Image"].replace("1.9-0", "1.8-0")
    assert unlike(stage.config, other, source, {})[0].startswith("it was tested in image")
    contract = stage.config.contract.model_dump(mode="json")
    then = {
        **contract,
        "columns": [{**contract["columns"][0], "type": "int", "allowed": None}, *contract["columns"][1:]],
    }
    image = source.package.container["Image"]
    kept = {"config": {"contract": contract, "split": stage.config.split.model_dump()}}
    assert unlike(stage.config, image, source, kept) == []
    assert (
        "column sex: type int became string" in unlike(stage.config, image, source, {"config": {"contract": then}})[0]
    )

    promotion = promoting(stage)
    found = promotion.find()
    with pytest.raises(SystemTestError, match="a row without its last value"):  # these serving functions take every row
        promotion.play(found)
    registry.set_status(account.sagemaker, source.package, registry.REJECTED, "by hand")
    with pytest.raises(PromotionError, match=r"not clear which model .* is meant: .* serves package 2 \(Rejected\)"):
        promotion.find()
    account.sagemaker.delete_endpoint(EndpointName=source.endpoint)
