"""``make survey`` as it is typed, without a stack."""

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from local_stack import asking, layout
from survey import __main__ as command
from survey import current_data


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


@pytest.mark.parametrize("late", [set(), {"x-1", "x-2"}], ids=["captured", "late"])
def test_who_asks_the_endpoint_waits_for_what_it_answered_to_be_captured(no_stack, monkeypatch, capsys, late):
    waited: list[list[str]] = []
    made = current_data.from_original
    monkeypatch.setattr(current_data, "reach", lambda config: None)
    platform = SimpleNamespace(bucket="data")
    monkeypatch.setattr(command, "client", lambda service, access: service)
    monkeypatch.setattr(current_data, "find", lambda *given: replace(made(*given[:4]), platform=platform))
    monkeypatch.setattr(asking, "ask", lambda runtime, endpoint, bodies, ids: list(ids)[1:])
    monkeypatch.setattr(asking, "not_captured", lambda s3, bucket, config, ids, since: waited.append(ids) or late)
    assert command.main(["--method", "replay", "--rows", "5", "--seed", "1", "--predict"]) == 0
    said = capsys.readouterr().out
    assert "answered 4 requests and refused 1" in said
    assert [name.rpartition("-")[2] for name in waited[0]] == ["2", "3", "4", "5"]
    assert ("2 of the requests are not captured yet: they count at a later look of abalone_monitor" in said) == bool(
        late
    )
