import io
import json

import pytest

from local_stack import __main__ as command
from local_stack import history

NOTE = {
    "runs": {"abalone_retraining manual__1": "success"},
    "objects": {"abalone/dataset/log/000001.json": '"a"', "abalone/new/x.csv": '"b"'},
    "packages": {"arn:1": "Approved"},
    "service": {"status": "InService", "config": "abalone-config-1", "rings": 9.5},
}


def changed(kind, **values):
    return {**NOTE, kind: {**NOTE[kind], **values}}


def test_what_is_new_after_a_restart_is_no_loss():
    after = changed("runs", later="failed") | {"objects": {**NOTE["objects"], "abalone/new/y.csv": '"c"'}}
    assert history.lost(NOTE, after) == []


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        ({**NOTE, "runs": {}}, "runs: abalone_retraining manual__1 was success and is gone"),
        ({**NOTE, "packages": {}}, "packages: arn:1 was Approved and is gone"),
        (changed("service", rings=9.6), "service: rings was 9.5 and is 9.6"),
        (changed("service", status="Failed"), "service: status was InService and is Failed"),
        (
            changed("objects", **{"abalone/new/x.csv": '"z"'}),
            'objects: abalone/new/x.csv was "b" and is "z"',
        ),
    ],
)
def test_what_is_gone_or_different_is_named(after, sentence):
    assert history.lost(NOTE, after) == [sentence]


def test_the_command_fails_when_something_is_lost(monkeypatch, capsys, tmp_path):
    earlier = tmp_path / "before.json"
    earlier.write_text(json.dumps(NOTE))
    monkeypatch.setattr(history, "now", lambda: NOTE)
    assert command.main(["history", "--compare", str(earlier)]) == 0
    assert "nothing is lost: 1 ended runs, 2 objects, 1 dataset versions" in capsys.readouterr().out
    monkeypatch.setattr(history, "now", lambda: changed("service", config="abalone-config-0"))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(NOTE)))
    assert command.main(["history", "--compare", "-"]) == 1
    assert "LOST service: config was abalone-config-1" in capsys.readouterr().err
