"""Whose account an experiment runs in, and that nobody pays by accident."""

import io
import os

import pytest

from experiment import account
from local_stack import layout
from local_stack.airflow_settings import use_local_account


def test_an_experiment_is_local_also_in_a_shell_that_is_logged_in_to_aws(monkeypatch, tmp_path):
    monkeypatch.setattr(layout, "SECRETS", tmp_path / "secrets.json")
    monkeypatch.setattr(
        os, "environ", {"AWS_PROFILE": "company", "AWS_SESSION_TOKEN": "t", "AWS_REGION": "eu-west-1", "HOME": "/h"}
    )
    use_local_account()
    assert os.environ["AWS_ENDPOINT_URL"] == layout.AWS_URL
    assert {"AWS_PROFILE", "AWS_SESSION_TOKEN"}.isdisjoint(os.environ)
    assert os.environ["AWS_REGION"] == layout.REGION
    assert os.environ["HOME"] == "/h"


@pytest.mark.parametrize(
    ("endpoint", "given", "answer", "asked", "refused"),
    [
        ("http://127.0.0.1:4566", False, False, False, False),
        ("", False, True, True, False),
        ("", False, False, True, True),
        ("", True, False, False, False),
        ("https://vpce.example.amazonaws.com", False, False, True, True),
    ],
)
def test_paid_jobs_need_a_yes(monkeypatch, endpoint, given, answer, asked, refused):
    monkeypatch.setattr(os, "environ", {"AWS_ENDPOINT_URL": endpoint} if endpoint else {})
    questions = []

    def ask(question):
        questions.append(question)
        return answer

    consent = account.Consent(given, ask)
    if refused:
        with pytest.raises(account.RefusedError, match="no job was started in account 123"):
            consent.to("account 123 in eu-west-1")
    else:
        consent.to("account 123 in eu-west-1")
    assert bool(questions) is asked


def test_where_nobody_can_answer_the_answer_is_no(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(account.RefusedError, match="YES=1"):
        account.Consent().to("account 123")
