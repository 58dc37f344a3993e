"""A model goes from one deployment to others of the account, with IAM's policies enforced: the very artifact, by the gate there.

The tests are one story: each goes on with what the one before left in the deployments, so run the whole file.
"""

import hashlib
import json
import shutil

import pytest
import yaml
from local_account import REPOSITORY, Account
from model_loop import ModelLoop
from test_environments import everything

from deploy import data_platform, environment, settings
from retraining.aws import clients as aws_clients
from retraining.command.promote.__main__ import main
from retraining.dag.tasks.promotion import PromotionTasks
from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.serving import registry
from retraining.serving.champion import standing
from retraining.settings.environment import VARIABLE

pytestmark = [pytest.mark.spark, pytest.mark.local_aws, pytest.mark.long]
MODEL = "abalone"
DATA = (REPOSITORY / "data" / "abalone.csv").read_text().splitlines()
SHORT = {"PollSeconds": "0.2", "SettleSeconds": "0"}


def rows(start: int, count: int) -> str:
    return "\n".join([DATA[0], *DATA[1 + start : 1 + start + count]]) + "\n"


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    with Account(tmp_path_factory.mktemp("promoting") / "data", "--enforce-policies") as account:
        yield account


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The abalone model with a quick algorithm and guards that little data can keep."""
    folder = tmp_path_factory.mktemp("models") / MODEL
    shutil.copytree(REPOSITORY / "dags" / "models" / MODEL, folder, ignore=shutil.ignore_patterns("__pycache__"))
    config = yaml.safe_load((folder / "model.yaml").read_text())
    config["evaluation"]["explain_seconds"] = 0
    config["gate"] |= {"guards": {"rmse": 50.0}, "worst_group": {}, "min_test_rows": 5}
    config["training"]["candidates"] = [{"name": "linear", "hyperparameters": {"algorithm": "linear", "seed": 0}}]
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    return folder


class Deployments:
    """The deployments of the account, and a person who promotes between two of them."""

    def __init__(self, session, folder):
        self.session = session
        self.folder = folder
        self.documents = {}

    def deploy(self, name: str) -> str:
        """Deploy platform and policies of a deployment; return the data bucket."""
        named = [f"arn:aws:iam::000000000000:role/promoter-*-{name}-*"]
        made = data_platform.deploy(self.session, name, MODEL, SHORT, lambda line: None, named=named)
        bucket = made[1]["DataBucketName"]
        project = environment.Project(self.session, settings.Deployment(name, "us-east-1"), lambda line: None)
        config = next(config for config in project.models if config.name == MODEL)
        project.deploy_access(config)
        iam = self.session.client("iam")
        for title in ("DataAccess", "ModelAccess", "PromotionSource", "PromotionTarget"):
            stack = f"retraining-{name}-{MODEL}-access"
            arn = next(
                item["Arn"]
                for item in iam.list_policies(Scope="Local")["Policies"]
                if item["PolicyName"].startswith(f"{stack}-{title}")
            )
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            found = iam.get_policy_version(PolicyArn=arn, VersionId=version)
            self.documents[name, title] = found["PolicyVersion"]["Document"]
        return bucket

    def promoter(self, origin: str, target: str, without: str = "") -> dict[str, str]:
        """Return keys of a role that may promote, without one statement."""
        iam, name = self.session.client("iam"), f"promoter-{origin}-{target}-{without}"
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
        }
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        wanted = [(target, title) for title in ("DataAccess", "ModelAccess", "PromotionTarget")]
        for place, title in [(origin, "PromotionSource"), *wanted]:
            document = self.documents[place, title]
            kept = [item for item in document["Statement"] if f"{title}.{item['Sid']}" != without]
            if kept:
                text = json.dumps({**document, "Statement": kept})
                iam.put_role_policy(RoleName=name, PolicyName=title, PolicyDocument=text)
        keys = self.session.client("sts").assume_role(RoleArn=arn, RoleSessionName="ci")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
        }

    def promote(self, origin: str, target: str, *options: str, without: str = "") -> int:
        """Run the command as somebody with the rights of a promoter alone."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, target)  # the command leads its process to the target: here it has to be led back
            for name, value in self.keys(origin, target, without).items():
                patch.setenv(name, value)
            aws_clients.client.cache_clear()
            code = main([MODEL, "--from", origin, "--to", target, "--models", str(self.folder.parent), *options])
        aws_clients.client.cache_clear()
        return code

    def keys(self, origin: str, target: str, without: str) -> dict[str, str]:
        known = self.__dict__.setdefault("_keys", {})
        if (origin, target, without) not in known:
            known[origin, target, without] = self.promoter(origin, target, without)
        return known[origin, target, without]

    def champion(self, name: str):
        """Return the package that serves in a deployment."""
        return standing(self.session.client("sagemaker"), MODEL, f"{name}-{MODEL}", name).package

    def artifact(self, uri: str) -> str:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body = self.session.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return hashlib.sha256(body).hexdigest()

    def answer(self, name: str) -> bytes:
        body = "M,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21"
        runtime = self.session.client("sagemaker-runtime")
        return runtime.invoke_endpoint(EndpointName=f"{name}-{MODEL}", ContentType="text/csv", Body=body)["Body"].read()


