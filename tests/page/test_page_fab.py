"""Who may what under Airflow's FAB auth manager, which Amazon MWAA has: every route with every role."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from local_account import Account
from page_site import SECRET
from test_page_rights import ACT, ANYBODY, ROUTES, SEE

from local_stack import layout

ROOT = Path(__file__).resolve().parents[2]
PYTHON = layout.python("fab")
MAY = {
    "Public": {ANYBODY},
    "Viewer": {ANYBODY, SEE},
    "User": {ANYBODY, SEE, ACT},
    "Op": {ANYBODY, SEE, ACT},
    "Admin": {ANYBODY, SEE, ACT},
    "sees the DAG": {ANYBODY, SEE},
    "starts the DAG": {ANYBODY, SEE, ACT},
    "sees another DAG": {ANYBODY},
}


@pytest.fixture(scope="module")
def statuses(account: Account, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """Ask all routes in the environment that has FAB; return the statuses by role, in the order of the table."""
    if not PYTHON.exists():
        pytest.skip("the environment fab is not here: make setup-fab")
    asked = [
        (method, path, {name: value.decode() if name == "content" else value for name, value in request.items()})
        for (method, _), (path, _, request, _) in ROUTES.items()
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("plugins", "tests/page", "")),
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("fab")),
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API_AUTH__JWT_SECRET": SECRET,
        "AWS_ENDPOINT_URL": account.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    done = subprocess.run(
        [PYTHON, Path(__file__).with_name("fab_people.py")],
        input=json.dumps({"routes": asked}),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("role", MAY)
def test_each_role_of_fab_gets_what_its_rights_on_the_dag_give(statuses: dict[str, list[int]], role: str) -> None:
    expected = [status if needs in MAY[role] else 403 for _, needs, _, status in ROUTES.values()]
    assert dict(zip(ROUTES, statuses[role], strict=True)) == dict(zip(ROUTES, expected, strict=True))


def test_every_role_was_asked(statuses: dict[str, list[int]]) -> None:
    assert set(statuses) == {*MAY, "nobody", "expired"}
    assert set(statuses["nobody"]) == set(statuses["expired"]) == {401}
