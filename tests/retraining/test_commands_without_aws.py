"""A person's command that AWS does not answer, or refuses, ends in one line."""

import pytest
from local_account import free_port

from retraining.command import dataset, query

CALLS = [(query, ["abalone", "select 1"]), (dataset, ["versions", "abalone"])]


@pytest.mark.parametrize(("command", "arguments"), CALLS)
def test_nothing_answers(command, arguments, monkeypatch, capsys):
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert command.main(arguments) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: nothing answers at {endpoint}") and "make up" in line


@pytest.mark.local_aws
@pytest.mark.parametrize(("command", "arguments"), CALLS)
def test_the_bucket_is_gone(command, arguments, monkeypatch, capsys, access, platform):
    gone = platform.model_copy(update={"bucket": "gone-bucket"})
    monkeypatch.setattr(command, "AwsAccess", lambda: access)
    monkeypatch.setattr(command, "reach_platform", lambda parameter, access: gone)
    assert command.main(arguments) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "NoSuchBucket" in line