@pytest.fixture(scope="module")
def deployments(session, folder):
    """``dev`` with a model in service; ``prod`` with a data set of its own and no model; ``qa`` with nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        aws_clients.client.cache_clear()
        made = Deployments(session, folder)
        for name in ("dev", "prod", "qa"):
            made.deploy(name)
        made.loop = ModelLoop(session, folder)
        made.loop.run("first.csv", rows(0, 600))
        yield made
        aws_clients.client.cache_clear()


def left_alone(session, name: str) -> dict[str, str]:
    """Return what there is of a deployment, but for what its endpoint captured of requests."""
    found = everything(session)
    return {key: value for key, value in found.items() if f"retraining-{name}-" in key and "/captured/" not in key}


def test_a_model_is_promoted_by_the_guards_where_there_is_no_data_set(deployments, session, capsys):
    before = left_alone(session, "dev")
    assert deployments.promote("dev", "qa", "--plan") == 0
    planned = capsys.readouterr().out
    assert "by the guards of qa alone, on the test rows of dev" in planned
    assert deployments.champion("qa") is None

    assert deployments.promote("dev", "qa") == 0, capsys.readouterr()
    told = capsys.readouterr().out
    assert "wrong requests refused with a sentence, such as shell_weight missing: 400" in told
    assert "Nothing was compared, as qa has no data set." in told
    theirs, ours = deployments.champion("dev"), deployments.champion("qa")
    assert deployments.artifact(theirs.model_data) == deployments.artifact(ours.model_data)
    assert deployments.answer("qa") == deployments.answer("dev")
    known = ours.metadata
    assert (known["trained_in"], known["trained_on_version"]) == ("dev", "1")
    assert {name: known[name] for name in ("training_job", "code_digest")} == {
        name: theirs.metadata[name] for name in ("training_job", "code_digest")
    }
    assert known["artifact_sha256"] == deployments.artifact(theirs.model_data)
    assert known["promoted_from"] == theirs.arn
    assert left_alone(session, "dev") == before

    assert deployments.promote("dev", "qa") == 0
    assert "nothing to do: it is model package 1" in capsys.readouterr().out
    assert len(list(registry.packages(session.client("sagemaker"), MODEL, deployment="qa"))) == 1


def test_a_model_is_judged_on_the_rows_of_the_deployment_that_it_goes_to(deployments, session, capsys, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "prod")
        steps = RetrainingTasks(deployments.loop.config, deployments.folder)
        bucket = steps.platform.bucket
        session.client("s3").put_object(Bucket=bucket, Key=f"{MODEL}/new/own.csv", Body=rows(600, 600).encode())
        plan = steps.claim_new_data({})
        deployments.loop.job("glue_job", "preprocess", steps.merge_request(plan))
        test_rows = steps.check_data_quality(plan, {}, None)["rows_by_split"]["test"]

    with monkeypatch.context() as patch:
        patch.setattr(PromotionTasks, "deploy_request", interrupt)
        assert deployments.promote("dev", "prod") == 130
    assert deployments.champion("prod") is None
    assert deployments.promote("dev", "prod") == 0
    told = capsys.readouterr().out
    assert f"on {test_rows} test rows it keeps its guards" in told
    [only] = registry.packages(session.client("sagemaker"), MODEL, deployment="prod")
    assert (only.status, only.metadata["judged_on_version"]) == ("Approved", "1")

    first = deployments.champion("dev")
    deployments.loop.run(
        "again", force_retrain=True, hyperparameters={"algorithm": "svr_hgb", "params": {"hgb_max_iter": 20}}
    )
    second = deployments.champion("dev")
    assert second.version > first.version
    before = left_alone(session, "dev")
    assert deployments.promote("dev", "prod") == 0, capsys.readouterr()
    told = capsys.readouterr().out
    assert f"on the same {test_rows} test rows" in told
    assert "the odds are" in told
    assert deployments.answer("prod") == deployments.answer("dev")
    assert deployments.champion("prod").metadata["champion"] == only.arn
    assert left_alone(session, "dev") == before
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "prod")
        assert steps._dataset.read().untrained, "a promotion is no training on the rows of prod"


def interrupt(*_, **__):
    raise KeyboardInterrupt


SOURCE_RIGHTS = {
    "ReadPlatformParameter": "ssm:GetParameter",
    "ReadArtifactsCodeAndRuns": "s3:GetObject",
    "ListDataBucket": "s3:ListBucket",
    "ReadRegistry": "sagemaker:DescribeModelPackage",
    "SeeTheModelThatServes": "sagemaker:DescribeModel",
    "AskTheEndpoint": "sagemaker:InvokeEndpoint",
}
RIGHTS = {f"PromotionSource.{sid}": action for sid, action in SOURCE_RIGHTS.items()}
RIGHTS |= {"PromotionTarget.WritePromotedArtifacts": "s3:PutObject"}


def test_the_rights_are_those_of_the_template(deployments):
    given = {
        f"{title}.{item['Sid']}"
        for title in ("PromotionSource", "PromotionTarget")
        for item in deployments.documents["dev", title]["Statement"]
    }
    assert given == set(RIGHTS)


@pytest.mark.parametrize("right", RIGHTS)
def test_without_any_one_of_its_rights_a_promotion_ends_with_what_is_missing(deployments, right, capsys):
    before = deployments.champion("qa")
    assert deployments.promote("dev", "qa", "--uncompared", without=right) in (1, 2)
    said = capsys.readouterr().err
    assert f"promoter-dev-qa-{right} is not authorized to perform: {RIGHTS[right]} on resource: arn:" in said
    assert deployments.champion("qa") == before


def test_a_model_that_cannot_be_compared_needs_an_approval_and_keeps_the_guards(deployments, capsys, tmp_path):
    before = deployments.champion("qa")
    assert deployments.promote("dev", "qa") == 2
    assert "deployment qa has no data set of abalone" in capsys.readouterr().err
    strict = tmp_path / MODEL
    shutil.copytree(deployments.folder, strict)
    config = yaml.safe_load((strict / "model.yaml").read_text())
    config["gate"]["guards"] = {"rmse": 0.1}
    (strict / "model.yaml").write_text(yaml.safe_dump(config))
    assert deployments.promote("dev", "qa", "--uncompared", "--models", str(tmp_path)) == 1
    assert "not promoted, what served in qa still does" in capsys.readouterr().out
    assert deployments.champion("qa") == before
    assert deployments.promote("dev", "qa", "--uncompared") == 0
    assert deployments.answer("qa") == deployments.answer("dev")


@pytest.mark.parametrize(
    ("origin", "target", "answer"),
    [
        ("dev", "dev", "dev is both the deployment that the model comes from and the one it goes to"),
        ("nosuch", "qa", "SSM parameter /retraining/nosuch/abalone/platform does not exist"),
        ("dev", "nosuch", "SSM parameter /retraining/nosuch/abalone/platform does not exist"),
        ("empty", "qa", "deployment empty has no approved model abalone"),
        ("my-stage", "qa", "'my-stage' is no name of a deployment"),
    ],
)
def test_what_cannot_be_promoted_ends_with_one_line(deployments, origin, target, answer, capsys, session):
    if "empty" in (origin, target):
        deployments.deploy("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        aws_clients.client.cache_clear()
        code = main([MODEL, "--from", origin, "--to", target, "--models", str(deployments.folder.parent)])
    aws_clients.client.cache_clear()
    [line] = capsys.readouterr().err.splitlines()
    assert (code, answer in line) == (2, True), line


def test_a_model_that_answers_otherwise_where_it_serves_is_not_promoted(deployments, session, capsys):
    bucket, package = data_platform.data_bucket(session, "dev", MODEL), deployments.champion("dev")
    key = f"{MODEL}/runs/{package.metadata['run_key']}/evaluation/smoke.json"
    s3, before = session.client("s3"), deployments.champion("prod")
    smoke = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    smoke["prediction"] += 5
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(smoke).encode())
    deployments.deploy("third")
    assert deployments.promote("dev", "third") == 1
    assert "where the evaluation predicted" in capsys.readouterr().err
    assert deployments.champion("third") is None
    assert deployments.champion("prod") == before
