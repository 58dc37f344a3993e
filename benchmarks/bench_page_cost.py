"""What one request for the page costs the API server: milliseconds of processor time, all threads of it, beside those of Airflow's own API.

The page is mounted in Airflow's own application, with a database that has a DAG, its runs and questions, on a local_aws of its own with
500 versions, 5,000 files and 20 approved models, one of which serves. *Fresh* are views that are made for the request, *shared* those that
were made for somebody a moment ago; *loop* is what of them runs on the event loop, where every other request waits for it. What a process
that reads a file takes does not count: it gives way to the server. Exit 1 when a view costs more than the target.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_page import prepare
from figures import note
from own_account import ROOT, account
from people import DAG, HEADER, MODEL, ROW

TARGETS = {"dag": 6.0, "now": 60.0}
"""Milliseconds of a fresh view at most."""
WARM = 5
PACKAGES = 20
SHARED_SECONDS = 3600.0
OWN = (
    "dags?limit=50",
    f"dags/{DAG}/dagRuns?limit=50&order_by=-run_after",
    "dags/~/dagRuns/~/taskInstances?limit=50",
)
ROWS = "\n".join([HEADER, *(f"M,0.455,0.365,0.095,0.5{at:03},0.2245,0.101,0.15,9" for at in range(200))]).encode()
VIEWS = {
    "dag": ("dag", b""),
    "now": ("now", b""),
    "history": ("history", b""),
    "data": ("data", b""),
    "drift": ("drift", b""),
    "follow": ("files?key=x", b""),
    "check": ("checks?name=a.csv", ROWS),
    "send": ("files?name=a.csv", ROWS),
    "try": ("predictions", json.dumps({"rows": [ROW]}).encode()),
}


@dataclass
class Cost:
    """Milliseconds of one request: of all threads, of the event loop, and of the clock; bytes of the answer."""

    processor: float
    loop: float
    clock: float
    size: int


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--times", type=int, default=50, help="how often each request is sent")
    options = parser.parse_args()
    sys.path[:0] = [str(ROOT / name) for name in ("plugins", "tests/page", "tests/local_aws", "tests/prediction_api")]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, account(Path(folder)) as (url, _):
        os.environ |= {"AWS_ENDPOINT_URL": url, "AIRFLOW_HOME": folder, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        os.environ |= {"AIRFLOW__API_AUTH__JWT_SECRET": "k" * 64, "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags")}
        os.environ |= {"AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins")}
        prepare(url, options.versions, 1000)
        serve(Path(folder), url)
        app, token = airflow()
        with silent():
            found = asyncio.run(measured(app, token, options.times))
    return int(told(found))


@contextmanager
def silent() -> Iterator[None]:
    """Let the server's log, which goes to standard output, cost what it costs without being seen."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    yield
    sys.stdout.flush()
    os.dup2(kept, 1)
    for opened in (kept, nothing):
        os.close(opened)


def serve(folder: Path, url: str) -> None:
    """Register approved packages, and make the newest of them serve."""
    from asked_api import SCALE
    from local_account import BUCKET, IMAGE, Account

    own = Account(folder)
    own.url, own.access_key, own.secret_key = url, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    own.s3.create_bucket(Bucket=BUCKET)
    own.model("scale", SCALE)
    serving = own.sagemaker.describe_model(ModelName="scale")["PrimaryContainer"]["ModelDataUrl"]
    own.sagemaker.create_model_package_group(ModelPackageGroupName=f"dev-{MODEL}-models")
    for number in range(1, PACKAGES + 1):
        data = serving if number == PACKAGES else own.put(f"models/earlier-{number}.tar.gz", b"x")
        own.sagemaker.create_model_package(
            ModelPackageGroupName=f"dev-{MODEL}-models",
            ModelApprovalStatus="Approved",
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": data}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
            CustomerMetadataProperties={"run_key": f"v{number}-0123456789ab", "dataset_version": str(number)},
        )
    own.sagemaker.create_endpoint(EndpointName=f"dev-{MODEL}", EndpointConfigName="scale")
    status = own.endpoint_settled(f"dev-{MODEL}")["EndpointStatus"]
    if status != "InService":
        raise RuntimeError(f"the endpoint is {status}")


