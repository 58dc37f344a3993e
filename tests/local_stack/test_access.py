"""Who may speak to the local stack: names of the UI, keys of local_aws, files with secrets."""

import asyncio
import configparser
import json
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.middleware.trustedhost import TrustedHostMiddleware

from local_stack import airflow_settings, layout
from local_stack.auth_manager import LocalAuthManager, allowed_hosts
from local_stack.page_guard import PageGuard


@pytest.fixture
def secrets_file(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SECRETS", tmp_path / "secrets.json")
    monkeypatch.setattr(layout, "AIRFLOW_HOME", tmp_path / "airflow")
    return tmp_path / "secrets.json"


def test_the_ui_answers_to_this_machine_s_names_and_to_those_that_it_is_known_by(monkeypatch):
    assert allowed_hosts() == ["localhost", "127.0.0.1"]
    monkeypatch.setenv("RETRAINING_ALLOWED_HOSTS", "airflow.lan, Other.lan,")
    found = allowed_hosts("http://team.example:8080/x", "http://api-server:8080/execution/", "")
    assert found == ["localhost", "127.0.0.1", "team.example", "api-server", "airflow.lan", "other.lan"]


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8080", 200), ("127.0.0.1", 200), ("evil.example", 400), ("127.0.0.1.nip.io", 400), ("", 400)],
)
def test_a_request_under_another_name_is_refused(host, status):
    app = FastAPI()
    app.add_api_route("/", lambda: "served")
    for middleware, options in LocalAuthManager.get_fastapi_middlewares(LocalAuthManager.__new__(LocalAuthManager)):
        app.add_middleware(middleware, **options)

    async def answer() -> int:
        async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost") as client:
            return (await client.get("/", headers={"Host": host})).status_code

    assert asyncio.run(answer()) == status


@pytest.mark.parametrize(
    ("method", "origin", "status"),
    [
        ("POST", "http://localhost:8080", 200),
        ("POST", "http://team.example:8080", 200),
        ("POST", None, 200),
        ("GET", "http://127.0.0.1:9999", 200),
        ("POST", "http://localhost:9999", 403),
        ("POST", "http://127.0.0.1:8080", 403),
        ("DELETE", "null", 403),
        ("PATCH", "https://evil.example", 403),
    ],
)
def test_a_write_comes_from_a_page_of_this_airflow_and_no_page_may_frame_it(method, origin, status):
    app = FastAPI()
    app.add_api_route("/", lambda: "served", methods=["GET", "POST", "DELETE", "PATCH"])
    app.add_middleware(PageGuard, known_by=("http://team.example:8080/x", ""))

    async def answer():
        async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost:8080") as client:
            return await client.request(method, "/", headers={"Origin": origin} if origin else {})

    answered = asyncio.run(answer())
    assert answered.status_code == status
    if status == 200:
        assert answered.headers["x-frame-options"] == "SAMEORIGIN"
        assert answered.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'self'" in answered.headers["content-security-policy"]


def test_the_manager_brings_both_guards():
    brought = [kind for kind, _ in LocalAuthManager.get_fastapi_middlewares(LocalAuthManager.__new__(LocalAuthManager))]
    assert brought[-2:] == [PageGuard, TrustedHostMiddleware]


def test_exported_variables_are_quoted_and_hold_airflow_s_secrets_only_when_asked(secrets_file, monkeypatch):
    monkeypatch.setattr(layout, "AWS_URL", "http://x'; touch owned; '")
    monkeypatch.setattr(layout, "AIRFLOW_HOME", secrets_file.parent / "it's; touch owned2; #")
    lines = airflow_settings.exports(airflow=False)
    named = "export AIRFLOW__RETRAINING__ENVIRONMENT=dev"
    assert named in lines
    assert all(line.startswith(("export AWS_", named, "unset AWS_", "case ", "local_off()")) for line in lines)
    everything = airflow_settings.exports(airflow=True)
    assert any("FERNET" in line for line in everything)
    read = subprocess.run(
        ["sh", "-c", "\n".join(everything) + '\nprintf "%s\\n%s" "$AWS_ENDPOINT_URL" "$AIRFLOW_HOME"'],
        capture_output=True, text=True, check=True, cwd=secrets_file.parent,
    )  # fmt: skip
    assert read.stdout.splitlines() == ["http://x'; touch owned; '", str(layout.AIRFLOW_HOME)]
    assert not (secrets_file.parent / "owned").exists()


