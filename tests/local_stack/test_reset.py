import json
import sqlite3

import pytest

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
