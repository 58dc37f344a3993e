"""Rules of MWAA's own image, which is public (github.com/aws/amazon-mwaa-docker-images, images/airflow/3.3.1), and of its network guide."""

import re
import socket
import subprocess
import threading
import time

import cloudformation
import pytest

from deploy import artifacts, environment, zones

CONSTRAINTS_OPTION = re.compile(
    r"(^|\s)(-c|--constraint)[ =]"
)  # what the image looks for in each line, comments included
COMPONENTS = {"scheduler", "worker", "webserver", "triggerer", "dag-processor", "hybrid", "migrate-db"}
PRIVATE_NETWORK = {"s3", "monitoring", "ecr.dkr", "ecr.api", "logs", "sqs", "kms", "airflow.api", "airflow.env"}
SCRIPT_SECONDS = 295  # the image ends a start-up script after five minutes less five seconds


@pytest.mark.parametrize(
    "path",
    [artifacts.ROOT / "requirements.txt", *(artifacts.ROOT / "deploy" / "environments").glob("requirements-*.txt")],
)
def test_no_line_of_the_requirements_turns_the_images_constraints_off(path):
    assert [line for line in path.read_text().splitlines() if CONSTRAINTS_OPTION.search(line)] == []


def test_the_rule_about_constraints_sees_a_comment():
    assert CONSTRAINTS_OPTION.search("# There is no --constraint line on purpose")


@pytest.mark.parametrize("component", sorted(COMPONENTS))
def test_the_sdk_is_made_where_tasks_run_and_nowhere_else(component, tmp_path):
    """In mw1.micro scheduler and worker are one container, whose component is `hybrid`."""
    body = artifacts.startup_script().replace(b"/usr/local/airflow", str(tmp_path).encode())
    (tmp_path / "startup.sh").write_bytes(body)
    (tmp_path / "python3").write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MWAA_AIRFLOW_COMPONENT": component}
    subprocess.run(["sh", tmp_path / "startup.sh"], env=variables, check=True, capture_output=True)
    assert (tmp_path / "asked").exists() == (component in ("worker", "hybrid"))


def test_pip_gives_an_index_that_never_answers_up_before_the_image_ends_the_script():
    """Tries, seconds a try, and the four addresses of the package index; whatever happens, `timeout` ends it."""
    script = artifacts.startup_script().decode()
    limit = int(re.search(r"timeout (\d+) \S+ -m pip", script)[1])
    retries, seconds = int(re.search(r"--retries (\d+)", script)[1]), int(re.search(r"--timeout (\d+)", script)[1])
    assert (retries + 1) * seconds * 4 < limit < SCRIPT_SECONDS - 60


def test_an_index_that_takes_connections_and_never_answers_does_not_keep_the_component_from_starting(tmp_path):
    """The shipped script with a real pip; all seconds are divided by twenty."""
    server = socket.create_server(("127.0.0.1", 0))
    held = []
    threading.Thread(target=lambda: [held.append(server.accept()) for _ in range(20)], daemon=True).start()
    python = tmp_path / "sagemaker-sdk" / "bin" / "python"
    body = artifacts.startup_script().decode().replace("/usr/local/airflow", str(tmp_path))
    body = body.replace("timeout 200", "timeout 10").replace("--timeout 10", "--timeout 1")
    (tmp_path / "startup.sh").write_text(body)
    fake = tmp_path / "python3"  # makes the environment's python: an installer that asks the index
    url = f"http://127.0.0.1:{server.getsockname()[1]}/simple/"
    fake.write_text(
        f"#!/bin/sh\nmkdir -p {python.parent}\ncat > {python} <<'END'\n#!/bin/sh\n"
        f"exec /usr/bin/env python3.11 -c \"import urllib.request as u; u.urlopen('{url}')\"\nEND\nchmod +x {python}\n"
    )
    fake.chmod(0o755)
    started = time.monotonic()
    done = subprocess.run(
        ["sh", tmp_path / "startup.sh"],
        env={"PATH": f"{tmp_path}:/usr/local/bin:/usr/bin:/bin", "MWAA_AIRFLOW_COMPONENT": "worker"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not be installed" in done.stderr
    assert time.monotonic() - started < SCRIPT_SECONDS / 10
    assert not (tmp_path / "sagemaker-sdk").exists()


def test_the_network_without_internet_has_every_endpoint_of_the_guide():
    names = {name.removeprefix("com.amazonaws.x.") for name in zones.endpoint_services("x")}
    assert names >= PRIVATE_NETWORK


def test_workers_reach_the_web_server_by_default():
    """In Airflow 3 a task talks to the API server; a public one is reached through the internet only."""
    parameters = cloudformation.read(environment.ENVIRONMENT_TEMPLATE)["Parameters"]
    assert (parameters["WebserverAccess"]["Default"], parameters["Egress"]["Default"]) == (
        "PUBLIC_AND_PRIVATE",
        "endpoints",
    )
