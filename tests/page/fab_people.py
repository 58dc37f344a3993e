"""Asks every route of the page with the roles of Airflow's FAB auth manager: a program for the environment that has it.

Reads ``{"routes": [[method, path, request], ...]}`` on standard input; the last line that it writes has the statuses of the routes by role.
"""

import json
import subprocess
import sys
from typing import Any

from page_site import Site, mounted

DAG = "DAG:abalone_retraining"
READ_WEBSITE = ("can_read", "Website")
OWN_ROLES = {
    "sees the DAG": [("can_read", DAG)],
    "starts the DAG": [("can_read", DAG), ("can_edit", DAG), ("can_read", "DAG Runs"), ("can_create", "DAG Runs")],
    "sees another DAG": [("can_read", "DAG:other_retraining")],
}
"""Roles that somebody made for one DAG."""
ROLES = ("Public", "Viewer", "User", "Op", *OWN_ROLES, "Admin")


def people() -> dict[str, int]:
    """Make a user for each role; return their numbers."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        manager.sync_roles()
        for name, rights in OWN_ROLES.items():
            role = manager.add_role(name)
            for action, resource in (READ_WEBSITE, *rights):
                manager.add_permission_to_role(role, manager.create_permission(action, resource))
        for role in ROLES:
            mail = f"{role.replace(' ', '-')}@example.com"
            assert manager.add_user(role, role, role, mail, manager.find_role(role), password=role), role
        return {role: manager.find_user(role).id for role in ROLES}


def main() -> None:
    """Answer the question on standard input."""
    routes = json.load(sys.stdin)["routes"]
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
    numbers = people()
    site = mounted(lambda manager: {role: manager.deserialize_user({"sub": at}) for role, at in numbers.items()})
    statuses = {role: [status(site, role, *route) for route in routes] for role in (*ROLES, "expired")}
    statuses["nobody"] = [status(site, None, *route) for route in routes]
    sys.stdout.write(json.dumps(statuses) + "\n")


def status(site: Site, role: str | None, method: str, path: str, request: dict[str, Any]) -> int:
    """Return how a route answers a person."""
    return site.ask(method, path, role, **request).status_code


if __name__ == "__main__":
    main()
