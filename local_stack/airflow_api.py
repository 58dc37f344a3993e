"""The few calls to Airflow's REST API that the local stack makes."""

from __future__ import annotations

import time
from typing import Any

import requests

from local_stack import layout
from local_stack.airflow_settings import ADMIN, stack_secrets

READ_TRIES = 4


class AirflowApi:
    """A client that logs in by password and renews its token."""

    def __init__(self, url: str | None = None) -> None:
        self._url = url or layout.AIRFLOW_URL
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy variable must not lead loopback calls astray
        self._until = 0.0

    def health(self) -> dict[str, Any] | None:
        """Return the health of Airflow's parts, None while the server does not answer."""
        try:
            answer = self._session.get(f"{self._url}/api/v2/monitor/health", timeout=5)
        except requests.RequestException:
            return None
        return answer.json() if answer.ok else None

    def get(self, path: str, **query: Any) -> Any:
        """GET below ``/api/v2``."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Any) -> Any:
        """POST below ``/api/v2``."""
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        """PATCH below ``/api/v2``."""
        return self._call("PATCH", path, json=body)

    def put(self, path: str) -> None:
        """PUT below ``/api/v2`` without a body; the answer is of no interest."""
        self._answer("PUT", path)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the newest runs of a DAG, newest first."""
        return self.get(f"dags/{dag_id}/dagRuns", order_by="-run_after", limit=50)["dag_runs"]

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return one run."""
        return self.get(f"dags/{dag_id}/dagRuns/{run_id}")

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        return self.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=200)["task_instances"]

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
        """Start a run by hand."""
        return self.post(f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})

    def _call(self, method: str, path: str, **request: Any) -> Any:
        return self._answer(method, path, **request).json()

    def _answer(self, method: str, path: str, **request: Any) -> requests.Response:
        self._log_in()
        url = f"{self._url}/api/v2/{path}"
        for tries_left in reversed(range(READ_TRIES if method == "GET" else 1)):
            try:
                answer = self._session.request(method, url, timeout=30, **request)
                break
            except requests.Timeout:  # a busy machine; what only reads is asked again
                if not tries_left:
                    raise
        if not answer.ok:
            raise RuntimeError(f"Airflow answers {answer.status_code} to {method} {path}: {answer.text[:300]}")
        return answer

    def _log_in(self) -> None:
        if time.monotonic() < self._until:
            return
        body = {"username": ADMIN, "password": stack_secrets()["admin_password"]}
        answer = self._session.post(f"{self._url}/auth/token", json=body, timeout=30)
        answer.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self._until = time.monotonic() + 1800
