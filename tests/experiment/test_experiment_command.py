"""``python -m experiment`` in the SDK's environment against a real local_aws: before there is data, before there is a champion, after.

A call takes ten seconds and more, so what one call shows is checked in one test.
"""

import json
import os
import pty
import re
import shutil
import subprocess

import pytest
import yaml
from local_account import wait_for
from production import MODEL, ROOT, SDK_PYTHON, command, environment, rows

from experiment import __main__ as experiment_command
from experiment.plan import job_owner
from retraining.judging.candidates import analyze
from retraining.judging.gate import decide

pytestmark = pytest.mark.local_aws
SIZES = {"train": 600, "validation": 200, "test": 200}


@pytest.fixture(scope="module")
def with_data(production):
    production.commit_rows(rows(SIZES))
    return production


@pytest.fixture(scope="module")
def first(with_data):
    """The shipped configuration, before there is a champion."""
    before = with_data.state()
    done = command(with_data.account, "--json")
    assert done.returncode == 0, done.stderr
    assert with_data.state() == before
    return done


@pytest.fixture(scope="module")
def with_champion(with_data, first):
    with_data.crown({"algorithm": "linear"})
    return with_data


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped model folder."""
    return shutil.copytree(MODEL, tmp_path / "abalone")


ROWS = "validation rows"


def jobs(production):
    sagemaker, ours = production.account.sagemaker, {"NameContains": "abalone-exp-"}
    trained = sagemaker.list_training_jobs(**ours)["TrainingJobSummaries"]
    evaluated = sagemaker.list_processing_jobs(**ours)["ProcessingJobSummaries"]
    return {job["TrainingJobName"] for job in trained} | {job["ProcessingJobName"] for job in evaluated}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "model abalone has no dataset version yet: upload data and let the retraining DAG commit it"),
        (["--candidate", "svr"], "there is no candidate 'svr'; model.yaml has svr-hgb"),
        (["--set", "C=3"], "C: model.yaml has no such key; near: algorithm.svr.C"),
        (["--set", "algorithm.svr.c=3"], "has no such hyperparameter; near: svr_C"),
        (["--set", "gate.required_odds=-2"], "gate.required_odds: Input should be greater than or equal to 0"),
        (["--model", "nowhere"], "a model folder needs a model.yaml"),
        (["--propose"], "--propose writes down what --set or --sweep changes"),
    ],
)
def test_what_is_missing_or_wrong_is_told_in_one_line(production, arguments, words):
    done = command(production.account, *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "error: " in done.stderr.splitlines()[-1] and words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_without_an_account_the_command_says_how_to_start_one(production):
    done = command(production.account, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: nothing answers at http://127.0.0.1:9") and "make up" in done.stderr


def test_without_a_champion_the_guards_alone_decide(first, with_data):
    found = json.loads(first.stdout)
    assert "no champion yet" in first.stderr
    assert found["champion"] is None and found["analysis"]["champion"] is None
    assert found["decision"] == decide(found["analysis"], with_data.config.gate, looks=1, rows=ROWS).as_dict()
    assert found["decision"]["reason"].startswith("First model: there is no champion to beat")
    assert found["changes"] == [] and found["proposal"] is None


def test_the_same_experiment_again_reuses_its_jobs_and_production_stays_as_it_was(first, with_champion):
    before = with_champion.state()
    one = command(with_champion.account, "--data-version", "1", "--json")
    assert one.returncode == 0, one.stderr
    found, standing = json.loads(one.stdout), jobs(with_champion)
    assert (
        found["training"][0]["name"] == json.loads(first.stdout)["training"][0]["name"]
    )  # the champion is not its input
    assert found["training"][0]["reused"] and not found["evaluation"]["reused"]
    again = command(with_champion.account)
    assert again.returncode == 0, again.stderr
    assert f"training of svr-hgb: reuses the finished job {found['training'][0]['name']}\n" in again.stderr
    assert f"evaluation: reuses the finished job {found['evaluation']['name']}\n" in again.stderr
    assert jobs(with_champion) == standing
    assert with_champion.state() == before
    # The verdict is the gate's own on the numbers of the deployed function.
    uri = f"{found['outputs']}evaluation/rows.csv"
    analysis = analyze(with_champion.access, with_champion.platform.analyze_function, {"rows_uri": uri})
    assert found["analysis"].pop("champion_failed") is None
    assert (found["analysis"], analysis["n"]) == (analysis, SIZES["validation"])  # never the test rows
    looks = found["decision"]["numbers"]["looks"]
    assert (
        looks == 2
    )  # the experiment before had no champion, this one is another and looks at the same rows; its repetition counts once
    assert found["decision"] == decide(analysis, with_champion.config.gate, looks=looks, rows=ROWS).as_dict()
    assert found["decision"]["reason"] in " ".join(again.stdout.split())
    assert found["champion"].endswith("dev-abalone-models/1")
    assert found["outputs"].startswith(f"s3://{with_champion.platform.bucket}/abalone/experiments/v1-")
    name = found["training"][0]["name"]
    sagemaker = with_champion.account.sagemaker
    arn = sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert tags["retraining:model"] == job_owner("abalone")


def test_an_override_reaches_the_model_and_a_proposal_the_file(first, with_champion, folder):
    before = (folder / "model.yaml").read_text()
    done = command(
        with_champion.account, "--set", "algorithm.svr.C=30", "--propose", "--force", "--json", "--model", str(folder)
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["training"][0]["metrics"] != json.loads(first.stdout)["training"][0]["metrics"]
    job = with_champion.account.sagemaker.describe_training_job(TrainingJobName=found["training"][0]["name"])
    channels = {channel["ChannelName"]: channel["DataSource"]["S3DataSource"] for channel in job["InputDataConfig"]}
    told = json.loads(with_champion.account.read(f"{channels['job']['S3Uri']}job.json"))
    assert told["hyperparameters"]["params"] == {"svr_C": 30}
    assert "params" not in job["HyperParameters"]
    assert job["OutputDataConfig"]["S3OutputPath"].startswith(
        f"s3://{with_champion.platform.bucket}/abalone/experiments/"
    )
    [change] = found["changes"]
    assert (change["before"], change["after"], change["default"]) == (1.0, 30, True)
    after = (folder / "model.yaml").read_text()
    [added] = [line[1:] for line in found["proposal"].splitlines() if line.startswith("+ ")]
    [removed] = [line[1:] for line in found["proposal"].splitlines() if line.startswith("- ")]
    assert after == before.replace(removed, added) != before
    candidate = yaml.safe_load(after)["training"]["candidates"][0]
    assert candidate["hyperparameters"] == {"algorithm": "svr_hgb", "seed": 0, "params": {"svr_C": 30}}


def test_a_job_that_fails_is_told_with_its_reason(with_champion, folder):
    (folder / "train.py").write_text("raise SystemExit('the shell is too thick')\n")
    done = command(with_champion.account, "--model", str(folder))
    assert (done.returncode, done.stdout) == (1, "")
    assert "ended Failed: AlgorithmError" in done.stderr and "the shell is too thick" in done.stderr
    assert "Traceback" not in done.stderr.split("error: ")[0]


def test_on_a_terminal_seconds_run_and_an_interrupt_stops_the_job_that_was_started(with_champion, folder):
    (folder / "train.py").write_text("import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [SDK_PYTHON, "-m", "experiment", "--account", "environment", "--yes", "--model", folder],
        cwd=ROOT,
        env=environment(with_champion.account),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        preexec_fn=os.setsid,
    )
    os.close(follower)
    seen, asked = b"", False
    try:
        while chunk := os.read(leader, 4096):
            seen += chunk
            if not asked and re.search(rb"\rtraining of svr-hgb: InProgress [A-Za-z ]*\d+ s", seen):
                os.killpg(process.pid, 2)  # as Ctrl-C does
                asked = True
    except OSError:  # Linux says so when the other side is closed
        pass
    finally:
        os.close(leader)
    assert process.wait(timeout=60) == 130, seen
    name = re.search(rb"started job ([a-z0-9-]+)", seen)[1].decode()
    assert f"stopped SageMaker training job {name}, which this command had started".encode() in seen
    ended = ("Stopping", "Stopped")
    describe = with_champion.account.sagemaker.describe_training_job
    assert wait_for(lambda: describe(TrainingJobName=name)["TrainingJobStatus"] in ended)


@pytest.mark.parametrize(
    ("promote", "forced", "written"), [(True, False, True), (False, False, False), (False, True, True)]
)
def test_only_an_approved_change_is_written_unless_a_person_insists(promote, forced, written):
    assert experiment_command.may_be_proposed({"promote": promote}, forced) is written
