"""A container of one's own, by SageMaker's contract alone, goes through the whole loop: beside a model of the library, against it, back.

Once in R, the example of the docs, and once in plain Python; commands stand for the images. Policies are enforced. The tests of a language
are one story: each goes on with what the one before left, so run the whole file.
"""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from boto3.session import Session
from local_account import REPOSITORY, Account
from model_loop import ModelLoop

from retraining.aws import clients as aws_clients
from retraining.dag.tasks.rollback import RollbackTasks
from retraining.serving.champion import standing
from retraining.settings.model_config import load_model_config

pytestmark = [pytest.mark.spark, pytest.mark.local_aws, pytest.mark.long]
EXAMPLES = REPOSITORY / "docs" / "examples"
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
R_PACKAGES = ("httpuv", "jsonlite")


def installed_r() -> str | None:
    """Return why the example cannot run here; None when it can."""
    if shutil.which("Rscript") is None:
        return "Rscript is not installed: apt-get install r-base-core r-cran-httpuv r-cran-jsonlite"
    tried = "; ".join(f"library({name})" for name in R_PACKAGES)
    done = subprocess.run(["Rscript", "-e", tried], capture_output=True, text=True)
    return None if done.returncode == 0 else f"an R package of the example is missing: {done.stderr}"


#: By language: the program that stands for the image, its script, and the candidate's hyperparameters.
LANGUAGES = {
    "R": ("Rscript", EXAMPLES / "container-r" / "model.R", {"formula": "target ~ bmi + bp + s5"}),
    "Python": (sys.executable, Path(__file__).with_name("plain_container.py"), {"column": "bmi"}),
}


def rows(start: int, count: int) -> str:
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True, scaled=False).frame
    return frame[start : start + count].to_csv(index=False)


class Story:
    """A model of one language on an account of its own."""

    def __init__(self, account: Account, session: Session, folder: Path, settings: dict) -> None:
        self.account, self.session, self.folder, self.settings = account, session, folder, settings
        self.name = "diabetes"
        self.runs: dict[str, dict] = {}
        self.loop = ModelLoop(session, folder)

    def configure(self, *candidates: dict) -> None:
        path = self.folder / "model.yaml"
        config = yaml.safe_load(path.read_text())
        config["training"]["candidates"] = list(candidates)
        path.write_text(yaml.safe_dump(config))
        self.loop.config = load_model_config(path)

    @property
    def own(self) -> dict:
        return {"name": "mine", "container": f"{REGISTRY}/diabetes-r:1", "hyperparameters": self.settings}

    def run(self, name: str, data: str) -> dict:
        self.runs[name] = self.loop.run(name, data)
        return self.runs[name]

    def ask(self, body: str) -> list[float]:
        answer = self.session.client("sagemaker-runtime").invoke_endpoint(
            EndpointName="dev-diabetes", ContentType="text/csv", Accept="application/json", Body=body
        )
        return json.loads(answer["Body"].read())["predictions"]

    def evaluation(self, run: dict, name: str) -> str:
        key = f"{self.name}/runs/{run['plan']['run_key']}/evaluation/{name}"
        return self.session.client("s3").get_object(Bucket=self.loop.bucket, Key=key)["Body"].read().decode()

    def serves(self) -> str:
        """Return the image that serves, without registry and tag."""
        champion = standing(self.session.client("sagemaker"), self.name, "dev-diabetes").champion
        return champion.image.rsplit("/", 1)[-1].split(":")[0]

    def go_back(self, version: int) -> dict:
        steps = RollbackTasks(self.loop.config, self.folder)
        who = SimpleNamespace(
            dag_id="diabetes_rollback",
            run_id=f"back-{version}",
            run_after=datetime.now(UTC),
            clear_number=0,
            triggering_user_name="night shift",
        )
        chosen = steps.choose_package({"package": str(version), "why": "it drifts", "who": None}, who)
        deployed = self.loop.job("endpoint", "rollback", steps.deploy_request(chosen, who))
        record = steps.record_rollback(chosen, steps.verify_endpoint(chosen, deployed, who), who)
        steps.release_endpoint(who)
        return record


