"""Deployments from GitHub: a role without a stored key, whom each role trusts, and the plan under a pull request."""

import json
import os
import shlex
import stat
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import boto3
import cloudformation
import pytest
from local_account import REPOSITORY, Account

from deploy import environment, settings, stacks
from deploy.ci import identity, plan_comment

TEMPLATE = REPOSITORY / "infra" / "ci_access.yaml"
ROLES = {
    name: item["Properties"]
    for name, item in cloudformation.read(TEMPLATE)["Resources"].items()
    if item["Type"] == "AWS::IAM::Role"
}


@pytest.fixture
def github():
    """A service on the loopback that answers what a test puts into ``answers`` and keeps what it was asked."""
    seen, answers = [], []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            seen.append((self.command, self.path, self.headers["Authorization"], body))
            status, document = answers.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        do_GET = do_POST = do_PATCH = _answer

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", seen=seen, answers=answers)
    server.shutdown()
    server.server_close()
    thread.join()


def job(github, tmp_path, **more):
    return {
        "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/plan",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{github.url}/token?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_RUN_ID": "42",
        **more,
    }


def test_a_job_acts_in_its_role_with_githubs_token_and_no_key(github, tmp_path, monkeypatch):
    github.answers.append((200, {"value": "ey.token"}))
    found = identity.variables(job(github, tmp_path))
    assert github.seen == [("GET", "/token?api-version=2.0&audience=sts.amazonaws.com", "bearer of-the-job", None)]
    path = Path(found["AWS_WEB_IDENTITY_TOKEN_FILE"])
    assert path.read_text() == "ey.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/plan")
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert boto3.Session(region_name="us-east-1").get_credentials().method == "assume-role-with-web-identity"
    github.answers.append((200, {"value": "ey.second"}))  # a second verb of the job: a token of its own
    identity.variables(job(github, tmp_path))
    assert path.read_text() == "ey.second"


