"""A stack is used by the next verb as it was started: on its ports, and with or without policies enforced."""

import json
import os
import subprocess
import sys

import pytest

from local_stack import __main__ as command
from local_stack import layout, processes, stack, started
from local_stack.verbs import reset

PORTS = {"LOCAL_AWS_PORT": "4977", "AIRFLOW_PORT": "8977"}
FILE = "data/surveys/good/2025-03-02_north_bay.csv"


def shell(local, **given: str) -> dict[str, str]:
    """Return an environment in which nothing but `given` is said of the stack."""
    own = ("AIRFLOW_", "AWS_", "LOCAL_AWS_", "RETRAINING_", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "RETRAINING_LOCAL_DIR": str(local), **given}


def python(code: str, environment: dict[str, str]) -> str:
    call = [sys.executable, "-c", code]
    return subprocess.run(call, cwd=layout.ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def claim_to_run(folder) -> None:
    """Let this very process stand for local_aws."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"pid": os.getpid(), "started": processes.start_time(os.getpid())}
    (folder / "local_aws.json").write_text(json.dumps(record))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "RUN", tmp_path / "run")
    for name in (started.ENFORCE, *PORTS):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "run"


@pytest.mark.parametrize("deployment", ["dev", "staging"])
def test_the_next_verb_finds_the_ports_of_its_deployment_and_no_other_one_does(tmp_path, deployment):
    of = {name: {"AIRFLOW__RETRAINING__ENVIRONMENT": name} for name in ("dev", "staging")}
    python("from local_stack import started; started.note(False)", shell(tmp_path, **of[deployment], **PORTS))
    ask = "from local_stack import layout; print(layout.AWS_URL, layout.AIRFLOW_URL)"
    found = {name: python(ask, shell(tmp_path, **variables)).split() for name, variables in of.items()}
    assert found.pop(deployment) == ["http://127.0.0.1:4977", "http://127.0.0.1:8977"]
    assert list(found.values()) == [["http://127.0.0.1:4566", "http://127.0.0.1:8080"]]
    assert python(ask, shell(tmp_path, **of[deployment], LOCAL_AWS_PORT="4999")).startswith("http://127.0.0.1:4999 ")


@pytest.mark.parametrize("mode", [True, False])
def test_a_stack_that_runs_keeps_its_mode_and_one_that_does_not_is_started_as_asked(run, monkeypatch, mode):
    started.note(mode)
    assert started.enforced() is False
    claim_to_run(run)
    assert started.enforced() is mode
    (run / "local_aws.json").unlink()
    monkeypatch.setenv(started.ENFORCE, "1")
    assert started.enforced() is True


@pytest.mark.parametrize(("mode", "asked", "words"), [(True, "0", "with ENFORCE=1"), (False, "1", "without ENFORCE=1")])
@pytest.mark.parametrize("verb", [["up"], ["demo"], ["retrain", FILE], ["run", "abalone_retraining"]])
def test_a_verb_that_asks_for_the_other_mode_is_refused_in_one_line(run, monkeypatch, capsys, mode, asked, words, verb):
    started.note(mode)
    claim_to_run(run)
    monkeypatch.setenv(started.ENFORCE, asked)
    assert command.main(["--only-check", *verb]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert words in line and "'make down' first" in line
    monkeypatch.setenv(started.ENFORCE, str(int(mode)))
    assert command.main(["--only-check", *verb]) == 0


@pytest.mark.parametrize("variable", PORTS)
@pytest.mark.parametrize("verb", [["up"], ["status"], ["env"], ["call", "--rows", "3"]])
def test_a_verb_that_names_another_port_than_that_of_the_stack_is_refused_in_one_line(
    run, monkeypatch, capsys, variable, verb
):
    started.note(False)
    claim_to_run(run)
    monkeypatch.setenv(variable, "4999")
    assert command.main(["--only-check", *verb]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{variable}=" in line and "not 4999" in line


def test_a_stack_that_runs_keeps_no_one_from_a_deployment_to_aws(run, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")]:
        monkeypatch.delenv(name)
    started.note(False)
    claim_to_run(run)
    monkeypatch.setenv("LOCAL_AWS_PORT", "4999")
    assert command.main(["--only-check", "call", "--env", "prod"]) == 0


@pytest.mark.parametrize("verb", ["up", f"retrain FILE={FILE}", "run DAG=abalone_retraining"])
def test_enforce_behind_a_verb_of_make_is_not_ignored(tmp_path, verb):
    python("from local_stack import started; started.note(False)", shell(tmp_path))
    claim_to_run(tmp_path / "run")
    call = ["make", *verb.split(), "ENFORCE=1", "SETUP=true", f"RUN={sys.executable} -m local_stack --only-check"]
    done = subprocess.run(call, cwd=layout.ROOT, env=shell(tmp_path), capture_output=True, text=True, check=False)
    assert "was started without ENFORCE=1" in done.stderr


@pytest.mark.parametrize(("asked", "expected"), [(None, True), ("0", False), ("1", True)])
def test_a_reset_of_one_model_starts_the_stack_again_in_its_mode(run, tmp_path, monkeypatch, asked, expected):
    started.note(True)
    claim_to_run(run)
    if asked:
        monkeypatch.setenv(started.ENFORCE, asked)
    monkeypatch.setattr(layout, "AWS_DATA", tmp_path)
    monkeypatch.setattr(stack, "down", lambda say: (run / "local_aws.json").unlink())
    monkeypatch.setattr(stack, "start_local_aws", lambda say: started.note(False))
    for name in ("delete_service", "empty_catalog", "empty_bucket", "forget_jobs", "forget_runs"):
        monkeypatch.setattr(reset, name, lambda *_: 0)
    (tmp_path / "state").mkdir()
    again = []
    monkeypatch.setattr(stack, "up", lambda say, enforce: again.append(enforce))
    reset.one_model("abalone", lambda line: None)
    assert again == [expected]


@pytest.mark.parametrize("enforce", [True, False])
def test_local_aws_is_started_in_the_mode_that_is_noted(run, tmp_path, monkeypatch, enforce):
    commands = []
    monkeypatch.setattr(layout, "SECRETS", tmp_path / "secrets.json")
    monkeypatch.setattr(processes, "start", lambda name, made, environment: commands.append(made))
    monkeypatch.setattr(stack, "_wait", lambda *_: None)
    stack.start_local_aws(lambda line: None, "/java", enforce)
    assert ("--enforce-policies" in commands[0]) is enforce
    assert layout.started_with()["enforce"] is enforce
