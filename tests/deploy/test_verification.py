"""Verifications of an account: what is refused before anything is made, what the journal keeps, what is recorded of AWS's answers."""

import json
import re
import sys
from types import SimpleNamespace
from urllib.parse import quote

import boto3
import pytest
from botocore.stub import Stubber

from deploy import artifacts, settings
from deploy.preflight import PreflightError
from deploy.verification import __main__ as command
from deploy.verification import answers, outcome, price, questions, small_model, stages
from deploy.verification.journal import AWS, DONE, FAILED, Journal, JournalError, Place
from local_stack.verbs import calls
from local_stack.verbs.calls import CallError
from retraining.dag.retraining_dag import retraining_dag
from retraining.settings.model_config import load_model_config

HERE = Place("verify-ab12", "http://127.0.0.1:1", "us-east-1", "111122223333")
KEYS = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
LOCAL = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}


@pytest.mark.parametrize("name", ["prod", "dev", "", "verify", "verify-", "verify-abcde", "verify-AB"])
def test_a_deployment_that_somebody_works_with_is_never_one_of_a_verification(name):
    with pytest.raises(CallError, match="verify-" if not name.startswith("verify-") else "is no name of a deployment"):
        calls.verification(name)


def test_names_of_verifications():
    assert calls.verification("verify-ab12") == "verify-ab12"
    assert not [path.stem for path in settings.FOLDER.glob("verify*")]


def test_a_shell_of_the_local_stack_verifies_nothing_on_aws_and_a_rehearsal_leaves_this_machine_never():
    assert command.place(False, {}) == AWS
    assert command.place(True, LOCAL) == "http://127.0.0.1:1"
    with pytest.raises(CallError, match="not to AWS"):
        command.place(False, LOCAL)
    for address in ("", "https://sagemaker.us-east-1.amazonaws.com", "http://10.0.0.1:4566"):
        with pytest.raises(CallError, match="an address of this machine"):
            command.place(True, {"AWS_ENDPOINT_URL": address})


def model(tmp_path, attempt=1):
    return load_model_config(small_model.write(tmp_path, attempt) / "model.yaml")


def test_the_price_is_that_of_every_job_at_its_limit_and_of_the_endpoint_until_the_timer(tmp_path):
    table = price.at_most(model(tmp_path), 2)
    items = {item.what.split(":")[0]: table.cost(item) for item in table.items}
    assert {"Crawler", "Merge", "Training", "Evaluation", "Endpoint"} <= set(items)
    assert float(items["Merge"]) == pytest.approx(2 * 0.25 * 0.44)  # two workers for a quarter of an hour
    assert float(items["Endpoint"]) == pytest.approx(2 * 0.056)
    assert price.exceeds(table, 1) is None
    guide = (artifacts.ROOT / "docs" / "deploy-to-mwaa.md").read_text()
    assert f"at most {table.total:.2f} USD" in guide
    assert "more than MAX_USD=0.5" in price.exceeds(table, 0.5)
    assert "more than MAX_USD=1" in price.exceeds(price.at_most(model(tmp_path), 24), 1)


def test_what_has_no_price_is_not_made(tmp_path):
    config = model(tmp_path)
    deployment = config.deployment.model_copy(update={"instance_type": "ml.p5.48xlarge"})
    table = price.at_most(config.model_copy(update={"deployment": deployment}), 2)
    assert "ml.p5.48xlarge" in price.exceeds(table, 1000)


def test_each_attempt_has_jobs_of_other_names_and_a_gate_that_lets_its_few_rows_pass(tmp_path):
    first, second = model(tmp_path, 1), model(tmp_path, 2)
    assert [item.hyperparameters["seed"] for item in (first.training.candidates[0], second.training.candidates[0])] == [
        1,
        2,
    ]
    assert first.training.max_runtime_seconds == first.evaluation.max_runtime_seconds == small_model.JOB_SECONDS


def test_its_files_are_rows_of_the_original_data_in_six_layouts_of_which_one_is_refused(tmp_path):
    config, files = model(tmp_path), small_model.files()
    bench = SimpleNamespace(config=config)
    found = {name: stages._judged(bench, name, body) for name, body in files.items()}
    assert found[small_model.FILE][:2] == ("merged", small_model.ROWS)
    assert found["one_row.csv"][:2] == ("merged", 1)
    assert found["packed.csv.gz"][:2] == found["semicolons.csv"][:2] == ("merged", small_model.FEW)
    assert [name for name, (outcome, _, _) in found.items() if outcome == "refused"] == ["column_missing.csv"]
    assert small_model.files() == files, "the same bytes each time, else a repetition would land other files"