@pytest.mark.parametrize("without", ["AWS_ROLE_ARN", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
def test_outside_of_such_a_job_nothing_is_asked(github, tmp_path, without):
    assert identity.variables({**job(github, tmp_path), without: ""}) == {}
    assert identity.variables({**job(github, tmp_path), "AWS_WEB_IDENTITY_TOKEN_FILE": "of another"}) == {}
    assert github.seen == []


@pytest.mark.parametrize("answer", [(403, {}), (200, {"message": "no"}), (200, [])])
def test_a_job_without_the_permission_is_told_which_one(github, tmp_path, answer):
    github.answers.append(answer)
    with pytest.raises(identity.IdentityError, match="id-token: write"):
        identity.variables(job(github, tmp_path))


def test_each_role_trusts_one_kind_of_job_of_one_repository():
    trusted = {}
    for name, role in ROLES.items():
        [statement] = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert set(statement["Condition"]) == {"StringEquals"}, "a pattern could match what nobody thought of"
        told = statement["Condition"]["StringEquals"]
        assert told["token.actions.githubusercontent.com:aud"] == identity.AUDIENCE
        trusted[name] = told["token.actions.githubusercontent.com:sub"]["Fn::Sub"]
    assert trusted == {
        "PlanRole": "repo:${Repository}:pull_request",
        "StagingRole": "repo:${Repository}:ref:refs/heads/${Branch}",
        "ProdRole": "repo:${Repository}:environment:prod",
    }
    pattern = cloudformation.read(TEMPLATE)["Parameters"]
    assert "*" not in pattern["Repository"]["AllowedPattern"].replace("]*", "").replace("]+", "")


def test_a_role_that_deploys_manages_the_roles_of_its_own_deployment_only():
    for name in ("staging", "prod"):
        policy = cloudformation.read(TEMPLATE)["Resources"][f"{name.title()}Roles"]["Properties"]["PolicyDocument"]
        managed = {item["Sid"]: item for item in policy["Statement"]}["ManageRolesAndPoliciesOfTheDeployment"]
        for resource in managed["Resource"]:
            assert f"-{name}-*" in resource["Fn::Sub"], resource


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    with Account(tmp_path_factory.mktemp("planning") / "data", "--enforce-policies") as account:
        yield account


def planner(session) -> dict[str, str]:
    """Return a session's arguments of a role with the policy of the template's PlanRole, and no other."""
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    iam = session.client("iam")
    arn = iam.create_role(RoleName="planner", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    [policy] = ROLES["PlanRole"]["Policies"]
    text = json.dumps(policy["PolicyDocument"])
    for name, value in (("Partition", "aws"), ("Region", "us-east-1"), ("AccountId", "000000000000")):
        text = text.replace(f"${{AWS::{name}}}", value)
    document = json.loads(text, object_hook=lambda item: item.get("Fn::Sub", item))
    iam.put_role_policy(RoleName="planner", PolicyName="plan", PolicyDocument=json.dumps(document))
    keys = session.client("sts").assume_role(RoleArn=arn, RoleSessionName="job")["Credentials"]
    return {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
    }


@pytest.mark.local_aws
def test_the_role_of_a_pull_request_can_plan_before_and_after_a_deployment_and_change_nothing(session):
    theirs = boto3.Session(region_name="us-east-1", **planner(session))
    short = settings.Deployment("staging", "us-east-1", platform={"PollSeconds": "1", "SettleSeconds": "1"})

    def planned(said):
        project = environment.Project(theirs, short, said.append, with_environment=False)
        project.preflight()
        project.check_readiness(rights=False)
        return list(project.plan())

    said = []
    assert {step.difference.change for step in planned(said)} <= {"create", "update"}
    assert environment.Project(session, short, said.append, with_environment=False).up()
    assert {step.difference.change for step in planned(said)} == {"none"}
    assert "may not call" not in str(said)
    with pytest.raises(Exception, match="planner is not authorized to perform: cloudformation:DeleteStack"):
        stacks.delete_stack(theirs, "retraining-staging-abalone", said.append)
    with pytest.raises(Exception, match=r"AccessDenied|not authorized"):
        theirs.client("s3").get_object(Bucket="retraining-staging-abalone-000000000000-us-east-1", Key="any")


def commenting(github, plan, **more):
    return {
        "PLAN": plan,
        "PULL_REQUEST": "7",
        "GITHUB_TOKEN": "of-the-job",
        "GITHUB_API_URL": github.url,
        "GITHUB_REPOSITORY": "our/own",
        **more,
    }


def test_a_plan_stands_under_its_pull_request_once(github, capsys):
    github.answers += [(200, []), (201, {"id": 5})]
    assert plan_comment.main(commenting(github, "+ stack x would be created")) == 0
    method, path, token, document = github.seen[-1]
    assert (method, path, token) == ("POST", "/repos/our/own/issues/7/comments", "Bearer of-the-job")
    assert "+ stack x would be created" in document["body"]
    ours = {"id": 5, "body": document["body"], "user": {"login": "github-actions[bot]"}}
    strangers = {"id": 4, "body": document["body"], "user": {"login": "somebody"}}
    github.answers += [(200, [strangers, ours]), (200, {"id": 5})]
    assert plan_comment.main(commenting(github, "nothing")) == 0
    assert github.seen[-1][:2] == ("PATCH", "/repos/our/own/issues/comments/5")
    assert "renewed under pull request 7" in capsys.readouterr().out


def test_comments_are_looked_for_on_all_pages(github):
    others = [{"id": number, "body": "words", "user": {"login": "somebody"}} for number in range(plan_comment.PAGE)]
    ours = {"id": 500, "body": plan_comment.MARK, "user": {"login": "github-actions[bot]"}}
    github.answers += [(200, others), (200, [ours]), (200, {})]
    assert plan_comment.main(commenting(github, "x")) == 0
    assert [path.partition("&page=")[2] for _, path, _, _ in github.seen[:2]] == ["1", "2"]


def test_a_plan_cannot_leave_its_place(github, tmp_path):
    """It holds file names and template lines of whoever opened the request."""
    github.answers += [(200, []), (201, {})]
    plan_comment.main(commenting(github, "a\n```\n# not a plan\n````\n"))
    body = github.seen[-1][3]["body"]
    assert body.count("`````") == 2
    output = tmp_path / "output"
    plan_comment.hand_on(["a", plan_comment.DELIMITER, "role=mine"], {"GITHUB_OUTPUT": str(output)})
    lines = output.read_text().splitlines()
    assert lines == [f"plan<<{plan_comment.DELIMITER}", "a", "", "role=mine", plan_comment.DELIMITER]
    plan_comment.hand_on(["x" * 100_000], {"GITHUB_STEP_SUMMARY": str(output)})
    assert len(output.read_text()) < 65_536


def test_the_verb_comments_in_a_job_and_says_so_outside_of_one(github):
    kept = {"PATH": os.environ["PATH"]}

    def run(variables):
        command = shlex.split("make plan-comment")
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, env=variables)

    outside = run(kept)
    assert (outside.returncode, "PLAN, PULL_REQUEST, GITHUB_TOKEN" in outside.stderr) == (2, True)
    github.answers += [(200, []), (201, {})]
    inside = run(commenting(github, "it is the plan") | kept)
    assert (inside.returncode, inside.stdout) == (0, "the plan is under pull request 7\n")
    assert "it is the plan" in github.seen[-1][3]["body"]
