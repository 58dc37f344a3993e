"""Which environments a verb makes, and that Spark's classes are recorded when that is asked for: once, whatever comes of it."""

import subprocess
import sys
import threading

import pytest

from local_stack import bootstrap, layout

CREATE = bootstrap._create
ALL = ["local_aws", "jobs", "airflow", "spark-classes"]


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
    assert bootstrap.main(ALL) == 0
    assert sorted(calls) == ["airflow", "jobs", "local_aws", "record"]
    assert ("could not be recorded" in capsys.readouterr().out) is bool(code)
    assert bootstrap.main(ALL) == 0
    assert calls[4:] == []


def test_nothing_is_recorded_unless_it_is_asked_for(world):
    calls, _ = world
    assert bootstrap.main([]) == 0
    assert sorted(calls) == ["airflow", "jobs", "local_aws"]
    assert bootstrap.main(["spark-classes"]) == 0
    assert calls[3:] == ["record"]


def test_what_they_are_recorded_with_is_made_first(world):
    calls, _ = world
    assert bootstrap.main(["dev", "spark-classes"]) == 0
    assert sorted(calls) == ["dev", "jobs", "local_aws", "record"]
    assert calls.index("record") > max(calls.index("jobs"), calls.index("local_aws"))


def test_tests_and_the_benchmark_of_the_demo_ask_for_it_and_the_demo_does_not():
    def asked(verb):
        command = ["make", "--dry-run", verb, "RUN=true"]
        done = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, check=True)
        return "spark-classes" in done.stdout

    assert [asked(verb) for verb in ("test", "bench-etl", "bench-demo")] == [True] * 3
    assert [asked(verb) for verb in ("demo", "up", "setup")] == [False] * 3


def test_a_misspelt_name_is_answered_with_those_that_exist_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layout, "VENVS", tmp_path / "venvs")
    monkeypatch.setattr(bootstrap, "find_python", lambda: pytest.fail("it was about to be made"))
    assert bootstrap.main(["spark-clases"]) == 2
    assert "there is no environment 'spark-clases'; known are airflow, " in (said := capsys.readouterr().err)
    assert "and the step spark-classes" in said


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
    assert bootstrap.main(ALL) == 0
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
    assert bootstrap.main(ALL) == 1
    assert sorted(calls) == ["airflow", "jobs"]
    assert "uv pip install ... ended with 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "after"),
    [("jobs", ["compileall"]), ("xgboost", ["compileall"]), ("airflow", ["local_stack.airflow_database"])],
)
def test_an_environment_is_compiled_ahead_unless_its_processes_do_it(world, monkeypatch, name, after):
    """Airflow's has its database made meanwhile, with what that compiles."""
    ran = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: ran.append([str(part) for part in command]))
    site = layout.VENVS / name / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    CREATE("uv", "python3", name)
    assert [command[2] for command in ran if command[1] == "-m"] == after
    assert all(str(site) in command for command in ran if "compileall" in command)
    assert not any("--compile-bytecode" in command for command in ran)


def test_tests_of_libraries_are_not_compiled(tmp_path):
    site = tmp_path / "tests" / "checkout" / "site-packages"  # where a checkout lies is nobody's test
    for name in ("pandas/core.py", "pandas/tests/test_core.py", "testing.py"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("pass\n")
    subprocess.run([sys.executable, "-m", "compileall", "-qq", "-x", bootstrap.TESTS, site], check=True)
    compiled = {path.relative_to(site).parts[0:2] for path in site.rglob("*.pyc")}
    assert compiled == {("__pycache__", f"testing.{sys.implementation.cache_tag}.pyc"), ("pandas", "__pycache__")}
