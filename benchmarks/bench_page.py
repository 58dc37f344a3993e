"""How soon the page in the browser shows its views, with 500 versions, 5,000 files and 100,000 quarantined rows.

The page is mounted as Airflow mounts it, on a local_aws of its own, and opened in Chromium. What it asks of Airflow's own API is answered
at once with one DAG and no run: that time is Airflow's. The first view is a fresh browser's, further ones are switched to in the
same window; one round before, in which the server imports the page, does not count. Exit 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import note
from own_account import ROOT, account

if TYPE_CHECKING:
    from retraining.settings.access import AwsAccess

FIRST_SECONDS, FURTHER_SECONDS, LARGEST_KB, IMPORT_SECONDS = 1.0, 0.3, 150, 0.02
FILES_OF_VERSION, ROWS_OF_PART, WRITERS = 10, 10_000, 16
FILE = b"x"
"""What lies in the landing zone."""
BATCH, NOW = "f" * 16, "2026-01-02T03:04:05+00:00"
VIEWS = ("now", "history", "data", "drift", "send", "try")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DAG = {"dag_id": "abalone_retraining", "is_paused": False, "tags": [{"name": "retraining"}, {"name": "abalone"}]}
AIRFLOW = {"dags": {"dags": [DAG]}}


def main() -> int:
    """Measure, print a table, and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--rejected", type=int, default=100_000, help="quarantined rows")
    parser.add_argument("--rounds", type=int, default=20, help="times that each view is opened")
    arguments = parser.parse_args()
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        print(f"there is no {' or '.join(BROWSERS)} on this machine", file=sys.stderr)
        return 2
    sys.path[:0] = [str(ROOT / "plugins"), str(ROOT / "tests" / "page")]  # the page is mounted as its tests do
    with tempfile.TemporaryDirectory() as folder, account(Path(folder)) as (url, _):
        os.environ |= {"AWS_ENDPOINT_URL": url, "AIRFLOW_HOME": folder, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        os.environ |= {"AIRFLOW__API_AUTH__JWT_SECRET": "k" * 64, "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags")}
        prepare(url, arguments.versions, arguments.rejected)
        with served() as (address, token):
            first, further = opened(program, address, token, arguments.rounds)
    static = ROOT / "plugins" / "retraining" / "page" / "static"
    size = sum(path.stat().st_size for path in static.iterdir() if path.suffix in (".js", ".css")) / 1000
    imported = statistics.median(import_seconds() for _ in range(5))
    print(
        f"{arguments.versions:,} versions, {arguments.versions * FILES_OF_VERSION:,} files, {arguments.rejected:,} rows"
    )
    print("view                     median s    p95 s")
    print(f"{'first view':<22}  {statistics.median(first):>9.2f}  {p95(first):>7.2f}   at most {FIRST_SECONDS:g}")
    for view, seconds in further.items():
        print(f"{view:<22}  {statistics.median(seconds):>9.2f}  {p95(seconds):>7.2f}   at most {FURTHER_SECONDS:g}")
    print(f"scripts and style sheet: {size:.0f} KB (at most {LARGEST_KB})")
    print(f"import of the plugin in a task process: {1000 * imported:.1f} ms (at most {1000 * IMPORT_SECONDS:g})")
    slowest = max(map(p95, further.values()))
    note({"page: first view, p95, s": p95(first), "page: further view, p95, s": slowest, "page: scripts, KB": size})
    missed = p95(first) > FIRST_SECONDS or slowest > FURTHER_SECONDS or size > LARGEST_KB or imported > IMPORT_SECONDS
    return int(missed)


def p95(seconds: list[float]) -> float:
    """Return the time that 95 of 100 keep."""
    return sorted(seconds)[min(len(seconds) - 1, round(0.95 * len(seconds)))]


def prepare(url: str, versions: int, rejected: int) -> None:
    """Make a platform without a stack, and fill its data set."""
    from page_site import BUCKET, PLATFORM

    from retraining.aws.clients import client
    from retraining.settings.access import AwsAccess

    access = AwsAccess(region="us-east-1", endpoint_url=url)
    client("s3", access).create_bucket(Bucket=BUCKET)
    client("ssm", access).put_parameter(
        Name="/retraining/dev/abalone/platform", Value=json.dumps(PLATFORM), Type="String"
    )
    fill(access, BUCKET, versions, rejected)


