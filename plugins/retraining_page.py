"""Puts the page "Retraining" into the Airflow UI.

Airflow loads this file in every task process, too, so it imports nothing: the page itself is imported by the first request for it.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/retraining"


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request for the page."""
    from retraining.page.application import answer

    await answer(scope, receive, send)


class RetrainingPage(AirflowPlugin):
    """The page below its prefix, an entry in the navigation, and a tab on each DAG."""

    name = "retraining_page"
    fastapi_apps = [{"app": page, "url_prefix": PREFIX, "name": "retraining"}]  # noqa: RUF012 (Airflow's own form)
    external_views = [  # noqa: RUF012
        {
            "name": "Retraining",
            "href": f"{PREFIX.removeprefix('/')}/",
            "url_route": "retraining",
            "destination": "nav",
            "category": "browse",
        },
        {
            "name": "Model",
            "href": f"{PREFIX.removeprefix('/')}/?dag={{DAG_ID}}",
            "url_route": "retraining-model",
            "destination": "dag",
        },
    ]
