"""``make survey`` as it is typed, without a stack."""

import csv
from pathlib import Path

import pytest

from local_stack import layout
from survey import __main__ as command


@pytest.fixture
def no_stack(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "use_local_account", lambda: None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    return tmp_path


def test_a_replay_brings_real_rows_that_the_first_data_set_does_not_have(no_stack):
    assert command.main(["--method", "replay", "--rows", "25", "--seed", "1"]) == 0
    [file] = no_stack.glob("files/*/survey.csv")
    rows = [tuple(row) for row in csv.reader(file.read_text().splitlines())]
    real = {tuple(row) for row in csv.reader(Path(layout.ROOT / "data" / "abalone.csv").read_text().splitlines())}
    made = [row for row in rows if row[0] in ("M", "F", "I")]
    assert len(made) == 25
    assert {tuple(map(str, row)) for row in made} <= real
    assert all(float(row[1]) <= 0.45 for row in made)
