"""Airflow's API server, which speaks with tasks in its newest version only: those of this stack have no other.

Before it answers the first task, Airflow makes all routes anew for each version that it ever had. That takes half as long as its whole
start, and nothing else is answered meanwhile.
"""

from __future__ import annotations

from airflow.api_fastapi.execution_api import routes, versions
from cadwyn import HeadVersion, Version, VersionBundle
from cadwyn.route_generation import _DELETED_ROUTE_TAG


def prepare() -> None:
    """Leave the newest version of the API of tasks, without the routes that only older ones have."""
    router = routes.execution_api_router
    router.routes[:] = [route for route in router.routes if _DELETED_ROUTE_TAG not in getattr(route, "tags", ())]
    versions.bundle = VersionBundle(HeadVersion(), Version(versions.bundle.version_values[0]))