def airflow() -> tuple[Any, str]:
    """Return Airflow's API server with a DAG, two runs under way and a question; and an administrator's token."""
    from asked_dag import fill_dag
    from page_site import mounted
    from starlette.routing import Mount

    site = mounted()
    from airflow.api_fastapi.app import create_app

    app = create_app("core")
    app.router.routes.insert(0, Mount("/retraining", app=site.app.routes[-1].app))
    fill_dag(DAG)
    return app, site.tokens["admin"]


async def asked(app: Any, token: str, path: str, body: bytes = b"") -> int:
    """Send a request as a server does; return the bytes of the answer."""
    path, _, query = path.partition("?")
    headers = {"host": "127.0.0.1", "accept-encoding": "gzip", "cookie": f"_token={token}", "x-retraining-page": "1"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST" if body else "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    status, size, sent = 0, 0, asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not sent.is_set():
            sent.set()
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, size
        status = message.get("status", status)
        size += len(message.get("body", b""))

    await app(scope, receive, send)
    if status != 200:
        raise RuntimeError(f"{path}: {status}")
    return size


async def costs(app: Any, token: str, path: str, body: bytes, times: int) -> Cost:
    """Send a request many times; return what one costs."""
    for _ in range(WARM):
        await asked(app, token, path, body)
    clock, processor, loop = time.perf_counter(), time.process_time(), time.thread_time()
    for _ in range(times):
        size = await asked(app, token, path, body)
    ended = time.perf_counter() - clock, time.process_time() - processor, time.thread_time() - loop
    clock, processor, loop = (1000 * seconds / times for seconds in ended)
    return Cost(processor, loop, clock, size)


@contextmanager
def believed(seconds: float) -> Iterator[None]:
    """Let a view be believed for so long."""
    from retraining.page.concurrency import shared

    found, shared.BELIEVED_SECONDS = shared.BELIEVED_SECONDS, seconds
    yield
    shared.BELIEVED_SECONDS = found


async def measured(app: Any, token: str, times: int) -> dict[str, tuple[Cost, Cost]]:
    """Return what each request costs, fresh and shared."""
    found = {}
    requests = {name: (f"/retraining/models/{MODEL}/{path}", body) for name, (path, body) in VIEWS.items()}
    requests |= {"assets": ("/retraining/assets/page.js", b"")}
    requests |= {f"Airflow: {path.partition('?')[0]}": (f"/api/v2/{path}", b"") for path in OWN}
    for name, (path, body) in requests.items():
        with believed(0.0):
            fresh = await costs(app, token, path, body, times if not body else times // 5)
        with believed(SHARED_SECONDS):
            found[name] = fresh, await costs(app, token, path, body, times if not body else times // 5)
    return found


def told(found: dict[str, tuple[Cost, Cost]]) -> bool:
    """Print the table; return whether a target is missed."""
    print(f"{'ms of processor time':<44}{'fresh':>8}{'loop':>8}{'clock':>8}{'shared':>8}{'loop':>8}{'KB':>8}")
    for name, (fresh, shared) in found.items():
        row = (fresh.processor, fresh.loop, fresh.clock, shared.processor, shared.loop, fresh.size / 1000)
        target = f"   at most {TARGETS[name]:g}" if name in TARGETS else ""
        print(f"{name:<44}" + "".join(f"{value:>8.1f}" for value in row) + target)
    fresh_ones = {name: found[name][0].processor for name in TARGETS}
    note({f"page: processor time of a fresh {name}, ms": taken for name, taken in fresh_ones.items()})
    return any(taken > TARGETS[name] for name, taken in fresh_ones.items())


if __name__ == "__main__":
    sys.exit(main())
