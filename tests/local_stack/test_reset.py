import json
import sqlite3

import pytest
from boto3.session import Session
from local_account import Account

from deploy import data_platform
from local_stack import __main__ as command
from local_stack import layout, stack
from local_stack.verbs import reset


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ("AWS_DATA", "AIRFLOW_HOME", "LOGS", "RUN"):
        monkeypatch.setattr(layout, name, tmp_path / name)
        (tmp_path / name).mkdir()
    for name in ("DEMO_JSON", "REPORT"):
        monkeypatch.setattr(layout, name, tmp_path / name)
        (tmp_path / name).touch()
    monkeypatch.setattr(stack, "down", lambda say: None)
    return tmp_path


def test_everything_is_deleted_also_the_report_and_the_numbers_of_the_demo(folders):
    reset.everything(lambda line: None)
    assert list(folders.iterdir()) == []


@pytest.mark.parametrize("answer", ["", "y", "no"])
def test_on_a_terminal_nothing_is_deleted_without_a_yes(folders, monkeypatch, capsys, answer):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert command.main(["reset"]) == 2
    assert "nothing was deleted" in capsys.readouterr().err
    assert len(list(folders.iterdir())) == 6


def test_the_question_says_what_is_deleted():
    asked = []
    reset.confirm("cars", lambda question: asked.append(question) or " YES ")
    assert asked[0].startswith("This deletes data, models, endpoint and runs of model cars on this machine")
    reset.confirm(None, None)


def test_only_the_jobs_of_the_model_are_forgotten_so_that_the_next_run_does_not_take_their_work():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE documents (kind TEXT, name TEXT, body TEXT)")
    mine, other = reset.bucket_of("abalone"), reset.bucket_of("abalone-site")
    rows = [
        ("training-job", "abalone-train-1", mine),
        ("glue-run", "jr_1", mine),
        ("client-token", "t", mine),
        ("tags", "arn:aws:sagemaker:us-east-1:0:training-job/abalone-train-1", ""),
        ("training-job", "abalone-site-train-1", other),
        ("tags", "arn:aws:sagemaker:us-east-1:0:training-job/abalone-site-train-1", ""),
        ("crawler", "retraining-abalone-landing", mine),
    ]
    connection.executemany(
        "INSERT INTO documents VALUES (?, ?, ?)",
        [(kind, name, json.dumps({"uri": f"s3://{bucket}/x"})) for kind, name, bucket in rows],
    )
    assert reset.forget_jobs(connection, "abalone") == 3
    left = [name for (name,) in connection.execute("SELECT name FROM documents")]
    assert left == [rows[4][1], rows[5][1], rows[6][1]]
    connection.close()


@pytest.mark.local_aws
def test_after_a_reset_the_catalog_of_the_model_is_empty_and_that_of_another_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "AIRFLOW_HOME", tmp_path / "airflow")
    monkeypatch.setattr(layout, "AWS_DATA", tmp_path / "aws")
    monkeypatch.setattr(stack, "down", lambda say: None)
    monkeypatch.setattr(stack, "start_local_aws", lambda say: None)
    monkeypatch.setattr(reset.started, "running", lambda: False)
    monkeypatch.setattr(reset, "forget_runs", list)
    with Account(layout.AWS_DATA) as account, pytest.MonkeyPatch.context() as patch:
        for name, value in account.variables.items():
            patch.setenv(name, value)
        session = Session(region_name="us-east-1")
        monkeypatch.setattr(stack, "aws_session", lambda: session)
        databases = {}
        for model in ("sea-shell", "other"):
            data_platform.deploy(session, "dev", model, {}, lambda line: None)
            platform = account.ssm.get_parameter(Name=f"/retraining/dev/{model}/platform")["Parameter"]["Value"]
            databases[model] = json.loads(platform)["glue_database"]
            for table in ("landing_new", "dataset"):
                account.glue.create_table(DatabaseName=databases[model], TableInput={"Name": table})
        reset.one_model("sea-shell", lambda line: None)
        left = {
            model: {table["Name"] for table in account.glue.get_tables(DatabaseName=database)["TableList"]}
            for model, database in databases.items()
        }
    assert left == {"sea-shell": set(), "other": {"landing_new", "dataset"}}
