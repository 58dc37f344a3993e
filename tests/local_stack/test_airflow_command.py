"""Airflow's processes as this stack runs them: what is left out is what nobody here asks for."""

from __future__ import annotations

import json

import pytest
from own_airflow import told, told_last

from local_stack import stack

ROUTES = """
import json
from airflow.api_fastapi.execution_api import app, versions
from fastapi.testclient import TestClient
made = app.create_task_execution_api_app()
answers = [TestClient(made).get("/health", headers=headers).status_code for headers in HEADERS]
newest = versions.bundle.version_values[0]
routes = [[route.path, sorted(route.methods), route.name] for route in made.router.versioned_routers[newest].routes]
print(json.dumps([answers, sorted(made.router.versioned_routers), newest, routes]))
"""


@pytest.mark.parametrize("name", stack.AIRFLOW_PARTS)
def test_the_parts_of_the_stack_are_airflows_own(tmp_path, name):
    ours = told(tmp_path, "-m", "local_stack.airflow_command", name, *stack.AIRFLOW_PARTS[name], "--help")
    own = told(tmp_path, "-m", "airflow", name, "--help")
    assert ours[ours.index("Usage:") :] == own[own.index("Usage:") :]


def test_tasks_are_answered_in_the_newest_version_as_airflow_would(tmp_path):
    newest = json.loads(told_last(tmp_path, f"HEADERS = [{{}}]\n{ROUTES}"))[2]
    headers = f"HEADERS = [{{}}, {{'Airflow-API-Version': '{newest}'}}]\n"
    plain = json.loads(told_last(tmp_path, headers + ROUTES))
    start = "from local_stack import api_server\napi_server.prepare()\n"
    prepared = json.loads(told_last(tmp_path, headers + start + ROUTES))
    assert prepared[0] == plain[0] == [200, 200]
    assert len(plain[1]) > 5 and prepared[1] == [newest]
    assert prepared[3] == plain[3] and len(plain[3]) > 30


def test_nothing_is_looked_through_at_the_end_of_a_process(tmp_path):
    """What other handlers of the end leave is frozen, too: they are called first."""
    program = """
import atexit, gc, sys
from unittest import mock
import airflow.__main__
from local_stack import airflow_command
def ends():
    atexit.register(lambda: print("frozen early:", gc.get_freeze_count() > 0))
atexit.register(lambda: print("frozen at the end:", gc.get_freeze_count() > 0))
with mock.patch.object(airflow.__main__, "main", ends):
    sys.argv = ["", "dag-processor"]
    airflow_command.main()
print(sys.argv, gc.get_threshold()[0])
"""
    lines = told(tmp_path, "-c", program).splitlines()[-3:]
    assert lines == ["['airflow', 'dag-processor'] 100000", "frozen early: False", "frozen at the end: True"]
