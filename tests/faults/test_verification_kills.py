"""``make verify-aws`` in a local account with policies enforced, killed in each stage: it goes on where it ended, and leaves nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_account import REPOSITORY, Account

from deploy.verification import questions
from deploy.verification.stages import STAGES

ENV = "verify-k1"
INSIDE = {"platform": "stack ", "merge": "task preprocess_data", "train": "task training", "serve": "task deploy_model"}
"""A line in the midst of a stage, after which it is killed once more."""


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    with Account(tmp_path_factory.mktemp("verifying") / "data", "--enforce-policies") as account:
        yield account


class Command:
    """The command as a person calls it, and what it wrote."""

    def __init__(self, account: Account, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "outcome.json"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))}
        self.variables = kept | account.variables | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/plugins"}

    def start(self, *options: str) -> subprocess.Popen[str]:
        call = [sys.executable, "-m", "deploy.verification", "--env", ENV, "--rehearsal", "--yes", *options]
        call += ["--folder", str(self.folder), "--output", str(self.output)]
        call += ["--set", "SettleSeconds=0", "--set", "PollSeconds=0.2"]
        return subprocess.Popen(
            call, cwd=REPOSITORY, env=self.variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *options: str) -> tuple[int, str]:
        process = self.start(*options)
        said, _ = process.communicate(timeout=600)
        return process.returncode, said

    def killed_after(self, words: str) -> str:
        """Kill it as soon as it says a line with these words; return what it said."""
        process, said = self.start(), []
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if words in line:
                process.kill()
        process.stdout.close()
        assert process.wait() == -9, f"it ended without saying {words!r}:\n{''.join(said)}"
        return "".join(said)


def traces(account: Account) -> list[str]:
    """Return all of the account that has the name of the verification, but for records of jobs that have ended."""
    found = [item["Name"] for item in account.s3.list_buckets()["Buckets"]]
    found += [
        item["StackName"]
        for item in account.cloudformation.list_stacks()["StackSummaries"]
        if item["StackStatus"] != "DELETE_COMPLETE"
    ]
    found += [item["RoleName"] for item in account.iam.list_roles()["Roles"]]
    found += [item["PolicyName"] for item in account.iam.list_policies(Scope="Local")["Policies"]]
    found += account.sqs.list_queues().get("QueueUrls", [])
    found += [item["TopicArn"] for item in account.sns.list_topics()["Topics"]]
    found += [item["Name"] for item in account.ssm.describe_parameters()["Parameters"]]
    found += [item["FunctionName"] for item in getattr(account, "lambda").list_functions()["Functions"]]
    found += [item["Name"].replace("_", "-") for item in account.glue.get_databases()["DatabaseList"]]
    found += account.glue.list_jobs()["JobNames"] + account.glue.list_crawlers()["CrawlerNames"]
    found += [item["EndpointName"] for item in account.sagemaker.list_endpoints()["Endpoints"]]
    found += [item["EndpointConfigName"] for item in account.sagemaker.list_endpoint_configs()["EndpointConfigs"]]
    found += [item["ModelName"] for item in account.sagemaker.list_models()["Models"]]
    groups = account.sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    found += [item["ModelPackageGroupName"] for item in groups]
    for group in account.logs.describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        found.append(name)
        found += [item["logStreamName"] for item in account.logs.describe_log_streams(logGroupName=name)["logStreams"]]
    return [name for name in found if ENV in name]


def test_killed_in_every_stage_it_goes_on_to_the_end_and_leaves_nothing(account, tmp_path):
    command = Command(account, tmp_path)
    for stage in STAGES:
        if stage.name in INSIDE:
            command.killed_after(INSIDE[stage.name])
        following = STAGES[STAGES.index(stage) + 1].name if stage is not STAGES[-1] else "close"
        said = command.killed_after(f"{following}: ")
        assert f"{stage.name}: {stage.does}" in said, "each call begins with the stage that was cut"
        done = json.loads((tmp_path / ENV / "journal.json").read_text())["stages"]
        assert done[stage.name]["state"] == "done", done[stage.name]
    assert traces(account), "before the end there is something to find"
    command.killed_after("stack retraining-")
    code, said = command.run()
    found = json.loads(command.output.read_text())
    states = {item["name"]: (item["state"], item["seen"]) for item in found["questions"]}
    wanted = {
        item.name: questions.NEEDS_AWS if item.only_aws else questions.AS_EXPECTED for item in questions.QUESTIONS
    }
    assert {name: state for name, (state, _) in states.items()} == wanted, states
    assert (code, found["leftovers"]) == (0, []), said
    assert traces(account) == []
    recorded = [json.loads(line) for line in (tmp_path / ENV / "answers.jsonl").read_text().splitlines()]
    assert {item["stage"] for item in recorded} >= {stage.name for stage in STAGES} - {"timer", "denied"}


def test_a_stage_that_fails_takes_everything_down_and_the_next_call_begins_anew(account, tmp_path):
    command = Command(account, tmp_path)
    command.killed_after("crawl: ")
    bucket = next(item["Name"] for item in account.s3.list_buckets()["Buckets"] if f"{ENV}-abalone-" in item["Name"])
    account.s3.delete_object(Bucket=bucket, Key="abalone/new/verification.csv")
    code, said = command.run()
    assert code == 1, said
    assert "stage merge failed" in said or "stage crawl failed" in said, said
    assert traces(account) == []
    code, said = command.run("--down")
    assert (code, "nothing of it is known here" in said) == (0, True), said
    assert json.loads(command.output.read_text())["stages"], "the outcome of the attempt is still there"
    assert traces(account) == []
