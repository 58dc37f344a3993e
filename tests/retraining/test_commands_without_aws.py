"""A person's command that AWS does not answer, or refuses, ends in one line."""

import pytest
from local_account import free_port

from retraining.command import dataset, profile, query, version_rows

CALLS = [
    (query, version_rows, ["abalone", "select 1"]),
    (profile, version_rows, ["abalone"]),
    (dataset, dataset, ["versions", "abalone"]),
]
"""A command, the module in which it reaches the platform, and its arguments."""


@pytest.mark.parametrize(("command", "reaches", "arguments"), CALLS)
def test_nothing_answers(command, reaches, arguments, monkeypatch, capsys):
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert command.main(arguments) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: nothing answers at {endpoint}") and "make up" in line


@pytest.mark.local_aws
@pytest.mark.parametrize(("command", "reaches", "arguments"), CALLS)
def test_the_bucket_is_gone(command, reaches, arguments, monkeypatch, capsys, access, platform):
    gone = platform.model_copy(update={"bucket": "gone-bucket"})
    monkeypatch.setattr(reaches, "AwsAccess", lambda: access)
    monkeypatch.setattr(reaches, "reach_platform", lambda parameter, access: gone)
    assert command.main(arguments) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "NoSuchBucket" in line
