"""The environment in which the local Airflow runs, and its secrets, made on first start."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import threading
from pathlib import Path

from local_stack import layout
from retraining.settings.environment import VARIABLE, environment

ADMIN = "admin"
OVERRULING = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CA_BUNDLE",
)  # they win, or break it
LOCK_SECONDS = 60
"""For which a writer of Airflow's SQLite database waits for another: with the driver's 5 s a busy machine answers 500 to a request."""
_making = threading.Lock()


def stack_secrets() -> dict[str, str]:
    """Return the secrets of this stack; made once, readable by the owner only."""
    with _making:
        try:
            known = json.loads(layout.SECRETS.read_text())
        except OSError:
            known = {}
        made = _new_secrets() | known
        if made != known:
            _write_private(layout.SECRETS, json.dumps(made, indent=1))
    return made


def _new_secrets() -> dict[str, str]:
    return {
        "aws_access_key_id": f"LOCAL{secrets.token_hex(8).upper()}",
        "aws_secret_access_key": secrets.token_urlsafe(30),
        "airflow_access_key_id": f"LOCAL{secrets.token_hex(8).upper()}",
        "airflow_secret_access_key": secrets.token_urlsafe(30),
        "admin_password": secrets.token_urlsafe(12),
        "jwt_secret": secrets.token_urlsafe(48),
        "session_secret": secrets.token_urlsafe(32),
        "postgres_password": secrets.token_urlsafe(24),
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }


def write_credentials(path: Path, airflow_role: str | None = None) -> Path:
    """Write the file from which local_aws takes the keys of those who may call it; return its path.

    With `airflow_role`, the ARN of a role, it also has keys with which Airflow's processes act in that role.
    """
    made = stack_secrets()
    names = ("aws_access_key_id", "aws_secret_access_key")
    text = "[default]\n" + "".join(f"{name} = {made[name]}\n" for name in names)
    if airflow_role:
        keys = "".join(f"{name.lower()} = {value}\n" for name, value in airflow_keys().items())
        text += f"[airflow]\n{keys}role_arn = {airflow_role}\n"
    _write_private(path, text)
    return path


def airflow_keys() -> dict[str, str]:
    """Return the keys with which Airflow's processes act in their role, as environment variables."""
    made = stack_secrets()
    return {
        "AWS_ACCESS_KEY_ID": made["airflow_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": made["airflow_secret_access_key"],
    }


def share_secrets(folder: Path) -> None:
    """Write one secret for each container that needs one alone: ``aws/credentials`` and ``postgres/password`` below `folder`."""
    write_credentials(folder / "aws" / "credentials")
    _write_private(folder / "postgres" / "password", stack_secrets()["postgres_password"])


def write_passwords(folder: Path) -> Path:
    """Write the file from which Airflow's simple auth manager takes passwords, unless it exists; return its path."""
    path = folder / "passwords.json"
    if not path.exists():
        _write_private(path, json.dumps({ADMIN: stack_secrets()["admin_password"]}))
    return path


def aws_environment() -> dict[str, str]:
    """Return the standard AWS variables that make any client talk to local_aws, and the one that names the deployment to the library."""
    made = stack_secrets()
    return {
        "AWS_ENDPOINT_URL": layout.AWS_URL,
        "AWS_ACCESS_KEY_ID": made["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": made["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": layout.REGION,
        "AWS_REGION": layout.REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        VARIABLE: environment(),
    }


def use_local_account() -> None:
    """Make the AWS clients of this process talk to local_aws, whatever account the shell is logged in to."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(aws_environment())


def airflow_environment() -> dict[str, str]:
    """Return the environment of all Airflow processes: this machine's, AWS's variables, and Airflow's settings."""
    made = stack_secrets()
    passwords = write_passwords(layout.AIRFLOW_HOME)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "AWS_", "PYTHON"))
    }
    settings = {
        "CORE__DAGS_FOLDER": layout.ROOT / "dags",
        "CORE__PLUGINS_FOLDER": layout.ROOT / "plugins",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__EXECUTOR": "local_stack.executor.LocalExecutor",
        "CORE__PARALLELISM": max(2, min(8, 2 * (os.cpu_count() or 1))),
        "CORE__FERNET_KEY": made["fernet_key"],
        "CORE__AUTH_MANAGER": "local_stack.auth_manager.LocalAuthManager",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
        "CORE__EXECUTION_API_SERVER_URL": f"{layout.AIRFLOW_URL}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{layout.AIRFLOW_HOME / 'airflow.db'}?timeout={LOCK_SECONDS}",
        "API__HOST": "127.0.0.1",
        "API__PORT": layout.AIRFLOW_PORT,
        "API__BASE_URL": layout.AIRFLOW_URL,
        "API__WORKERS": 1,
        "API__SECRET_KEY": made["session_secret"],
        "API_AUTH__JWT_SECRET": made["jwt_secret"],
        "API__EXPOSE_CONFIG": False,
        # Its pages load scripts of other sites onto the origin where the administrator is logged in.
        "API__ENABLE_SWAGGER_UI": False,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 15,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 15,
        "DAG_PROCESSOR__PARSING_PROCESSES": 1,
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0,  # local_stack.scheduler waits
        "SCHEDULER__ENABLE_HEALTH_CHECK": False,
        "TRIGGERER__ENABLE_HEALTH_CHECK": False,
        # What a killed triggerer looked at is taken up by the next one when its last heartbeat is so old: 30 s with Airflow's own settings.
        "TRIGGERER__JOB_HEARTBEAT_SEC": 2,
        "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 6,
        # A task that a person stops hears of it at its supervisor's next heartbeat.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
        "LOGGING__BASE_LOG_FOLDER": layout.AIRFLOW_HOME / "logs",
        "LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    return {
        **inherited,
        **aws_environment(),
        "AIRFLOW_HOME": str(layout.AIRFLOW_HOME),
        "RETRAINING_SDK_PYTHON": str(layout.python("sagemaker")),
        "PATH": f"{layout.python('airflow').parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
    }


def exports(airflow: bool) -> list[str]:
    """Return lines for a shell's ``eval``.

    They set AWS's variables, take away those that would win over them, and put this project's programs on the path; with `airflow` they
    also set what the command airflow needs, its secrets included. The last line defines ``local_off``, which undoes them.
    """
    chosen = aws_environment()
    if airflow:
        chosen |= {
            name: value
            for name, value in airflow_environment().items()
            if name == "AIRFLOW_HOME" or name.startswith("AIRFLOW__")
        }
    programs = shlex.quote(str(layout.python("airflow").parent))
    return [
        f"unset {' '.join(OVERRULING)}",
        *(f"export {name}={shlex.quote(value)}" for name, value in chosen.items()),
        f'case ":$PATH:" in *:{programs}:*) ;; *) export PATH="$PATH":{programs} ;; esac',
        f"local_off() {{ unset {' '.join(chosen)}; unset -f local_off; }}",
    ]


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