def test_airflow_is_told_to_use_it_and_to_bind_the_loopback(secrets_file):
    environment = airflow_settings.airflow_environment()
    manager = f"{LocalAuthManager.__module__}.{LocalAuthManager.__qualname__}"
    assert environment["AIRFLOW__CORE__AUTH_MANAGER"] == manager
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    compose = (layout.ROOT / "docker-compose.yaml").read_text()
    assert f"AIRFLOW__CORE__AUTH_MANAGER: {manager}" in compose


def test_secrets_are_made_once_also_when_two_threads_ask_at_once(secrets_file):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: airflow_settings.stack_secrets(), range(8)))
    assert all(one == made[0] for one in made)
    assert stat.S_IMODE(secrets_file.stat().st_mode) == 0o600


def test_a_stack_of_an_earlier_version_keeps_its_secrets_and_gets_the_new_ones(secrets_file):
    secrets_file.write_text(json.dumps({"admin_password": "kept"}))
    made = airflow_settings.stack_secrets()
    assert made["admin_password"] == "kept"
    assert len(made["aws_secret_access_key"]) >= 40
    assert json.loads(secrets_file.read_text()) == made


def test_local_aws_is_given_the_keys_that_clients_of_the_stack_use(secrets_file, tmp_path):
    path = airflow_settings.write_credentials(tmp_path / "credentials")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    parser = configparser.ConfigParser()
    parser.read(path)
    client = airflow_settings.aws_environment()
    assert parser["default"]["aws_access_key_id"] == client["AWS_ACCESS_KEY_ID"]
    assert parser["default"]["aws_secret_access_key"] == client["AWS_SECRET_ACCESS_KEY"]
    assert not client["AWS_ACCESS_KEY_ID"].isdigit()  # 12 digits would select another account


def test_what_was_set_for_the_local_stack_is_undone_by_one_word_and_a_profile_does_not_win(secrets_file):
    lines = airflow_settings.exports(airflow=False)
    script = ["export AWS_PROFILE=company AWS_SESSION_TOKEN=t AWS_REGION=eu-west-1", *lines, *lines]
    show = 'env | grep -E "^(AIRFLOW|AWS|PATH)" | sort'
    done = subprocess.run(
        ["bash", "-c", "\n".join([*script, show, "echo --", "local_off", show])],
        capture_output=True,
        text=True,
        check=True,
    )
    local, undone = done.stdout.split("--\n")
    assert "AWS_PROFILE" not in local and "AWS_SESSION_TOKEN" not in local
    assert f"AWS_REGION={layout.REGION}\n" in local
    assert local.count(str(layout.python("airflow").parent)) == 1
    assert "AIRFLOW__RETRAINING__ENVIRONMENT=dev\n" in local
    assert "AWS_" not in undone and "AIRFLOW__RETRAINING" not in undone


def test_each_container_gets_its_own_secret_alone(secrets_file, tmp_path):
    airflow_settings.share_secrets(tmp_path / "shared")
    made = airflow_settings.stack_secrets()
    password = tmp_path / "shared" / "postgres" / "password"
    keys = tmp_path / "shared" / "aws" / "credentials"
    assert password.read_text() == made["postgres_password"]
    assert made["aws_secret_access_key"] in keys.read_text()
    others = {name: value for name, value in made.items() if not name.startswith("aws_")}
    assert not any(value in keys.read_text() for value in others.values())
    assert {stat.S_IMODE(path.stat().st_mode) for path in (password, keys)} == {0o600}


def test_the_container_that_runs_foreign_code_reaches_neither_secrets_nor_the_database():
    services = yaml.safe_load((layout.ROOT / "docker-compose.yaml").read_text())["services"]
    local_aws, postgres = services["local-aws"], services["postgres"]
    mounted = [str(volume).partition(":")[0] for volume in (*local_aws["volumes"], *postgres["volumes"])]
    assert "state" not in mounted
    assert not set(local_aws["networks"]) & set(postgres["networks"])
    assert local_aws["read_only"] is True
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["logging"]["options"]["max-size"], name
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", [])), name