def fill(access: AwsAccess, bucket: str, versions: int, rejected: int) -> None:
    """Put files into the landing zone, and write a dataset log whose versions all have a judged model, and a quarantine with its report."""
    from retraining.aws.clients import client
    from retraining.dataset.log import DatasetLog
    from retraining.dataset.records import FileRecord, TrainedNote, Version

    s3 = client("s3", access)
    log = DatasetLog(s3, bucket, "abalone/")
    rows = {"rows_new": 1000, "rows_accepted": 900, "rows_duplicate": 50, "rows_quarantined": 50}
    for number in range(1, versions + 1):
        files = tuple(FileRecord(key=key, etag=md5(FILE).hexdigest(), size=len(FILE)) for key in keys_of(number))
        log.commit(
            Version(
                version=number,
                batch=BATCH if number == versions else f"{number:016x}",
                created_at=NOW,
                files=files,
                rows=rows if number < versions else {**rows, "rows_quarantined": rejected},
                rows_by_split={"train": 800 * number, "test": 100 * number},
                training={},
                run_key=f"v{number}-0123456789ab",
            )
        )
    names = keys_of(versions)
    reason = "length: above 1"
    entries = [
        {
            "key": key,
            "rows": 0,
            "accepted": 0,
            "duplicate": 0,
            "quarantined": rejected // len(names),
            "outcome": "merged",
        }
        for key in names
    ]
    report = {"rows_new": rejected, "rows_quarantined": rejected, "reasons": {reason: rejected}, "files": entries}

    def put(key: str, text: str) -> None:
        s3.put_object(Bucket=bucket, Key=f"abalone/{key}", Body=text.encode())

    def part(start: int) -> None:
        lines = [
            {"file": names[at % len(names)], "line": at, "column": "length", "value": "9.4", "reason": reason}
            | {"raw": "M,9.4,0.3,0.1,0.5,0.2,0.1,0.15,9", "reasons": [reason]}
            for at in range(start, min(rejected, start + ROWS_OF_PART))
        ]
        put(f"quarantine/batch={BATCH}/part-{start:07}.json", "".join(f"{json.dumps(line)}\n" for line in lines))

    def land(number: int) -> None:
        for key in keys_of(number):
            s3.put_object(Bucket=bucket, Key=key, Body=FILE)
        log.note_trained(TrainedNote(version=number, run_key=f"v{number}-0123456789ab", decision="approved"))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(land, range(1, versions + 1)))
        list(pool.map(part, range(0, rejected, ROWS_OF_PART)))
    put(f"batches/{BATCH}/etl_report.json", json.dumps(report))
    for number in range(1, versions + 1):
        put(f"runs/v{number}-0123456789ab/summary.json", json.dumps(summary(number)))


def keys_of(version: int) -> list[str]:
    """Return the keys of a version's files."""
    return [f"abalone/new/{version:05}-{at}.csv" for at in range(FILES_OF_VERSION)]


def summary(version: int) -> dict[str, Any]:
    """Return what a run leaves that judged a model."""
    return {
        "run_key": f"v{version}-0123456789ab",
        "created_at": NOW,
        "dataset_version": version,
        "rows_accepted": 900,
        "rows_quarantined": 50,
        "rows_by_split": {"train": 800 * version},
        "metric": "rmse",
        "score_challenger": 2.1,
        "score_champion": 2.2,
        "decision": "approved",
        "reason": "It is better",
        "endpoint_config": "dev-abalone-config-1",
        "promoted": True,
        "numbers": {"n": 300, "difference": -0.1, "standard_error": 0.04, "odds": 9.0, "required_odds": 0.5},
    }


@contextmanager
def served() -> Iterator[tuple[str, str]]:
    """Mount the plugin's application on a port of the loopback; yields its address and an administrator's token."""
    import uvicorn
    from page_site import mounted

    site = mounted()
    server = uvicorn.Server(uvicorn.Config(site.app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", site.tokens["admin"]
    server.should_exit = True
    thread.join(10)


def opened(program: str, address: str, token: str, rounds: int) -> tuple[list[float], dict[str, list[float]]]:
    """Open each view often; return the seconds of first views, and of further ones by view."""
    from playwright.sync_api import sync_playwright

    further: dict[str, list[float]] = {name: [] for name in (*VIEWS, "quarantine", "more rows")}
    first = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        for turn in range(rounds + 1):
            if turn == 1:
                first.clear()
                further = {name: [] for name in further}
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            context.add_cookies([{"name": "_token", "value": token, "url": address}])
            context.route("**/api/v2/**", _airflow)
            page = context.new_page()
            with taken(first):
                page.goto(f"{address}/retraining/#/abalone/now")
                page.locator("main section").first.wait_for()
            for view in (*VIEWS[1:], VIEWS[0]):
                with taken(further[view]):
                    page.locator(f"#views a[href='#/abalone/{view}']").click()
                    page.locator(f"#views a[href='#/abalone/{view}'][aria-current]").wait_for()
                    page.locator("main section").first.wait_for()
            page.goto(f"{address}/retraining/#/abalone/data")
            rejected = page.get_by_role("region", name="the newest 50 versions").get_by_role("button").nth(1)
            rejected.wait_for()
            with taken(further["quarantine"]):
                rejected.click()
                page.get_by_text("50 rows shown.").wait_for()
            with taken(further["more rows"]):
                page.get_by_role("button", name="More rows").click()
                page.get_by_text("100 rows shown.").wait_for()
            context.close()
        browser.close()
    return first, further


@contextmanager
def taken(seconds: list[float]) -> Iterator[None]:
    """Add the time of what is done inside."""
    begun = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - begun)


def _airflow(route: Any) -> None:
    last = re.sub(r"\?.*$", "", route.request.url).rstrip("/").rpartition("/")[2]
    route.fulfill(status=200, content_type="application/json", body=json.dumps(AIRFLOW.get(last, DAG)))


def import_seconds() -> float:
    """Return what importing the plugin's file adds to a process that has Airflow's plugin manager."""
    code = (
        "import time, airflow.plugins_manager; begun = time.perf_counter(); import retraining_page; "
        "print(time.perf_counter() - begun)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
