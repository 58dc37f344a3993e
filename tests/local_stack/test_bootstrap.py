"""Which environments a verb makes, and that Spark's classes are recorded once, whatever comes of it."""

import subprocess

import pytest

from local_stack import bootstrap, layout


@pytest.fixture
def world(tmp_path, monkeypatch):
    """No environment exists; making one and recording are noted, and recording ends with what ``codes`` says."""
    calls, codes, made = [], [0], set()
    monkeypatch.setattr(layout, "LOCAL", tmp_path)
    monkeypatch.setattr(layout, "VENVS", tmp_path / "venvs")
    monkeypatch.setattr(bootstrap, "find_python", lambda: "python3")
    monkeypatch.setattr(bootstrap, "find_java", lambda: "java")
    monkeypatch.setattr(bootstrap, "check_disk", lambda folder: None)
    monkeypatch.setattr(bootstrap, "_uv", lambda interpreter: tmp_path / "uv")
    monkeypatch.setattr(bootstrap, "_is_current", lambda name: name in made)

    def create(uv, interpreter, name):
        (layout.VENVS / name).mkdir(parents=True, exist_ok=True)
        made.add(name)
        calls.append(name)

    def run(command, **options):
        calls.append("record")
        return subprocess.CompletedProcess(command, codes[0])

    monkeypatch.setattr(bootstrap, "_create", create)
    monkeypatch.setattr(subprocess, "run", run)
    return calls, codes


@pytest.mark.parametrize("code", [0, 1])
def test_classes_are_recorded_once_also_when_that_fails(world, code, capsys):
    calls, codes = world
    codes[0] = code
    assert bootstrap.main([]) == 0
    assert calls == ["local_aws", "jobs", "airflow", "record"]
    assert ("failed" in capsys.readouterr().out) is bool(code)
    assert bootstrap.main([]) == 0
    assert calls[4:] == []


def test_nothing_is_recorded_for_environments_without_jobs(world):
    calls, _ = world
    assert bootstrap.main(["airflow", "dev"]) == 0
    assert calls == ["airflow", "dev"]
    assert bootstrap.main(["local_aws"]) == 0
    assert bootstrap.main(["jobs"]) == 0
    assert calls == ["airflow", "dev", "local_aws", "jobs", "record"]