@pytest.fixture(scope="module", params=list(LANGUAGES))
def story(request, tmp_path_factory):
    if request.param == "R" and (reason := installed_r()):
        pytest.skip(reason)
    place = tmp_path_factory.mktemp("own")
    program, script, settings = LANGUAGES[request.param]
    shutil.copy(script, place)
    command = json.dumps([program, f"./{script.name}"])
    (place / "images.toml").write_text(f"[diabetes-r]\ncommand = {command}\n")
    folder = place / "diabetes"
    shutil.copytree(EXAMPLES / "diabetes", folder)
    config = yaml.safe_load((folder / "model.yaml").read_text())
    config["evaluation"]["explain_seconds"] = 1
    # Next to no model: what any other has to beat.
    config["training"]["candidates"] = [{"name": "flat", "hyperparameters": {"alpha": 1e6}}]
    config["gate"] |= {"guards": {"rmse": 200}, "worst_group": {}, "min_test_rows": 5}
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    with (
        Account(place / "data", "--images", str(place / "images.toml"), "--enforce-policies") as account,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_ENDPOINT_URL", account.url)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        aws_clients.client.cache_clear()
        yield Story(account, Session(region_name="us-east-1"), folder, settings)
        aws_clients.client.cache_clear()


def test_the_container_wins_against_a_model_of_the_library_and_serves(story):
    first = story.run("first.csv", rows(0, 250))
    assert (first["branch"], first["scored"], first["asked"]) == ("approved", None, None)
    assert story.serves() == "sagemaker-scikit-learn"
    body = rows(400, 1).splitlines()[1].rpartition(",")[0]
    flat = story.ask(body)

    story.configure({"name": "flat", "hyperparameters": {"alpha": 1e6}}, story.own)
    second = story.run("second.csv", rows(250, 100))
    assert second["branch"] == "approved", second["decision"]
    best = min(second["trained"], key=lambda result: result["metrics"]["validation:rmse"])
    assert best["candidate"] == "mine"
    assert second["asked"]["name"].startswith("dev-diabetes-challenger-")
    analysis = second["analysis"]
    assert analysis["challenger"]["rmse"] < 0.95 * analysis["champion"]["rmse"]
    assert story.serves() == "diabetes-r"
    assert story.ask(body) != pytest.approx(flat, rel=1e-3)
    assert json.loads(story.evaluation(second, "summary.json"))["not_explained"].startswith("it answers in a container")


def test_what_was_judged_is_what_serves(story):
    lines = story.evaluation(story.runs["second.csv"], "rows.csv").splitlines()
    judged = [float(line.split(",")[2]) for line in lines[1:]]
    smoke = json.loads(story.evaluation(story.runs["second.csv"], "smoke.json"))
    assert story.ask(smoke["body"]) == [pytest.approx(judged[0])]
    extremes = {row["why"]: story.ask(row["body"])[0] for row in smoke["rows"]}
    assert extremes == {
        "largest answer": pytest.approx(max(judged)),
        "smallest answer": pytest.approx(min(judged)),
    }


def test_the_container_as_champion_answers_the_rows_of_the_next_run(story):
    story.configure(story.own)
    third = story.run("third.csv", rows(350, 92))
    assert third["plan"]["champion"]["own"] is True
    assert third["scored"]["arn"].split(":")[5].startswith("transform-job/")
    summary = json.loads(story.evaluation(third, "summary.json"))
    assert summary["champion_failed"] is None
    lines = story.evaluation(third, "rows.csv").splitlines()
    assert summary["champion"]["rmse"] == pytest.approx(third["analysis"]["champion"]["rmse"])
    assert summary["n"] == len(lines) - 1
    assert {line.split(",")[3] == "" for line in lines[1:]} == {False}


def test_a_rollback_brings_container_and_library_back(story):
    for version, image in ((1, "sagemaker-scikit-learn"), (2, "diabetes-r")):
        record = story.go_back(version)
        assert record["target"]["version"] == version
        assert story.serves() == image
    smoke = json.loads(story.evaluation(story.runs["second.csv"], "smoke.json"))
    assert story.ask(smoke["body"]) == [pytest.approx(smoke["prediction"])]
