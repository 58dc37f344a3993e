import json

import pytest

from local_stack import __main__ as command
from local_stack import demo, layout


def version(key):
    return {"files": [{"key": key}]}


def test_the_demo_plays_on_an_empty_data_set_and_on_its_own():
    demo.check_own_data(None)
    demo.check_own_data(version("abalone/raw/abalone.csv"))


def test_the_demo_says_what_it_found_and_how_to_start_over_before_it_starts_anything(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layout, "AWS_DATA", tmp_path)
    monkeypatch.setattr("local_stack.stack.up", lambda *_: pytest.fail("the stack was started"))
    log = tmp_path / "s3" / "000000000000" / "retraining-dev-abalone-000000000000-us-east-1" / demo.FIRST_VERSION
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps(version("abalone/new/large.csv")))
    assert command.main(["demo"]) == 2
    said = capsys.readouterr().err
    assert "holds other data (abalone/new/large.csv)" in said
    assert "'make reset MODEL=abalone'" in said
