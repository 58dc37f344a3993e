"""A model with a version, a refused file, a quarantine and a judged run; and the page mounted as Airflow mounts it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

BUCKET = "page-bucket"
BATCH, REFUSED_BATCH = "a" * 16, "b" * 16
RUN = "v1-0123456789ab"
REFUSED_KEY = "abalone/new/<img src=x onerror=alert(1)>.csv"
HOSTILE = "<script>alert(1)</script>"
SECRET = "k" * 64
PLATFORM = {
    "account": "000000000000",
    "region": "us-east-1",
    "bucket": BUCKET,
    "queue_url": "http://127.0.0.1/queue",
    "glue_database": "retraining_abalone",
    "glue_crawler": "retraining-dev-abalone-landing",
    "glue_job": "retraining-dev-abalone-merge",
    "analyze_function": "retraining-dev-abalone-analyze-results",
    "topic_arn": "arn:aws:sns:us-east-1:000000000000:retraining-dev-abalone-outcomes",
    "train_role_arn": "arn:aws:iam::000000000000:role/train",
    "evaluate_role_arn": "arn:aws:iam::000000000000:role/evaluate",
    "serve_role_arn": "arn:aws:iam::000000000000:role/serve",
    "survey_role_arn": "arn:aws:iam::000000000000:role/survey",
    "experiment_role_arn": "arn:aws:iam::000000000000:role/experiment",
}

PROFILE = {
    "schema_version": 1,
    "rows": {"train": 6, "validation": 1, "test": 1},
    "columns": {
        "sex": {"type": "string", "splits": {"train": {"n": 6, "missing": 1, "counts": {"M": 3, HOSTILE: 2}}}},
        "length": {
            "type": "double",
            "middle": 0.5,
            "scale": 0.1,
            "splits": {
                "train": {"n": 6, "missing": 0, "min": 0.4, "max": 0.6, "sum": 3.0, "bins": {"-20": 2, "0": 2, "20": 2}}
            },
        },
    },
}


@dataclass(frozen=True)
class Site:
    """The page, and tokens of people with the roles of Airflow's simple auth manager."""

    app: Any
    tokens: dict[str, str]
    loop: asyncio.AbstractEventLoop

    def ask(self, method: str, path: str, role: str | None = "user", **request: Any) -> httpx.Response:
        """Send a request as the page does."""
        headers = {"X-Retraining-Page": "1", **request.pop("headers", {})}
        return self.send(method, path, role, headers=headers, **request)

    def send(self, method: str, path: str, role: str | None, **request: Any) -> httpx.Response:
        """Send a request with the cookie of a person, or without."""
        return self.loop.run_until_complete(self._send(method, f"/retraining{path}", role, **request))

    def airflow(self, path: str, **query: Any) -> httpx.Response:
        """Ask Airflow's own API as an administrator."""
        return self.loop.run_until_complete(self._send("GET", f"/api/v2/{path}", "admin", params=query))

    async def _send(self, method: str, path: str, role: str | None, **request: Any) -> httpx.Response:
        cookies = {"_token": self.tokens[role]} if role else {}
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", cookies=cookies) as client:
            return await client.request(method, path, **request)

    def get(self, path: str, role: str = "user", **query: Any) -> Any:
        answer = self.ask("GET", path, role, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


def simple_users(manager: Any) -> dict[str, Any]:
    """Return people with the roles of Airflow's simple auth manager."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    roles = {"viewer": "VIEWER", "user": "USER", "op": "OP", "admin": "ADMIN", "outsider": "USER"}
    return {name: SimpleAuthManagerUser(username=name, role=role) for name, role in roles.items()}


def mounted(users: Callable[[Any], dict[str, Any]] = simple_users) -> Site:
    """Mount the page as Airflow does; `users` makes people of the auth manager, one of whom is an admin."""
    from airflow import settings
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from fastapi import FastAPI

    from retraining_page import RetrainingPage

    import_all_models()
    Base.metadata.create_all(settings.engine)
    manager = init_auth_manager()
    app = FastAPI()
    for mount in RetrainingPage.fastapi_apps:
        app.mount(mount["url_prefix"], mount["app"])
    people = users(manager)
    tokens = {name: manager.generate_jwt(user) for name, user in people.items()}
    last = list(people)[-1]
    tokens["expired"] = manager.generate_jwt(people[last], expiration_time_in_seconds=-60)
    tokens["forged"] = tokens[last][:-4] + "AAAA"
    return Site(app, tokens, asyncio.new_event_loop())


def fill(s3: Any) -> None:
    from retraining.dataset.log import DatasetLog
    from retraining.dataset.records import FileRecord, FileVerdict, Judgement, Output, Version

    merged = FileRecord(key="abalone/new/good.csv", etag="1", size=100)
    refused = FileVerdict(
        key=REFUSED_KEY, etag="2", size=50, outcome="refused", rows=4, quarantined=4, reason=HOSTILE, remedy="Mend it"
    )
    log = DatasetLog(s3, BUCKET, "abalone/")
    rows = {"rows_new": 12, "rows_accepted": 8, "rows_duplicate": 0, "rows_quarantined": 4}
    log.commit(
        Version(
            version=1,
            batch=BATCH,
            created_at="2026-01-02T03:04:05+00:00",
            files=(merged,),
            rows=rows,
            rows_by_split={"train": 6, "validation": 1, "test": 1},
            training={},
            beside=(Output(key=f"abalone/dataset/profiles/batch={BATCH}/profile.json", size=1),),
            run_key=RUN,
        )
    )
    _put(s3, f"dataset/profiles/batch={BATCH}/profile.json", json.dumps(PROFILE))
    log.judge(Judgement(batch=REFUSED_BATCH, created_at="2026-01-03T00:00:00+00:00", files=(refused,), rows=rows))
    entry = {"key": merged.key, "rows": 12, "accepted": 8, "duplicate": 0, "quarantined": 4, "outcome": "merged"}
    report = {"rows_new": 12, "rows_quarantined": 4, "reasons": {"sex: missing": 3, HOSTILE: 1}, "files": [entry]}
    _put(s3, f"batches/{BATCH}/etl_report.json", json.dumps(report))
    lines = [
        {"file": merged.key, "line": at, "column": "sex" if at < 4 else "rings", "value": HOSTILE, "raw": "x" * 5000}
        | {"reason": "sex: missing" if at < 4 else HOSTILE, "reasons": ["sex: missing" if at < 4 else HOSTILE]}
        for at in range(1, 5)
    ]
    _put(s3, f"quarantine/batch={BATCH}/part-0.json", "".join(f"{json.dumps(line)}\n" for line in lines[:2]))
    _put(s3, f"quarantine/batch={BATCH}/part-1.json", "".join(f"{json.dumps(line)}\n" for line in lines[2:]))
    summary = {
        "run_key": RUN,
        "created_at": "2026-01-02T03:10:00+00:00",
        "dataset_version": 1,
        "rows_accepted": 8,
        "rows_quarantined": 4,
        "rows_by_split": {"train": 6},
        "metric": "rmse",
        "score_challenger": 2.1,
        "score_champion": None,
        "decision": "approved",
        "reason": "First model",
        "endpoint_config": "dev-abalone-config-1",
        "promoted": True,
        "numbers": {"n": 1, "difference": None, "standard_error": None, "odds": None, "required_odds": 0.5},
    }
    _put(s3, f"runs/{RUN}/summary.json", json.dumps(summary))
    _put(s3, f"runs/{RUN}/report.html", f"<h1>Report</h1>{HOSTILE}")


def _put(s3: Any, key: str, text: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=f"abalone/{key}", Body=text.encode())