def test_refused_calls_of_the_deployments_roles_are_told_and_those_of_others_not(tmp_path):
    def event(role, code):
        arn = f"arn:aws:sts::111122223333:assumed-role/{role}/job"
        told = {
            "userIdentity": {"arn": arn},
            "eventName": "GetObject",
            "errorCode": code,
            "errorMessage": f"{role} may not",
        }
        return {"CloudTrailEvent": json.dumps(told)}

    trail, journal, seen = boto3.client("cloudtrail", **KEYS), Journal(tmp_path, HERE), []
    events = [
        event("retraining-verify-ab12-abalone-GlueRole-X", "AccessDenied"),
        event("retraining-verify-ab12-abalone-GlueRole-X", "NoSuchKey"),
        event("retraining-prod-abalone-GlueRole-X", "AccessDenied"),
    ]
    bench = SimpleNamespace(
        asks=lambda _: True,
        session=SimpleNamespace(client=lambda _: trail),
        deployment=settings.Deployment("verify-ab12", "us-east-1"),
        journal=journal,
        answer=lambda *told: seen.append(told),
    )
    with Stubber(trail) as stub:
        stub.add_response("lookup_events", {"Events": events})
        stages.denied(bench)
        stub.add_response("lookup_events", {"Events": events[1:]})
        stages.denied(bench)
    name = "retraining-verify-ab12-abalone-GlueRole-X"
    assert seen == [("denied", False, f"{name}: {name} may not"), ("denied", True, "none so far")]


