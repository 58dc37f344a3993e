"""The running stack gives nothing away: who may speak to it, and what it has written after runs of every kind."""

import http.client
import json
import sqlite3
import stat
from pathlib import Path

import pytest

from local_stack.processes import Running

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(3600)]
LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
SECRET_FILES = {"secrets.json", "airflow/passwords.json", "run/aws_credentials"}


def descendants(pid: int) -> set[int]:
    """Return a process and all that it started."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    found, size = {pid}, 0
    while size != len(found):
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found


def listening(pid: int) -> set[str]:
    """Return the addresses, in the kernel's hexadecimal, at which a process accepts TCP connections."""
    sockets = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
        lines = [
            line.split()
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        ]
    except OSError:  # it has ended meanwhile
        return set()
    return {fields[1].partition(":")[0] for fields in lines if fields[3] == "0A" and fields[9] in sockets}


def parts(folder: Path) -> list[Running]:
    return [Running(path.stem, **json.loads(path.read_text())) for path in sorted((folder / "run").glob("*.json"))]


def test_every_process_of_the_stack_listens_on_the_loopback_only(stack):
    running = parts(stack.folder)
    assert {part.name for part in running} == {"local_aws", "api-server", "scheduler", "dag-processor", "triggerer"}
    found = {part.name: {address for pid in descendants(part.pid) for address in listening(pid)} for part in running}
    assert found["local_aws"] and found["api-server"]
    assert {address for addresses in found.values() for address in addresses} <= set(LOOPBACK), found


@pytest.mark.parametrize("port", ["LOCAL_AWS_PORT", "AIRFLOW_PORT"])
@pytest.mark.parametrize(
    ("host", "served"), [("localhost", True), ("127.0.0.1:8080", True), ("evil.example", False), ("", False)]
)
def test_a_name_that_is_not_this_machine_s_is_refused(stack, port, host, served):
    path = "/_local_aws/health" if port == "LOCAL_AWS_PORT" else "/api/v2/monitor/health"
    connection = http.client.HTTPConnection("127.0.0.1", int(stack.environment[port]), timeout=10)
    connection.request("GET", path, headers={"Host": host})
    status = connection.getresponse().status
    connection.close()
    assert (status == 200) is served
    assert served or status in (400, 403)


def test_airflow_asks_for_its_password_and_local_aws_for_its_keys(stack):
    for port, method, path in (
        ("AIRFLOW_PORT", "GET", "/api/v2/dags"),
        ("AIRFLOW_PORT", "GET", "/auth/token"),
        ("AIRFLOW_PORT", "POST", "/api/v2/dags/abalone_retraining/dagRuns"),
        ("LOCAL_AWS_PORT", "GET", "/"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", int(stack.environment[port]), timeout=10)
        connection.request(
            method, path, body="{}" if method == "POST" else None, headers={"Content-Type": "application/json"}
        )
        assert connection.getresponse().status in (401, 403), path
        connection.close()


def test_no_secret_is_in_a_log_a_report_an_xcom_or_a_state_file(stack):
    secrets = json.loads((stack.folder / "secrets.json").read_text())
    marked = {name: value for name, value in secrets.items() if name != "aws_access_key_id"}
    marked["of the shell"] = stack.marked_secret
    with sqlite3.connect(stack.folder / "airflow" / "airflow.db") as database:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)")
    seen, files = {}, 0
    for path in stack.folder.rglob("*"):
        name = path.relative_to(stack.folder).as_posix()
        if name.startswith("venvs") or not path.is_file() or name in SECRET_FILES:
            continue
        files += 1
        content = path.read_bytes()
        for secret, value in marked.items():
            if value.encode() in content:
                seen.setdefault(name, []).append(secret)
    assert files > 100
    assert seen == {}


def test_files_with_secrets_are_their_owner_s(stack):
    for name in SECRET_FILES:
        assert stat.S_IMODE((stack.folder / name).stat().st_mode) == 0o600, name
