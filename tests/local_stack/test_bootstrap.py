"""Which environments a verb makes, and that Spark's classes are recorded once, whatever comes of it."""

import subprocess
import threading

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
    assert sorted(calls) == ["airflow", "jobs", "local_aws", "record"]
    assert ("could not be recorded" in capsys.readouterr().out) is bool(code)
    assert bootstrap.main([]) == 0
    assert calls[4:] == []


def test_nothing_is_recorded_for_environments_without_jobs(world):
    calls, _ = world
    assert bootstrap.main(["airflow", "dev"]) == 0
    assert sorted(calls) == ["airflow", "dev"]
    assert bootstrap.main(["local_aws"]) == 0
    assert bootstrap.main(["jobs"]) == 0
    assert calls[2:] == ["local_aws", "jobs", "record"]


def test_classes_are_recorded_while_an_environment_that_they_do_not_need_is_still_made(world, monkeypatch):
    calls, _ = world
    recorded, create, run = threading.Event(), bootstrap._create, subprocess.run

    def waiting(uv, interpreter, name):
        if name == "airflow":
            assert recorded.wait(60)
        create(uv, interpreter, name)

    def recording(command, **options):
        done = run(command, **options)
        recorded.set()
        return done

    monkeypatch.setattr(bootstrap, "_create", waiting)
    monkeypatch.setattr(subprocess, "run", recording)
    assert bootstrap.main([]) == 0
    assert sorted(calls[:2]) == ["jobs", "local_aws"]
    assert calls[2:] == ["record", "airflow"]


def test_an_environment_that_cannot_be_made_leaves_the_others_and_is_told(world, monkeypatch, capsys):
    calls, _ = world
    create = bootstrap._create

    def failing(uv, interpreter, name):
        if name == "local_aws":
            raise subprocess.CalledProcessError(2, ["uv", "pip", "install"])
        create(uv, interpreter, name)

    monkeypatch.setattr(bootstrap, "_create", failing)
    assert bootstrap.main([]) == 1
    assert sorted(calls) == ["airflow", "jobs"]
    assert "uv pip install ... ended with 2" in capsys.readouterr().err
