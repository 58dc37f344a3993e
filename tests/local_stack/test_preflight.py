import socket
from pathlib import Path

import pytest

from local_stack import preflight
from local_stack.preflight import PreflightError


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_392"', 8),
        ("command not found", None),
    ],
)
def test_the_java_version_is_read_as_java_prints_it(text, major):
    assert preflight.java_version(text) == major


def java_that_prints(folder: Path, text: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    java.chmod(0o755)
    return java


def test_no_java_says_how_to_get_one():
    with pytest.raises(PreflightError, match=r"no java on PATH.*apt install openjdk-17-jre-headless"):
        preflight.find_java({}, which=lambda name: None)


def test_a_wrong_java_home_is_named():
    with pytest.raises(PreflightError, match="JAVA_HOME is /nowhere"):
        preflight.find_java({"JAVA_HOME": "/nowhere"})


def test_an_old_java_is_named_with_its_version(tmp_path):
    java_that_prints(tmp_path, 'openjdk version "11.0.2"')
    with pytest.raises(PreflightError, match="is version 11"):
        preflight.find_java({"JAVA_HOME": str(tmp_path)})


def test_a_good_java_gives_its_home(tmp_path):
    java_that_prints(tmp_path, 'openjdk version "17.0.1"')
    assert preflight.find_java({"JAVA_HOME": str(tmp_path)}) == str(tmp_path)


def test_an_unsupported_python_names_what_was_found(monkeypatch):
    monkeypatch.setattr(preflight.sys, "version_info", (3, 9, 18))
    with pytest.raises(PreflightError, match=r"3\.11 or 3\.12 is needed, found 3\.9\.18"):
        preflight.find_python(which=lambda name: None)


def test_a_port_in_use_names_the_port_and_the_variable():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with pytest.raises(PreflightError, match=f"port {port} for the Airflow UI is in use.*AIRFLOW_PORT"):
            preflight.check_port(port, "the Airflow UI", "AIRFLOW_PORT")


def test_too_little_disk_says_how_much_is_needed(tmp_path):
    with pytest.raises(PreflightError, match="1e\\+09 GB of free disk"):
        preflight.check_disk(tmp_path / "not" / "yet", needed_gb=1e9)