@pytest.mark.parametrize(
    "wrong", [["--max-usd", "nan"], ["--max-usd", "-1"], ["--hours", "0"], ["--set", "PollSeconds"]]
)
def test_a_limit_that_is_none_is_refused(wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--env", "verify-ab12", *wrong], environment={})
    assert f"argument {wrong[0]}: invalid" in capsys.readouterr().err


def chosen(tmp_path, *more):
    return ["--env", "verify-ab12", "--rehearsal", "--folder", str(tmp_path), *more]


@pytest.fixture
def account(monkeypatch):
    """An account that answers who asks, and nothing else: whatever a refused verification asked for more would fail the test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in (
        "AIRFLOW__RETRAINING__ENVIRONMENT",
        "AIRFLOW_ENV_NAME",
        "AIRFLOW_HOME",
        "AIRFLOW__CORE__LOAD_EXAMPLES",
    ):
        monkeypatch.setenv(name, "")  # the command sets them: back to what they were afterwards
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
    monkeypatch.setattr(answers.Recorder, "watch", lambda self: None)
    sts = boto3.client("sts", region_name="us-east-1")
    arn = "arn:aws:iam::111122223333:user/me"
    with Stubber(sts) as stub:
        stub.add_response("get_caller_identity", {"Account": "111122223333", "Arn": arn, "UserId": "me"})
        monkeypatch.setattr(boto3.Session, "client", lambda self, name, **_: {"sts": sts}[name])
        yield stub
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("options", "typed", "said"),
    [
        (["--max-usd", "0.1"], "verify-ab12", "more than MAX_USD=0.1; nothing was made"),
        ([], "yes", "not confirmed; nothing was made"),
    ],
)
def test_nothing_is_made_before_the_price_is_agreed(account, tmp_path, capsys, options, typed, said):
    code = command.main(chosen(tmp_path, *options), ask=lambda _: typed, environment=LOCAL)
    found = capsys.readouterr()
    assert (code, said in found.err) == (2, True), found.err
    assert "Endpoint: ml.t2.medium until the timer, 2 h" in found.out
    assert not list(tmp_path.rglob("journal.json"))


def test_without_a_person_and_without_yes_nothing_is_made(account, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert command.main(chosen(tmp_path), environment=LOCAL) == 2
    assert "nobody is there to agree" in capsys.readouterr().err


@pytest.mark.parametrize(("left", "code"), [([], 0), (["bucket b"], 1)])
@pytest.mark.parametrize("known", [True, False])
def test_taking_down_is_well_when_nothing_is_left_and_keeps_the_outcome_of_what_ended(
    account, tmp_path, capsys, monkeypatch, left, code, known
):
    monkeypatch.setattr(command.removal, "remove", lambda *_: None)
    monkeypatch.setattr(command.removal, "leftovers", lambda *_: (left, []))
    place = Place("verify-ab12", LOCAL["AWS_ENDPOINT_URL"], "us-east-1", "111122223333")
    if known:
        Journal(tmp_path / "verify-ab12", place).begin()
    output = tmp_path / "outcome.json"
    assert command.main(chosen(tmp_path, "--down", "--output", str(output)), environment=LOCAL) == code
    assert output.exists() == known
    assert Journal(tmp_path / "verify-ab12", place).begun == (known and bool(left))
    assert ("bucket b" in capsys.readouterr().out) == bool(left)


def test_keys_of_the_root_user_are_refused_on_aws_where_they_take_on_no_role(account, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "place", lambda *_: AWS)
    monkeypatch.setattr(
        command, "check_caller", lambda session, _: session.client("sts").get_caller_identity() and Root
    )
    assert command.main(chosen(tmp_path), environment={}) == 2
    assert "the account's root user" in capsys.readouterr().err


class Root:
    account, arn = "111122223333", "arn:aws:iam::111122223333:root"


def test_a_journal_outlives_the_command_and_belongs_to_one_account(tmp_path):
    journal = Journal(tmp_path, HERE)
    assert not journal.begun
    journal.begin()
    journal.end_stage("preflight", DONE, 1.23)
    journal.keep("claim_new_data", {"run_key": "v1"})
    journal.answer("event", questions.AS_EXPECTED, "one message")
    again = Journal(tmp_path, HERE)
    assert again.begun and again.attempt == 1
    assert again.stages["preflight"]["seconds"] == 1.2
    assert again.results == {"claim_new_data": {"run_key": "v1"}}
    with pytest.raises(JournalError, match=r"is of a verification in account 111122223333.*choose another ENV"):
        Journal(tmp_path, Place("verify-ab12", AWS, "us-east-1", "444455556666"))


def test_a_closed_journal_makes_room_for_the_next_attempt(tmp_path):
    first = Journal(tmp_path, HERE)
    first.end_stage("train", FAILED, 1, "no capacity")
    assert first.failed == "train"
    first.close()
    second = Journal(tmp_path, HERE)
    assert (second.attempt, second.begun, second.failed, dict(second.stages)) == (2, False, None, {})


def test_a_journal_that_a_kill_cut_in_writing_is_the_one_before(tmp_path):
    journal = Journal(tmp_path, HERE)
    journal.begin()
    (tmp_path / "journal.new").write_text('{"place": {')
    assert Journal(tmp_path, HERE).begun


def recorded(tmp_path, *parameters):
    """Record calls of a client that is stubbed; return what was written."""
    recorder = answers.Recorder(tmp_path / "answers.jsonl")
    recorder.begin("111122223333")
    recorder.stage = "guard"
    session = boto3.Session(**KEYS)
    recorder._attach(session._session)
    sts = session.client("sts")
    keys = {
        "AccessKeyId": "A" * 20,
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": "2026-11-26T00:00:00Z",
    }
    with Stubber(sts) as stub:
        for role in parameters:
            stub.add_response("assume_role", {"Credentials": keys})
            sts.assume_role(RoleArn=role, RoleSessionName="verification")
        stub.add_client_error("assume_role", "AccessDenied", "User of 111122223333 may not", 403)
        with pytest.raises(sts.exceptions.ClientError):
            sts.assume_role(RoleArn=parameters[0], RoleSessionName="verification")
    return answers.recorded(recorder.path)


def test_answers_are_recorded_once_per_form_without_keys_and_account(tmp_path):
    roles = [f"arn:aws:iam::111122223333:role/{name}" for name in ("one", "two")]
    allowed, refused = recorded(tmp_path, *roles)
    assert allowed["request"] == {"RoleArn": "arn:aws:iam::000000000000:role/one", "RoleSessionName": "verification"}
    assert (allowed["stage"], allowed["service"], allowed["operation"]) == ("guard", "sts", "AssumeRole")
    assert set(allowed["shape"]["Credentials"]) == {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    assert set(allowed["answer"]["Credentials"]) == {"Expiration"}
    assert refused["error"] == {"Code": "AccessDenied", "Message": "User of 000000000000 may not"}
    text = (tmp_path / "answers.jsonl").read_text()
    assert "111122223333" not in text and "secret" not in text.replace("SecretAccessKey", "")
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('{"cut off by a ki')
    assert len(recorded(tmp_path, *roles)) == 2, "a repetition records nothing twice, and reads no half a line"


def test_every_question_is_of_a_stage_and_the_outcome_has_them_all(tmp_path):
    names = [item.name for item in questions.QUESTIONS]
    assert len(names) == len(set(names))
    order = [stage.name for stage in stages.STAGES] + ["close"]
    assert [item.stage for item in questions.QUESTIONS] == sorted(
        (item.stage for item in questions.QUESTIONS), key=order.index
    )
    source = "".join(
        (artifacts.ROOT / "deploy" / "verification" / f"{name}.py").read_text() for name in ("stages", "__main__")
    )
    assert not [name for name in names if f'answer("{name}"' not in source]
    journal = Journal(tmp_path, HERE)
    journal.answer("event", questions.DIFFERS, "no message")
    journal.end_stage("land", FAILED, 1, "arn:aws:iam::111122223333:role/x may not")
    found = outcome.document(journal, tmp_path / "answers.jsonl", ["bucket b"])
    assert [item["name"] for item in found["questions"]] == names
    assert "  1 differs: event" in outcome.told(found) and "  bucket b" in outcome.told(found)
    assert not outcome.right(found)
    assert found["stages"]["land"]["reason"] == "arn:aws:iam::000000000000:role/x may not"


UNPLAYED = {"start", "end", "after_crawl", "after_training"}  # they do nothing
UNPLAYED |= {"settle_endpoint"}  # what close_endpoint plays, too
UNPLAYED |= {"approved", "rejected", "ask_for_approval", "await_approval"}  # ways that the run does not go


def test_every_task_of_the_dag_is_played_or_left_out_for_a_reason(tmp_path):
    dag = retraining_dag(small_model.write(tmp_path, 1))
    source = (artifacts.ROOT / "deploy" / "verification" / "stages.py").read_text()
    played = {name for call in re.findall(r"player\.play\(([^)]*)\)", source) for name in re.findall(r'"(\w+)"', call)}
    assert set(dag.task_dict) - played == UNPLAYED
    assert played <= set(dag.task_dict)


def on_aws(tmp_path, **clients):
    """A bench whose session has these clients; what was answered is in ``seen``."""
    seen = []
    bench = SimpleNamespace(
        asks=lambda _: True,
        session=SimpleNamespace(client=lambda name: clients[name], region_name="us-east-1"),
        deployment=settings.Deployment("verify-ab12", "us-east-1"),
        config=model(tmp_path),
        estate=None,
        answer=lambda *told: seen.append(told),
        seen=seen,
    )
    return bench


def test_images_are_looked_up_in_their_own_registries(tmp_path):
    ecr = boto3.client("ecr", **KEYS)
    asked = {
        "registryId": "683313688378",
        "repositoryName": "sagemaker-scikit-learn",
        "imageIds": [{"imageTag": "1.9-0-cpu-py3"}],
    }
    with Stubber(ecr) as stub:
        stub.add_response("describe_images", {"imageDetails": [{"imageDigest": "sha256:" + "a" * 64}]}, asked)
        assert stages._images(on_aws(tmp_path, ecr=ecr)) == (
            True,
            "sagemaker-scikit-learn:1.9-0-cpu-py3 is sha256:aaaaaaaaaaaa",
        )
        stub.add_client_error("describe_images", "ImageNotFoundException", "no such tag")
        right, words = stages._images(on_aws(tmp_path, ecr=ecr))
        assert not right and "no such tag" in words


def test_access_analyzer_is_asked_about_the_policies_of_this_deployment_and_no_other(tmp_path):
    iam, analyzer = boto3.client("iam", **KEYS), boto3.client("accessanalyzer", **KEYS)
    arn = "arn:aws:iam::111122223333:policy/retraining-verify-ab12-abalone-access-DataAccess-X"
    listed = [
        {"PolicyName": arn.rpartition("/")[2], "Arn": arn, "DefaultVersionId": "v1"},
        {"PolicyName": "retraining-prod-abalone-access-DataAccess-X", "Arn": arn, "DefaultVersionId": "v1"},
    ]
    finding = {
        "findingDetails": "",
        "findingType": "ERROR",
        "issueCode": "INVALID_ACTION",
        "learnMoreLink": "",
        "locations": [],
    }
    for findings, expected in (
        ([{**finding, "findingType": "SUGGESTION"}], (True, "no error")),
        ([finding], (False, f"{listed[0]['PolicyName']}: INVALID_ACTION")),
    ):
        with Stubber(iam) as one, Stubber(analyzer) as two:
            one.add_response("list_policies", {"Policies": listed}, {"Scope": "Local"})
            version = {"PolicyVersion": {"Document": quote('{"Statement": []}')}}
            one.add_response("get_policy_version", version, {"PolicyArn": arn, "VersionId": "v1"})
            asked = {"policyDocument": '{"Statement": []}', "policyType": "IDENTITY_POLICY"}
            two.add_response("validate_policy", {"findings": findings}, asked)
            assert stages._policies(on_aws(tmp_path, iam=iam, accessanalyzer=analyzer)) == expected


@pytest.mark.parametrize("works", [True, False])
def test_the_timer_is_set_to_minutes_from_now_and_waited_for(tmp_path, monkeypatch, works):
    bench, clock, set_to = on_aws(tmp_path), iter(range(0, 100_000, 100)), []
    bench.guard = set_to.append
    standing = iter([["verify-ab12-abalone"], [] if works else ["verify-ab12-abalone"]])
    monkeypatch.setattr(stages.removal, "endpoints", lambda _: next(standing, ["verify-ab12-abalone"]))
    monkeypatch.setattr(stages, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None))
    stages.timer(bench)
    assert set_to == [stages.TIMER_SECONDS]
    [(question, right, words)] = bench.seen
    assert (question, right) == ("timer", works)
    assert ("the endpoint was gone after 200 s" if works else "the endpoint stands") in words


def test_all_is_well_only_when_every_question_was_answered_and_nothing_is_left(tmp_path):
    journal = Journal(tmp_path, HERE)
    for item in questions.QUESTIONS:
        journal.answer(item.name, questions.NEEDS_AWS if item.only_aws else questions.AS_EXPECTED, "seen")
    place = tmp_path / "answers.jsonl"
    assert outcome.right(outcome.document(journal, place, []))
    assert not outcome.right(outcome.document(journal, place, ["bucket b"]))
    assert not outcome.right(outcome.document(journal, place, None))
    journal.answer("event", questions.DIFFERS, "no message")
    assert not outcome.right(outcome.document(journal, place, []))


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(artifacts.ROOT / "docs"))
    import verified_page

    return verified_page


def test_answers_of_aws_come_into_the_page_and_stay_there(page, tmp_path):
    found = {"where": AWS, "region": "eu-central-1", "questions": []}
    at = {"at": "2026-11-26T20:00:00Z"}
    texts = {item.name: item.asks for item in questions.QUESTIONS}
    found["questions"] = [
        {"asks": texts["event"], "state": questions.AS_EXPECTED, "seen": "one", **at},
        {"asks": texts["crawl"], "state": questions.DIFFERS, "seen": "no table | at all", **at},
        {"asks": texts["merge"], "state": questions.NOT_REACHED, "seen": "", "at": None},
    ]
    before = page.table("", None)
    after = page.table(before, found)
    assert f"| {texts['event']} | as expected | as expected, eu-central-1, 2026-11-26 |" in after
    assert f"| {texts['crawl']} | as expected | differs, eu-central-1, 2026-11-26: no table \\| at all |" in after
    assert f"| {texts['merge']} | as expected | not asked yet |" in after
    assert page.table(after, None) == after
    assert page.table(before, {**found, "where": "http://127.0.0.1:1"}) == before


def test_the_outcome_of_a_rehearsal_is_no_answer_of_aws(page, tmp_path):
    path = tmp_path / "out.json"
    path.write_text(json.dumps({"where": "http://127.0.0.1:1", "region": "us-east-1", "questions": []}))
    assert page.page(path) == page.page(tmp_path / "nothing")


def test_the_error_of_a_refused_place_is_one_of_the_command(capsys):
    assert command.main(["--env", "prod", "--rehearsal"], environment=LOCAL) == 2
    assert "its name begins with verify-" in capsys.readouterr().err
    assert issubclass(PreflightError, RuntimeError)
